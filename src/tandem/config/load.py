"""From the file to one server's settings, or to all that is wrong with it."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli
from pydantic import ValidationError

from tandem.config import model
from tandem.config.build import settings_of
from tandem.config.check import contradictions, doubts, nobodys
from tandem.config.doubts import Doubt, unservable
from tandem.config.lines import Lines
from tandem.config.partners import PartnerLine, partner_lines
from tandem.config.problems import ConfigError, Problem, problems_of, show_location
from tandem.config.reservations import read_reservations
from tandem.effects.settings import Settings

Progress = Callable[[str, int, int], None]
"""Is told what is being done, and how many of how many are; 0 of 0 if that cannot be said."""


def _silent(_what: str, _done: int, _total: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A file that can be served, and the server that was chosen from it."""

    name: str
    server: model.Server
    settings: Settings
    log: model.Log
    web: model.Web
    lines: tuple[PartnerLine, ...]
    """How the partners are reached."""
    complaints: tuple[str, ...]
    """What is wrong with the file, but does not keep the server from serving."""
    doubts: tuple[Doubt, ...] = ()
    """What is allowed, but leaves clients without an answer or a lease."""

    @property
    def endpoints(self) -> list[tuple[str, int]]:
        """Give the addresses and ports to listen on beside the interfaces."""
        return [model.read_endpoint(each) for each in self.server.listen]


def load(path: Path, name: str | None, progress: Progress = _silent) -> Loaded:
    """Read the file for the server `name`, which may be None if there is one only. ConfigError says what is wrong."""
    return load_text(read_text(path), name, progress)


def load_text(text: str, name: str | None, progress: Progress = _silent) -> Loaded:
    """Do what `load` does with the text of a file."""
    with _all_of_it_stays():
        file, lines = _parse(text, progress)
        return _choose(file, lines, text, name, progress)


def load_first(path: Path, name: str | None, progress: Progress = _silent) -> tuple[Loaded, list[str]]:
    """Do what `load` does, for the first of the servers if none is named. Return the names of all of them, too."""
    text = read_text(path)
    with _all_of_it_stays():
        file, lines = _parse(text, progress)
        names = sorted(file.server)
        return _choose(file, lines, text, name or names[0], progress), names


@contextmanager
def _all_of_it_stays() -> Iterator[None]:
    """Disable garbage collection: a large file becomes a million objects, hardly any of them garbage."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _choose(file: model.File, lines: Lines, text: str, name: str | None, progress: Progress) -> Loaded:
    """Give what a server of the file is to do."""
    if name is None and len(file.server) > 1:
        raise ConfigError([f"The file has several servers; say --server with one of {', '.join(sorted(file.server))}."])
    chosen = name if name is not None else next(iter(file.server))
    if chosen not in file.server:
        raise ConfigError([f"The file has no [server.{chosen}]; it has {', '.join(sorted(file.server))}."])
    progress("building indexes", 0, 0)
    settings = settings_of(file, chosen, lines, text)
    return Loaded(
        name=chosen,
        server=file.server[chosen],
        settings=settings,
        log=file.log,
        web=file.web,
        lines=tuple(partner_lines(file, chosen)),
        complaints=tuple(_sorted_sentences([*nobodys(file), *doubts(file)], lines)),
        doubts=tuple(unservable(settings)),
    )


def read_text(path: Path) -> str:
    """Read the file's text. ConfigError if it cannot be read."""
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise ConfigError([f"{path} cannot be read: {error.strerror}."]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path} is not a text in UTF-8: octet {error.start} does not belong there."]) from error


def parse(text: str) -> model.File:
    """Read and check the whole file. ConfigError has all problems, in the order of their lines."""
    return _parse(text, _silent)[0]


def _parse(text: str, progress: Progress) -> tuple[model.File, Lines]:
    """Do what `parse` does, and find out on which lines its tables stand."""
    progress("reading the file", 0, 0)
    try:
        raw = tomli.loads(text)
    except (ValueError, RecursionError) as error:  # TOMLDecodeError is a ValueError, as is a number too long to read
        raise ConfigError([f"The file is not TOML: {error}."]) from error
    lines = Lines(text)
    context = defined_options(raw)
    found = read_reservations(raw, context, lambda done, total: progress("reading reservations", done, total))
    progress("checking", 0, 0)
    try:
        file = model.File.model_validate(raw, context=context)
    except ValidationError as error:
        raise ConfigError(_sorted_sentences([*found, *problems_of(error)], lines)) from error
    found += contradictions(file)
    if found:
        raise ConfigError(_sorted_sentences(found, lines))
    return file, lines


def defined_options(raw: Mapping[str, Any]) -> tuple[str, ...]:
    """Name the options that a file defines, as long as that is all that is known of it."""
    definitions = raw.get("option-definition")
    return tuple(definitions) if isinstance(definitions, dict) else ()


def _sorted_sentences(problems: list[Problem], lines: Lines) -> list[str]:
    numbered = sorted((lines.of(each.location) or 0, show_location(each.location), each.text) for each in problems)
    return [f"line {line}, {where}: {text}." if line else f"{where}: {text}." for line, where, text in numbered]

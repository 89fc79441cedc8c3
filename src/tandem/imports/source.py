"""Another server's settings as they are gone through: what is taken is carried over, what is left is not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from tandem.config import load
from tandem.config.problems import ConfigError
from tandem.imports.report import ImportFailed, Report

Kind = TypeVar("Kind", str, int, float, bool)
UINT32_MAX = 0xFFFFFFFF
NAMES: Mapping[type, str] = {str: "a text", int: "a number", float: "a number", bool: "true or false"}


class Section:
    """A map of settings, of which each is to be accounted for. `where` is its path in the file.

    With `is_one` they are all one setting, of that path.
    """

    def __init__(self, values: Mapping[str, Any], where: str, report: Report, is_one: bool = False) -> None:
        self.where = where
        self.report = report
        self._left = dict(values)
        self._is_one = is_one

    def __contains__(self, name: str) -> bool:
        return name in self._left

    def path(self, name: str) -> str:
        """Give the path of one of the settings."""
        if self._is_one:
            return self.where
        return f"{self.where}.{name}" if self.where else name

    def names(self) -> list[str]:
        """Name the settings that were not taken yet."""
        return list(self._left)

    def take(self, name: str, kind: type[Kind]) -> Kind | None:
        """Take a setting, None if it is not there. ImportFailed if it is of another kind, or a number out of bounds."""
        if name not in self._left:
            return None
        value = self._left.pop(name)
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise ImportFailed(f"{self.path(name)} is not {NAMES[kind]}.")
        if isinstance(value, int | float) and not 0 <= value <= UINT32_MAX:
            raise ImportFailed(f"{self.path(name)} is not a number between 0 and {UINT32_MAX}.")
        self.report.carried(self.path(name))
        return value

    def section(self, name: str) -> Section | None:
        """Take a map of settings."""
        if name not in self._left:
            return None
        values = self._left.pop(name)
        if not isinstance(values, dict):
            raise ImportFailed(f"{self.path(name)} is not a map.")
        return Section(values, self.path(name), self.report)

    def sections(self, name: str) -> Iterator[Section]:
        """Take a list of maps of settings."""
        for number, values in enumerate(self._take_list(name), 1):
            where = f"{self.path(name)}[{number}]"
            if not isinstance(values, dict):
                raise ImportFailed(f"{where} is not a map.")
            yield Section(values, where, self.report)

    def texts(self, name: str) -> list[str]:
        """Take a list of texts."""
        found = self._take_list(name)
        if not all(isinstance(each, str) for each in found):
            raise ImportFailed(f"{self.path(name)} is not a list of texts.")
        if found:
            self.report.carried(self.path(name))
        return found

    def changed(self, name: str, how: str) -> None:
        """Say of a setting that it is not quite the same here."""
        self._left.pop(name, None)
        self.report.changed(self.path(name), how)

    def lost(self, name: str, why: str) -> None:
        """Say of a setting that it has no effect here."""
        self._left.pop(name, None)
        self.report.lost(self.path(name), why)

    def rest(self, reasons: Mapping[str, str], needless: Mapping[str, str] | None = None) -> None:
        """Say of all that was not taken that it is lost, or not needed, and why if that is known."""
        for name in list(self._left):
            if self._left[name] in ("", [], {}):
                del self._left[name]
                self.report.carried(self.path(name))
            elif needless is not None and name in needless:
                del self._left[name]
                self.report.not_needed(self.path(name), needless[name])
            else:
                self.lost(name, reasons.get(name, "Nothing like it is known here."))

    def _take_list(self, name: str) -> list[Any]:
        is_there = name in self._left
        found = self._left.pop(name, [])
        if not isinstance(found, list):
            raise ImportFailed(f"{self.path(name)} is not a list.")
        if is_there and not found:
            self.report.carried(self.path(name))
        return found


def read_text(path: Path) -> str:
    """Read a text file. ImportFailed says why that is not possible."""
    try:
        return load.read_text(path)
    except ConfigError as error:
        raise ImportFailed(str(error)) from error

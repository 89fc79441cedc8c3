"""What is wrong with a configuration file: all of it, each with the key's path and line."""

from __future__ import annotations

from typing import NamedTuple

from pydantic import ValidationError

Location = tuple[str | int, ...]
"""A key's place in the file: names of tables and keys, numbers of array items, from 0."""


class Problem(NamedTuple):
    """One thing that is wrong, in a sentence."""

    location: Location
    text: str


class ConfigError(Exception):
    """The file cannot be used. `problems` are sentences that each begin with path and line."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def show_location(location: Location) -> str:
    """Show a location as people write it: `subnet[0].pools`; items are counted from 1."""
    shown = ""
    for part in location:
        if isinstance(part, int):
            shown += f"[{part + 1}]"
        else:
            shown += f".{part}" if shown else part
    return shown or "the file"


def problems_of(error: ValidationError, around: Location = ()) -> list[Problem]:
    """Give all that pydantic found wrong with a table that stands at `around`."""
    return [Problem((*around, *each["loc"]), _sentence(each["type"], each["msg"])) for each in error.errors()]


def _sentence(kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        return "there is no such key"
    if kind == "missing":
        return "this key is missing"
    message = message.removeprefix("Value error, ")
    return message[:1].lower() + message[1:]

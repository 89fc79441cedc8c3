"""Finds the line on which a key of a TOML file stands, which the parser does not tell.

Tables, arrays of tables and keys at the start of a line are found; for what stands inside an inline table or an
array, the line of the key that holds it is given.
"""

from __future__ import annotations

import re

from tandem.config.problems import Location, show_location

HEADER = re.compile(r"\s*(\[\[?)\s*(.+?)\s*\]\]?\s*(?:#.*)?$")
KEY = re.compile(r"""\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*=(.*)$""")
PART = re.compile(r"""[A-Za-z0-9_-]+|"[^"]*"|'[^']*'""")
STRING = re.compile(r'"(?:[^"\\]|\\.)*"|' + r"'[^']*'")
MULTILINE = ('"""', "'''")


class Lines:
    """Line numbers, from 1, by location."""

    def __init__(self, text: str) -> None:
        self._lines: dict[Location, int] = {}
        self._counts: dict[Location, int] = {}
        table: Location = ()
        depth = 0  # of brackets left open by the values so far
        closing = ""  # what ends the multi-line string that we are in
        for number, line in enumerate(text.splitlines(), 1):
            if closing:
                closing = "" if closing in line else closing
            elif depth > 0:
                depth += _open_brackets(line)
            elif header := HEADER.match(line):
                table = self._enter(_parts(header[2]), header[1] == "[[")
                self._lines.setdefault(table, number)
            elif key := KEY.match(line):
                self._add((*table, *_parts(key[1])), number)
                closing = _opened_string(key[2])
                depth = 0 if closing else _open_brackets(key[2])

    def of(self, location: Location) -> int | None:
        """Give the line of the location, or of the closest key around it."""
        for size in range(len(location), 0, -1):
            line = self._lines.get(location[:size])
            if line is not None:
                return line
        return None

    def by_name(self) -> dict[str, int]:
        """Give the lines of all tables, and of keys that hold lists, by their locations as people write them."""
        return {show_location(location): line for location, line in self._lines.items()}

    def _enter(self, names: Location, is_item: bool) -> Location:
        """Give the location of a table's header, with the number of the array item that each part stands for."""
        location: Location = ()
        for position, name in enumerate(names, 1):
            location = (*location, name)
            if is_item and position == len(names):
                self._counts[location] = self._counts.get(location, -1) + 1
            if location in self._counts:
                location = (*location, self._counts[location])
        return location

    def _add(self, location: Location, number: int) -> None:
        for size in range(1, len(location) + 1):
            self._lines.setdefault(location[:size], number)


def _parts(text: str) -> Location:
    return tuple(part.strip("\"'") for part in PART.findall(text))


def _open_brackets(text: str) -> int:
    bare = STRING.sub("", text).split("#")[0]
    return sum(bare.count(sign) for sign in "[{") - sum(bare.count(sign) for sign in "]}")


def _opened_string(text: str) -> str:
    return next((quotes for quotes in MULTILINE if text.count(quotes) == 1), "")

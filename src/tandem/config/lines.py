"""Finds the line on which a key of a TOML file stands, which the parser does not tell.

Tables, arrays of tables and keys at the start of a line are found; for what stands inside an inline table or an
array, the line of the key that holds it is given.

One pass notes where each table begins, which is all that a good file needs: plain lines, most of any file, are passed
over by one regular expression. The keys of a table are looked for when somebody asks for them.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator
from typing import NamedTuple

from tandem.config.problems import Location, show_location
from tandem.effects.lines import LINE, LineIndex, pack_lines

HEADER = re.compile(r"\s*(\[\[?)\s*(.+?)\s*\]\]?\s*(?:#.*)?$")
KEY = re.compile(r"""\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*=(.*)$""")
PART = re.compile(r"""[A-Za-z0-9_-]+|"[^"]*"|'[^']*'""")
STRING = re.compile(r'"(?:[^"\\]|\\.)*"|' + r"'[^']*'")
PLAIN = re.compile(r'(?:[ \t]*(?:[A-Za-z0-9_-]+[ \t]*=[ \t]*(?:"[^"\\\r\n]*"|[A-Za-z0-9]+)[ \t]*)?(?:#[^\n]*|\r)?\n)*+')
"""Empty lines, comments, and keys whose value is a text or a number on the same line."""
MULTILINE = ('"""', "'''")
ITEMS = ("pools", "pd-pools", "reservation")


class Table(NamedTuple):
    """Where a table's header stands, and where the octets behind it begin."""

    line: int
    start: int


class Lines:
    """Line numbers, from 1, by location."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tables: dict[Location, Table] = {(): Table(0, 0)}
        self._items: dict[Location, tuple[array[int], array[int]]] = {}
        """Of each array of tables: the lines of its items, and where the text behind their headers begins."""
        self._first: dict[Location, int] = {}
        """Where the first part stands of what has parts with headers of their own."""
        self._headers: dict[str, tuple[Location, bool]] = {}
        self._last_item: tuple[str, array[int], array[int]] = ("", array(LINE), array(LINE))
        """The header above, if it is of an item, and where its array is: mostly the next one is of the same array."""
        self._last: tuple[Table | None, dict[Location, int]] = (None, {})
        for number, line, end in _lines(text, 0, 1, passes_over_plain=True):
            if line == self._last_item[0]:
                self._last_item[1].append(number)
                self._last_item[2].append(end)
            elif line.lstrip().startswith("["):
                self._enter(line, number, end)

    def of(self, location: Location) -> int | None:
        """Give the line of the location, or of the closest key around it."""
        table, rest = self._table_of(location)
        keys = self._keys(table) if rest else {}
        for size in range(len(rest), 0, -1):
            line = keys.get(rest[:size])
            if line is not None:
                return line
        for size in range(len(location), len(location) - len(rest), -1):
            items = self._items.get(location[:size])
            line = items[0][0] if items is not None else self._first.get(location[:size])
            if line is not None:
                return line
        return table.line or None

    def index(self, subnets: list[tuple[int, int, int]]) -> LineIndex:
        """Give the lines of what messages name; of each subnet, how many items of each of ITEMS it has."""
        tables: dict[str, int] = {}
        for location, table in self._tables.items():
            if location[:1] != ("subnet",):
                keys = {(*location, *key): line for key, line in self._keys(table).items()}
                for each, line in {location: table.line, **keys}.items():
                    tables.setdefault(show_location(each), line)
        of_subnets = array(LINE, [self.of(("subnet", number)) or 0 for number in range(len(subnets))])
        lines = [
            [self._item_lines(number, kind, count) for kind, count in zip(ITEMS, counts, strict=True)]
            for number, counts in enumerate(subnets)
        ]
        items = {kind: pack_lines([each[at] for each in lines]) for at, kind in enumerate(ITEMS)}
        return LineIndex(tables, of_subnets, items)

    def _item_lines(self, subnet: int, kind: str, count: int) -> array[int]:
        if not count:
            return array(LINE)
        items = self._items.get(("subnet", subnet, kind))
        if items is not None and len(items[0]) >= count:
            return items[0][:count]
        return array(LINE, [self.of(("subnet", subnet, kind)) or 0]) * count

    def _table_of(self, location: Location) -> tuple[Table, Location]:
        """Give the table that a location lies in, and the way on from there."""
        found, rest = self._tables[()], location
        for size in range(1, len(location) + 1):
            part = location[size - 1]
            table = self._tables.get(location[:size])
            items = self._items.get(location[: size - 1])
            if items is not None and isinstance(part, int) and part < len(items[0]):
                table = Table(items[0][part], items[1][part])
            if table is not None:
                found, rest = table, location[size:]
        return found, rest

    def _keys(self, table: Table) -> dict[Location, int]:
        """Give the lines of the keys in a table."""
        if self._last[0] == table:
            return self._last[1]
        keys: dict[Location, int] = {}
        for number, line, _ in _lines(self._text, table.start, table.line + 1, passes_over_plain=False):
            if line.lstrip().startswith("["):
                break
            found = KEY.match(line)
            names = _parts(found[1]) if found else ()
            for size in range(1, len(names) + 1):
                keys.setdefault(names[:size], number)
        self._last = (table, keys)
        return keys

    def _enter(self, line: str, number: int, end: int) -> None:
        """Note a table whose header stands on the line that ends there."""
        known = self._headers.get(line)
        if known is None:
            header = HEADER.match(line)
            known = (_parts(header[2]), header[1] == "[[") if header else ((), False)
            self._headers[line] = known
        names, is_item = known
        self._last_item = "", array(LINE), array(LINE)
        location: Location = ()
        for position, name in enumerate(names, 1):
            location = (*location, name)
            if is_item and position == len(names):
                lines, starts = self._items.setdefault(location, (array(LINE), array(LINE)))
                lines.append(number)
                starts.append(end)
                self._last_item = line, lines, starts
                return
            if location in self._items:
                location = (*location, len(self._items[location][0]) - 1)
            elif position < len(names):
                self._first.setdefault(location, number)
        if location:
            self._tables.setdefault(location, Table(number, end))


def _lines(text: str, at: int, number: int, passes_over_plain: bool) -> Iterator[tuple[int, str, int]]:
    """Give the lines from there on that do not go on with a value: number, text and where the next one begins."""
    closing = ""  # what ends the multi-line string that we are in
    depth = 0  # of brackets left open by the values so far
    while at < len(text):
        if passes_over_plain and not closing and depth <= 0:
            plain = PLAIN.match(text, at)
            if plain is not None and plain.end() > at:
                number += text.count("\n", at, plain.end())
                at = plain.end()
                if at >= len(text):
                    return
        end = text.find("\n", at) + 1 or len(text)
        line = text[at:end].rstrip("\r\n")
        if closing:
            closing = "" if closing in line else closing
        elif depth > 0:
            depth += _open_brackets(line)
        else:
            yield number, line, end
            key = KEY.match(line) if line[:1] != "[" else None
            if key is not None:
                closing = _opened_string(key[2])
                depth = 0 if closing else _open_brackets(key[2])
        at = end
        number += 1


def _parts(text: str) -> Location:
    return tuple(part.strip("\"'") for part in PART.findall(text))


def _open_brackets(text: str) -> int:
    bare = STRING.sub("", text).split("#")[0]
    return sum(bare.count(sign) for sign in "[{") - sum(bare.count(sign) for sign in "]}")


def _opened_string(text: str) -> str:
    return next((quotes for quotes in MULTILINE if text.count(quotes) == 1), "")

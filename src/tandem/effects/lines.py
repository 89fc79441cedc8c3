"""On which lines of the file its tables stand, so that messages can say so; a few octets for each."""

from __future__ import annotations

import re
from array import array
from collections.abc import Mapping, Sequence
from typing import Final

ITEM: Final = re.compile(r"subnet\[(\d+)\](?:\.([a-z-]+)\[(\d+)\])?")
LINE: Final = "I"
"""The type of numbers in an array of lines."""


class LineIndex:
    """Line numbers, from 1, by `where`, the path of a setting as people write it."""

    __slots__ = ("items", "subnets", "tables")

    def __init__(
        self, tables: Mapping[str, int], subnets: array[int], items: Mapping[str, tuple[array[int], array[int]]]
    ) -> None:
        self.tables: Final = tables
        """The lines of what stands outside of the subnets."""
        self.subnets: Final = subnets
        self.items: Final = items
        """For each kind of item, such as `pools`: where the lines of each subnet's end among all, and the lines."""

    def __reduce__(self) -> tuple[type[LineIndex], tuple[object, ...]]:
        """Return what it is made of: a compiled class with arguments cannot be unpickled otherwise."""
        return LineIndex, (self.tables, self.subnets, self.items)

    def of(self, where: str) -> int:
        """Return the line of a setting, or of what it is in; 0 if that is not known."""
        found = ITEM.match(where)
        if found is None:
            while where and where not in self.tables:
                where = where[: max(where.rfind("."), where.rfind("["), 0)]
            return self.tables.get(where, 0)
        number, kind, item = int(found[1]) - 1, found[2], int(found[3] or 0) - 1
        if kind in self.items:
            ends, lines = self.items[kind]
            first = ends[number - 1] if number else 0
            if number < len(ends) and first <= first + item < ends[number] and lines[first + item]:
                return int(lines[first + item])
        return int(self.subnets[number]) if number < len(self.subnets) else 0


def pack_lines(lines_by_subnet: Sequence[Sequence[int]]) -> tuple[array[int], array[int]]:
    """Return where the lines of each subnet's items end among those of all, and these."""
    ends, lines = array(LINE), array(LINE)
    for each in lines_by_subnet:
        lines.extend(each)
        ends.append(len(lines))
    return ends, lines


NO_LINES: Final = LineIndex({}, array(LINE), {})

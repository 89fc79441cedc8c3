"""What joins a relationship by a reload and what leaves it, worked out in steps: a file may have 20,000 ranges.

Ranges are sorted, and none of one list overlaps another of it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from itertools import islice
from typing import Final, NamedTuple, TypeVar

from tandem.effects.settings import Relationship
from tandem.lease.holes import Holes
from tandem.lease.space import Interval

Result = TypeVar("Result")
RANGES_PER_STEP: Final = 64
OWN: Final = ""
"""Stands for a relationship's name with what the server serves without a partner."""

Ranges = dict[str, list[Interval]]
"""Intervals of addresses by the name of their relationship."""


class Plan(NamedTuple):
    """How the ranges of a file differ from those on disk."""

    recorded: Ranges
    """Those on disk that it was made for."""
    wanted: Ranges
    joined: Ranges
    unknown: Ranges
    """What of these this server did not serve alone before."""
    kept: Ranges
    """What was unsynchronized before, and is not among what joined."""
    joined_holes: Mapping[str, Holes]
    left_holes: Holes


def compare(
    relationships: Iterable[Relationship], own: Iterable[Interval], recorded: Ranges, unsynchronized: Ranges
) -> Generator[None, None, Plan]:
    """Compare the ranges of a file with those on disk, a bounded part with each step; return the plan at the end."""
    wanted = {each.name: list(each.territories) for each in relationships}
    joined: Ranges = {}
    unknown: Ranges = {}
    kept: Ranges = {}
    left: list[Interval] = []
    for name, ranges in wanted.items():
        joined[name] = yield from difference(ranges, recorded.get(name, []))
        unknown[name] = yield from difference(joined[name], recorded.get(OWN, []))
        older = yield from difference(unsynchronized.get(name, []), joined[name])
        gone = yield from difference(older, ranges)
        kept[name] = yield from difference(older, gone)
    for name, ranges in recorded.items():
        if name != OWN:
            left += yield from difference(ranges, wanted.get(name, []))
    wanted[OWN] = yield from merged(own)
    holes: dict[str, Holes] = {}
    for name, ranges in joined.items():
        if ranges:
            holes[name] = Holes(ranges)
            yield
    return Plan(recorded, wanted, joined, unknown, kept, holes, Holes(left))


def difference(ranges: Sequence[Interval], others: Sequence[Interval]) -> Generator[None, None, list[Interval]]:
    """Return what of ranges lies in none of the others; a bounded part with each step."""
    found: list[Interval] = []
    if not ranges or ranges == others:  # a reload changes little
        return found
    at = 0
    for number, (first, last) in enumerate(ranges):
        if not number % RANGES_PER_STEP:
            yield
        while at < len(others) and others[at][1] < first:
            at += 1
        begin, reached = first, at
        while reached < len(others) and others[reached][0] <= last:
            if others[reached][0] > begin:
                found.append((begin, others[reached][0] - 1))
            begin = others[reached][1] + 1
            reached += 1
        if begin <= last:
            found.append((begin, last))
    return found


def merged(ranges: Iterable[Interval]) -> Generator[None, None, list[Interval]]:
    """Return the ranges in their order, those that overlap put together."""
    left = iter(ranges)
    found: list[Interval] = []
    while some := list(islice(left, RANGES_PER_STEP)):
        found += some
        yield
    found.sort()
    whole: list[Interval] = []
    for number, (first, last) in enumerate(found):
        if not number % RANGES_PER_STEP:
            yield
        if whole and first <= whole[-1][1]:
            whole[-1] = whole[-1][0], max(whole[-1][1], last)
        else:
            whole.append((first, last))
    return whole


def finished(steps: Generator[None, None, Result]) -> Result:
    """Take all steps at once; return what they return."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            result: Result = done.value
            return result

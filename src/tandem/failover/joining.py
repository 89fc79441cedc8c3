"""What joins a relationship by a reload and what leaves it, worked out in steps: a file may have 20,000 ranges.

What stays, but is divided between the partners in another way, counts as what joins: their roles are swapped, or
prefixes of another length are delegated. Ranges are sorted, and none of one list overlaps another of it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from itertools import islice
from typing import Final, NamedTuple, TypeVar

from tandem.effects.settings import Relationship
from tandem.lease.holes import Holes
from tandem.lease.space import Interval
from tandem.wire.received import ADDRESS_LENGTH

Result = TypeVar("Result")
RANGES_PER_STEP: Final = 64
OWN: Final = ""
"""Stands for a relationship's name with what the server serves without a partner."""

Ranges = dict[str, list[Interval]]
"""Intervals of addresses by the name of their relationship."""


class Division(NamedTuple):
    """How the partners of a relationship divide its leases, as far as the file says so."""

    role: int
    """That of this server."""
    prefixes: Ranges
    """The pools of prefixes by the length that is delegated from them, in decimal."""
    reservations: dict[str, str]
    """A digest of the reservations of each subnet that has some."""


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
    divisions: Mapping[str, Division]
    reserved_otherwise: frozenset[str]
    """The names of the relationships with reservations that they did not have."""


def compare(
    relationships: Iterable[Relationship],
    own: Iterable[Interval],
    recorded: Ranges,
    unsynchronized: Ranges,
    divided: Mapping[str, Division],
) -> Generator[None, None, Plan]:
    """Compare the ranges of a file with those on disk, a bounded part with each step; return the plan at the end."""
    relationships = list(relationships)
    wanted = {each.name: list(each.territories) for each in relationships}
    divisions: dict[str, Division] = {}
    reserved_otherwise: set[str] = set()
    for each in relationships:
        divisions[each.name] = after = yield from _division_of(each)
        if after.reservations.items() - divided.get(each.name, after).reservations.items():
            reserved_otherwise.add(each.name)
    joined: Ranges = {}
    unknown: Ranges = {}
    kept: Ranges = {}
    left: list[Interval] = []
    for name, ranges in wanted.items():
        joined[name] = yield from _joined(ranges, recorded.get(name, []), divided.get(name), divisions[name])
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
    return Plan(recorded, wanted, joined, unknown, kept, holes, Holes(left), divisions, frozenset(reserved_otherwise))


def _division_of(relationship: Relationship) -> Generator[None, None, Division]:
    prefixes: Ranges = {}
    for number, (first, last, length) in enumerate(sorted(relationship.pools)):
        if not number % RANGES_PER_STEP:
            yield
        if length != ADDRESS_LENGTH:
            prefixes.setdefault(str(length), []).append((first, last))
    return Division(relationship.role.value, prefixes, dict(relationship.reservations))


def _joined(
    ranges: Sequence[Interval], recorded: Sequence[Interval], before: Division | None, after: Division
) -> Generator[None, None, list[Interval]]:
    """Return what of the ranges of a relationship is not recorded, or was divided otherwise."""
    if before is not None and before.role != after.role:
        return list(ranges)
    joined = yield from difference(ranges, recorded)
    if before is not None and before.prefixes != after.prefixes:
        for length, pools in after.prefixes.items():
            joined += yield from difference(pools, before.prefixes.get(length, []))
        joined = yield from merged(joined)
    return joined


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

"""Who may give out which space: the shares of two failover partners (RFC 8156 4.2).

Addresses are split for ever by their last bit. Prefixes are the primary's unless it gave them away: as large
prefixes, from which smaller ones are delegated. Each such gift, and each one taken back, is a record in the table
with a shorter prefix than the pool's leases have.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum
from typing import Final, NamedTuple

from tandem.lease.lease import BindingStatus
from tandem.wire.received import ADDRESS_LENGTH

BUCKETS_MAX: Final = 1024

Interval = tuple[int, int]


class Role(IntEnum):
    """What a server is in a relationship; as a number, the last bit of the addresses it gives (4.2.1.1)."""

    SECONDARY = 0
    PRIMARY = 1

    @property
    def partner(self) -> Role:
        """The partner's role."""
        return Role.SECONDARY if self is Role.PRIMARY else Role.PRIMARY

    @property
    def available(self) -> BindingStatus:
        """The status of a lease that this server may give out."""
        return BindingStatus.FREE if self is Role.PRIMARY else BindingStatus.FREE_BACKUP


ROLES: Final = (Role.SECONDARY, Role.PRIMARY)
GIVERS: Final[dict[int | None, Role]] = {role.available: role for role in ROLES}
"""Who may give out a lease, by its status, for those that somebody may."""


def address_owner(key: int) -> Role:
    """Say whose an address is to give out."""
    return ROLES[key >> 8 & 1]


class Range(NamedTuple):
    """All prefixes of one length in the addresses `first` to `last`, numbers of 128 bits; length 128 for addresses."""

    first: int
    last: int
    length: int

    @property
    def unit(self) -> int:
        """How far two neighbours are apart."""
        return 1 << (ADDRESS_LENGTH - self.length)

    @property
    def last_start(self) -> int:
        """The first address of the last lease."""
        return self.first + (self.size - 1) * self.unit

    @property
    def size(self) -> int:
        """How many leases there are in the range."""
        return (self.last - self.first) // self.unit + 1


class Space:
    """Evenly spaced addresses in disjoint, ascending intervals, as one row that can be counted through."""

    __slots__ = ("_counts", "_firsts", "_step", "size")

    def __init__(self, intervals: Iterable[Interval], step: int) -> None:
        self._step = step
        self._firsts: list[int] = []
        self._counts: list[int] = []
        self.size = 0
        """How many addresses there are."""
        for first, last in intervals:
            if first <= last:
                self._firsts.append(first)
                self._counts.append(self.size)
                self.size += (last - first) // step + 1

    def nth(self, number: int) -> int:
        """Give the address with that number, from 0."""
        at = bisect_right(self._counts, number) - 1
        return self._firsts[at] + (number - self._counts[at]) * self._step


class Gifts:
    """The space of one prefix pool as the partners share it.

    `records` counts the leases on record in each of up to BUCKETS_MAX equal parts of the pool: what has none can
    change hands as a whole. `reserved` says how many leases of an interval are reserved; they are in no share.
    """

    def __init__(self, range_: Range, reserved: Callable[[int, int], int] = lambda _first, _last: 0) -> None:
        self._range = range_
        self._reserved = reserved
        self._aggregates: dict[int, int] = {}
        self._given: list[Interval] = []
        self.bucket_octets = max(range_.unit, (range_.last - range_.first + 1) // BUCKETS_MAX)
        """How much address space one part has."""
        self.records = [0] * ((range_.last - range_.first) // self.bucket_octets + 1)
        self.on_record = {Role.PRIMARY: 0, Role.SECONDARY: 0}
        """How many leases are on record in each server's space, whatever their status, without reserved ones."""
        self.available_on_record = {Role.PRIMARY: 0, Role.SECONDARY: 0}
        """How many of all leases on record are each server's to give."""

    @property
    def aggregates(self) -> tuple[int, ...]:
        """The keys of all records of gifts, and of what was taken back."""
        return tuple(self._aggregates)

    def put(self, key: int, status: int | None) -> None:
        """Take over the record of a large prefix; with None it is forgotten."""
        if status is None:
            self._aggregates.pop(key, None)
        else:
            self._aggregates[key] = status
        given: list[Interval] = []
        for each in sorted(self._aggregates, key=lambda each: each & 0xFF):  # smaller ones are later and count more
            interval = interval_of(each)
            given = without(given, interval)
            if self._aggregates[each] == BindingStatus.FREE_BACKUP:
                given = sorted((*given, interval))
        self._given = given

    def owner(self, address: int) -> Role:
        """Say whose the space around an address is."""
        at = bisect_right(self._given, (address, 1 << ADDRESS_LENGTH)) - 1
        return Role.SECONDARY if at >= 0 and address <= self._given[at][1] else Role.PRIMARY

    def touches_given(self, key: int) -> bool:
        """Say whether any of a prefix is the secondary's."""
        first, last = interval_of(key)
        return any(low <= last and first <= high for low, high in self._given)

    def intervals(self, role: Role) -> Sequence[Interval]:
        """Give that server's space, lowest first."""
        if role is Role.SECONDARY:
            return self._given
        whole = [(self._range.first, self._range.last)]
        for interval in self._given:
            whole = without(whole, interval)
        return whole

    def available(self, role: Role) -> int:
        """Say how many prefixes that server could delegate now, to clients without a reservation."""
        places = sum(
            (last - first + 1) // self._range.unit - self._reserved(first, last) for first, last in self.intervals(role)
        )
        return places - self.on_record[role] + self.available_on_record[role]

    def touch(self, key: int, before: int | None, after: int | None) -> int:
        """Keep count of the leases on record in the part that a lease lies in; return the change."""
        change = (after is not None) - (before is not None)
        self.records[((key >> 8) - self._range.first) // self.bucket_octets] += change
        return change

    def count(self, key: int, before: int | None, after: int | None) -> None:
        """Keep the counts when a lease's status changes; None is: not on record."""
        change = self.touch(key, before, after)
        if change:
            self.on_record[self.owner(key >> 8)] += change
        if before in GIVERS:
            self.available_on_record[GIVERS[before]] -= 1
        if after in GIVERS:
            self.available_on_record[GIVERS[after]] += 1


def interval_of(key: int) -> Interval:
    """Give the first and the last address of a key's prefix."""
    first = key >> 8
    return first, first | (1 << ADDRESS_LENGTH - (key & 0xFF)) - 1


def without(intervals: Iterable[Interval], hole: Interval) -> list[Interval]:
    """Give what is left of intervals beside a hole."""
    left: list[Interval] = []
    for first, last in intervals:
        if last < hole[0] or first > hole[1]:
            left.append((first, last))
            continue
        if first < hole[0]:
            left.append((first, hole[0] - 1))
        if last > hole[1]:
            left.append((hole[1] + 1, last))
    return left

"""Who may give out which space: the shares of two failover partners (RFC 8156 4.2).

Addresses are split for ever by their last bit. Prefixes are the primary's unless it gave them away: as large
prefixes, from which smaller ones are delegated. Each such gift, and each one taken back, is a record in the table
with a shorter prefix than the pool's leases have.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
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

    Problem: shares are kept in proportion by moving large prefixes, so that few messages do (RFC 8156 4.2.2). What
    may move is whose no client is: space without a lease on record, and leases on record that are free again.

    The owner of unrecorded space is what the smallest transferred prefix around it says, the primary's without one.
    Transferred prefixes are aligned, so that two of them are nested or apart; one sweep over them in the order of
    their addresses gives the secondary's space. It is made when it is asked for after a change: loading n of them
    costs n log n. Leases on record are kept sorted in each of up to BUCKETS_MAX equal parts of the pool.
    `reserved` says how many leases of an interval are reserved; they are in no share.
    """

    def __init__(self, range_: Range, reserved: Callable[[int, int], int] = lambda _first, _last: 0) -> None:
        self._range = range_
        self._reserved = reserved
        self._aggregates: dict[int, int] = {}
        self._given: list[Interval] | None = []
        self._of_secondary: int | None = 0
        self._counted = 0
        self.bucket_octets = max(range_.unit, (range_.last - range_.first + 1) // BUCKETS_MAX)
        """How much address space one part has."""
        self._buckets: dict[int, list[int]] = {}
        self._givers: dict[int, Role] = {}
        self.available_on_record = {Role.PRIMARY: 0, Role.SECONDARY: 0}
        """How many of all leases on record are each server's to give."""

    @property
    def aggregates(self) -> tuple[int, ...]:
        """The keys of all records of transferred prefixes, and of what was taken back."""
        return tuple(self._aggregates)

    def put(self, key: int, status: int | None) -> None:
        """Take over the record of a large prefix; with None it is forgotten."""
        if status is None:
            self._aggregates.pop(key, None)
        else:
            self._aggregates[key] = status
        self._given = self._of_secondary = None

    def _intervals_of_secondary(self) -> list[Interval]:
        """Return the secondary's space, lowest first, no two intervals touching."""
        if self._given is None:
            self._given = sweep_nested(
                (*interval_of(key), status == BindingStatus.FREE_BACKUP) for key, status in self._aggregates.items()
            )
        return self._given

    def owner(self, address: int) -> Role:
        """Return whose the space around an address is."""
        given = self._intervals_of_secondary()
        at = bisect_right(given, (address, 1 << ADDRESS_LENGTH)) - 1
        return Role.SECONDARY if at >= 0 and address <= given[at][1] else Role.PRIMARY

    def touches_given(self, key: int) -> bool:
        """True if any of a prefix is the secondary's."""
        first, last = interval_of(key)
        given = self._intervals_of_secondary()
        at = bisect_right(given, (last, 1 << ADDRESS_LENGTH)) - 1
        return at >= 0 and given[at][1] >= first

    def intervals(self, role: Role) -> Sequence[Interval]:
        """Return that server's space, lowest first."""
        given = self._intervals_of_secondary()
        if role is Role.SECONDARY:
            return given
        ends = [self._range.first - 1, *(last for _, last in given)]
        begins = [*(first for first, _ in given), self._range.last + 1]
        return [(end + 1, begin - 1) for end, begin in zip(ends, begins, strict=True) if end + 1 < begin]

    def available(self, role: Role) -> int:
        """Return how many prefixes that server could delegate now, to clients without a reservation."""
        places = sum(
            (last - first + 1) // self._range.unit - self._reserved(first, last) for first, last in self.intervals(role)
        )
        return places - self._on_record(role) + self.available_on_record[role]

    def _on_record(self, role: Role) -> int:
        """Return how many leases are on record in a server's space, whatever their status, without reserved ones."""
        if self._of_secondary is None:
            inside = (self.on_record(first, last) for first, last in self._intervals_of_secondary())
            self._of_secondary = sum(map(len, inside))
        return self._of_secondary if role is Role.SECONDARY else self._counted - self._of_secondary

    def on_record(self, first: int, last: int) -> list[int]:
        """Return the addresses of the leases on record in first..last, lowest first."""
        found: list[int] = []
        begin, end = ((each - self._range.first) // self.bucket_octets for each in (first, last))
        numbers = range(begin, end + 1) if end - begin < len(self._buckets) else sorted(self._buckets)
        for number in numbers:
            if begin <= number <= end:
                addresses = self._buckets.get(number, [])
                found += addresses[bisect_left(addresses, first) : bisect_right(addresses, last)]
        return found

    def giver(self, address: int) -> Role | None:
        """Return who may give out a lease on record; None if nobody may."""
        return self._givers.get(address)

    def count(self, key: int, before: int | None, after: int | None) -> None:
        """Keep the counts when a lease's status changes; None is: not on record."""
        address = key >> 8
        number = (address - self._range.first) // self.bucket_octets
        change = (after is not None) - (before is not None)
        if change > 0:
            insort(self._buckets.setdefault(number, []), address)
        elif change < 0:
            addresses = self._buckets[number]
            del addresses[bisect_left(addresses, address)]
            if not addresses:
                del self._buckets[number]
        if change:
            self._counted += change
            if self._of_secondary is not None and self.owner(address) is Role.SECONDARY:
                self._of_secondary += change
        if before in GIVERS:
            self.available_on_record[GIVERS[before]] -= 1
            del self._givers[address]
        if after in GIVERS:
            self.available_on_record[GIVERS[after]] += 1
            self._givers[address] = GIVERS[after]


def sweep_nested(blocks: Iterable[tuple[int, int, bool]]) -> list[Interval]:
    """Return the intervals that are marked, of blocks (first, last, marked) that are nested or apart.

    The innermost block around an address decides. Intervals that touch are put together.
    """
    marked: list[Interval] = []
    open_blocks: list[tuple[int, bool]] = []
    begins = 0

    def close(until: int) -> None:
        """Take over what the innermost open block says from `begins` up to `until`."""
        nonlocal begins
        if open_blocks[-1][1] and begins <= until:
            if marked and marked[-1][1] == begins - 1:
                marked[-1] = (marked[-1][0], until)
            else:
                marked.append((begins, until))
        begins = until + 1

    for first, last, is_marked in sorted(blocks, key=lambda block: (block[0], -block[1])):
        while open_blocks and open_blocks[-1][0] < first:
            close(open_blocks[-1][0])
            open_blocks.pop()
        if open_blocks:
            close(first - 1)
        begins = first
        open_blocks.append((last, is_marked))
    while open_blocks:
        close(open_blocks[-1][0])
        open_blocks.pop()
    return marked


def interval_of(key: int) -> Interval:
    """Give the first and the last address of a key's prefix."""
    first = key >> 8
    return first, first | (1 << ADDRESS_LENGTH - (key & 0xFF)) - 1

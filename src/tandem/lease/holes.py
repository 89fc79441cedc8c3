"""Space that is not to be given out, a few octets for each interval: a pool may have a million reservations in it."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from heapq import merge
from itertools import accumulate, chain
from typing import Final

from tandem.lease.space import Interval, Range

WORD: Final = "Q"
WORD_END: Final = 1 << 64
BEFORE: Final = 1
AFTER: Final = 2


class Holes:
    """Intervals of addresses, both ends included, that do not overlap; lowest first.

    Their ends are kept as multiples of the largest power of two that all of them are multiples of, counted from the
    first: for most pools these fit into 64 bits.
    """

    __slots__ = ("_base", "_before", "_firsts", "_lasts", "_shift", "fits", "odd")

    def __init__(self, intervals: Iterable[Interval] = (), fits: Range | None = None) -> None:
        firsts, lasts = _merged(intervals)
        self._base = firsts[0] if firsts else 0
        ends = chain(firsts, (last + 1 for last in lasts))
        self._shift = _common_zeros(end - self._base for end in ends)
        self._firsts = _packed([(first - self._base) >> self._shift for first in firsts])
        self._lasts = _packed([(last - self._base) >> self._shift for last in lasts])
        sizes = (last - first + 1 for first, last in zip(self._firsts, self._lasts, strict=True))
        self._before = _packed(list(accumulate(sizes, initial=0)))
        """How much space all holes before each one take."""
        self.fits = fits
        """The range of the pool that they are made for, None if they are not."""
        self.odd = sum(odd(first, last) for first, last in zip(firsts, lasts, strict=True))
        """How many odd addresses lie in them."""

    def parts(self) -> tuple[int, int, Sequence[int], Sequence[int], Sequence[int], Range | None, int]:
        """Return all that the holes are made of, so that they can be made again with less work."""
        return self._base, self._shift, self._firsts, self._lasts, self._before, self.fits, self.odd

    @staticmethod
    def of_parts(
        base: int,
        shift: int,
        firsts: Sequence[int],
        lasts: Sequence[int],
        before: Sequence[int],
        fits: Range | None,
        odd_addresses: int,
    ) -> Holes:
        """Make holes of what `parts` gave."""
        made = Holes((), fits)
        made._base, made._shift, made.odd = base, shift, odd_addresses
        made._firsts, made._lasts, made._before = firsts, lasts, before
        return made

    def __bool__(self) -> bool:
        return len(self._firsts) > 0

    def is_same(self, other: Holes) -> bool:
        """True if the same space lies in these holes as in the others."""
        return self is other or (
            self._base == other._base
            and self._shift == other._shift
            and self._firsts == other._firsts
            and self._lasts == other._lasts
        )

    def touches(self, first: int, last: int) -> bool:
        """True if any of first..last lies in a hole."""
        base, shift = self._base, self._shift
        at = bisect_right(self._firsts, (last - base) >> shift)
        return at > 0 and self._lasts[at - 1] >= (first - base) >> shift

    def covers(self, first: int, last: int) -> bool:
        """True if all of first..last lies in one hole."""
        base, shift = self._base, self._shift
        at = bisect_right(self._firsts, (first - base) >> shift)
        return at > 0 and self._lasts[at - 1] >= (last - base) >> shift

    def intervals(self) -> Iterator[Interval]:
        """Yield the holes, lowest first, none touching another."""
        base, shift = self._base, self._shift
        for first, last in zip(self._firsts, self._lasts, strict=True):
            yield base + (first << shift), base + (last + 1 << shift) - 1

    def covered(self, first: int, last: int) -> int:
        """Return how many of the addresses first..last lie in holes."""
        return self._covered_below(last + 1) - self._covered_below(first) if self._firsts else 0

    def _covered_below(self, address: int) -> int:
        distance = address - self._base
        at = bisect_left(self._firsts, -(-distance >> self._shift))
        cut = (self._lasts[at - 1] + 1 << self._shift) - distance if at else 0
        return (self._before[at] << self._shift) - max(0, cut)

    def fitted_to(self, range_: Range) -> Holes:
        """Return the holes as a pool has them: a lease of which any part is in a hole is in a hole.

        What lies outside of the range is left out.
        """
        if self.fits == range_ or not self:
            return self
        begin, unit = range_.first, range_.unit
        end = begin + range_.size * unit - 1

        def fitted(interval: Interval) -> Interval:
            low, high = max(interval[0], begin) - begin, min(interval[1], end) - begin
            return begin + low // unit * unit, begin + (high // unit + 1) * unit - 1

        inside = (each for each in self.intervals() if each[0] <= end and each[1] >= begin)
        return Holes(map(fitted, inside), range_)


def differences(before: Holes, after: Holes) -> Iterator[Interval]:
    """Yield the intervals of addresses that lie in one of the two and not in the other, lowest first."""
    return _inside(before, after, (BEFORE, AFTER))


def only_in(some: Holes, others: Holes) -> Iterator[Interval]:
    """Return the intervals of addresses that lie in some holes and in none of the others, lowest first."""
    return _inside(some, others, (BEFORE,))


def _inside(before: Holes, after: Holes, wanted: Collection[int]) -> Iterator[Interval]:
    """Return the intervals that lie in what is wanted: of BEFORE and AFTER one, or both together."""
    start, inside = 0, 0
    for address, side in merge(_edges(before, BEFORE), _edges(after, AFTER)):
        if inside in wanted and start < address:
            yield start, address - 1
        inside ^= side
        start = address


def _edges(holes: Holes, side: int) -> Iterator[tuple[int, int]]:
    """Yield where the holes begin, and where the space between them does."""
    for first, last in holes.intervals():
        yield first, side
        yield last + 1, side


def odd(first: int, last: int) -> int:
    """Count the odd numbers in first..last."""
    return max(0, (last + 1) // 2 - first // 2)


def _merged(intervals: Iterable[Interval]) -> tuple[list[int], list[int]]:
    firsts: list[int] = []
    lasts: list[int] = []
    for first, last in sorted(intervals):
        if lasts and first <= lasts[-1]:
            lasts[-1] = max(lasts[-1], last)
        else:
            firsts.append(first)
            lasts.append(last)
    return firsts, lasts


def _common_zeros(distances: Iterable[int]) -> int:
    """Count the zeros that all of these numbers end in, as bits."""
    combined = 0
    for distance in distances:
        combined |= distance
    return (combined & -combined).bit_length() - 1 if combined else 0


def _packed(numbers: list[int]) -> Sequence[int]:
    """Return the numbers, in 64 bits each if they fit."""
    return array(WORD, numbers) if not numbers or numbers[-1] < WORD_END else numbers

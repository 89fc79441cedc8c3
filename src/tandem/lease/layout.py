"""Lays pools over a table of leases in small steps, while the table goes on changing.

A reload may change one pool of ten thousand, or all of them over a million leases, and answers do not wait for either.
What is as before stays. A pool of which other addresses are reserved is adjusted: only leases there count differently.
Any other pool is made anew, and its leases are counted, some with each step; changes that happen meanwhile are told by
`changed`. Then the table takes all of it over at once.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Generator, Iterable, Iterator, Mapping
from operator import itemgetter
from typing import Final

from tandem.lease.holes import Holes, differences
from tandem.lease.lease import STATUS_AT, TIMED, BindingStatus, duid_of, start_time_of_state_of
from tandem.lease.pool import ENDED_MAX, Pool, holes_of
from tandem.lease.space import Range, interval_of

LEASES_PER_STEP: Final = 64
FREED_PER_STEP: Final = 64
PARTS: Final = 251
"""A dict of a million leases would be laid out anew in one go each time that it grows: there are so many small ones."""
ADJUSTED_MAX: Final = 2048
"""If more leases than that are reserved anew, or no longer, the pool is made anew instead."""


class Layout:
    """The pools of a table to be. They are whole once `steps` is through."""

    def __init__(
        self,
        records: Mapping[int, bytes],
        pools: Iterable[Pool],
        wanted: Iterable[tuple[Range, Holes]],
        exhausted: set[int],
    ) -> None:
        self._records = records
        self._before = {pool.range.first: pool for pool in pools}
        self._exhausted = exhausted
        self._wanted = sorted(wanted, key=itemgetter(0))
        self.pools: list[Pool] = []
        """In the order of their ranges."""
        self.firsts = [range_.first for range_, _ in self._wanted]
        self.by_first: dict[int, Pool] = {}
        """By the first addresses of their ranges."""
        self.crowded: dict[int, Pool] = {}
        """Those that are made anew and may remember too many ended leases, by their first address."""
        self._fresh: list[int] = []
        """The numbers of the pools that are made anew."""
        self._fresh_firsts: list[int] = []
        self._inside: list[int] = []
        """The keys of leases in these, as far as they are known."""
        self._noted: tuple[dict[int, int | None], ...] = ()
        """The status that each of them was counted with, in PARTS by key; empty while none is counted."""
        self._abandoned: dict[int, None] = {}
        """The keys of those that are ABANDONED, or have been."""
        self.foreign: list[int] = []
        """The keys of leases of another length that clients were given in these meanwhile."""

    def steps(self) -> Iterator[None]:
        """Do the work, a bounded part with each step."""
        for number, (range_, holes) in enumerate(self._wanted):
            pool = self._before.get(range_.first)
            if pool is None or pool.range != range_ or pool.foreign or not (yield from self._adjusts(pool, holes)):
                pool = Pool(range_, holes)
                self._fresh.append(number)
                self._fresh_firsts.append(range_.first)
            self.pools.append(pool)
            self.by_first[range_.first] = pool
            yield
        if self._fresh:
            yield from self._find_leases()
            self._noted = tuple({} for _ in range(PARTS))
            yield from self._count_leases()
            for number in self._fresh:
                pool = self.pools[number]
                pool.sort_ended(lambda key: start_time_of_state_of(self._records[key]))
                pool.report_exhausted(self._exhausted)
                self._mind_crowd(pool)
                yield

    def note_abandoned(self) -> None:
        """Count the declined leases of the pools that are made anew, by the client that declined them."""
        for key in self._abandoned:
            number, record = self._fresh_at(key), self._records.get(key)
            if number is not None and record is not None and record[STATUS_AT] == BindingStatus.ABANDONED:
                self.pools[number].note_abandoned(key, duid_of(record), True)

    def changed(self, key: int, before: int | None, after: int | None) -> None:
        """Take over that the status of a lease changed; None is: not on record."""
        number = self._fresh_at(key)
        if number is None:
            return
        pool = self.pools[number]
        if key & 0xFF != pool.range.length:
            if after in TIMED and before not in TIMED:
                self.foreign.append(key)
            elif key & 0xFF < pool.range.length and after not in TIMED:
                pool.give(key, after)
        elif self._noted:
            noted = self._noted[key % PARTS]
            pool.note(key, noted.get(key), after)
            noted[key] = after
            if after == BindingStatus.ABANDONED:
                self._abandoned[key] = None
            self._mind_crowd(pool)
        elif before is None:
            self._inside.append(key)

    def _mind_crowd(self, pool: Pool) -> None:
        if pool.remembered > ENDED_MAX:
            self.crowded[pool.range.first] = pool

    def free(self) -> Iterator[None]:
        """Free what is not needed any more, a bounded part with each step: a million small objects take their time."""
        while self._inside:
            del self._inside[-FREED_PER_STEP:]
            yield
        for noted in self._noted:
            while noted:
                for _ in range(min(FREED_PER_STEP, len(noted))):
                    noted.popitem()
                yield
        while self._before:
            self._before.popitem()
            yield
        while self._wanted:
            del self._wanted[-FREED_PER_STEP:]
            yield

    def _adjusts(self, pool: Pool, holes: Holes) -> Generator[None, None, bool]:
        """Give an existing pool other holes; return False, and change nothing, if too much of it changes."""
        wanted = holes_of(pool.range, holes)
        if pool.holes.is_same(wanted):
            return True
        keys: list[int] = []
        unit, length = pool.range.unit, pool.range.length
        for first, last in differences(pool.holes, wanted):
            if (last - first) // unit + len(keys) >= ADJUSTED_MAX:
                return False
            keys += [address << 8 | length for address in range(first, last + 1, unit)]
            yield
        pool.use_holes(wanted, {key: self._records[key] for key in keys if key in self._records})
        return True

    def _find_leases(self) -> Iterator[None]:
        """Find the leases in the pools that are made anew, and what else lies in their space."""
        foreign: dict[int, list[int]] = {}
        for at, key in enumerate(list(self._records)):
            if not at % LEASES_PER_STEP:
                yield
            number, record = self._fresh_at(key), self._records.get(key)
            if number is None or record is None:
                continue
            length = self.pools[number].range.length
            if key & 0xFF == length:
                self._inside.append(key)
            elif record[STATUS_AT] in TIMED:
                foreign.setdefault(number, []).append(key)
            elif key & 0xFF < length:
                self.pools[number].give(key, record[STATUS_AT])
        for number, keys in foreign.items():
            range_, holes = self._wanted[number]
            gifts = self.pools[number].gifts
            pool = self.pools[number] = self.by_first[range_.first] = Pool(
                range_, Holes((*holes.intervals(), *map(interval_of, keys)))
            )
            pool.gifts, pool.foreign = gifts, sorted(keys)
            yield

    def _count_leases(self) -> Iterator[None]:
        for at, key in enumerate(self._inside):
            if not at % LEASES_PER_STEP:
                yield
            number, record = self._fresh_at(key), self._records.get(key)
            noted = self._noted[key % PARTS]
            if number is not None and record is not None and key not in noted:
                noted[key] = record[STATUS_AT]
                self.pools[number].note(key, None, record[STATUS_AT])
                if record[STATUS_AT] == BindingStatus.ABANDONED:
                    self._abandoned[key] = None

    def _fresh_at(self, key: int) -> int | None:
        """Return the number of the pool that is made anew and that any of a lease lies in."""
        first, last = interval_of(key)
        at = bisect_right(self._fresh_firsts, last) - 1
        if at < 0:
            return None
        number = self._fresh[at]
        return number if self.pools[number].range.last >= first else None

"""Which space is shared with a partner, in which relationship, and which leases there the partner is yet to hear of.

A reload may change what is shared while every one of a million leases waits to be told to a partner. So the leases
that owe are sorted anew in small steps, as pools are laid out anew (`lease.layout`), while the table goes on changing.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from tandem.lease.space import Interval, interval_of
from tandem.wire.received import ADDRESS_LENGTH

OWING_PER_STEP: Final = 64


class Territories:
    """The relationships by space, and the leases that owe by relationship."""

    def __init__(self, wanted: Iterable[tuple[Interval, str]] = ()) -> None:
        self._intervals = sorted(wanted)
        self._firsts = [first for (first, _), _ in self._intervals]
        self._owing: dict[str | None, dict[int, None]] = {}
        """The keys of all leases that owe, by relationship; by None those that were shared once, and are not now."""

    def is_same(self, other: Territories) -> bool:
        """True if the same space is shared in the same relationships."""
        return self._intervals == other._intervals

    def relationship_of(self, key: int) -> str | None:
        """Return in which relationship all of the lease is shared with a partner, None if in none."""
        at = bisect_right(self._firsts, key >> 8) - 1
        if at < 0:
            return None
        (_, last), name = self._intervals[at]
        ends = key >> 8 if key & 0xFF == ADDRESS_LENGTH else interval_of(key)[1]
        return name if ends <= last else None

    def owing(self, relationship: str) -> dict[int, None]:
        """Return the keys of the leases that the partner of a relationship is yet to acknowledge; not to be changed."""
        return self._owing.get(relationship, {})

    def owe(self, key: int, owes: bool) -> None:
        """Note that the partner is yet to acknowledge a lease, or that it did."""
        relationship = self.relationship_of(key)
        if owes:
            self._owing.setdefault(relationship, {})[key] = None
        elif relationship in self._owing:
            self._owing[relationship].pop(key, None)

    def take_over(self, before: Territories, records: Mapping[int, bytes]) -> Iterator[None]:
        """Sort in what owed before, a bounded part with each step. Meanwhile `owe` is to be called on both."""
        for owing in list(before._owing.values()):
            for at, key in enumerate(list(owing)):
                if not at % OWING_PER_STEP:
                    yield
                record = records.get(key)
                if record is not None and record[0]:
                    self.owe(key, True)

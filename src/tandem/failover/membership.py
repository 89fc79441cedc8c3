"""Follows subnets and pools that join a relationship, leave it or come back: RFC 8156 does not speak of it.

Problem. What a server leased while a range was its own alone, or was in no file, its partner has never heard of. If
the partner gives leases from the range before it knows, two clients hold one lease. And what ended meanwhile stays
EXPIRED on both servers, owed to nobody and free for nobody.

Rules. The disk says which ranges each relationship had (TERRITORIES_FACT). Each lease in a range that joins becomes
unacknowledged, so that the partner is told; each one in a range that leaves no longer is. A range that joins is
unsynchronized (UNSYNCHRONIZED_FACT): nothing is given out of it anew until the partner, which has the range too,
answered an UPDREQ with UPDDONE in NORMAL. In PARTNER-DOWN that does not count, since the partner cannot answer.

Why it holds. A server whose file has the range marks its leases before it answers an UPDREQ, or answers it with
everything while it is not done with that. So an UPDDONE comes behind all that it leased from the range. Each server
keeps the rule for itself: it does not matter which one reads the new file first, or is restarted in between.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from tandem.effects.effects import Effects
from tandem.effects.settings import Relationship
from tandem.lease.change import Fact
from tandem.lease.holes import Holes, only_in
from tandem.lease.space import Interval, interval_of
from tandem.lease.table import LeaseTable
from tandem.wire.received import ADDRESS_LENGTH

TERRITORIES_FACT: Final = "territories"
UNSYNCHRONIZED_FACT: Final = "unsynchronized"
LEASES_PER_CALL: Final = 512
OWN: Final = ""
"""Stands for a relationship's name with what the server serves without a partner."""

Ranges = dict[str, list[Interval]]
"""Intervals of addresses by the name of their relationship."""


class Membership:
    """Which ranges each relationship has, and which of them the partner has not told about yet."""

    def __init__(self, table: LeaseTable, facts: Mapping[str, bytes]) -> None:
        self._table = table
        self._recorded = read_ranges(facts[TERRITORIES_FACT]) if TERRITORIES_FACT in facts else None
        self._unsynchronized = read_ranges(facts.get(UNSYNCHRONIZED_FACT, b"{}"))
        self._wanted: Ranges = {}
        self._joined: dict[str, Holes] = {}
        self._left = Holes()
        self._to_do: list[int] = []
        self._is_settled = True
        self._is_changed = False

    @property
    def is_busy(self) -> bool:
        """True while leases of a range that joined may not be marked yet."""
        return bool(self._to_do) or not self._is_settled

    def use(self, relationships: Iterable[Relationship], own: Iterable[Interval], in_step: Iterable[str]) -> None:
        """Compare the ranges of the file with those on disk.

        `own`: the ranges that this server serves without a partner. `in_step`: the relationships that were in NORMAL
        at some time; others exchange everything before they are.
        """
        wanted = {each.name: list(each.territories) for each in relationships}
        if not wanted and self._recorded is None:
            return
        wanted[OWN] = list(Holes(own).intervals())
        in_step = set(in_step)
        if self._recorded is None:  # written before there was this record: what is in step stays as it is
            self._recorded = {name: ranges for name, ranges in wanted.items() if name in in_step or name == OWN}
        joined = {name: _difference(ranges, self._recorded.get(name, [])) for name, ranges in wanted.items()}
        left = [_difference(ranges, wanted.get(name, [])) for name, ranges in self._recorded.items() if name != OWN]
        del joined[OWN]
        for name, ranges in joined.items():
            kept = _difference(self._unsynchronized.get(name, []), ranges)
            # What this server served alone it knows all about.
            unknown = _difference(ranges, self._recorded.get(OWN, []))
            kept = [*kept, *unknown] if name in in_step else kept
            before, self._unsynchronized[name] = self._unsynchronized.get(name, []), _within(kept, wanted[name])
            self._is_changed |= before != self._unsynchronized[name]
        self._wanted = wanted
        self._joined = {name: Holes(ranges) for name, ranges in joined.items() if ranges}
        self._left = Holes(interval for ranges in left for interval in ranges)
        self._is_settled = self._recorded == wanted
        self._to_do = self._table.keys() if any(joined.values()) or any(left) else []

    def unsynchronized(self, name: str) -> Holes | None:
        """Return what a relationship may not give out anew; None if there is nothing."""
        ranges = self._unsynchronized.get(name)
        return Holes(ranges) if ranges else None

    def synchronized(self, name: str) -> None:
        """Note that the partner has told all that it has in the ranges of a relationship."""
        self._is_changed |= bool(self._unsynchronized.get(name))
        self._unsynchronized[name] = []

    def step(self, effects: Effects) -> bool:
        """Mark some leases of ranges that joined or left; return True if there are more."""
        for _ in range(min(LEASES_PER_CALL, len(self._to_do))):
            self._mark(self._to_do.pop(), effects)
        if self._is_changed:
            self._is_changed = False
            effects.commit.append(Fact(UNSYNCHRONIZED_FACT, write_ranges(self._unsynchronized)))
        if not self._to_do and not self._is_settled:
            self._is_settled = True
            self._recorded = self._wanted
            effects.commit.append(Fact(TERRITORIES_FACT, write_ranges(self._wanted)))
        return bool(self._to_do)

    def _mark(self, key: int, effects: Effects) -> None:
        lease = self._table.get(key)
        if lease is None:
            return
        name, is_shared = self._table.relationship_of(key), lease.owes_partner or lease.acked_partner_lifetime > 0
        joined = self._joined.get(name) if name is not None else None
        if joined is not None and joined.covers(*interval_of(key)):
            if lease.duid or lease.length != ADDRESS_LENGTH:  # there is no message about an address that is nobody's
                effects.commit.append(self._table.put(lease._replace(owes_partner=True, acked_partner_lifetime=0)))
        elif name is None and is_shared and self._left.covers(*interval_of(key)):
            effects.commit.append(self._table.put(lease._replace(owes_partner=False, acked_partner_lifetime=0)))


def read_ranges(value: bytes) -> Ranges:
    """Read what `write_ranges` wrote."""
    read: dict[str, list[list[str]]] = json.loads(value)
    return {name: [(int(first, 16), int(last, 16)) for first, last in ranges] for name, ranges in read.items()}


def write_ranges(ranges: Ranges) -> bytes:
    """Return the ranges as octets."""
    return json.dumps({name: [[f"{a:x}", f"{b:x}"] for a, b in each] for name, each in sorted(ranges.items())}).encode()


def _difference(ranges: Sequence[Interval], others: Sequence[Interval]) -> list[Interval]:
    """Return what of ranges lies in none of the others."""
    # A reload changes little: both are lists, and mostly equal ones.
    return [] if not ranges or ranges == others else list(only_in(Holes(ranges), Holes(others)))


def _within(ranges: Sequence[Interval], others: Sequence[Interval]) -> list[Interval]:
    """Return what of ranges lies in the others too."""
    return _difference(ranges, _difference(ranges, others))

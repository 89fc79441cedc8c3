"""Follows subnets and pools that join a relationship, leave it or come back: RFC 8156 does not speak of it.

Problem. What a server leased while a range was its own alone, or was in no file, its partner has never heard of. If
the partner gives leases from the range before it knows, two clients hold one lease. And what ended meanwhile stays
EXPIRED on both servers, owed to nobody and free for nobody.

The same happens in a range that stays, but is divided otherwise: the partners' roles are swapped, prefixes of another
length are delegated from it, or other leases are reserved. A server that has read the new file, and is apart from its
partner, would give what the partner gives by the old one.

Rules. The disk says which ranges each relationship had (TERRITORIES_FACT), and how they were divided
(DIVISIONS_FACT); what is divided otherwise counts as joining. Each lease in a range that joins becomes
unacknowledged, so that the partner is told; each one in a range that leaves no longer is. A range that joins is
unsynchronized (UNSYNCHRONIZED_FACT): nothing is given out of it anew until the partner, which has the range too,
answered an UPDREQ with UPDDONE in NORMAL. In PARTNER-DOWN that does not count, since the partner cannot answer. If
other leases are reserved than before, one that lies in the partner's share is not given either until then.

Why it holds. A server whose file has the range marks its leases before it answers an UPDREQ, or answers it with
everything while it is not done with that. So an UPDDONE comes behind all that it leased from the range. Each server
keeps the rule for itself: it does not matter which one reads the new file first, or is restarted in between.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from tandem.effects.effects import Effects
from tandem.effects.settings import Relationship
from tandem.failover.bindings import AVAILABLE, available_status
from tandem.failover.joining import OWN, Division, Plan, Ranges, compare, finished, merged
from tandem.lease.change import Fact
from tandem.lease.holes import Holes
from tandem.lease.space import Interval, interval_of
from tandem.lease.table import LeaseTable
from tandem.wire.received import ADDRESS_LENGTH

TERRITORIES_FACT: Final = "territories"
UNSYNCHRONIZED_FACT: Final = "unsynchronized"
DIVISIONS_FACT: Final = "divisions"
LEASES_PER_CALL: Final = 512
RESERVED: Final = "reserved "
"""In front of a relationship's name it stands for the reserved leases that lie in the partner's share."""
EVERYTHING: Final = [(0, (1 << ADDRESS_LENGTH) - 1)]


class Unsynchronized(NamedTuple):
    """What a server does not give out anew before its partner told all that it has."""

    ranges: Holes
    reservations: bool
    """Whether leases that are reserved, and lie in the partner's share, are among it."""


class Membership:
    """Which ranges each relationship has, and which of them the partner has not told about yet."""

    def __init__(self, table: LeaseTable, facts: Mapping[str, bytes]) -> None:
        self._table = table
        self._recorded = read_ranges(facts[TERRITORIES_FACT]) if TERRITORIES_FACT in facts else None
        self._unsynchronized = read_ranges(facts.get(UNSYNCHRONIZED_FACT, b"{}"))
        self._divisions: Mapping[str, Division] = read_divisions(facts.get(DIVISIONS_FACT, b"{}"))
        self._wanted_divisions: Mapping[str, Division] = {}
        self._wanted: Ranges = {}
        self._joined: Mapping[str, Holes] = {}
        self._left = Holes()
        self._to_do: list[int] = []
        self._is_settled = True
        self._is_changed = False
        self._plan: Plan | None = None

    @property
    def is_busy(self) -> bool:
        """True while leases of a range that joined may not be marked yet."""
        return bool(self._to_do) or not self._is_settled

    def prepare(self, relationships: Iterable[Relationship], own: Iterable[Interval]) -> Iterator[None]:
        """Do most of what `use` does, a bounded part with each step, once what joined before is marked."""
        self._plan = None
        while self.is_busy:
            yield
        if self._recorded is not None:
            self._plan = yield from compare(relationships, own, self._recorded, self._unsynchronized, self._divisions)

    def use(self, relationships: Sequence[Relationship], own: Iterable[Interval], in_step: Iterable[str]) -> None:
        """Go on with the ranges of the file, as they were prepared, or compared with those on disk now.

        `own`: the ranges that this server serves without a partner. `in_step`: the relationships that were in NORMAL
        at some time; others exchange everything before they are.
        """
        plan, self._plan = self._plan, None
        if not relationships and self._recorded is None:
            return
        in_step = set(in_step)
        if plan is None or plan.recorded is not self._recorded:
            plan = self._compare(relationships, own, in_step)
        for name, unknown in plan.unknown.items():
            before = self._unsynchronized.get(name, [])
            # What this server served alone it knows all about. What was synchronized meanwhile stays so.
            kept = [*(plan.kept[name] if before else ()), *(unknown if name in in_step else ())]
            self._unsynchronized[name] = sorted(kept)
            self._is_changed |= before != self._unsynchronized[name]
        for name in plan.reserved_otherwise & in_step:
            self._is_changed |= not self._unsynchronized.get(RESERVED + name)
            self._unsynchronized[RESERVED + name] = EVERYTHING
        self._recorded, self._wanted = plan.recorded, plan.wanted
        self._wanted_divisions = plan.divisions
        self._joined, self._left = plan.joined_holes, plan.left_holes
        self._is_settled = plan.recorded == plan.wanted and self._divisions == plan.divisions
        self._to_do = self._table.keys() if self._joined or self._left else []

    def _compare(self, relationships: Sequence[Relationship], own: Iterable[Interval], in_step: set[str]) -> Plan:
        """Return the plan at once."""
        own = list(own)
        recorded = self._recorded
        if recorded is None:  # written before there was this record: what is in step stays as it is
            recorded = {each.name: list(each.territories) for each in relationships if each.name in in_step}
            recorded[OWN] = finished(merged(own))
        return finished(compare(relationships, own, recorded, self._unsynchronized, self._divisions))

    def unsynchronized(self, name: str) -> Unsynchronized | None:
        """Return what a relationship may not give out anew; None if there is nothing."""
        ranges, reserved = (self._unsynchronized.get(each, []) for each in (name, RESERVED + name))
        return Unsynchronized(Holes(ranges), bool(reserved)) if ranges or reserved else None

    def synchronized(self, name: str) -> None:
        """Note that the partner has told all that it has in the ranges of a relationship."""
        for each in (name, RESERVED + name):
            self._is_changed |= bool(self._unsynchronized.get(each))
            self._unsynchronized[each] = []

    def step(self, effects: Effects) -> bool:
        """Mark some leases of ranges that joined or left; return True if there are more."""
        for _ in range(min(LEASES_PER_CALL, len(self._to_do))):
            self._mark(self._to_do.pop(), effects)
        if self._is_changed:
            self._is_changed = False
            effects.commit.append(Fact(UNSYNCHRONIZED_FACT, write_ranges(self._unsynchronized)))
        if not self._to_do and not self._is_settled:
            self._is_settled = True
            self._recorded, self._divisions = self._wanted, self._wanted_divisions
            effects.commit.append(Fact(TERRITORIES_FACT, write_ranges(self._wanted)))
            effects.commit.append(Fact(DIVISIONS_FACT, write_divisions(self._divisions)))
        return bool(self._to_do)

    def _mark(self, key: int, effects: Effects) -> None:
        lease = self._table.get(key)
        if lease is None:
            return
        name, is_shared = self._table.relationship_of(key), lease.owes_partner or lease.acked_partner_lifetime > 0
        joined = self._joined.get(name) if name is not None else None
        if joined is not None and joined.covers(*interval_of(key)):
            if lease.length == ADDRESS_LENGTH and lease.status in AVAILABLE:
                lease = lease._replace(status=available_status(key))  # without a partner all are FREE
            if lease.duid or lease.length != ADDRESS_LENGTH:  # there is no message about an address that is nobody's
                lease = lease._replace(owes_partner=True, acked_partner_lifetime=0)
            effects.commit.append(self._table.put(lease))
        elif name is None and is_shared and self._left.covers(*interval_of(key)):
            effects.commit.append(self._table.put(lease._replace(owes_partner=False, acked_partner_lifetime=0)))


def read_ranges(value: bytes) -> Ranges:
    """Read what `write_ranges` wrote."""
    return _read(json.loads(value))


def write_ranges(ranges: Ranges) -> bytes:
    """Return the ranges as octets."""
    return json.dumps(_write(ranges)).encode()


def read_divisions(value: bytes) -> dict[str, Division]:
    """Read what `write_divisions` wrote."""
    read: dict[str, dict[str, Any]] = json.loads(value)
    return {name: Division(**{**each, "prefixes": _read(each["prefixes"])}) for name, each in read.items()}


def write_divisions(divisions: Mapping[str, Division]) -> bytes:
    """Return the divisions as octets."""
    texts = {name: {**each._asdict(), "prefixes": _write(each.prefixes)} for name, each in sorted(divisions.items())}
    return json.dumps(texts).encode()


def _read(texts: dict[str, list[list[str]]]) -> Ranges:
    return {name: [(int(first, 16), int(last, 16)) for first, last in each] for name, each in texts.items()}


def _write(ranges: Ranges) -> dict[str, list[list[str]]]:
    return {name: [[f"{first:x}", f"{last:x}"] for first, last in each] for name, each in sorted(ranges.items())}

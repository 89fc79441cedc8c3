"""Whether both partners serve the same: digests of each part of what they do, compared when they connect.

A difference never refuses the connection, for a reload on one server after the other must not split the pair; it
is named on both sides until it is gone, and what only one of them has in its pools is not given out anew. All this
travels in options that only another Tandem looks for.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Final

from tandem.effects.effects import Effects
from tandem.effects.settings import RESERVATION, Relationship
from tandem.failover.handshake import DETAILS, DIGEST
from tandem.failover.history import ENTERPRISE
from tandem.failover.membership import Unsynchronized
from tandem.lease.holes import Holes, only_in
from tandem.lease.space import Interval, Range
from tandem.wire.failover import FailoverMessage
from tandem.wire.option import write_options
from tandem.wire.options import VendorOptions

DETAILS_OCTETS_MAX: Final = 60_000
DIFFERENCES_SHOWN: Final = 50


class Fingerprint:
    """What this server serves in a relationship, and how it differs from what its partner does."""

    def __init__(self, relationship: Relationship) -> None:
        self._name = relationship.name
        self._mine = relationship.summary
        self._pools = relationship.pools
        self.digest = relationship.digest
        self.differs = False
        self._is_compared = False
        self.differences: tuple[str, ...] = ()
        """The parts of the configuration in which the partners differ, as paths; empty if in none that is known."""
        self._has_other_reservations = False
        self.withheld: Holes | None = None
        """What of this server's pools is not in its partner's; None if there is nothing."""

    def connected(self, theirs: bytes | None) -> None:
        """Compare with the partner's digest; a partner that has none is no Tandem."""
        self.differs = theirs is not None and theirs != self.digest
        self._is_compared = False
        if not self.differs:
            self.differences, self.withheld = (), None

    def has_common(self, wanted: Unsynchronized) -> bool:
        """True if the partner has the pools and reservations that are wanted, as far as it tells what it has."""
        if not self.differs:
            return True
        if not self._is_compared or (wanted.reservations and self._has_other_reservations):
            return False
        return self.withheld is None or not any(self.withheld.touches(*each) for each in wanted.ranges.intervals())

    def details(self) -> bytes:
        """Give the options of a CONTACT that tells what this server serves."""
        pools = [[f"{first:x}", f"{last:x}", length] for first, last, length in self._pools]
        told = json.dumps({"parts": dict(self._mine), "pools": pools}, sort_keys=True).encode()
        if len(told) > DETAILS_OCTETS_MAX:
            told = b"{}"
        return write_options((VendorOptions(ENTERPRISE, ((DIGEST, self.digest), (DETAILS, told))),))

    def heard(self, message: FailoverMessage, effects: Effects) -> None:
        """Take in a CONTACT; if it tells what the partner serves, name each difference."""
        for each in message.read_options():
            if isinstance(each, VendorOptions) and each.enterprise == ENTERPRISE:
                told = dict(each.suboptions).get(DETAILS)
                if told is not None:
                    self._compare(told)
                    for where in self.differences:
                        effects.note("partners-differ", "warning", relationship=self._name, where=where)

    def _compare(self, told: bytes) -> None:
        try:
            theirs = json.loads(told)
            parts = dict(theirs["parts"])
            pools = [Range(int(first, 16), int(last, 16), int(length)) for first, last, length in theirs["pools"]]
            if any(first > last for first, last, _ in pools):
                raise ValueError("a pool ends before it begins")
        except (ArithmeticError, ValueError, KeyError, TypeError, RecursionError):
            self.differences = ("more than can be named",)
            return
        paths = sorted({*self._mine, *map(str, parts)})
        differences = tuple(each for each in paths if self._mine.get(each) != parts.get(each))
        self.differences = differences[:DIFFERENCES_SHOWN]
        self._has_other_reservations = any(each.endswith(RESERVATION) for each in differences)
        left = Holes(_left_of(self._pools, pools))
        self.withheld = left if left else None
        self._is_compared = True


def _left_of(pools: Iterable[Range], others: Iterable[Range]) -> Iterator[Interval]:
    """Return what of pools lies in none of the others with leases of the same length."""
    by_length: dict[int, tuple[list[Interval], list[Interval]]] = {}
    for number, ranges in enumerate((pools, others)):
        for first, last, length in ranges:
            by_length.setdefault(length, ([], []))[number].append((first, last))
    for some, rest in by_length.values():
        yield from only_in(Holes(some), Holes(rest))

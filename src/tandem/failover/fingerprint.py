"""Whether both partners serve the same: digests of each part of what they do, compared when they connect.

A difference never refuses the connection, for a reload on one server after the other must not split the pair; it
is named on both sides until it is gone. It travels in options that only another Tandem looks for.
"""

from __future__ import annotations

import json
from hashlib import blake2b

from tandem.effects.effects import Effects
from tandem.effects.settings import Relationship
from tandem.failover.handshake import DETAILS, DIGEST, ENTERPRISE
from tandem.wire.failover import FailoverMessage
from tandem.wire.option import write_options
from tandem.wire.options import VendorOptions

DIGEST_OCTETS = 16
DETAILS_OCTETS_MAX = 60_000
DIFFERENCES_SHOWN = 50


class Fingerprint:
    """What this server serves in a relationship, and how it differs from what its partner does."""

    def __init__(self, relationship: Relationship) -> None:
        self._name = relationship.name
        self._mine = relationship.summary
        self.digest = digest_of(relationship.summary)
        self.differs = False
        self.differences: tuple[str, ...] = ()
        """The parts of the configuration in which the partners differ, as paths; empty if in none that is known."""

    def connected(self, theirs: bytes | None) -> None:
        """Compare with the partner's digest; a partner that has none is no Tandem."""
        self.differs = theirs is not None and theirs != self.digest
        self.differences = ()

    def details(self) -> bytes:
        """Give the options of a CONTACT that tells what this server serves."""
        told = json.dumps(dict(self._mine), sort_keys=True).encode()
        if len(told) > DETAILS_OCTETS_MAX:
            told = b"{}"
        return write_options((VendorOptions(ENTERPRISE, ((DIGEST, self.digest), (DETAILS, told))),))

    def heard(self, message: FailoverMessage, effects: Effects) -> None:
        """Take in a CONTACT; if it tells what the partner serves, name each difference."""
        for each in message.read_options():
            if isinstance(each, VendorOptions) and each.enterprise == ENTERPRISE:
                told = dict(each.suboptions).get(DETAILS)
                if told is not None:
                    self.differences = self._compare(told)
                    for where in self.differences:
                        effects.note("partners-differ", "warning", relationship=self._name, where=where)

    def _compare(self, told: bytes) -> tuple[str, ...]:
        try:
            theirs = json.loads(told)
        except (ValueError, RecursionError):
            return ()
        if not isinstance(theirs, dict) or not theirs:
            return ("more than can be named",)
        parts = sorted({*self._mine, *map(str, theirs)})
        return tuple(each for each in parts if self._mine.get(each) != theirs.get(each))[:DIFFERENCES_SHOWN]


def digest_of(summary: object) -> bytes:
    """Give a digest of what a server serves."""
    return blake2b(json.dumps(summary, sort_keys=True).encode(), digest_size=DIGEST_OCTETS).digest()

"""One client's message, with all that decides the answer: who asks, from where, when, and for what."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from typing import Final

from tandem.effects.now import Moment
from tandem.effects.reservations import Reservation
from tandem.effects.rules import Rules
from tandem.lease.lease import Lease, ia_code_of, is_held
from tandem.lease.table import LeaseTable
from tandem.server.classes import NO_CLASSES, Classes
from tandem.server.places import Place
from tandem.wire.options import RemoteId
from tandem.wire.received import ClientMessage, Ia, Relay, body_of

REMOTE_ID_MAX: Final = 64
"""Octets of a Remote-ID that are taken as they are."""


class Client:
    """Who asks. `place` is None on a link with no subnet; then there is no reservation either."""

    __slots__ = (
        "_behind",
        "_former",
        "_held",
        "_held_here",
        "_remote_id",
        "classes",
        "duid",
        "failed_searches",
        "leases",
        "message",
        "now",
        "place",
        "relays",
        "reservation",
        "rules",
        "source",
    )

    def __init__(
        self,
        now: Moment,
        message: ClientMessage,
        relays: list[Relay],
        place: Place | None,
        reservation: Reservation | None,
        leases: list[Lease],
        rules: Rules,
        classes: frozenset[str],
    ) -> None:
        self.now = now
        self.message = message
        self.relays = relays
        self.place = place
        self.reservation = reservation
        self.duid = message.client_id
        """The client's DUID; empty if it did not say."""
        self.leases = leases
        """What is on record of it on its link when it asks: what it has, and what it last had."""
        self.rules = rules
        """What may be done for clients on its link."""
        self.classes = classes
        """The names of the classes that it is in."""
        self.source = ""
        """The address that the datagram came from: of the client, or of the relay agent nearest to the server."""
        self.failed_searches = 0
        """How many pools were searched for it in vain."""
        self._held: dict[tuple[int, int], list[Lease]] | None = None
        self._held_here: frozenset[int] | None = None
        self._former: list[Lease] | None = None
        self._remote_id: bytes | None = None
        self._behind: tuple[bytes, bytes] | None = None

    def held(self, ia: Ia) -> list[Lease]:
        """Give the leases that are bound to one of its identity associations now."""
        if not self.leases:
            return []
        if self._held is None:
            self._held = {}
            lapse_utc = self.now.lapse_utc
            for lease in self.leases:
                if is_held(lease, lapse_utc):
                    self._held.setdefault((ia_code_of(lease.key), lease.iaid), []).append(lease)
        return self._held.get((ia.code, ia.iaid), [])

    def former(self, ia: Ia) -> list[Lease]:
        """Return what it has or last had of the kind, first what the identity association had, the newest first."""
        if not self.leases:
            return []
        if self._former is None:
            self._former = sorted(self.leases, key=lambda lease: -lease.start_time_of_state)
        its = [lease for lease in self._former if ia_code_of(lease.key) == ia.code]
        return sorted(its, key=lambda lease: lease.iaid != ia.iaid)

    def held_here(self) -> frozenset[int]:
        """Return the keys of all that it holds now on its link."""
        if self._held_here is None:
            place, lapse_utc = self.place, self.now.lapse_utc
            self._held_here = frozenset(
                lease.key
                for lease in self.leases
                if is_held(lease, lapse_utc) and place is not None and place.home_of(lease.key) is not None
            )
        return self._held_here

    def remote_id(self) -> bytes:
        """Return the Remote-ID (RFC 4649) that the relay agent nearest to the client gave; b"" if none did.

        In the place of a long one stands its digest.
        """
        if self._remote_id is None:
            found = (body_of(self.message.data, relay.options, RemoteId.code) for relay in reversed(self.relays))
            remote_id = next((each for each in found if each), b"")
            # What is kept by it takes no more memory for a longer one.
            is_long = len(remote_id) > REMOTE_ID_MAX
            self._remote_id = blake2b(remote_id, digest_size=REMOTE_ID_MAX).digest() if is_long else remote_id
        return self._remote_id

    def behind(self) -> tuple[bytes, bytes]:
        """Return its two groups, of its relay agent and of its Remote-ID on the link; b"" for none."""
        if self._behind is None:
            link = self.place.name if self.place is not None else ""
            remote_id = self.remote_id()
            self._behind = (
                _relay_group(link, self.source) if self.relays else b"",
                b"%b\0%b" % (link.encode(), remote_id) if remote_id else b"",
            )
        return self._behind


@lru_cache(maxsize=1024)
def _relay_group(link: str, source: str) -> bytes:
    """Return the group of a relay agent on a link, the same object each time, to save memory."""
    return f"{link}\0{source}".encode()


def identify(
    now: Moment,
    message: ClientMessage,
    relays: list[Relay],
    place: Place | None,
    table: LeaseTable,
    rules: Rules,
    known: Classes,
    interface: str,
) -> Client:
    """Put together what is known of who sent the message, and which leases on its link are on record of its DUID.

    `interface` is where it was heard, empty if that is not known.
    """
    reservation = None
    leases: list[Lease] = []
    if place is not None and message.client_id:
        hardware = known.link_layer(message, relays) if place.knows_link_layers else None
        reservation = place.reservation_for(message.client_id, hardware)
        reserved = reservation.keys if reservation is not None else ()
        leases = table.of_client_on(message.client_id, place.spaces, reserved)
    classes = known.of(message, relays, reservation, interface) if known.any else NO_CLASSES
    return Client(now, message, relays, place, reservation, leases, rules, classes)

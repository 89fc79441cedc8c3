"""One client's message, with all that decides the answer: who asks, from where, when, and for what."""

from __future__ import annotations

from typing import Final

from tandem.effects.now import Moment
from tandem.effects.rules import Rules
from tandem.effects.settings import Reservation
from tandem.lease.lease import Lease, ia_code_of, is_held
from tandem.server.places import Place
from tandem.wire.options import ClientLinkLayer
from tandem.wire.received import ClientMessage, Ia, Relay, body_of

DUID_LLT: Final = 1  # RFC 9915 11.2
DUID_LL: Final = 3  # RFC 9915 11.4
LINK_LAYER_AT: Final = {DUID_LLT: 8, DUID_LL: 4}


class Client:
    """Who asks. `place` is None on a link with no subnet; then there is no reservation either."""

    __slots__ = ("duid", "leases", "message", "now", "place", "relays", "reservation", "rules")

    def __init__(
        self,
        now: Moment,
        message: ClientMessage,
        relays: list[Relay],
        place: Place | None,
        reservation: Reservation | None,
        leases: list[Lease],
        rules: Rules,
    ) -> None:
        self.now = now
        self.message = message
        self.relays = relays
        self.place = place
        self.reservation = reservation
        self.duid = message.client_id
        """The client's DUID; empty if it did not say."""
        self.leases = leases
        """All that is on record of it when it asks: what it has, and what it last had."""
        self.rules = rules
        """What may be done for clients on its link."""

    def held(self, ia: Ia) -> list[Lease]:
        """Give the leases that are bound to one of its identity associations now."""
        if not self.leases:
            return []
        lapse_utc = self.now.lapse_utc
        return [
            lease
            for lease in self.leases
            if lease.iaid == ia.iaid and is_held(lease, lapse_utc) and ia_code_of(lease.key) == ia.code
        ]


def identify(
    now: Moment,
    message: ClientMessage,
    relays: list[Relay],
    place: Place | None,
    leases: list[Lease],
    rules: Rules,
) -> Client:
    """Put together what is known of who sent the message; `leases` are those on record of its DUID."""
    reservation = None
    if place is not None and message.client_id:
        hardware = None
        if place.knows_link_layers:
            hardware = link_layer_of_relay(message, relays)
            if hardware is None and place.link_layer_from_duid:
                hardware = link_layer_of_duid(message.client_id)
        reservation = place.reservation_for(message.client_id, hardware)
    return Client(now, message, relays, place, reservation, leases, rules)


def link_layer_of_relay(message: ClientMessage, relays: list[Relay]) -> bytes | None:
    """Give the client's link-layer address as its relay saw it (RFC 6939), None if no relay says it."""
    if relays:
        seen = body_of(message.data, relays[-1].options, ClientLinkLayer.code)
        if seen is not None and len(seen) > ClientLinkLayer.fixed.size:
            return seen[ClientLinkLayer.fixed.size :]
    return None


def link_layer_of_duid(duid: bytes) -> bytes | None:
    """Give the link-layer address in a DUID-LLT or DUID-LL, None for other kinds. Unreliable: RFC 9915 11."""
    at = LINK_LAYER_AT.get(int.from_bytes(duid[:2], "big"))
    return duid[at:] if at is not None and len(duid) > at else None

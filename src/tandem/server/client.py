"""One client's message, with all that decides the answer: who asks, from where, when, and for what."""

from __future__ import annotations

from tandem.effects.now import Moment
from tandem.effects.reservations import Reservation
from tandem.effects.rules import Rules
from tandem.lease.lease import Lease, ia_code_of, is_held
from tandem.server.classes import NO_CLASSES, Classes
from tandem.server.places import Place
from tandem.wire.received import ClientMessage, Ia, Relay


class Client:
    """Who asks. `place` is None on a link with no subnet; then there is no reservation either."""

    __slots__ = ("classes", "duid", "leases", "message", "now", "place", "relays", "reservation", "rules")

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
        """All that is on record of it when it asks: what it has, and what it last had."""
        self.rules = rules
        """What may be done for clients on its link."""
        self.classes = classes
        """The names of the classes that it is in."""

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
    known: Classes,
    interface: str,
) -> Client:
    """Put together what is known of who sent the message; `leases` are those on record of its DUID.

    `interface` is where it was heard, empty if that is not known.
    """
    reservation = None
    if place is not None and message.client_id:
        hardware = known.link_layer(message, relays) if place.knows_link_layers else None
        reservation = place.reservation_for(message.client_id, hardware)
    classes = known.of(message, relays, reservation, interface) if known.any else NO_CLASSES
    return Client(now, message, relays, place, reservation, leases, rules, classes)

"""Which classes a client is in, by its message and by what its relays say of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tandem.effects.conditions import (
    AddressIn,
    Comparison,
    Condition,
    Either,
    Every,
    Exists,
    HeardOn,
    InClass,
    IsReserved,
    Matches,
    MessageIs,
    Not,
    Subject,
    Where,
)
from tandem.effects.reservations import Reservation
from tandem.effects.settings import Settings
from tandem.wire.octets import scan_options
from tandem.wire.options import ClientLinkLayer, UserClass, VendorClass, VendorOptions
from tandem.wire.received import ClientMessage, Relay, body_of

DUID_LLT: Final = 1  # RFC 9915 11.2
DUID_LL: Final = 3  # RFC 9915 11.4
LINK_LAYER_AT: Final = {DUID_LLT: 8, DUID_LL: 4}
ENTERPRISE_OCTETS: Final = 4
LENGTH_OCTETS: Final = 2
NO_CLASSES: Final[frozenset[str]] = frozenset()


class Classes:
    """The classes of one loaded configuration."""

    def __init__(self, settings: Settings) -> None:
        self._classes = settings.classes
        self._link_layer_from_duid = settings.link_layer_from_duid
        self._dropped = frozenset(each.name for each in settings.classes if each.drop)
        self.any = bool(settings.classes)
        """Whether there are any."""

    def of(
        self, message: ClientMessage, relays: list[Relay], reservation: Reservation | None, interface: str
    ) -> frozenset[str]:
        """Name the classes of the client: those its reservation puts it into, and those whose condition holds.

        `interface` is where it was heard, empty if that is not known.
        """
        found = set(reservation.classes) if reservation is not None else set()
        for each in self._classes:
            condition = None if each.name in found else each.condition
            if condition is not None and self._holds(condition, message, relays, reservation, interface, found):
                found.add(each.name)
        return frozenset(found)

    def is_dropped(self, classes: frozenset[str]) -> bool:
        """Say whether a member of these classes is to be answered nothing."""
        return not self._dropped.isdisjoint(classes)

    def link_layer(self, message: ClientMessage, relays: list[Relay]) -> bytes | None:
        """Give the client's link-layer address as its relay saw it, or from its DUID if that may be asked."""
        seen = link_layer_of_relay(message, relays)
        if seen is None and self._link_layer_from_duid:
            return link_layer_of_duid(message.client_id)
        return seen

    def _holds(
        self,
        condition: Condition,
        message: ClientMessage,
        relays: list[Relay],
        reservation: Reservation | None,
        interface: str,
        found: set[str],
    ) -> bool:
        match condition:
            case Matches(subject, comparison, values, start, length):
                return any(
                    _compares(comparison, _part(octets, start, length), values)
                    for octets in self._octets(subject, message, relays)
                )
            case Exists(subject):
                return self._is_there(subject, message, relays)
            case AddressIn(is_peer, number, intervals):
                relay = _relay(relays, number)
                if relay is None:
                    return False
                address = int.from_bytes(relay.peer_address if is_peer else relay.link_address, "big")
                return any(first <= address <= last for first, last in intervals)
            case MessageIs(types):
                return message.type in types
            case HeardOn(interfaces):
                return interface in interfaces
            case IsReserved():
                return reservation is not None
            case InClass(name):
                return name in found
            case Every(conditions):
                return all(self._holds(each, message, relays, reservation, interface, found) for each in conditions)
            case Either(conditions):
                return any(self._holds(each, message, relays, reservation, interface, found) for each in conditions)
            case Not(negated):
                return not self._holds(negated, message, relays, reservation, interface, found)

    def _is_there(self, subject: Subject, message: ClientMessage, relays: list[Relay]) -> bool:
        """True if the subject's option is in the message; class data (21.15, 21.16) may be missing from it."""
        match subject.where:
            case Where.USER_CLASS:
                return message.body(UserClass.code) is not None
            case Where.VENDOR_CLASS:
                return any(True for _ in _of_vendor(message, VendorClass.code, subject.enterprise))
        return any(True for _ in self._octets(subject, message, relays))

    def _octets(self, subject: Subject, message: ClientMessage, relays: list[Relay]) -> Iterator[bytes]:
        """Give all octets that the subject stands for."""
        data = message.data
        match subject.where:
            case Where.DUID:
                if message.client_id:
                    yield message.client_id
            case Where.LINK_LAYER:
                seen = self.link_layer(message, relays)
                if seen is not None:
                    yield seen
            case Where.OPTION:
                yield from (data[start:end] for code, start, end in message.options if code == subject.code)
            case Where.RELAY_OPTION:
                relay = _relay(relays, subject.relay)
                if relay is not None:
                    yield from (data[start:end] for code, start, end in relay.options if code == subject.code)
            case Where.USER_CLASS:
                body = message.body(UserClass.code)
                if body is not None:
                    yield from _class_data(body, 0)
            case Where.VENDOR_CLASS:
                for body in _of_vendor(message, VendorClass.code, subject.enterprise):
                    yield from _class_data(body, ENTERPRISE_OCTETS)
            case Where.VENDOR_OPTION:
                for body in _of_vendor(message, VendorOptions.code, subject.enterprise):
                    if subject.code is None:
                        yield body[ENTERPRISE_OCTETS:]
                    else:
                        yield from _suboptions(body, subject.code)


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


def _relay(relays: list[Relay], number: int) -> Relay | None:
    """Give a relay by its number, from 1 at the client, or from -1 at the server; `relays` begin at the server."""
    if not number or abs(number) > len(relays):
        return None
    return relays[-number] if number > 0 else relays[-number - 1]


def _part(octets: bytes, start: int, length: int | None) -> bytes:
    """Give a part of the octets; nothing, if it would begin outside of them."""
    if start < 0:
        start += len(octets)
        if start < 0:
            return b""
    return octets[start:] if length is None else octets[start : start + length]


def _compares(comparison: Comparison, octets: bytes, values: tuple[bytes, ...]) -> bool:
    match comparison:
        case Comparison.IS:
            return octets in values
        case Comparison.STARTS_WITH:
            return octets.startswith(values)
        case Comparison.ENDS_WITH:
            return octets.endswith(values)
        case Comparison.CONTAINS:
            return any(value in octets for value in values)


def _of_vendor(message: ClientMessage, code: int, enterprise: int | None) -> Iterator[bytes]:
    """Give the bodies of the options of a vendor, with its number; those that are too short for that are none."""
    wanted = None if enterprise is None else enterprise.to_bytes(ENTERPRISE_OCTETS, "big")
    for found, start, end in message.options:
        body = message.data[start:end] if found == code else b""
        if len(body) >= ENTERPRISE_OCTETS and wanted in (None, body[:ENTERPRISE_OCTETS]):
            yield body


def _class_data(body: bytes, at: int) -> Iterator[bytes]:
    """Give each of the class data in the body from `at` on (RFC 9915 21.15, 21.16); one that is cut off is none."""
    while at + LENGTH_OCTETS <= len(body):
        start = at + LENGTH_OCTETS
        at = start + int.from_bytes(body[at:start], "big")
        if at <= len(body):
            yield body[start:at]


def _suboptions(body: bytes, code: int) -> Iterator[bytes]:
    """Give the suboptions of a vendor with that code; what is cut off is none."""
    found, _ = scan_options(body, ENTERPRISE_OCTETS, len(body))
    yield from (body[start:end] for suboption, start, end in found if suboption == code)

"""Where a client is, and what there is for it: the configuration, indexed for the packet path.

RFC 9915 13.1: the link is the interface's for a client that is heard directly, else the innermost useful
link-address's. A link-address that is unspecified or link-local names no link. Before both go a relay's interface
identifiers that the file names.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from tandem.effects.settings import Link, PoolSettings, Reservation, Settings, SubnetSettings
from tandem.wire.options import InterfaceId
from tandem.wire.received import ADDRESS_LENGTH, Relay, body_of

LINK_LOCAL: Final = 0xFE80 >> 6
LINK_LOCAL_SHIFT: Final = ADDRESS_LENGTH - 10


class Home(NamedTuple):
    """Where a lease belongs: its subnet, and its pool unless it lies in none."""

    subnet: SubnetSettings
    pool: PoolSettings | None

    def admits(self, classes: frozenset[str]) -> bool:
        """Say whether members of these classes may be given leases here."""
        if self.subnet.classes and self.subnet.classes.isdisjoint(classes):
            return False
        return self.pool is None or not self.pool.classes or not self.pool.classes.isdisjoint(classes)


class Place:
    """A link, with its pools, subnets and reservations indexed."""

    def __init__(self, link: Link) -> None:
        self.name = link.name
        self.relationship = link.relationship
        self.subnets = link.subnets
        pools = sorted(
            ((pool.range, Home(subnet, pool)) for subnet in link.subnets for pool in subnet.pools),
            key=lambda each: each[0],
        )
        self._pool_homes = [home for _, home in pools]
        self._pool_firsts = [range_.first for range_, _ in pools]
        self._pool_lasts = [range_.last for range_, _ in pools]
        self._by_duid: dict[bytes, Reservation] = {}
        self._by_link_layer: dict[bytes, Reservation] = {}
        self._reserved: dict[int, Home] = {}
        for subnet in link.subnets:
            for reservation in subnet.reservations:
                self._add_reservation(subnet, reservation)
        homes = [Home(subnet, pool) for subnet in link.subnets for pool in subnet.pools]
        self._homes = {
            is_prefix: tuple(home for home in homes if home.pool and home.pool.is_of_prefixes is is_prefix)
            for is_prefix in (False, True)
        }
        self.rapid_commit = any(subnet.rapid_commit for subnet in link.subnets)
        """Whether a Solicit may be answered with a Reply here."""
        self.knows_link_layers = bool(self._by_link_layer)
        """Whether a client's link-layer address matters here."""

    def _add_reservation(self, subnet: SubnetSettings, reservation: Reservation) -> None:
        if reservation.duid is not None:
            self._by_duid.setdefault(reservation.duid, reservation)
        if reservation.link_layer is not None:
            self._by_link_layer.setdefault(reservation.link_layer, reservation)
        for key in reservation.keys:
            self._reserved[key] = Home(subnet, None)

    def reservation_for(self, duid: bytes, link_layer: bytes | None) -> Reservation | None:
        """Give the client's reservation. One that names the DUID goes before one by link-layer address."""
        found = self._by_duid.get(duid)
        if found is None and link_layer is not None:
            found = self._by_link_layer.get(link_layer)
        return found

    def home_of(self, key: int) -> Home | None:
        """Say where on this link a lease belongs, None if it is not appropriate for the link."""
        address = key >> 8
        at = bisect_right(self._pool_firsts, address)
        if at and address <= self._pool_lasts[at - 1]:
            return self._pool_homes[at - 1]
        reserved = self._reserved.get(key)
        if reserved is not None or key & 0xFF != ADDRESS_LENGTH:
            return reserved
        for subnet in self.subnets:
            if subnet.first <= address <= subnet.last:
                return Home(subnet, None)
        return None

    def is_on_link(self, key: int) -> bool:
        """Say whether an address fits the link's subnets."""
        return any(subnet.first <= key >> 8 <= subnet.last for subnet in self.subnets)

    def homes(self, is_prefix: bool) -> tuple[Home, ...]:
        """Give the pools of addresses, or of prefixes, in the order of the file."""
        return self._homes[is_prefix]


class Places:
    """All links of a server, found by network interface and by link-address."""

    def __init__(self, settings: Settings, interfaces: Mapping[int, tuple[str, tuple[int, ...]]]) -> None:
        self._places = [Place(link) for link in settings.links]
        self._subnets = sorted(
            ((subnet.first, subnet.last, place) for place in self._places for subnet in place.subnets),
            key=lambda each: each[0],
        )
        self._subnet_firsts = [first for first, _, _ in self._subnets]
        subnets = [(subnet, place) for place in self._places for subnet in place.subnets]
        self._by_relay = {address: place for subnet, place in subnets for address in subnet.relays}
        self._by_interface_id = {each: place for subnet, place in subnets for each in subnet.interface_ids}
        self._by_interface = {
            index: place
            for index, (name, addresses) in interfaces.items()
            if (place := self._of_interface(name, addresses)) is not None
        }

    def __iter__(self) -> Iterator[Place]:
        return iter(self._places)

    def locate(self, data: bytes, relays: list[Relay], interface: int) -> Place | None:
        """Say where a client is that was heard through these relays, outermost first, on that interface.

        `data` is the datagram that the relays' options are indexed in.
        """
        for relay in reversed(relays) if self._by_interface_id else ():
            place = self._by_interface_id.get(body_of(data, relay.options, InterfaceId.code) or b"")
            if place is not None:
                return place
        for relay in reversed(relays):
            address = int.from_bytes(relay.link_address, "big")
            if address and address >> LINK_LOCAL_SHIFT != LINK_LOCAL:
                return self._by_relay.get(address) or self._of_address(address)
        return self._by_interface.get(interface)

    def _of_interface(self, name: str, addresses: tuple[int, ...]) -> Place | None:
        for place in self._places:
            if any(subnet.interface == name for subnet in place.subnets):
                return place
        for address in addresses:
            here = self._of_address(address)
            if here is not None and all(subnet.interface is None for subnet in here.subnets):
                return here
        return None

    def _of_address(self, address: int) -> Place | None:
        at = bisect_right(self._subnet_firsts, address)
        if at and address <= self._subnets[at - 1][1]:
            return self._subnets[at - 1][2]
        return None

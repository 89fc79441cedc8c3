"""Where a client is, and what there is for it: the configuration, indexed for the packet path.

RFC 9915 13.1: the link is the interface's for a client that is heard directly, else that of the innermost link-address
that is useful. Zero says nothing. A link-local one is of a link of the relay's, never of the server's own: it is useful
only where the file names it under `relay`. Before both go a relay's interface identifiers that the file names.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv6Address
from typing import Final, NamedTuple

from tandem.effects.reservations import Reservation
from tandem.effects.settings import Link, PoolSettings, SubnetSettings
from tandem.lease.holes import Holes
from tandem.wire.options import InterfaceId
from tandem.wire.received import ADDRESS_LENGTH, Relay, body_of

LINK_ADDRESSES_MAX: Final = 65_536
"""Link-addresses that are remembered: who makes them up gets no more."""
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


@lru_cache(maxsize=1024)
def _address_number(text: str) -> int:
    """Return the address of a datagram's sender as a number, without the zone that a link-local one may have."""
    return int(IPv6Address(text.partition("%")[0]))


class Place:
    """A link, with its pools, subnets and reservations indexed."""

    __slots__ = (
        "_homes",
        "_pool_firsts",
        "_pool_homes",
        "_pool_lasts",
        "_reservations",
        "_subnet_firsts",
        "_subnets",
        "_trusted_relays",
        "knows_link_layers",
        "limits",
        "name",
        "pool_homes",
        "rapid_commit",
        "relationship",
        "spaces",
        "subnets",
    )

    def __init__(self, link: Link) -> None:
        self.name = link.name
        self.relationship = link.relationship
        self.subnets = link.subnets
        self.limits = link.limits
        pools = sorted(
            ((pool.range, Home(subnet, pool)) for subnet in link.subnets for pool in subnet.pools),
            key=lambda each: each[0],
        )
        self._subnets = sorted(link.subnets, key=lambda each: each.first)
        self._subnet_firsts = [subnet.first for subnet in self._subnets]
        self._pool_homes = [home for _, home in pools]
        self._pool_firsts = [range_.first for range_, _ in pools]
        self._pool_lasts = [range_.last for range_, _ in pools]
        self._reservations = link.reservations
        self.pool_homes = tuple(Home(subnet, pool) for subnet in link.subnets for pool in subnet.pools)
        """All pools, in the order of the file."""
        self._homes = {
            is_prefix: tuple(home for home in self.pool_homes if home.pool and home.pool.is_of_prefixes is is_prefix)
            for is_prefix in (False, True)
        }
        spaces = [(subnet.first, subnet.last) for subnet in link.subnets]
        spaces += [(range_.first, range_.last) for range_, home in pools if home.pool and home.pool.is_of_prefixes]
        self.spaces = tuple(Holes(spaces).intervals())
        """Where all of its leases lie, but prefixes that are reserved outside of its pools. Disjoint."""
        trusted = [interval for subnet in link.subnets for interval in subnet.trusted_relays]
        self._trusted_relays = Holes(trusted) if trusted else None
        self.rapid_commit = any(subnet.rapid_commit for subnet in link.subnets)
        """Whether a Solicit may be answered with a Reply here."""
        self.knows_link_layers = self._reservations.name_link_layers
        """Whether a client's link-layer address matters here."""

    def believes(self, relay: str) -> bool:
        """True if what a relay agent with this source address says of clients on the link is believed."""
        if self._trusted_relays is None:
            return True
        address = _address_number(relay)
        return self._trusted_relays.touches(address, address)

    def reservation_for(self, duid: bytes, link_layer: bytes | None) -> Reservation | None:
        """Give the client's reservation. One that names the DUID goes before one by link-layer address."""
        if not self._reservations:
            return None
        found = self._reservations.of_client(duid, False)
        if found is None and link_layer is not None:
            found = self._reservations.of_client(link_layer, True)
        return found

    def home_of(self, key: int) -> Home | None:
        """Say where on this link a lease belongs, None if it is not appropriate for the link."""
        address = key >> 8
        at = bisect_right(self._pool_firsts, address)
        if at and address <= self._pool_lasts[at - 1]:
            return self._pool_homes[at - 1]
        subnet = self._subnet_of(address) if key & 0xFF == ADDRESS_LENGTH else None
        if subnet is not None:
            return Home(subnet, None)
        number = self._reservations.subnet_of_lease(key) if self._reservations else None
        return Home(self.subnets[number], None) if number is not None else None

    def is_on_link(self, key: int) -> bool:
        """Say whether an address fits the link's subnets."""
        return self._subnet_of(key >> 8) is not None

    def _subnet_of(self, address: int) -> SubnetSettings | None:
        at = bisect_right(self._subnet_firsts, address)
        subnet = self._subnets[at - 1] if at else None
        return subnet if subnet is not None and address <= subnet.last else None

    def homes(self, is_prefix: bool) -> tuple[Home, ...]:
        """Give the pools of addresses, or of prefixes, in the order of the file."""
        return self._homes[is_prefix]


class Places:
    """All links of a server, found by network interface and by link-address. Each is indexed when it is first used."""

    def __init__(self, links: Sequence[Link]) -> None:
        for _ in self.index(links):
            pass

    def index(self, links: Sequence[Link]) -> Iterator[None]:
        """Index the links, one with each step; nothing may be looked up until the last one."""
        self._links = links
        self._made: dict[int, Place] = {}
        self._by_relay: dict[int, int] = {}
        self._by_link_address: dict[int, Place] = {}
        """What link-addresses led to, since each relay says the same one again and again."""
        self._by_interface_id: dict[bytes, int] = {}
        self._by_name: dict[str, int] = {}
        self._by_interface: dict[int, int] = {}
        spans: list[tuple[int, int, int]] = []
        for number, link in enumerate(links):
            for subnet in link.subnets:
                spans.append((subnet.first, subnet.last, number))
                for relay in subnet.relays:  # the first goes: the others are told apart by interface identifiers
                    self._by_relay.setdefault(relay, number)
                self._by_interface_id.update(dict.fromkeys(subnet.interface_ids, number))
                if subnet.interface is not None:
                    self._by_name.setdefault(subnet.interface, number)
            yield
        spans.sort()
        self._firsts = [first for first, _, _ in spans]
        self._spans = [(last, number) for _, last, number in spans]

    def __iter__(self) -> Iterator[Place]:
        return (self._place(number) for number in range(len(self._links)))

    @property
    def indexed(self) -> list[Place]:
        """The links that were used."""
        return list(self._made.values())

    def use_interfaces(self, interfaces: Mapping[int, tuple[str, tuple[int, ...]]]) -> None:
        """Take over which network interfaces there are, by index: names and own addresses."""
        self._by_interface = {
            index: number
            for index, (name, addresses) in interfaces.items()
            if (number := self._of_interface(name, addresses)) is not None
        }

    def locate(self, data: bytes, relays: list[Relay], interface: int) -> Place | None:
        """Say where a client is that was heard through these relays, outermost first, on that interface.

        `data` is the datagram that the relays' options are indexed in.
        """
        for relay in reversed(relays) if self._by_interface_id else ():
            number = self._by_interface_id.get(body_of(data, relay.options, InterfaceId.code) or b"")
            if number is not None:
                return self._place(number)
        is_told = False
        for relay in reversed(relays):
            address = int.from_bytes(relay.link_address, "big")
            if not address:
                continue
            is_told = True
            place = self._by_link_address.get(address)
            if place is not None:
                return place
            number = self._by_relay.get(address)
            if number is not None or address >> LINK_LOCAL_SHIFT != LINK_LOCAL:
                return self._remembered(address, number if number is not None else self._of_address(address))
        number = None if is_told else self._by_interface.get(interface)
        return None if number is None else self._place(number)

    def _remembered(self, address: int, number: int | None) -> Place | None:
        """Return the place with that number, and remember that the link-address leads there."""
        if number is None:
            return None
        place = self._place(number)
        if len(self._by_link_address) < LINK_ADDRESSES_MAX:
            self._by_link_address[address] = place
        return place

    def _place(self, number: int) -> Place:
        place = self._made.get(number)
        if place is None:
            place = self._made[number] = Place(self._links[number])
        return place

    def _of_interface(self, name: str, addresses: tuple[int, ...]) -> int | None:
        number = self._by_name.get(name)
        if number is not None:
            return number
        for address in addresses:
            here = self._of_address(address)
            if here is not None and all(subnet.interface is None for subnet in self._links[here].subnets):
                return here
        return None

    def _of_address(self, address: int) -> int | None:
        at = bisect_right(self._firsts, address)
        if at:
            last, number = self._spans[at - 1]
            if address <= last:
                return number
        return None

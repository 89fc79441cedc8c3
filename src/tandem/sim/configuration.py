"""The file that the servers of a simulated world run, and where its leases lie."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv6Address
from typing import NamedTuple

from tandem.config.load import load_text
from tandem.effects.settings import Settings
from tandem.lease.lease import key_of
from tandem.sim.plan import Link, Numbers, Plan
from tandem.wire.received import ADDRESS_LENGTH

SUBNET_AT = 0x20010DB8 << 96
POOL_AT = 1 << 48
"""Where in its subnet a pool begins."""
RESERVED_AT = 2 << 48
PREFIXES_AT = 0x20010DB9 << 96
PD_LENGTH = 56


class Subnet(NamedTuple):
    """What the file says of a link: whose its subnet is, and which pools it has."""

    link: Link
    """Its `pair` is the relationship."""
    server: str = ""
    """The server that has the subnet to itself; empty if a relationship has it."""
    is_in: bool = True
    """Whether the file has the subnet at all."""
    has_addresses: bool = True
    has_prefixes: bool = True

    @property
    def is_whole(self) -> bool:
        """Whether a relationship has the subnet, with all its pools."""
        return not self.server and self.is_in and self.has_addresses and self.has_prefixes


class File(NamedTuple):
    """One version of the file that all servers have."""

    numbers: Numbers
    subnets: dict[int, Subnet]
    """By the number of their link."""


def first_file(plan: Plan) -> File:
    """Return the file that the servers start with."""
    return File(plan.numbers, {link.number: Subnet(link) for link in plan.links})


def subnet_of(link: Link) -> int:
    """Give the first address of a link's subnet."""
    return SUBNET_AT + (link.number << 64)


def addresses(link: Link) -> range:
    """Give the keys of all addresses in a link's pool."""
    first = subnet_of(link) + POOL_AT
    return range(key_of(first), key_of(first + (1 << 128 - link.pool_length)), 1 << 8)


def prefixes(link: Link) -> list[int]:
    """Give the keys of all prefixes in a link's pool."""
    first = PREFIXES_AT + (link.number << 80)
    return [key_of(first + (at << 128 - PD_LENGTH), PD_LENGTH) for at in range(1 << PD_LENGTH - link.pd_length)]


def reserved(link: Link, client: int) -> int:
    """Give the key of the address that is reserved on a link for a client that has a reservation."""
    return key_of(subnet_of(link) + RESERVED_AT + client)


def is_reserved(key: int) -> bool:
    """Say whether an address is one that is reserved for a client."""
    return key >> 8 + 48 & 0xFFFF == RESERVED_AT >> 48 and key & 0xFF == ADDRESS_LENGTH


def link_of(key: int) -> int:
    """Give the number of the link that a lease belongs to."""
    address = key >> 8
    return address >> 80 & 0xFFFF if address >> 96 == PREFIXES_AT >> 96 else address >> 64 & 0xFFFF


def settings_of(plan: Plan, file: File) -> dict[str, Settings]:
    """Return what each server does by a file."""
    text = "\n".join(_text(plan, file))
    return {server.name: load_text(text, server.name).settings for server in plan.servers}


def changed(numbers: Numbers, how: float) -> Numbers:
    """Return other numbers: one or two of them change, by `how` from 0 to 1."""
    turn = int(how * 6)
    if turn in (0, 1):
        return numbers._replace(mclt_s=max(30, numbers.mclt_s * (3, 1)[turn] // (2, 2)[turn]))
    if turn in (2, 3):
        valid_s = max(30, numbers.valid_s * (3, 1)[turn - 2] // 2)
        return numbers._replace(valid_s=valid_s, preferred_s=max(1, valid_s * 3 // 4))
    if turn == 4:
        return numbers._replace(keepalive_s=5 if numbers.keepalive_s > 5 else 20)
    return numbers._replace(secondary_share=100 - numbers.secondary_share)


def _text(plan: Plan, file: File) -> Iterator[str]:
    numbers = file.numbers
    yield f"decline-time = {numbers.decline_s}"
    yield f"reuse-grace = {numbers.grace_s}"
    yield f"rapid-commit = {str(numbers.rapid_commit).lower()}"
    for at, server in enumerate(plan.servers, 1):
        links = [link for link in plan.links if not link.hops and _serves(plan, link, server.name)]
        yield f"[server.{server.name}]"
        yield f"interfaces = {[f'eth{link.number}' for link in links]}"
        yield f'address = "fd00:99::{at}"'
        yield "" if links else f'listen = ["[fd00:99::{at}]:547"]'
    yield "[lifetimes]"
    yield f"preferred-lifetime = {numbers.preferred_s}"
    yield f"valid-lifetime = {numbers.valid_s}"
    for at, pair in enumerate(plan.pairs):
        yield f"[failover.{pair.name}]"
        yield f'primary = "{pair.primary}"'
        yield f'secondary = "{pair.secondary}"'
        yield 'security = "insecure"'
        yield f"port = {647 + at}"
        yield f"mclt = {numbers.mclt_s}"
        yield f"keepalive = {numbers.keepalive_s}"
        yield f"startup = {numbers.startup_s}"
        yield f"secondary-share = {numbers.secondary_share}"
        yield f"auto-partner-down = {numbers.auto_s}" if numbers.auto_s else ""
    for subnet in file.subnets.values():
        if subnet.is_in:
            yield from _subnet(plan, subnet)


def _subnet(plan: Plan, subnet: Subnet) -> Iterator[str]:
    link = subnet.link
    first = subnet_of(link)
    at = IPv6Address(PREFIXES_AT + (link.number << 80))
    yield "[[subnet]]"
    yield f'prefix = "{IPv6Address(first)}/64"'
    yield f'server = "{subnet.server}"' if subnet.server else f'failover = "{link.pair}"'
    yield "" if link.hops else f'interface = "eth{link.number}"'
    if subnet.has_addresses:
        yield f'pools = ["{IPv6Address(first + POOL_AT)}/{link.pool_length}"]'
    if subnet.has_prefixes:
        yield f'pd-pools = [{{ prefix = "{at}/{link.pd_length}", delegated-length = {PD_LENGTH} }}]'
    for client in plan.clients:
        if client.is_reserved:
            yield "[[subnet.reservation]]"
            yield f'duid = "00:03:00:01:02:00:00:00:00:{client.number:02x}"'
            yield f'address = "{IPv6Address(reserved(link, client.number) >> 8)}"'


def _serves(plan: Plan, link: Link, server: str) -> bool:
    pair = next(each for each in plan.pairs if each.name == link.pair)
    return server in (pair.primary, pair.secondary)

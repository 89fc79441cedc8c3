"""The configuration as the engines use it: checked, complete, and encoded where that can be done once.

Keys of leases are numbers as in `lease.lease`; options are encoded with their headers; durations are seconds.
`where` is the path of the setting in the file, for people.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from tandem.effects.conditions import Condition
from tandem.effects.lines import NO_LINES, LineIndex
from tandem.effects.options import OptionSet
from tandem.effects.reservations import NO_RESERVATIONS, Reservations
from tandem.lease.holes import Holes
from tandem.lease.promise import Lifetimes
from tandem.lease.space import Interval, Range, Role
from tandem.wire.received import ADDRESS_LENGTH

NO_HOLES: Final = Holes()


@dataclass(frozen=True, slots=True, eq=False)
class ClientClass:
    """Clients that have something in common, and options for all of them. With `drop` they get no answer."""

    where: str
    name: str
    condition: Condition | None
    """None if only reservations put clients there."""
    options: OptionSet
    drop: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class PoolSettings:
    """Leases for whoever asks. `exclude` is a prefix within each delegated one, relative to it (RFC 6603).

    With `classes`, only members of one of them are given any.
    """

    where: str
    range: Range
    options: OptionSet
    exclude: tuple[int, int] | None = None
    classes: frozenset[str] = frozenset()
    holes: Holes = NO_HOLES
    """What of it is reserved."""

    @property
    def is_of_prefixes(self) -> bool:
        """Whether prefixes are delegated from it, and not addresses given."""
        return self.range.length != ADDRESS_LENGTH


@dataclass(frozen=True, slots=True)
class Limits:
    """How much clients may take, so that one of them leaves enough for the others. For each link; 0 is no limit."""

    leases_per_client: int = 32
    """Leases that one client holds; identity associations of one message beyond that are refused, too."""
    leases_per_link: int = 2_000_000
    """Leases in use in all pools of the link."""
    leases_per_relay: int = 500_000
    """Leases held by all clients behind one relay agent."""
    leases_per_remote_id: int = 4096
    """Leases held by all clients behind one Remote-ID (RFC 4649)."""
    offers_per_relay: int = 10_000
    """Offers that are kept at once for all clients behind one relay agent."""
    offers_per_remote_id: int = 256
    """Offers that are kept at once for all clients behind one Remote-ID."""
    declines_per_client: int = 8
    """Addresses that are set aside at once since one client declined them."""
    declines_per_link: int = 1024
    """Addresses that are set aside at once since clients of the link declined them."""
    declines_per_relay: int = 512
    """Addresses that are set aside at once since clients behind one relay agent declined them."""
    declines_per_remote_id: int = 64
    """Addresses that are set aside at once since clients behind one Remote-ID declined them."""
    messages_per_client: int = 600
    """Messages of one client in a minute."""
    messages_per_remote_id: int = 6000
    """Messages of all clients behind one Remote-ID in a minute."""
    messages_per_relay: int = 0
    """Messages through one relay agent in a minute."""


@dataclass(frozen=True, slots=True, eq=False)
class SubnetSettings:
    """A subnet with its pools. With `classes`, only members of one of them are served from it."""

    where: str
    name: str
    first: int
    last: int
    interface: str | None
    lifetimes: Lifetimes
    options: OptionSet
    rapid_commit: bool
    pools: tuple[PoolSettings, ...]
    classes: frozenset[str] = frozenset()
    relays: tuple[int, ...] = ()
    """Link-addresses outside of the subnet whose clients are on its link."""
    interface_ids: tuple[bytes, ...] = ()
    """What relays call the interfaces that lead to its link."""
    trusted_relays: tuple[Interval, ...] = ()
    """Source addresses of the relay agents that are believed; without any, all are."""
    class_lifetimes: Mapping[str, Lifetimes] = field(default_factory=dict)
    """The lifetimes of members of classes, in the order of the file; the first goes."""

    def lifetimes_of(self, classes: frozenset[str]) -> Lifetimes:
        """Return the lifetimes of a client in these classes."""
        if self.class_lifetimes and classes:
            for name, lifetimes in self.class_lifetimes.items():
                if name in classes:
                    return lifetimes
        return self.lifetimes


@dataclass(frozen=True, slots=True, eq=False)
class Link:
    """One link, and all the subnets on it, in the order of the file; all of them in the same relationship, or none."""

    name: str
    subnets: tuple[SubnetSettings, ...]
    relationship: str | None = None
    reservations: Reservations = NO_RESERVATIONS
    limits: Limits = Limits()


RESERVATION: Final = " reservation"
"""What the paths of all reservations of a subnet end with."""


@dataclass(frozen=True, slots=True)
class Relationship:
    """A failover relationship, as one of its servers sees it (RFC 8156 section 3, "failover endpoint")."""

    name: str
    role: Role
    partner: str
    mclt_s: int
    keepalive_s: int
    startup_s: int
    auto_partner_down_s: int | None
    start_alone: bool
    secondary_share_percent: int
    fixed_pd_length: bool
    territories: tuple[Interval, ...]
    """All addresses and prefixes that belong to it."""
    pools: tuple[Range, ...]
    longest_lifetime_s: int
    """The longest valid lifetime that its clients are given."""
    decline_time_s: int
    digest: bytes
    """Of all that it serves and that both partners should have alike."""
    summary: Mapping[str, str] = field(default_factory=dict, compare=False)
    """The same in detail: a digest of each part of the file."""
    reservations: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Of these, the digests of the reservations of each subnet that has some."""


@dataclass(frozen=True, slots=True, eq=False)
class Settings:
    """All that one server does."""

    server: str
    interfaces: tuple[str, ...]
    """The names of the served network interfaces, as this machine has them."""
    links: tuple[Link, ...]
    preference: int
    options: OptionSet
    """What clients are told everywhere."""
    decline_time_s: int
    reuse_grace_s: int
    relationships: tuple[Relationship, ...] = ()
    relay_supplied: frozenset[int] = frozenset()
    """Options that a relay may supply (RFC 6422)."""
    link_layer_from_duid: bool = False
    """Whether a client whose link-layer address no relay says is taken to have the one inside its DUID."""
    classes: tuple[ClientClass, ...] = ()
    """In the order of the file; the first that has an option goes."""
    lines: LineIndex = field(default=NO_LINES, compare=False)
    """The line of the file that each `where` begins on, as far as it has one of its own."""
    digest: str = field(default="", compare=False)
    """Tells whether two servers run the same file."""

    def place(self, where: str) -> str:
        """Give a `where` with its line, or the line of what it is in."""
        line = self.lines.of(where)
        return f"{where} (line {line})" if line else where

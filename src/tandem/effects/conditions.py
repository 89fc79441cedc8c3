"""What makes a client a member of a class, as values: tests of octets in its message, and what joins them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from tandem.lease.space import Interval


class Comparison(Enum):
    """How octets are compared with given ones."""

    IS = "is"
    STARTS_WITH = "starts-with"
    ENDS_WITH = "ends-with"
    CONTAINS = "contains"


class Where(Enum):
    """Where in a client's message, or around it, the octets stand."""

    DUID = "duid"
    LINK_LAYER = "link-layer"
    USER_CLASS = "user-class"
    """Each of the class data of a User Class option (RFC 9915 21.15)."""
    VENDOR_CLASS = "vendor-class"
    """Each of the class data of the Vendor Class options (21.16)."""
    VENDOR_OPTION = "vendor-option"
    """A suboption of a Vendor-specific Information option (21.17)."""
    OPTION = "option"
    RELAY_OPTION = "relay-option"


@dataclass(frozen=True, slots=True)
class Subject:
    """Octets of a message; there may be none, or several that each will do."""

    where: Where
    code: int | None = None
    """Of the option or suboption; of VENDOR_OPTION, None stands for the option itself."""
    enterprise: int | None = None
    """Of VENDOR_CLASS and VENDOR_OPTION; None stands for any."""
    relay: int = 1
    """Of RELAY_OPTION: which relay, counted from the client, or if negative from the server."""


@dataclass(frozen=True, slots=True)
class Exists:
    """The subject is there."""

    subject: Subject


@dataclass(frozen=True, slots=True)
class Matches:
    """The subject is there, and `length` octets of it from `start` on (all, if None) compare with one of `values`.

    A negative start counts from the end.
    """

    subject: Subject
    comparison: Comparison
    values: tuple[bytes, ...]
    start: int = 0
    length: int | None = None


@dataclass(frozen=True, slots=True)
class AddressIn:
    """The link-address, or the peer-address, of a relay lies in one of the intervals of addresses."""

    is_peer: bool
    relay: int
    intervals: tuple[Interval, ...]


@dataclass(frozen=True, slots=True)
class MessageIs:
    """The client's message has one of these types."""

    types: frozenset[int]


@dataclass(frozen=True, slots=True)
class HeardOn:
    """The message came in on one of these network interfaces, by the names that this machine has for them."""

    interfaces: frozenset[str]


@dataclass(frozen=True, slots=True)
class IsReserved:
    """A reservation on the client's link names it."""


@dataclass(frozen=True, slots=True)
class InClass:
    """The client is in another class, one that stands before in the file."""

    name: str


@dataclass(frozen=True, slots=True)
class Every:
    """All of these hold; if there are none, that is so."""

    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Either:
    """One of these holds at least."""

    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """This does not hold."""

    condition: Condition


Condition = Exists | Matches | AddressIn | MessageIs | HeardOn | IsReserved | InClass | Every | Either | Not

"""What can happen to a node. Each is an argument of `node.handle`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from tandem.effects.settings import Settings

MULTICAST: Final = 0xFF


class Datagram:
    """Octets that came in on UDP. `door` names the socket, `interface` is the index of the network interface.

    `local` is the address that they were sent to, 16 octets. `waited_s` is how long they lay unread.
    """

    __slots__ = ("data", "door", "interface", "local", "peer", "port", "waited_s")

    def __init__(
        self, data: bytes, peer: str, port: int, interface: int, door: int, local: bytes, waited_s: float = 0.0
    ) -> None:
        self.data = data
        self.peer = peer
        self.port = port
        self.interface = interface
        self.door = door
        self.local = local
        self.waited_s = waited_s

    @property
    def multicast(self) -> bool:
        """Whether they were sent to a multicast group, as clients must."""
        return self.local[0] == MULTICAST


class Interfaces(NamedTuple):
    """The network interfaces that are served now: name and own addresses (numbers of 128 bits) by index."""

    by_index: Mapping[int, tuple[str, tuple[int, ...]]]


class Command(NamedTuple):
    """An operator's wish. It is answered by an `Answer` with the same ticket."""

    ticket: int
    name: str
    arguments: Mapping[str, Any]


class Reload(NamedTuple):
    """The file was read again and is good."""

    settings: Settings


class Disk(NamedTuple):
    """The store said whether it can take more. While it cannot, nothing is promised."""

    accepts: bool
    reason: str


class PartnerUp(NamedTuple):
    """A connection with a partner stands, secured if it has to be. `relationships` are those that it can be for.

    `is_dialed`: this server opened it, for just one.
    """

    connection: int
    relationships: tuple[str, ...]
    peer: str
    is_dialed: bool


class PartnerOctets(NamedTuple):
    """Octets that a partner sent, and the UTC second at which they came."""

    connection: int
    octets: bytes
    received_utc: int


class PartnerGone(NamedTuple):
    """A connection with a partner broke, or was closed by it."""

    connection: int
    reason: str


class ConnectionFailed(NamedTuple):
    """No connection came about with the partner of a relationship; it may have been there all the same."""

    relationship: str
    reason: str
    partner_was_there: bool


class Shutdown(NamedTuple):
    """The server is about to stop; its partners are to be told."""


Event = (
    Datagram
    | Interfaces
    | Command
    | Reload
    | Disk
    | PartnerUp
    | PartnerOctets
    | PartnerGone
    | ConnectionFailed
    | Shutdown
)

"""What can happen to a node. Each is an argument of `node.handle`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from tandem.effects.settings import Settings

MULTICAST = 0xFF


class Datagram(NamedTuple):
    """Octets that came in on UDP. `door` names the socket, `interface` is the index of the network interface.

    `local` is the address that they were sent to, 16 octets.
    """

    data: bytes
    peer: str
    port: int
    interface: int
    door: int
    local: bytes

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


Event = Datagram | Interfaces | Command | Reload | Disk

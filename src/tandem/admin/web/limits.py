"""How many connections the web process has at once, and from where: nobody can keep all others out.

A connection is waiting until its request has come whole, and again once its answer was sent or is not read. If there
are too many, from one place or altogether, the one that has waited longest makes room for the new one. Only where all
are busy is a new one refused.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable
from ipaddress import IPv6Address, ip_address
from typing import Any

PER_PLACE_MAX = 64
CONNECTIONS_MAX = 512
"""Below the 1,024 files that a program may have open if nothing else is said."""


def place_of(address: str) -> str:
    """Return where an address counts to: an IPv6 host has a whole /64 to itself, and may use any address of it."""
    found = ip_address(address.partition("%")[0])
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    if isinstance(found, IPv6Address) and not found.is_loopback and not found.is_link_local:
        return str(IPv6Address(int(found) >> 64 << 64))
    return str(found)


class Connection(socket.socket):
    """An accepted connection, which is counted until it is closed."""

    place = ""
    since = 0.0
    is_busy = False
    """Whether a request is being answered on it."""
    closed: Callable[[Connection], None] | None = None

    def close(self) -> None:
        """Close it, and count it no more."""
        if self.closed is not None:
            self.closed(self)
        super().close()


class Limits:
    """The connections that are open. `refused` is told of each place that gets no more."""

    def __init__(self, refused: Callable[[str], None]) -> None:
        self._open: dict[int, Connection] = {}
        self._refused = refused

    def admit(self, connection: Connection, place: str) -> bool:
        """Count a new connection, and return True; False if it has to be closed."""
        from_there = [each for each in self._open.values() if each.place == place]
        if len(from_there) >= PER_PLACE_MAX and not self._make_room(from_there):
            self._refused(place)
            return False
        if len(self._open) >= CONNECTIONS_MAX:
            most = Counter(each.place for each in self._open.values()).most_common(1)[0][0]
            if not self._make_room(each for each in self._open.values() if each.place == most):
                self._refused(place)
                return False
        connection.place, connection.since = place, time.monotonic()
        connection.closed = self._forget
        self._open[connection.fileno()] = connection
        return True

    def of(self, number: int) -> Connection | None:
        """Return the connection with a file number."""
        return self._open.get(number)

    def _make_room(self, connections: Iterable[Connection]) -> bool:
        """End the connection that has waited longest; return False if none is waiting."""
        waiting = [each for each in connections if not each.is_busy]
        if not waiting:
            return False
        longest = min(waiting, key=lambda each: each.since)
        self._forget(longest)
        with contextlib.suppress(OSError):  # it is gone already
            longest.shutdown(socket.SHUT_RDWR)  # whoever reads from it then closes it
        return True

    def _forget(self, connection: Connection) -> None:
        if self._open.get(connection.fileno()) is connection:
            del self._open[connection.fileno()]


class Listener(socket.socket):
    """A listening socket that gives only connections there is room for."""

    limits: Limits | None = None

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept a connection. ConnectionAbortedError if there is no room for it."""
        accepted, address = super().accept()
        connection = Connection(accepted.family, accepted.type, accepted.proto, fileno=accepted.detach())
        if self.limits is not None and not self.limits.admit(connection, place_of(address[0])):
            connection.close()
            raise ConnectionAbortedError
        return connection, address

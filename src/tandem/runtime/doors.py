"""The UDP sockets: one for each served interface, one for each address that is listened on.

Datagrams are taken in batches. The address that each was sent to is kept, so that a relay is answered from the
address that it asked.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import socket
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from ipaddress import IPv6Address
from typing import NamedTuple

from tandem.effects.effects import Send
from tandem.effects.events import MULTICAST, Datagram
from tandem.effects.problem import Problem, problem
from tandem.runtime.interfaces import addresses_by_interface, groups_by_interface, is_up, why_no_ipv6
from tandem.runtime.occurrences import Occurrences

SERVER_PORT = 547
RELAY_AGENTS_AND_SERVERS = IPv6Address("ff02::1:2").packed  # RFC 9915 7.1
SERVERS = IPv6Address("ff05::1:3").packed
TO_ALL = "what clients send to all servers"
GROUPS = (RELAY_AGENTS_AND_SERVERS, SERVERS)
DATAGRAM_MAX = 65_535
BATCH_MAX = 64
RECEIVE_BUFFER = 4 << 20
PKTINFO = struct.Struct("@16sI")
TIMESTAMP = struct.Struct("@ll")
SO_TIMESTAMPNS = 35  # <asm-generic/socket.h>; the socket module does not name it
ANCILLARY_MAX = socket.CMSG_SPACE(PKTINFO.size) + socket.CMSG_SPACE(TIMESTAMP.size)
PROBE_S = 1.0
APART_MIN_S = 0.5
APART_EACH_S = 1.0
"""How often the clocks are compared, at most, while datagrams seem to have waited."""
UNSPECIFIED = bytes(16)
UNLIMITED_FILES = 1 << 20
RESERVED_FILES = 128
"""Files that the process may open beside the sockets for clients: the store, partners, control connections."""


class Door(NamedTuple):
    """One socket. `interface` is the index of the interface that it is bound to, 0 if to none."""

    socket: socket.socket
    interface: int
    name: str


class Doors:
    """All sockets. `opened` is called with each new one, `closing` before one goes, `failed` with a sentence.

    What cannot be opened is a problem of its own, and is tried again by the next `serve`: one interface or address
    that fails keeps no other from being served.
    """

    def __init__(
        self,
        opened: Callable[[int, socket.socket], None],
        closing: Callable[[socket.socket], None],
        failed: Callable[[str], None],
    ) -> None:
        self._opened = opened
        self._closing = closing
        self._failed = failed
        self._doors: dict[int, Door] = {}
        self._last = 0
        self._endpoints: dict[str, tuple[str, int]] = {}
        """The wanted addresses and ports, by the names of their doors."""
        self._problems: dict[str, Problem] = {}
        """What is wrong with an interface or an address, by its name."""
        self.lost = Occurrences()
        """Replies that could not be sent."""
        self._apart_s = _clocks_apart_s()
        self._measured_s = 0.0
        """When the clocks were last compared because datagrams seemed to have waited, by the kernel's clock."""
        self._sockets_max = _raise_file_limit() - RESERVED_FILES

    def listen(self, endpoints: Iterable[tuple[str, int]]) -> None:
        """Want a door for each address and port."""
        self._endpoints = {f"[{host}]:{port}": (host, port) for host, port in endpoints}

    def serve(self, names: Iterable[str]) -> Mapping[int, tuple[str, tuple[int, ...]]]:
        """Open what is wanted and can be: doors for these interfaces and for the addresses; close other interfaces'.

        Return the interfaces that are served and up: names and addresses by index.
        """
        wanted = set(names)
        self._problems = {}
        by_index = dict(socket.if_nameindex())
        present = {index: name for index, name in by_index.items() if name in wanted}
        for number, door in list(self._doors.items()):
            is_wanted = present.get(door.interface) == door.name if door.interface else door.name in self._endpoints
            if not is_wanted:
                self._remove(number)
        self._open_endpoints()
        self._open_interfaces(present)
        addresses = addresses_by_interface()
        self._keep_groups(addresses.keys())
        for name in sorted(wanted.difference(present.values())):
            others = ", ".join(sorted(set(by_index.values()) - wanted)) or "no other"
            self._wrong("interface-missing", name, f"{name} does not exist on this machine, which has {others}.")
        up = {index: name for index, name in present.items() if is_up(name)}
        for name in sorted(set(present.values()).difference(up.values())):
            if name not in self._problems:
                self._wrong("interface-down", name, f"{name} is down or has no carrier.")
        served = {door.interface for door in self._doors.values()}
        return {index: (name, addresses.get(index, ())) for index, name in up.items() if index in served}

    def problems(self) -> Iterator[Problem]:
        """Return what is wrong with the sockets now."""
        yield from self._problems.values()
        now = int(time.time())
        since = self.lost.since(now)
        if since is not None:
            what = f"{self.lost.count} replies could not be sent; those clients got no answer."
            yield problem("replies-lost", what, since=since, until=self.lost.until, examples=self.lost.examples())

    @property
    def is_complete(self) -> bool:
        """True if all that is wanted is open and works."""
        return not self._problems

    def receive(self, number: int) -> list[Datagram]:
        """Take what waits at a door, at most BATCH_MAX datagrams."""
        door = self._doors.get(number)
        if door is None:
            return []
        taken: list[Datagram] = []
        receive, interface = door.socket.recvmsg, door.interface
        now_s = time.time() - self._apart_s
        try:
            while len(taken) < BATCH_MAX:
                data, ancillary, _, peer = receive(DATAGRAM_MAX, ANCILLARY_MAX)
                local, index, came_s = UNSPECIFIED, 0, now_s
                for level, kind, body in ancillary:
                    if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
                        local, index = PKTINFO.unpack(body)
                    elif level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
                        came_s = _stamp_s(body)
                taken.append(Datagram(data, peer[0], peer[1], interface or index, number, local, now_s - came_s))
        except BlockingIOError:
            pass
        except OSError as error:  # the interface went away, or an earlier answer was refused by its host
            self._failed(f"{door.name}: receiving failed: {error.strerror}")
        if taken and abs(taken[0].waited_s) > APART_MIN_S:
            self._measure_again(taken, now_s)
        return taken

    def _measure_again(self, taken: Iterable[Datagram], now_s: float) -> None:
        """Correct the waits if this process's clock has stepped away from the kernel's since it was last compared."""
        if now_s - self._measured_s < APART_EACH_S and now_s >= self._measured_s:
            return
        before, self._apart_s = self._apart_s, _clocks_apart_s()
        self._measured_s = time.time() - self._apart_s
        stepped_s = self._apart_s - before
        if abs(stepped_s) > APART_MIN_S:
            for datagram in taken:
                datagram.waited_s = max(0.0, datagram.waited_s - stepped_s)

    def send(self, sends: Iterable[Send]) -> int:
        """Send all that can be sent now and give how many could not; clients ask again."""
        lost = 0
        for each in sends:
            door = self._doors.get(each.door)
            if door is None:  # its interface went away, and with it whoever asked
                lost += 1
                continue
            target = (each.peer, each.port, 0, each.interface)
            try:
                if each.local[0] == MULTICAST:
                    door.socket.sendto(each.data, target)
                else:
                    source = PKTINFO.pack(each.local, door.interface)
                    door.socket.sendmsg([each.data], [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, source)], 0, target)
            except OSError as error:
                lost += 1
                self.lost.add(int(time.time()), f"to {each.peer} on {door.name}", error.strerror or str(error))
        return lost

    def close(self) -> None:
        """Close all doors."""
        for number in list(self._doors):
            self._remove(number)

    def _open_endpoints(self) -> None:
        is_open = {door.name for door in self._doors.values()}
        for name, (host, port) in self._endpoints.items():
            if name in is_open:
                continue
            try:
                self._add(host, port, 0, name)
            except OSError as error:
                self._not_opened(name, error, f"relayed messages to {name} are not answered")

    def _open_interfaces(self, present: Mapping[int, str]) -> None:
        served = {door.interface for door in self._doors.values()}
        for index, name in present.items():
            if index in served:
                continue
            try:
                number = self._add("::", SERVER_PORT, index, name)
            except OSError as error:
                self._not_opened(name, error, f"no client on {name} is answered")
            else:
                self._join(self._doors[number], GROUPS)

    def _keep_groups(self, with_addresses: Set[int]) -> None:
        """Join groups again that an interface lost: the kernel forgets them when IPv6 is turned off on it."""
        received = groups_by_interface()
        for door in self._doors.values():
            if door.interface and door.name not in self._problems:
                why = "" if door.interface in with_addresses else why_no_ipv6(door.name)
                if why:
                    self._wrong("multicast-lost", door.name, f"{door.name} does not receive {TO_ALL}: {why}.")
                    continue
                has = received.get(door.interface, frozenset()) if received is not None else frozenset[bytes]()
                missing = [group for group in GROUPS if group not in has]
                if missing:
                    self._join(door, missing)

    def _join(self, door: Door, groups: Iterable[bytes]) -> None:
        index = struct.pack("@I", door.interface)
        for group in groups:
            # The socket may still count as a member although the interface no longer receives the group.
            with contextlib.suppress(OSError):
                door.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_LEAVE_GROUP, group + index)
            try:
                door.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group + index)
            except OSError as error:
                why = why_no_ipv6(door.name) or error.strerror or str(error)
                self._wrong("multicast-lost", door.name, f"{door.name} does not receive {TO_ALL}: {why}.")
                return

    def _not_opened(self, name: str, error: OSError, means: str) -> None:
        """Record why a socket could not be opened."""
        port = name.rpartition(":")[2] if name in self._endpoints else str(SERVER_PORT)
        match error.errno:
            case errno.EADDRINUSE:
                command = f"ss -lunp 'sport = :{port}'"
                self._wrong("port-taken", name, f"Another program uses UDP port {port} on {name}; {means}.", command)
            case errno.EADDRNOTAVAIL if name in self._endpoints:
                host = self._endpoints[name][0]
                what = f"{host} is no address of this machine, or still tentative; {means}."
                self._wrong("listen-address-missing", name, what)
            case errno.EMFILE | errno.ENFILE:
                what = f"The process may open no more than {self._sockets_max + RESERVED_FILES} files; {means}."
                self._wrong("socket-failed", name, what, "systemctl edit tandem@NAME   # [Service] LimitNOFILE=")
            case errno.EACCES | errno.EPERM:
                what = f"The server may not open UDP port {port} on {name}; {means}."
                command = "systemctl edit tandem@NAME   # [Service] AmbientCapabilities=CAP_NET_BIND_SERVICE"
                self._wrong("socket-failed", name, what, command)
            case _:
                self._wrong("socket-failed", name, f"{name} cannot be opened: {error.strerror or error}; {means}.")

    def _wrong(self, id_: str, name: str, what: str, command: str = "") -> None:
        self._problems[name] = problem(id_, what, about=name, command=command)

    def _add(self, host: str, port: int, interface: int, name: str) -> int:
        """Open a door and return its number. OSError says why that is not possible."""
        if len(self._doors) >= self._sockets_max:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        opened = bind(host, port, name if interface else None)
        self._last += 1
        self._doors[self._last] = Door(opened, interface, name)
        self._opened(self._last, opened)
        return self._last

    def _remove(self, number: int) -> None:
        door = self._doors.pop(number)
        self._closing(door.socket)
        door.socket.close()


def bind(host: str, port: int, interface: str | None) -> socket.socket:
    """Open a socket on an address, or for what comes to servers over an interface. OSError if that is not possible."""
    opened = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        opened.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        _widen(opened)
        if interface is not None:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # other interfaces have doors of their own
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        opened.bind((host, port))
    except BaseException:
        opened.close()
        raise
    return opened


def _clocks_apart_s() -> float:
    """Measure how far this process's clock is ahead of the one that the kernel stamps datagrams by.

    They are the same but under libfaketime. 0 if there is no loopback to measure it by.
    """
    with contextlib.closing(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        probe.settimeout(PROBE_S)
        try:
            probe.bind(("::1", 0))
            probe.sendto(b"", probe.getsockname())
            _, ancillary, _, _ = probe.recvmsg(0, ANCILLARY_MAX)
        except OSError:
            return 0.0
        return time.time() - _stamp_s(ancillary[0][2])


def _stamp_s(stamp: bytes) -> float:
    """Read a SO_TIMESTAMPNS control message: UTC seconds."""
    seconds, nanoseconds = TIMESTAMP.unpack(stamp)
    return float(seconds + nanoseconds / 1e9)


def _widen(opened: socket.socket) -> None:
    """Ask for a receive buffer that holds a burst; more than the system's limit needs a right we may not have."""
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    with contextlib.suppress(OSError):
        opened.setsockopt(socket.SOL_SOCKET, getattr(socket, "SO_RCVBUFFORCE", 33), RECEIVE_BUFFER)


def _raise_file_limit() -> int:
    """Allow this process as many open files as it may have, and return how many that is."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return UNLIMITED_FILES if soft == resource.RLIM_INFINITY else soft

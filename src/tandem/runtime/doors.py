"""The UDP sockets: one for each served interface, one for each address that is listened on.

Datagrams are taken in batches. The address that each was sent to is kept, so that a relay is answered from the
address that it asked.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv6Address
from pathlib import Path
from typing import NamedTuple

from tandem.effects.effects import Send
from tandem.effects.events import MULTICAST, Datagram

SERVER_PORT = 547
RELAY_AGENTS_AND_SERVERS = IPv6Address("ff02::1:2").packed  # RFC 9915 7.1
SERVERS = IPv6Address("ff05::1:3").packed
DATAGRAM_MAX = 65_535
BATCH_MAX = 64
RECEIVE_BUFFER = 4 << 20
PKTINFO = struct.Struct("@16sI")
TIMESTAMP = struct.Struct("@ll")
SO_TIMESTAMPNS = 35  # <asm-generic/socket.h>; the socket module does not name it
ANCILLARY_MAX = socket.CMSG_SPACE(PKTINFO.size) + socket.CMSG_SPACE(TIMESTAMP.size)
PROBE_S = 1.0
UNSPECIFIED = bytes(16)
RTMGRP_LINK = 0x1
RTMGRP_IPV6_IFADDR = 0x100
INTERFACES = Path("/sys/class/net")
DOWN = ("down", "lowerlayerdown", "notpresent", "dormant")
IF_INET6 = Path("/proc/net/if_inet6")


class Door(NamedTuple):
    """One socket. `interface` is the index of the interface that it is bound to, 0 if to none."""

    socket: socket.socket
    interface: int
    name: str


class Doors:
    """All sockets. `opened` is called with each new one, `closing` before one goes, `failed` with a sentence."""

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
        self._complaints: set[str] = set()
        self._apart_s = _clocks_apart_s()

    def listen(self, endpoints: Iterable[tuple[str, int]]) -> None:
        """Open a door for each address and port. OSError if one cannot be."""
        for host, port in endpoints:
            self._add(bind(host, port, None), 0, f"[{host}]:{port}")

    def serve(self, names: Iterable[str]) -> Mapping[int, tuple[str, tuple[int, ...]]]:
        """Open doors for those of these interfaces that are there, close those of all others.

        Gives the interfaces that are served, and are not down: names and addresses by index.
        """
        wanted = set(names)
        present = {index: name for index, name in socket.if_nameindex() if name in wanted}
        for number, door in list(self._doors.items()):
            if door.interface and present.get(door.interface) != door.name:
                self._remove(number)
        served = {door.interface for door in self._doors.values()}
        for index, name in present.items():
            if index not in served:
                self._open_interface(index, name)
        served = {door.interface for door in self._doors.values()}
        addresses = _addresses_by_interface()
        return {
            index: (name, addresses.get(index, ()))
            for index, name in present.items()
            if index in served and _is_up(name)
        }

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
        return taken

    def send(self, sends: Iterable[Send]) -> int:
        """Send all that can be sent now and give how many could not; clients ask again."""
        lost = 0
        for each in sends:
            door = self._doors.get(each.door)
            if door is None:
                lost += 1
                continue
            target = (each.peer, each.port, 0, each.interface)
            try:
                if each.local[0] == MULTICAST:
                    door.socket.sendto(each.data, target)
                else:
                    source = PKTINFO.pack(each.local, door.interface)
                    door.socket.sendmsg([each.data], [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, source)], 0, target)
            except OSError:
                lost += 1
        return lost

    def close(self) -> None:
        """Close all doors."""
        for number in list(self._doors):
            self._remove(number)

    def _open_interface(self, index: int, name: str) -> None:
        try:
            self._add(bind("::", SERVER_PORT, name), index, name)
            self._complaints.discard(name)
        except OSError as error:
            if name not in self._complaints:
                self._complaints.add(name)
                self._failed(f"{name} cannot be served yet: {error.strerror}; it is tried again")

    def _add(self, opened: socket.socket, interface: int, name: str) -> None:
        self._last += 1
        self._doors[self._last] = Door(opened, interface, name)
        self._opened(self._last, opened)

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
        if interface is not None:
            index = struct.pack("@I", socket.if_nametoindex(interface))
            for group in (RELAY_AGENTS_AND_SERVERS, SERVERS):
                opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group + index)
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


def _is_up(name: str) -> bool:
    """Say whether an interface can carry anything, as far as the system knows."""
    try:
        return (INTERFACES / name / "operstate").read_text().strip() not in DOWN
    except OSError:
        return True


def _addresses_by_interface() -> dict[int, tuple[int, ...]]:
    """Read this machine's addresses, as numbers, by interface index."""
    found: dict[int, tuple[int, ...]] = {}
    with contextlib.suppress(FileNotFoundError):  # IPv6 is off
        for line in IF_INET6.read_text().splitlines():
            address, index, *_ = line.split()
            found[int(index, 16)] = (*found.get(int(index, 16), ()), int(address, 16))
    return found


def watch_interfaces() -> socket.socket:
    """Give a socket that becomes readable whenever a network interface or an address comes or goes."""
    watcher = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
    watcher.bind((0, RTMGRP_LINK | RTMGRP_IPV6_IFADDR))
    return watcher

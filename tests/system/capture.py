"""The DHCPv6 messages that cross a link, as a bystander reads them: no code is shared with the server."""

from __future__ import annotations

import contextlib
import enum
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv6Network

from limits import limit
from system.net import Host

ETH_P_ALL = 0x0003
ETH_P_IPV6 = 0x86DD
UDP = 17
PORTS = {546, 547}
# Where things stand in an Ethernet frame with IPv6 and UDP; nothing on our links adds extension headers.
ETHERTYPE_AT, NEXT_HEADER_AT, UDP_AT, DHCP_AT = 12, 20, 54, 62

SERVER_ID, IA_NA, IA_ADDRESS, STATUS, IA_PD, IA_PREFIX = 2, 3, 5, 13, 25, 26
# How many bytes an option has before the options that it holds (RFC 9915 21.4, 21.6, 21.21, 21.22).
BYTES_BEFORE_OPTIONS = {IA_NA: 12, IA_ADDRESS: 24, IA_PD: 12, IA_PREFIX: 25}


class Kind(enum.IntEnum):
    """The messages between clients and servers (RFC 9915 7.3)."""

    SOLICIT = 1
    ADVERTISE = 2
    REQUEST = 3
    CONFIRM = 4
    RENEW = 5
    REBIND = 6
    REPLY = 7
    RELEASE = 8
    DECLINE = 9
    RECONFIGURE = 10
    INFORMATION_REQUEST = 11


def _options(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Every option in `data` and, right after it, the options that it holds."""
    at = 0
    while at < len(data):
        code, size = struct.unpack_from("!HH", data, at)
        body = data[at + 4 : at + 4 + size]
        assert len(body) == size, f"option {code} is cut short"
        yield code, body
        if code in BYTES_BEFORE_OPTIONS:
            yield from _options(body[BYTES_BEFORE_OPTIONS[code] :])
        at += 4 + size


@dataclass(frozen=True)
class Message:
    """One message, as far as the tests look at it."""

    kind: Kind
    transaction: bytes
    server: str | None  # the server's DUID, as the configuration file spells it
    statuses: tuple[int, ...]
    leases: frozenset[IPv6Network]  # those with a valid lifetime; an address is a /128

    @classmethod
    def parse(cls, data: bytes) -> Message:
        """The message in a UDP payload."""
        server, statuses, leases = None, [], set()
        for code, body in _options(data[4:]):
            if code == SERVER_ID:
                server = body.hex(":")
            elif code == STATUS:
                statuses.append(int.from_bytes(body[:2]))
            elif code == IA_ADDRESS and any(body[20:24]):
                leases.add(IPv6Network((body[:16], 128)))
            elif code == IA_PREFIX and any(body[4:8]):
                leases.add(IPv6Network((body[9:25], body[8])))
        return cls(Kind(data[0]), data[1:4], server, tuple(statuses), frozenset(leases))

    def __str__(self) -> str:
        words = [self.kind.name, self.transaction.hex()]
        words += [f"server {self.server}"] if self.server else []
        words += [f"status {status}" for status in self.statuses]
        return " ".join(words + sorted(map(str, self.leases)))


class Capture:
    """The messages that an interface sends and receives, in their order, from the moment this is made."""

    def __init__(self, host: Host, interface: str) -> None:
        with host.inside():
            # Only ETH_P_ALL is shown what the interface itself sends.
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self._socket.bind((interface, ETH_P_ALL))
        self.seen: list[Message] = []

    def close(self) -> None:
        """Stop; what was seen stays."""
        self._socket.close()

    def forget(self) -> None:
        """Pass over what has come until now."""
        self._socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                self._take(self._socket.recv(65536))

    def sent(self, kind: Kind, within_s: float) -> Message:
        """The next message of this kind. What comes before it is passed over."""
        for message in self._messages(within_s):
            if message.kind is kind:
                return message
        raise AssertionError(f"no {kind.name} within {within_s:g} s; so far:\n{self}")

    def answered(self, kind: Kind, within_s: float) -> Message:
        """The Reply to the next message of this kind that gets one. What comes before it is passed over."""
        asked = set()
        for message in self._messages(within_s):
            if message.kind is kind:
                asked.add(message.transaction)
            elif message.kind is Kind.REPLY and message.transaction in asked:
                return message
        raise AssertionError(f"no {kind.name} was answered within {within_s:g} s; so far:\n{self}")

    def _messages(self, within_s: float) -> Iterator[Message]:
        """What comes next, as it comes, until the time is up."""
        deadline = time.monotonic() + limit(within_s)
        while (left_s := deadline - time.monotonic()) > 0:
            self._socket.settimeout(left_s)
            try:
                frame = self._socket.recv(65536)
            except TimeoutError:
                return
            if message := self._take(frame):
                yield message

    def _take(self, frame: bytes) -> Message | None:
        """Note a frame, and return the message in it, None if there is none."""
        if not _is_dhcp(frame):
            return None
        self.seen.append(Message.parse(frame[DHCP_AT:]))
        return self.seen[-1]

    def __str__(self) -> str:
        return "\n".join(f"  {message}" for message in self.seen)


def _is_dhcp(frame: bytes) -> bool:
    if len(frame) <= DHCP_AT or frame[NEXT_HEADER_AT] != UDP:
        return False
    (ethertype,) = struct.unpack_from("!H", frame, ETHERTYPE_AT)
    return ethertype == ETH_P_IPV6 and bool(PORTS & set(struct.unpack_from("!HH", frame, UDP_AT)))

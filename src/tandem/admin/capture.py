"""Clients' messages in a file that tcpdump or Wireshark wrote: what is in its frames, down to UDP."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from struct import unpack
from typing import Final, NamedTuple

from tandem.admin.client import CommandFailed
from tandem.admin.pcap import CaptureError, Frame, read_frames
from tandem.wire.text import show_address

SERVER_PORT: Final = 547
IPV6, PPPOE_SESSION, PPP_IPV6 = 0x86DD, 0x8864, 0x0057
VLAN: Final = frozenset((0x8100, 0x88A8, 0x9100))
IPV6_FAMILIES: Final = frozenset((10, 24, 28, 30))
"""AF_INET6 of Linux and the BSDs, as captures on their loopback interfaces have it."""
HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION, UDP = 0, 43, 44, 51, 60, 17
HEADERS_MAX: Final = 16
FRAGMENTED_MAX: Final = 64
"""Packets of which some fragments were seen, at most; the oldest is given up."""


class Captured(NamedTuple):
    """A message to servers and relays: its number in the file, from 1, who sent it, where to, and its octets."""

    number: int
    peer: str
    to: str
    data: bytes


class _Fragment(NamedTuple):
    next_header: int
    offset: int
    has_more: bool
    data: bytes


class _Fragments:
    """Puts packets together that were sent in fragments (RFC 8200 4.5)."""

    def __init__(self) -> None:
        self._known: dict[tuple[bytes, int], dict[int, _Fragment]] = {}

    def add(self, ends: bytes, header: bytes, data: bytes) -> tuple[int, bytes] | None:
        """Take a fragment between two addresses; return the next header and what it heads once all are there."""
        next_header, place, number = unpack("!BxHI", header)
        fragment = _Fragment(next_header, place & 0xFFF8, bool(place & 1), data)
        if not fragment.offset and not fragment.has_more:
            return next_header, data
        parts = self._known.setdefault((ends, number), {})
        parts[fragment.offset] = fragment
        whole = b""
        while (part := parts.get(len(whole))) is not None and (part.data or not part.has_more):
            whole += part.data
            if not part.has_more:
                del self._known[ends, number]
                return parts[0].next_header, whole
        if len(self._known) > FRAGMENTED_MAX:
            del self._known[next(iter(self._known))]
        return None


def read_capture(path: Path) -> Generator[Captured, None, None]:
    """Give all messages to servers in the file. CommandFailed says why it cannot be read."""
    fragments = _Fragments()
    try:
        with path.open("rb") as file:
            for frame in read_frames(file):
                found = _message(frame, fragments)
                if found is not None:
                    yield found
    except FileNotFoundError:
        raise CommandFailed(f"There is no file {path}.") from None
    except OSError as error:
        raise CommandFailed(f"{path} cannot be read: {error.strerror}.") from None
    except CaptureError as error:
        raise CommandFailed(f"{path} is not a capture that can be read: {error}.") from None


def _message(frame: Frame, fragments: _Fragments) -> Captured | None:
    """Return the message to servers in a frame; None if there is none, or it is not whole yet."""
    packet = _packet_of(frame)
    if len(packet) < 40 or packet[0] >> 4 != 6:
        return None
    size = unpack("!H", packet[4:6])[0]
    next_header, rest = packet[6], packet[40 : 40 + size] if size else packet[40:]
    source, destination = packet[8:24], packet[24:40]
    is_cut = len(rest) < size
    for _ in range(HEADERS_MAX):
        if next_header == UDP or len(rest) < 8:
            break
        if next_header in (HOP_BY_HOP, ROUTING, DESTINATION):
            next_header, rest = rest[0], rest[8 * (rest[1] + 1) :]
        elif next_header == AUTHENTICATION:
            next_header, rest = rest[0], rest[4 * (rest[1] + 2) :]
        elif next_header == FRAGMENT:
            whole = fragments.add(source + destination, rest[:8], rest[8:])
            if whole is None:
                return None
            next_header, rest = whole
        else:
            return None
    if next_header != UDP or len(rest) < 8:
        return None
    _, port, length, _ = unpack("!HHHH", rest[:8])
    if port != SERVER_PORT:
        return None
    if is_cut or length > len(rest):
        raise CaptureError(
            f"packet {frame.number} was cut off when it was captured; capture again, with `tcpdump -s 0`"
        )
    return Captured(frame.number, show_address(source), show_address(destination), rest[8 : max(length, 8)])


def _packet_of(frame: Frame) -> bytes:
    """Return the IPv6 packet in a frame, as far as one can tell; nothing if there is none. CaptureError by its link."""
    data = frame.data
    match frame.link_type:
        case 1:  # Ethernet
            return _by_ethertype(data, 12)
        case 113:  # Linux cooked
            return _by_ethertype(data, 14)
        case 276:  # Linux cooked, second version
            return data[20:] if data[:2] == IPV6.to_bytes(2) else b""
        case 101 | 12 | 14 | 229:  # IP alone
            return data
        case 0 | 108:  # loopback of the BSDs, in the byte order of the machine or of the network
            is_ipv6 = any(int.from_bytes(data[:4], order) in IPV6_FAMILIES for order in ("little", "big"))
            return data[4:] if is_ipv6 else b""
        case other:
            raise CaptureError(f"frames of link type {other} are not understood; capture on Ethernet, or on `any`")


def _by_ethertype(data: bytes, at: int) -> bytes:
    """Return the IPv6 packet behind an EtherType, VLAN tags and a PPPoE session passed over; else nothing."""
    while (kind := int.from_bytes(data[at : at + 2])) in VLAN:
        at += 4
    if kind == IPV6:
        return data[at + 2 :]
    if kind == PPPOE_SESSION and int.from_bytes(data[at + 8 : at + 10]) == PPP_IPV6:
        return data[at + 10 :]
    return b""

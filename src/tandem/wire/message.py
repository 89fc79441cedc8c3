"""Whole messages between bytes and values: for people, tests, simulated clients and relays.

The server's packet path does not decode whole messages; it uses `wire.received`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from struct import Struct

from tandem.wire.option import Option, read_options, show_option, write_options
from tandem.wire.options import RelayMessage
from tandem.wire.reader import Reader, WireError
from tandem.wire.text import show_address

HOP_COUNT_LIMIT = 8  # RFC 9915 7.6; the first hop-count is 0, so that there are up to nine relays
RELAY_HEADER = Struct("!BB16s16s")  # RFC 9915 section 9


class MessageType(IntEnum):
    """RFC 9915 7.3."""

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
    RELAY_FORW = 12
    RELAY_REPL = 13


RELAYED = (MessageType.RELAY_FORW, MessageType.RELAY_REPL)


@dataclass(frozen=True, slots=True)
class Message:
    """A message between a client and a server (RFC 9915 section 8)."""

    type: MessageType
    transaction_id: int
    options: tuple[Option, ...] = ()

    def write(self) -> bytes:
        """Give the message's octets."""
        return bytes((self.type,)) + self.transaction_id.to_bytes(3, "big") + write_options(self.options)


@dataclass(frozen=True, slots=True)
class Relayed:
    """A message between a relay agent and a server, and the message in it (RFC 9915 section 9)."""

    type: MessageType
    hop_count: int
    link_address: bytes
    peer_address: bytes
    options: tuple[Option, ...]
    message: Message | Relayed

    def write(self) -> bytes:
        """Give the message's octets, the message inside last."""
        header = RELAY_HEADER.pack(self.type, self.hop_count, self.link_address, self.peer_address)
        return header + write_options((*self.options, RelayMessage(self.message.write())))


def read_message(data: bytes) -> Message | Relayed:
    """Read a whole datagram, unwrapping what relays put around it. WireError if it breaks the format."""
    return _read_message(data, 0)


def _read_message(data: bytes, hops: int) -> Message | Relayed:
    reader = Reader(data)
    try:
        type_ = MessageType(data[0])
    except (ValueError, IndexError):
        raise WireError("the message type is not known") from None
    if type_ not in RELAYED:
        reader.take(1)
        return Message(type_, reader.uint(3), read_options(reader))
    if hops > HOP_COUNT_LIMIT:
        raise WireError(f"more than {HOP_COUNT_LIMIT + 1} relays")
    _, hop_count, link_address, peer_address = RELAY_HEADER.unpack(reader.take(RELAY_HEADER.size))
    options = read_options(reader)
    inside = [each.message for each in options if isinstance(each, RelayMessage)]
    if len(inside) != 1:
        raise WireError(f"a relay's message holds {len(inside)} messages and not one")
    others = tuple(each for each in options if not isinstance(each, RelayMessage))
    return Relayed(type_, hop_count, link_address, peer_address, others, _read_message(inside[0], hops + 1))


def show_message(message: Message | Relayed, indent: str = "") -> str:
    """Show a message for people: a line for the header, a line for each option, relayed ones indented."""
    deeper = indent + "  "
    if isinstance(message, Message):
        lines = [f"{indent}{message.type.name} xid={message.transaction_id:06x}"]
    else:
        link, peer = show_address(message.link_address), show_address(message.peer_address)
        lines = [f"{indent}{message.type.name} hops={message.hop_count} link={link} peer={peer}"]
    lines += [f"{deeper}{show_option(each)}" for each in message.options]
    if isinstance(message, Relayed):
        lines.append(show_message(message.message, deeper))
    return "\n".join(lines)

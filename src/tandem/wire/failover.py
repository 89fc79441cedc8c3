"""Messages between failover partners (RFC 8156 5.1 to 5.4), and their frames on a stream (RFC 5460 5.1)."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from struct import Struct
from typing import Final, NamedTuple, TypeVar

from tandem.wire.message import Message, MessageType
from tandem.wire.octets import u32
from tandem.wire.option import Option, read_options, show_option, write_options
from tandem.wire.options import Status
from tandem.wire.reader import Reader, WireError
from tandem.wire.times import EPOCH, to_wire

STARTTLS: Final = 23
"""RFC 7653 6.2.2; framed like the others, with the header of a client's message."""
SIZE: Final = Struct("!H")
HEADER_IN_FRAME: Final = Struct("!HB3sI")
"""The size of what follows, and of that the type, the transaction-id and the sent-time."""
HEADER_OCTETS: Final = HEADER_IN_FRAME.size - SIZE.size
SENT_TIME_AT: Final = SIZE.size + 4
MESSAGE_OCTETS_MAX: Final = 0xFFFF

AnyOption = TypeVar("AnyOption", bound=Option)


class FailoverType(IntEnum):
    """RFC 8156 5.3."""

    BNDUPD = 24
    BNDREPLY = 25
    POOLREQ = 26
    POOLRESP = 27
    UPDREQ = 28
    UPDREQALL = 29
    UPDDONE = 30
    CONNECT = 31
    CONNECTREPLY = 32
    DISCONNECT = 33
    STATE = 34
    CONTACT = 35


TYPES: Final = {int(each): each for each in FailoverType}


class UnknownMessageType(WireError):
    """The message is of a type that this version of the protocol does not know."""


class FailoverMessage(NamedTuple):
    """One message. `options` are its octets behind the header; `sent_time` is in UTC seconds, 0 until it is sent."""

    type: FailoverType
    transaction_id: int
    options: bytes
    sent_time: int = 0

    def write(self) -> bytes:
        """Give the message with its frame. WireError if it is too long."""
        return write_failover_message(self.type, self.transaction_id, self.options, self.sent_time)

    def read_options(self) -> tuple[Option, ...]:
        """Decode the options. WireError if one breaks its format."""
        return read_options(Reader(self.options))


def write_failover_message(type_: FailoverType, transaction_id: int, options: bytes, sent_time: int = 0) -> bytes:
    """Give a message with its frame; the time is stamped when it is sent. WireError if it is too long."""
    size = HEADER_OCTETS + len(options)
    if size > MESSAGE_OCTETS_MAX:
        raise WireError(f"a message of {size} octets does not fit into a frame")
    return HEADER_IN_FRAME.pack(size, type_, transaction_id.to_bytes(3, "big"), to_wire(sent_time)) + options


def read_failover_message(data: bytes) -> FailoverMessage:
    """Read what a frame held. WireError if it is no message between partners; the options are not looked at."""
    if len(data) < HEADER_OCTETS:
        raise WireError("a message is shorter than its header")
    known = TYPES.get(data[0])
    if known is None:
        raise UnknownMessageType(f"message type {data[0]} is not one of failover")
    return FailoverMessage(known, u32(data, 0) & 0xFFFFFF, data[HEADER_OCTETS:], u32(data, 4) + EPOCH)


def message(type_: FailoverType, transaction_id: int, options: Iterable[Option] = ()) -> FailoverMessage:
    """Make a message of declared options."""
    return FailoverMessage(type_, transaction_id, write_options(options))


def stamp(framed: bytes, utc_s: int) -> bytes:
    """Give a framed message with its sent-time set."""
    sent = ((utc_s - EPOCH) & 0xFFFFFFFF).to_bytes(4, "big")
    return framed[:SENT_TIME_AT] + sent + framed[SENT_TIME_AT + 4 :]


class Frames:
    """Takes a stream apart, however it is cut."""

    def __init__(self) -> None:
        self._octets = b""

    def feed(self, octets: bytes) -> list[bytes]:
        """Take octets in, and give what the frames held that are whole by now."""
        data = self._octets + octets
        found, at = [], 0
        while at + SIZE.size <= len(data):
            end = at + SIZE.size + SIZE.unpack_from(data, at)[0]
            if end > len(data):
                break
            found.append(data[at + SIZE.size : end])
            at = end
        self._octets = data[at:]
        return found


def find(options: Iterable[Option], wanted: type[AnyOption]) -> AnyOption | None:
    """Give the first option of a class, None if there is none."""
    return next((each for each in options if isinstance(each, wanted)), None)


def write_starttls(transaction_id: int) -> bytes:
    """Give a framed STARTTLS (RFC 7653 6.2.2)."""
    data = bytes((STARTTLS,)) + transaction_id.to_bytes(3, "big")
    return SIZE.pack(len(data)) + data


def is_starttls(data: bytes) -> bool:
    """Say whether a frame held a STARTTLS; its options are ignored (RFC 7653 6.2.2)."""
    return len(data) >= 4 and data[0] == STARTTLS


def answer_starttls(data: bytes, refusal: Status | None) -> bytes:
    """Give the framed REPLY to a STARTTLS: without a status it is a yes (RFC 7653 9.1)."""
    options = () if refusal is None else (refusal,)
    reply = Message(MessageType.REPLY, int.from_bytes(data[1:4], "big"), options).write()
    return SIZE.pack(len(reply)) + reply


def show_failover_message(shown: FailoverMessage) -> str:
    """Show a message for people: a line for the header, a line for each option."""
    lines = [f"{shown.type.name} xid={shown.transaction_id:06x}"]
    try:
        lines += [f"  {show_option(each)}" for each in shown.read_options()]
    except WireError as error:
        lines.append(f"  malformed: {error}")
    return "\n".join(lines)

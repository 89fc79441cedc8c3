"""The packet path's view of a datagram: indexed once, and only what every answer needs is decoded.

`unwrap` walks through what relays put around a client's message; `read_client_message` indexes that message.
Everything else stays octets until somebody asks for it with `body`.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from tandem.wire import codes
from tandem.wire.message import HOP_COUNT_LIMIT, RELAY_HEADER, RELAYED, MessageType
from tandem.wire.octets import index_options
from tandem.wire.options import IaAddress, IaNa, IaPrefix
from tandem.wire.reader import WireError

IAS_MAX: Final = 32
"""Identity associations in one message; a client may hold no more leases than that."""
ASKED_MAX: Final = 64
"""Leases that a client may name in one message."""
REQUESTED_OCTETS_MAX: Final = 512
"""Of an option request that is longer, the rest is not looked at: 256 options are enough for anybody."""
DUID_OCTETS_MAX: Final = 130
"""RFC 9915 11.1: a type of two octets and up to 128 behind it."""

ADDRESS_LENGTH: Final = 128
CLIENT_HEADER_OCTETS: Final = 4
IA_HEADER: Final = IaNa.fixed
IA_ADDRESS: Final = IaAddress.fixed
IA_PREFIX: Final = IaPrefix.fixed

Index = list[tuple[int, int, int]]


class Ia:
    """One IA_NA or IA_PD of a client's message.

    `asked` are the leases it names, each as one number: address << 8 | prefix length (128 for an address).
    """

    __slots__ = ("asked", "code", "iaid")

    def __init__(self, code: int, iaid: int, asked: tuple[int, ...]) -> None:
        self.code = code
        self.iaid = iaid
        self.asked = asked


class Relay(NamedTuple):
    """One Relay-forward header and the index of its options."""

    hop_count: int
    link_address: bytes
    peer_address: bytes
    options: Index


class ClientMessage:
    """A client's message. `client_id`, `server_id` and `requested` are bodies of options, empty if missing.

    `client_id_option` is the client's identifier with its header, as it goes into each answer.
    """

    __slots__ = (
        "client_id",
        "client_id_option",
        "data",
        "ias",
        "options",
        "requested",
        "server_id",
        "transaction_id",
        "type",
    )

    def __init__(self, data: bytes, type_: int, transaction_id: bytes, options: Index) -> None:
        self.data = data
        self.type = type_
        self.transaction_id = transaction_id
        self.options = options
        self.client_id = b""
        self.client_id_option = b""
        self.server_id = b""
        self.requested = b""
        self.ias: list[Ia] = []

    def body(self, code: int) -> bytes | None:
        """Give the body of the first option with that code, or None."""
        return body_of(self.data, self.options, code)


def body_of(data: bytes, options: Index, code: int) -> bytes | None:
    """Give the body of the first option with that code, or None."""
    for found, start, end in options:
        if found == code:
            return data[start:end]
    return None


def unwrap(data: bytes) -> tuple[list[Relay], int, int]:
    """Give the relays around a client's message, outermost first, and where that message starts and ends.

    Raises WireError if a header is cut off, a relay carries no message, or there are more than
    HOP_COUNT_LIMIT relays (RFC 9915 7.6 and section 9).
    """
    relays: list[Relay] = []
    start, end = 0, len(data)
    while end > start and data[start] == MessageType.RELAY_FORW:
        if len(relays) == HOP_COUNT_LIMIT:
            raise WireError(f"more than {HOP_COUNT_LIMIT} relays")
        options_start = start + RELAY_HEADER.size
        if options_start > end:
            raise WireError("a relay's header is cut off")
        _, hop_count, link_address, peer_address = RELAY_HEADER.unpack_from(data, start)
        options = index_options(data, options_start, end)
        relays.append(Relay(hop_count, link_address, peer_address, options))
        for code, body, body_end in options:
            if code == codes.RELAY_MESSAGE:
                start, end = body, body_end
                break
        else:
            raise WireError("a relay's message holds no message")
    return relays, start, end


def read_client_message(data: bytes, start: int, end: int) -> ClientMessage:
    """Index the client's message in data[start:end]. WireError if what every answer needs is malformed.

    A message of relays or servers is no client's; it is not looked into, and has no options here.
    """
    if end - start < CLIENT_HEADER_OCTETS:
        raise WireError("a message is shorter than its header")
    if data[start] in RELAYED:
        return ClientMessage(data, data[start], b"", [])
    options = index_options(data, start + CLIENT_HEADER_OCTETS, end)
    message = ClientMessage(data, data[start], data[start + 1 : start + CLIENT_HEADER_OCTETS], options)
    for code, body, body_end in options:
        if code == codes.CLIENT_ID:
            message.client_id = _read_duid(message.client_id, data[body:body_end])
            message.client_id_option = data[body - 4 : body_end]
        elif code == codes.SERVER_ID:
            message.server_id = _read_duid(message.server_id, data[body:body_end])
        elif code == codes.IA_NA or code == codes.IA_PD:
            message.ias.append(_read_ia(data, code, body, body_end))
        elif code == codes.OPTION_REQUEST:
            message.requested = data[body : min(body_end, body + REQUESTED_OCTETS_MAX)]
    _check_ias(message.ias)
    return message


def _check_ias(ias: list[Ia]) -> None:
    if len(ias) > IAS_MAX:
        raise WireError(f"more than {IAS_MAX} identity associations")
    if len(ias) > 1 and len({(ia.code, ia.iaid) for ia in ias}) < len(ias):
        raise WireError("an identity association stands in the message twice")
    if sum(len(ia.asked) for ia in ias) > ASKED_MAX:
        raise WireError(f"more than {ASKED_MAX} leases in one message")


def _read_duid(seen: bytes, duid: bytes) -> bytes:
    if seen:
        raise WireError("an identifier stands in the message twice")
    if not 2 < len(duid) <= DUID_OCTETS_MAX:
        raise WireError(f"a DUID of {len(duid)} octets")
    return duid


def _read_ia(data: bytes, code: int, start: int, end: int) -> Ia:
    at = start + IA_HEADER.size
    if at > end:
        raise WireError("an identity association is cut off")
    iaid, _, _ = IA_HEADER.unpack_from(data, start)
    if at == end:
        return Ia(code, iaid, ())
    asked: list[int] = []
    for found, body, to in index_options(data, at, end):
        if found == codes.IA_ADDRESS and code == codes.IA_NA:
            asked.append(_read_ia_address(data, body, to))
        elif found == codes.IA_PREFIX and code == codes.IA_PD:
            asked.append(_read_ia_prefix(data, body, to))
    return Ia(code, iaid, tuple(asked))


def _read_ia_address(data: bytes, start: int, end: int) -> int:
    if start + IA_ADDRESS.size > end:
        raise WireError("an IA Address option is cut off")
    return int.from_bytes(data[start : start + 16], "big") << 8 | ADDRESS_LENGTH


def _read_ia_prefix(data: bytes, start: int, end: int) -> int:
    if start + IA_PREFIX.size > end:
        raise WireError("an IA Prefix option is cut off")
    length = data[start + 8]
    if length >= ADDRESS_LENGTH:
        raise WireError(f"a prefix to delegate of length {length}")
    return int.from_bytes(data[start + 9 : start + 25], "big") << 8 | length

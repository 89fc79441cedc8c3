"""The packet path's view of a datagram: indexed once, and only what every answer needs is decoded.

`unwrap` walks through what relays put around a client's message; `read_client_message` indexes that message.
Everything else stays octets until somebody asks for it with `body`.

A part that breaks its format costs that part and not the message: it is left out and listed in `ignored`, and what
is left is answered. Only what names no message at all is a WireError.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from tandem.wire import codes
from tandem.wire.message import HOP_COUNT_LIMIT, RELAY_HEADER, RELAYED, MessageType
from tandem.wire.octets import scan_options
from tandem.wire.options import IaAddress, IaNa, IaPrefix
from tandem.wire.reader import WireError

IAS_MAX: Final = 128
"""Identity associations of one message that are decided on; those beyond are answered with a status. No client may
be allowed more leases than that: a Reply, and an update to a partner, have to stay well under 64 KB."""
EXCESS_IAS_MAX: Final = 1024
"""Identity associations beyond IAS_MAX that are answered at all."""
ASKED_MAX: Final = 128
"""Leases named in one message that are looked at."""
RELAY_OPTIONS_MAX: Final = 256
"""Options in one relay header that are looked at; the message has to be among them."""
IA_OPTIONS_MAX: Final = 256
"""Options in one identity association that are looked at."""
IGNORED_MAX: Final = 64
"""Ignored parts of one message that are listed."""
RELAYS_MAX: Final = HOP_COUNT_LIMIT + 1
"""Relay headers around a message: a relay agent forwards one whose hop-count is below the limit (RFC 9915 19.1.2)."""
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


class Ignored(NamedTuple):
    """A part of a message that breaks its format and is left out. `reason` is a stable name for counters and logs."""

    reason: str
    code: int
    """The option's code; 0 if not even that is there."""


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

    `client_id_option` is the client's identifier with its header, as it goes into each answer. `excess_ias` are
    identity associations beyond IAS_MAX. `ignored` lists the parts that are left out, in the relays' headers too.
    """

    __slots__ = (
        "client_id",
        "client_id_option",
        "data",
        "excess_ias",
        "ias",
        "ignored",
        "options",
        "requested",
        "server_id",
        "transaction_id",
        "type",
    )

    def __init__(
        self, data: bytes, type_: int, transaction_id: bytes, options: Index, ignored: list[Ignored] | None = None
    ) -> None:
        self.data = data
        self.type = type_
        self.transaction_id = transaction_id
        self.options = options
        self.client_id = b""
        self.client_id_option = b""
        self.server_id = b""
        self.requested = b""
        self.ias: list[Ia] = []
        self.excess_ias: list[Ia] = []
        self.ignored = [] if ignored is None else ignored

    def body(self, code: int) -> bytes | None:
        """Give the body of the first option with that code, or None."""
        return body_of(self.data, self.options, code)


def body_of(data: bytes, options: Index, code: int) -> bytes | None:
    """Give the body of the first option with that code, or None."""
    for found, start, end in options:
        if found == code:
            return data[start:end]
    return None


def unwrap(data: bytes, ignored: list[Ignored] | None = None) -> tuple[list[Relay], int, int]:
    """Give the relays around a client's message, outermost first, and where that message starts and ends.

    Raises WireError if a header is cut off, a relay carries no message, or there are more than RELAYS_MAX relays.
    """
    relays: list[Relay] = []
    start, end = 0, len(data)
    while end > start and data[start] == MessageType.RELAY_FORW:
        if len(relays) == RELAYS_MAX:
            raise WireError(f"more than {RELAYS_MAX} relays")
        options_start = start + RELAY_HEADER.size
        if options_start > end:
            raise WireError("a relay's header is cut off")
        _, hop_count, link_address, peer_address = RELAY_HEADER.unpack_from(data, start)
        options, stopped = scan_options(data, options_start, end, RELAY_OPTIONS_MAX)
        if stopped < end and ignored is not None:
            _ignore(ignored, *_left_over(data, stopped, end))
        relays.append(Relay(hop_count, link_address, peer_address, options))
        for code, body, body_end in options:
            if code == codes.RELAY_MESSAGE:
                start, end = body, body_end
                break
        else:
            raise WireError("a relay's message holds no message")
    return relays, start, end


def read_client_message(data: bytes, start: int, end: int, ignored: list[Ignored] | None = None) -> ClientMessage:
    """Index the client's message in data[start:end]; `ignored` is what was left out of the headers around it.

    A message of relays or servers is no client's; it is not looked into, and has no options here. Raises WireError
    if the message is shorter than its header.
    """
    if end - start < CLIENT_HEADER_OCTETS:
        raise WireError("a message is shorter than its header")
    if data[start] in RELAYED:
        return ClientMessage(data, data[start], b"", [], ignored)
    options, stopped = scan_options(data, start + CLIENT_HEADER_OCTETS, end)
    transaction_id = data[start + 1 : start + CLIENT_HEADER_OCTETS]
    message = ClientMessage(data, data[start], transaction_id, options, ignored)
    if stopped < end:
        _ignore(message.ignored, *_left_over(data, stopped, end))
    for code, body, body_end in options:
        if code == codes.CLIENT_ID:
            if message.client_id or not 2 < body_end - body <= DUID_OCTETS_MAX:
                _ignore_identifier(message, code)
            else:
                message.client_id = data[body:body_end]
                message.client_id_option = data[body - 4 : body_end]
        elif code == codes.SERVER_ID:
            if message.server_id:
                _ignore_identifier(message, code)
            else:
                message.server_id = data[body:body_end]  # of whatever length: one that is not ours
        elif code == codes.IA_NA or code == codes.IA_PD:
            _add_ia(message, code, body, body_end)
        elif code == codes.OPTION_REQUEST:
            if message.requested:
                _ignore(message.ignored, "option-repeated", code)
            else:
                message.requested = data[body : min(body_end, body + REQUESTED_OCTETS_MAX)]
    if len(message.ias) > 1:
        _merge_ias(message)
    return message


def _left_over(data: bytes, at: int, end: int) -> tuple[str, int]:
    """Describe what stands behind the last listed option: too many, one that is cut off, or less than a header."""
    if at + 4 > end:
        return "option-cut-off", 0
    size = data[at + 2] << 8 | data[at + 3]
    return "option-cut-off" if at + 4 + size > end else "too-many-options", data[at] << 8 | data[at + 1]


def _ignore(ignored: list[Ignored], reason: str, code: int) -> None:
    """List a part that is left out, unless there are many already."""
    if len(ignored) < IGNORED_MAX:
        ignored.append(Ignored(reason, code))


def _ignore_identifier(message: ClientMessage, code: int) -> None:
    """Leave out an identifier: one that is no DUID, or a second one."""
    seen = message.client_id if code == codes.CLIENT_ID else message.server_id
    _ignore(message.ignored, "option-repeated" if seen else "duid-length", code)


def _add_ia(message: ClientMessage, code: int, start: int, end: int) -> None:
    data, at = message.data, start + IA_HEADER.size
    if len(message.ias) >= IAS_MAX + EXCESS_IAS_MAX:
        return
    if at > end:
        _ignore(message.ignored, "option-too-short", code)
        return
    iaid, _, _ = IA_HEADER.unpack_from(data, start)
    if at == end:
        message.ias.append(Ia(code, iaid, ()))
        return
    wanted = codes.IA_ADDRESS if code == codes.IA_NA else codes.IA_PREFIX
    options, stopped = scan_options(data, at, end, IA_OPTIONS_MAX)
    if stopped < end:
        _ignore(message.ignored, *_left_over(data, stopped, end))
    asked: list[int] = []
    for found, body, to in options:
        if found == wanted:
            key = _key_of_address(data, body, to) if code == codes.IA_NA else _key_of_prefix(data, body, to)
            if isinstance(key, int):
                asked.append(key)
            else:
                _ignore(message.ignored, key, wanted)
    if len(asked) > ASKED_MAX:
        _ignore(message.ignored, "too-many-leases", code)
        del asked[ASKED_MAX:]
    message.ias.append(Ia(code, iaid, tuple(dict.fromkeys(asked))))


def _key_of_address(data: bytes, start: int, end: int) -> int | str:
    """Return the key of the address in an IA Address option, or why there is none."""
    if start + IA_ADDRESS.size > end:
        return "option-too-short"
    return int.from_bytes(data[start : start + 16], "big") << 8 | ADDRESS_LENGTH


def _key_of_prefix(data: bytes, start: int, end: int) -> int | str:
    """Return the key of the prefix in an IA Prefix option, or why there is none.

    Bits behind the prefix length name no other prefix, so they are cleared.
    """
    if start + IA_PREFIX.size > end:
        return "option-too-short"
    length = data[start + 8]
    if length >= ADDRESS_LENGTH:
        return "prefix-length"
    host_bits = ADDRESS_LENGTH - length
    return (int.from_bytes(data[start + 9 : start + 25], "big") >> host_bits << host_bits) << 8 | length


def _merge_ias(message: ClientMessage) -> None:
    """Join identity associations that stand in the message twice, and keep to what one message may ask for."""
    found: dict[tuple[int, int], Ia] = {}
    room = ASKED_MAX
    for ia in message.ias:
        if len(ia.asked) > room:
            _ignore(message.ignored, "too-many-leases", ia.code)
            ia.asked = ia.asked[:room]
        room -= len(ia.asked)
        first = found.setdefault((ia.code, ia.iaid), ia)
        if first is not ia:
            _ignore(message.ignored, "ia-repeated", ia.code)
            first.asked = tuple(dict.fromkeys((*first.asked, *ia.asked)))
    ias = list(found.values())
    message.ias, message.excess_ias = ias[:IAS_MAX], ias[IAS_MAX : IAS_MAX + EXCESS_IAS_MAX]
    if len(ias) > IAS_MAX:
        _ignore(message.ignored, "too-many-ias", ias[IAS_MAX].code)

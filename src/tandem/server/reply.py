"""Builds the octets of answers, and wraps them for the relays they go back through."""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct
from typing import Final

from tandem.lease.lease import address_of
from tandem.lease.promise import Lifetimes
from tandem.server.bindings import STATUS_TEXTS, Decision
from tandem.server.client import Client
from tandem.server.policy import codes_in, exclude_option
from tandem.wire import codes
from tandem.wire.message import RELAY_HEADER, MessageType
from tandem.wire.octets import write_option
from tandem.wire.option import read_options
from tandem.wire.options import (
    InterfaceId,
    RelayMessage,
    RelayPort,
    Status,
    StatusCode,
)
from tandem.wire.reader import Reader, WireError
from tandem.wire.received import Ia, Relay, body_of

ECHO_REQUEST: Final = 43  # RFC 4994: options that the relay wants back
IA: Final = Struct("!HHIII")
IA_ADDRESS: Final = Struct("!HH16sII")
IA_PREFIX: Final = Struct("!HHIIB16s")


def status_option(status: StatusCode, text: str = "") -> bytes:
    """Encode a Status Code option with its usual text, or another."""
    return write_option(Status.code, Status(status, text or STATUS_TEXTS[status]).body())


def write_client_message(type_: MessageType, client: Client, server_id: bytes, parts: Iterable[bytes]) -> bytes:
    """Build an Advertise or Reply to the client's message; `server_id` and `parts` are encoded options."""
    message = client.message
    return b"".join(
        (
            bytes((type_,)),
            message.transaction_id,
            message.client_id_option,
            server_id,
            *parts,
        )
    )


def write_ia(client: Client, decision: Decision, t1: int, t2: int) -> bytes:
    """Encode what an identity association is told; without a lease that lives, T1 and T2 are 0."""
    code = decision.ia.code
    body = b""
    lives = False
    for told in decision.told:
        key, lifetimes = told.key, told.lifetimes
        lives = lives or lifetimes.valid_s > 0
        if code == codes.IA_NA:
            body += _write_address(key, lifetimes)
        else:
            body += _write_prefix(key, lifetimes, exclude_option(client, key, told.home) if told.home else b"")
    if decision.status is not StatusCode.SUCCESS:
        body += status_option(decision.status)
    if not lives:
        t1 = t2 = 0
    return IA.pack(code, 12 + len(body), decision.ia.iaid, t1, t2) + body


def write_ia_status(ia: Ia, status: StatusCode) -> bytes:
    """Encode an identity association that gets a bare status, without a text: there may be many of them."""
    body = write_option(Status.code, Status(status, "").body())
    return IA.pack(ia.code, 12 + len(body), ia.iaid, 0, 0) + body


def _write_address(key: int, lifetimes: Lifetimes) -> bytes:
    return IA_ADDRESS.pack(codes.IA_ADDRESS, 24, address_of(key), lifetimes.preferred_s, lifetimes.valid_s)


def _write_prefix(key: int, lifetimes: Lifetimes, exclude: bytes) -> bytes:
    preferred_s, valid_s, _, _ = lifetimes
    size = 25 + len(exclude)
    return IA_PREFIX.pack(codes.IA_PREFIX, size, preferred_s, valid_s, key & 0xFF, address_of(key)) + exclude


def wrap(data: bytes, relays: list[Relay], answer: bytes) -> bytes:
    """Wrap an answer in a Relay-reply for each relay that the question came through (RFC 9915 19.3).

    `data` is the datagram that the relays' options are indexed in. Echoed are the Interface-Id (18.3.10), the
    relay's source port (RFC 8357 5.2) and whatever the relay asks to have echoed (RFC 4994).
    """
    for relay in reversed(relays):
        header = RELAY_HEADER.pack(MessageType.RELAY_REPL, relay.hop_count, relay.link_address, relay.peer_address)
        answer = b"".join((header, _echoed(data, relay), write_option(RelayMessage.code, answer)))
    return answer


def _echoed(data: bytes, relay: Relay) -> bytes:
    echoed = {InterfaceId.code, RelayPort.code}
    for code, start, end in relay.options:
        if code == ECHO_REQUEST:
            echoed.update(codes_in(data[start:end]))
    echoed.discard(RelayMessage.code)
    if relay_port(data, relay) is None:
        echoed.discard(RelayPort.code)
    return b"".join(
        data[start - 4 : end]
        for code, start, end in relay.options
        if code in echoed and (code == InterfaceId.code or _is_whole(data[start - 4 : end]))
    )


def _is_whole(option: bytes) -> bool:
    """True if an option of a relay has the format of its code: a damaged one is not sent back."""
    try:
        read_options(Reader(option))
    except WireError:
        return False
    return True


def relay_port(data: bytes, relay: Relay) -> int | None:
    """Give what the relay's Relay Source Port option says (RFC 8357), None if it has none, or not a right one."""
    body = body_of(data, relay.options, RelayPort.code)
    return int.from_bytes(body, "big") if body is not None and len(body) == RelayPort.fixed.size else None

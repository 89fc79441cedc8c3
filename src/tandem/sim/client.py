"""A simulated client and a simulated relay, pure: the same ones drive tests, load and demo.

A client says what it sends next and takes in what it gets; who carries the octets, and when, is up to its user.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from tandem.lease.lease import key_of
from tandem.wire.message import Message, MessageType, Relayed, read_message
from tandem.wire.option import Option
from tandem.wire.options import (
    ClientId,
    ElapsedTime,
    IaAddress,
    IaNa,
    IaPd,
    IaPrefix,
    OptionRequest,
    RelayPort,
    ServerId,
    Status,
    StatusCode,
)

DNS_SERVERS = 23
DOMAIN_SEARCH = 24
SOL_MAX_RT = 82
ASKED_FOR = OptionRequest((DNS_SERVERS, DOMAIN_SEARCH, SOL_MAX_RT))


class SimClient:
    """A client with one IA_NA and, if wanted, one IA_PD.

    `leases` are the keys it may use now, `offered_keys` those that were last advertised to it.
    """

    def __init__(self, number: int, with_prefix: bool = True) -> None:
        self.duid = b"\0\3\0\1\2\0" + number.to_bytes(4, "big")
        self.leases: tuple[int, ...] = ()
        self.offered_keys: tuple[int, ...] = ()
        self._ias: tuple[Option, ...] = (IaNa(1), IaPd(2)) if with_prefix else (IaNa(1),)
        self._server: bytes | None = None
        self._transaction_id = number & 0xFFFF

    def solicit(self) -> Message:
        """Ask who is there."""
        self._server = None
        return self._ask(MessageType.SOLICIT)

    def request(self) -> Message:
        """Ask for what was advertised."""
        return self._ask(MessageType.REQUEST)

    def renew(self) -> Message:
        """Ask the server that gave the leases to extend them."""
        return self._ask(MessageType.RENEW)

    def rebind(self) -> Message:
        """Ask any server to extend the leases."""
        self._server = None
        return self._ask(MessageType.REBIND)

    def release(self) -> Message:
        """Give the leases back."""
        return self._ask(MessageType.RELEASE)

    def take(self, message: Message) -> bool:
        """Take in an answer; say whether it is one to the last question, and a good one."""
        if message.transaction_id != self._transaction_id or ClientId(self.duid) not in message.options:
            return False
        self._server = next((each.duid for each in message.options if isinstance(each, ServerId)), None)
        ias = tuple(each for each in message.options if isinstance(each, IaNa | IaPd))
        if ias:
            self._ias = tuple(type(ia)(ia.iaid, 0, 0, _lease_options(ia)) for ia in ias)
        keys = tuple(given_in(message))
        if message.type is MessageType.REPLY:
            self.leases = keys
        else:
            self.offered_keys = keys
        return _is_success(message.options)

    def _ask(self, type_: MessageType) -> Message:
        self._transaction_id = (self._transaction_id + 0x10001) & 0xFFFFFF
        server = () if self._server is None else (ServerId(self._server),)
        options = (ClientId(self.duid), *server, ElapsedTime(0), ASKED_FOR, *self._ias)
        return Message(type_, self._transaction_id, options)


class SimRelay:
    """A relay on the link of `link_address` that is answered at the port it sends from (RFC 8357)."""

    def __init__(self, link_address: bytes) -> None:
        self._link_address = link_address

    def forward(self, message: Message, duid: bytes) -> bytes:
        """Wrap the message of a client of that DUID for the server."""
        peer = b"\xfe\x80" + bytes(8) + duid[-6:]
        options = (RelayPort(0),)
        return Relayed(MessageType.RELAY_FORW, 0, self._link_address, peer, options, message).write()

    def unwrap(self, data: bytes) -> Message | None:
        """Give the message for the client that is in the server's answer, None if there is none."""
        answer = read_message(data)
        return answer.message if isinstance(answer, Relayed) and isinstance(answer.message, Message) else None


@lru_cache(maxsize=256)
def unwrap(data: bytes) -> Message:
    """Give the message between client and server in a datagram, whatever relays put around it. WireError if none."""
    carried = read_message(data)
    while isinstance(carried, Relayed):
        carried = carried.message
    return carried


def leases_in(message: Message) -> Iterator[tuple[int, int]]:
    """Give the key and the valid lifetime in seconds of each lease in a message; 0 s is one not to be used."""
    for ia in message.options:
        for each in ia.options if isinstance(ia, IaNa | IaPd) else ():
            if isinstance(each, IaAddress):
                yield key_of(int.from_bytes(each.address, "big")), each.valid
            elif isinstance(each, IaPrefix):
                yield key_of(int.from_bytes(each.prefix, "big"), each.length), each.valid


def given_in(message: Message) -> dict[int, int]:
    """Give the leases that a message lets its client use: by key, the valid lifetime in seconds."""
    return {key: valid_s for key, valid_s in leases_in(message) if valid_s}


def _lease_options(ia: IaNa | IaPd) -> tuple[Option, ...]:
    return tuple(each for each in ia.options if isinstance(each, IaAddress | IaPrefix))


def _is_success(options: tuple[Option, ...]) -> bool:
    statuses = [each for each in options if isinstance(each, Status)]
    for ia in options:
        if isinstance(ia, IaNa | IaPd):
            statuses += [each for each in ia.options if isinstance(each, Status)]
    return all(each.status == StatusCode.SUCCESS for each in statuses)

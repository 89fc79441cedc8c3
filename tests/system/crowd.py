"""Clients that ask without a pause through a relay, and remember every promise that they were given.

Each question carries a name of its own as the client's FQDN. The server keeps it with the lease, so what is found
on disk tells which question it is the answer to.
"""

from __future__ import annotations

import dataclasses
import random
import socket
import time
from collections.abc import Iterable, Mapping
from ipaddress import IPv6Address, IPv6Network
from typing import Any, NamedTuple

from limits import limit
from tandem.lease.change import Change, Put
from tandem.lease.lease import BindingStatus, key_of, unpack
from tandem.sim.client import SimClient, SimRelay, given_in
from tandem.wire.message import Message, MessageType
from tandem.wire.option import read_options
from tandem.wire.options import ClientFqdn, ClientId
from tandem.wire.reader import Reader
from tandem.wire.text import read_octets

LINK_ADDRESS = IPv6Address("2001:db8:1::1").packed
ASK_AGAIN_S = 0.3
NEXT_STEPS = ("renew", "renew", "rebind", "release")


class Question(NamedTuple):
    """What a client asked. `keys` are the leases that it had then."""

    duid: bytes
    name: str
    type: MessageType
    asked_utc: int
    keys: tuple[int, ...]


class Promise(NamedTuple):
    """What a REPLY promised: that each of these leases is the client's at least until then, or, if 0, no longer."""

    question: Question
    leases: Mapping[int, int]


class Held(NamedTuple):
    """What is known of a lease after a crash."""

    duid: bytes
    is_active: bool
    until: int
    name: str | None


class Seat:
    """Where one client after another asks. One question is open at any time."""

    def __init__(self, client: SimClient, message: Message, question: Question) -> None:
        self.client = client
        self.message = message
        self.question = question


class Crowd:
    """Some seats, one relay, one socket. Everything random comes from the seed."""

    def __init__(self, server: tuple[str, int], seats: int, seed: int, first_client: int = 1) -> None:
        self.questions: dict[bytes, list[Question]] = {}
        self.promises: dict[bytes, Promise] = {}
        """The last promise that each client was given."""
        self.answers = 0
        self.datagrams = 0
        """Whatever came from the server, good answers or not."""
        self._server = server
        self._random = random.Random(seed)
        self._relay = SimRelay(LINK_ADDRESS)
        self._next_client = first_client
        self._socket = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self._socket.bind(("::1", 0))
        self._seats = {seat.client.duid: seat for seat in (self._new_seat() for _ in range(seats))}

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def work(self, within_s: float, enough: int | None = None) -> int:
        """Ask and take answers, each followed by the next question, until there are enough or the time is up.

        For `enough` answers `within_s` is what an idle machine needs. Return the number of answers.
        """
        before = self.answers
        last = None if enough is None else before + enough
        deadline = time.monotonic() + (within_s if enough is None else limit(within_s))
        again = 0.0
        while self.answers != last and (now := time.monotonic()) < deadline:
            if now >= again:
                again = now + ASK_AGAIN_S
                for seat in self._seats.values():
                    self._send(seat)
            self._socket.settimeout(max(0.001, min(deadline, again) - now))
            try:
                data = self._socket.recv(65_535)
            except (TimeoutError, ConnectionRefusedError):  # nobody is there at the moment
                continue
            self._take(data)
        return self.answers - before

    def drain(self) -> None:
        """Take what is there, asking nothing."""
        self._socket.setblocking(False)
        try:
            while True:
                self._take(self._socket.recv(65_535), and_go_on=False)
        except (BlockingIOError, ConnectionRefusedError):
            pass

    def read(self, data: bytes) -> Promise | None:
        """Give what a datagram of the server promises, None if it is nothing."""
        message = self._relay.unwrap(data)
        if message is None or message.type is not MessageType.REPLY:
            return None
        name = _name(message)
        question = next(each for each in self.questions[_duid_of(message)] if each.name == name)
        if question.type is MessageType.RELEASE:
            return Promise(question, dict.fromkeys(question.keys, 0))
        return Promise(question, {key: question.asked_utc + valid for key, valid in given_in(message).items()})

    def following(self, question: Question) -> Question | None:
        """Give the client's next question; it may be on disk already, though it was not answered yet."""
        asked = self.questions[question.duid]
        return next(iter(asked[asked.index(question) + 1 :]), None)

    def _take(self, data: bytes, and_go_on: bool = True) -> None:
        self.datagrams += 1
        message = self._relay.unwrap(data)
        seat = None if message is None else self._seats.get(_duid_of(message))
        if message is None or seat is None or not seat.client.take(message):
            return
        self.answers += 1
        promise = self.read(data)
        if promise is not None:
            self.promises[seat.client.duid] = promise
        del self._seats[seat.client.duid]
        seat = self._next(seat)
        self._seats[seat.client.duid] = seat
        if and_go_on:
            self._send(seat)

    def _next(self, seat: Seat) -> Seat:
        match seat.question.type:
            case MessageType.RELEASE:
                return self._new_seat()
            case MessageType.SOLICIT:
                return self._seat(seat.client, seat.client.request())
            case _:
                step = self._random.choice(NEXT_STEPS)
                return self._seat(seat.client, getattr(seat.client, step)())

    def _new_seat(self) -> Seat:
        client = SimClient(self._next_client)
        self._next_client += 1
        return self._seat(client, client.solicit())

    def _seat(self, client: SimClient, message: Message) -> Seat:
        name = _name(message)
        named = dataclasses.replace(message, options=(*message.options, ClientFqdn(0, name)))
        question = Question(client.duid, name, message.type, int(time.time()), client.leases)
        self.questions.setdefault(client.duid, []).append(question)
        return Seat(client, named, question)

    def _send(self, seat: Seat) -> None:
        self._socket.sendto(self._relay.forward(seat.message, seat.client.duid), self._server)


def _name(message: Message) -> str:
    """Give the name that a question and its answer have in common, and no other."""
    return f"q{message.transaction_id:06x}-{_duid_of(message).hex()}.example."


def broken(promise: Promise, found: Mapping[int, Held], following: Question | None) -> list[str]:
    """Say which leases are not as promised. Only the client's following question may have changed them since."""
    return [
        f"{promise.question} was promised {key:x} until {until}, found {found.get(key)}"
        for key, until in promise.leases.items()
        if not _is_kept(promise.question, until, found.get(key), following)
    ]


def _is_kept(question: Question, until: int, held: Held | None, following: Question | None) -> bool:
    if held is None or held.duid != question.duid:
        return False
    if not held.is_active:
        return until == 0 or (following is not None and following.type is MessageType.RELEASE)
    if held.name == question.name:
        return held.until >= until > 0
    return following is not None and held.name == following.name


def on_disk(changes: Iterable[Change]) -> dict[int, Held]:
    """Give the leases that a store has loaded."""
    found: dict[int, Held] = {}
    for change in changes:
        if isinstance(change, Put) and change.record is not None:
            lease = unpack(change.key, change.record)
            name = next((each.name for each in read_options(Reader(lease.details)) if isinstance(each, ClientFqdn)), "")
            is_active = lease.status == BindingStatus.ACTIVE
            found[change.key] = Held(lease.duid, is_active, lease.state_expiration_time, name)
        elif isinstance(change, Put):
            found.pop(change.key, None)
    return found


def exported(leases: Iterable[Mapping[str, Any]]) -> dict[int, Held]:
    """Give the leases of `tandem lease export`."""
    found = {}
    for lease in leases:
        network = IPv6Network(lease["lease"])
        key = key_of(int(network.network_address), network.prefixlen)
        is_active = lease["status"] == "ACTIVE"
        found[key] = Held(read_octets(lease["duid"]), is_active, lease["state-expiration-time"], lease["fqdn"])
    return found


def _duid_of(message: Message) -> bytes:
    return next(each.duid for each in message.options if isinstance(each, ClientId))

"""Many simulated clients on a real link, and what each of them was promised.

They speak as clients do, by multicast from port 546, and take the first answer. A lease that two of them might be
using at the same time is an AssertionError the moment it is promised.
"""

from __future__ import annotations

import itertools
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from limits import limit
from system.net import Host
from system.partners import COMPARED
from tandem.lease.lease import show_key
from tandem.sim.client import SimClient, given_in
from tandem.wire.message import Message, MessageType, read_message
from tandem.wire.options import ClientId, ServerId

CLIENT_PORT, SERVER_PORT = 546, 547
SERVERS_AND_RELAYS = "ff02::1:2"
ASK_AGAIN_S = 0.3
PROBE_EVERY_S = 0.05
ANSWER_WITHIN_S = 10.0


class Hand(NamedTuple):
    """Who holds a lease, until when by the monotonic clock, and by when servers may not have it end in UTC."""

    duid: bytes
    until: float
    until_utc: int


class Question(NamedTuple):
    """What a client asked, when first in UTC, and when last."""

    client: SimClient
    message: Message
    asked_utc: int
    sent: float


class Answer(NamedTuple):
    """What a client was answered, by which server."""

    client: SimClient
    message: Message
    server: bytes
    asked_utc: int
    at: float


class Ledger:
    """Who was promised what, over all links."""

    def __init__(self) -> None:
        self.hands: dict[int, Hand] = {}

    def promised(self, answer: Answer) -> None:
        """Note what a Reply promises; an AssertionError if it may be in another client's use."""
        for key, valid_s in given_in(answer.message).items():
            before = self.hands.get(key)
            if before is not None and before.duid != answer.client.duid:
                whose = f"{before.duid.hex()} has it for another {before.until - answer.at:.1f} s"
                assert before.until <= answer.at, f"{show_key(key)} for {answer.client.duid.hex()}, but {whose}"
            self.hands[key] = Hand(answer.client.duid, answer.at + valid_s, answer.asked_utc + valid_s)

    def gave_back(self, client: SimClient) -> None:
        """Note that a client uses nothing any more."""
        for key in [key for key, hand in self.hands.items() if hand.duid == client.duid]:
            del self.hands[key]

    def check(self, table: Mapping[str, tuple[Any, ...]]) -> None:
        """Find every promise that lasts in a server's table, with all the time that was promised."""
        for key, hand in self.hands.items():
            if hand.until > time.monotonic():
                duid, _, status, _, ends = table.get(show_key(key), (None,) * len(COMPARED))
                assert (duid, status) == (hand.duid.hex(":"), "ACTIVE"), f"{show_key(key)} is {hand.duid.hex()}'s"
                assert ends >= hand.until_utc, f"{show_key(key)} ends {hand.until_utc - ends} s too early"


class Street:
    """The clients of one host. Nothing here runs by itself: messages pass while a method is at work."""

    def __init__(self, host: Host, interface: str, ledger: Ledger, first_client: int = 1) -> None:
        self.ledger = ledger
        self._numbers = itertools.count(first_client)
        self._open: dict[bytes, Question] = {}
        with host.inside():
            self._socket = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            self._socket.bind(("::", CLIENT_PORT))
            self._to = (SERVERS_AND_RELAYS, SERVER_PORT, 0, socket.if_nametoindex(interface))

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def newcomers(self, count: int) -> list[SimClient]:
        """Clients that hold nothing yet."""
        return [SimClient(next(self._numbers)) for _ in range(count)]

    # -- whole exchanges

    def settle_in(self, count: int) -> list[SimClient]:
        """Let new clients get an address and a prefix each."""
        clients = self.newcomers(count)
        self.solicit(clients)
        self.request(clients)
        return clients

    def solicit(self, clients: Iterable[SimClient]) -> list[Answer]:
        """Let clients ask for leases; each is offered two."""
        answers = self.ask((client, client.solicit()) for client in clients)
        assert all(len(answer.client.offered_keys) == 2 for answer in answers)
        return answers

    def request(self, clients: Iterable[SimClient]) -> list[Answer]:
        """Let clients take what they were offered; each gets two leases."""
        answers = self.ask((client, client.request()) for client in clients)
        assert all(len(answer.client.leases) == 2 for answer in answers)
        return answers

    def renew(self, clients: Iterable[SimClient]) -> list[Answer]:
        """Let clients renew with the server that they have; each keeps what it has."""
        return self._keep(clients, SimClient.renew)

    def rebind(self, clients: Iterable[SimClient]) -> list[Answer]:
        """Let clients rebind with whoever answers; each keeps what it has."""
        return self._keep(clients, SimClient.rebind)

    def release(self, clients: Iterable[SimClient]) -> None:
        """Let clients give back what they have."""
        for answer in self.ask((client, client.release()) for client in clients):
            self.ledger.gave_back(answer.client)

    def _keep(self, clients: Iterable[SimClient], how: Callable[[SimClient], Message]) -> list[Answer]:
        clients = list(clients)
        before = {client.duid: client.leases for client in clients}
        answers = self.ask((client, how(client)) for client in clients)
        for client in clients:
            kept, had = (sorted(map(show_key, keys)) for keys in (client.leases, before[client.duid]))
            assert kept == had, f"{client.duid.hex()} had {had}, and now has {kept}"
        return answers

    # -- single messages

    def ask(self, questions: Iterable[tuple[SimClient, Message]], within_s: float = ANSWER_WITHIN_S) -> list[Answer]:
        """Ask until all are answered."""
        for client, message in questions:
            self.send(client, message)
        answers: list[Answer] = []
        within_s = limit(within_s)
        deadline = time.monotonic() + within_s
        while self._open:
            waiting = ", ".join(f"{each.client.duid.hex()} {each.message.type.name}" for each in self._open.values())
            assert time.monotonic() < deadline, f"not answered within {within_s:g} s: {waiting}"
            answers += self.listen(PROBE_EVERY_S)
            self.ask_again()
        return answers

    def send(self, client: SimClient, message: Message) -> None:
        """Ask once, and wait for nothing. What the client asked before is forgotten."""
        self._open[client.duid] = Question(client, message, int(time.time()), time.monotonic())
        self._socket.sendto(message.write(), self._to)

    def ask_again(self) -> None:
        """Repeat what has not been answered for some time."""
        for duid, question in self._open.items():
            if time.monotonic() - question.sent >= ASK_AGAIN_S:
                self._open[duid] = question._replace(sent=time.monotonic())
                self._socket.sendto(question.message.write(), self._to)

    def listen(self, for_s: float) -> list[Answer]:
        """Take answers for that long, or until nothing more is open."""
        answers = []
        deadline = time.monotonic() + for_s
        while self._open and (left_s := deadline - time.monotonic()) > 0:
            self._socket.settimeout(left_s)
            try:
                data = self._socket.recv(65_535)
            except TimeoutError:
                break
            if answer := self._taken(data):
                answers.append(answer)
        return answers

    def outage(
        self, server: bytes, since: float, ask: Callable[[], tuple[SimClient, Message]], within_s: float = 15.0
    ) -> float:
        """Ask something every 50 ms; give how long after `since` that server first answered."""
        within_s = limit(within_s)
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            self.send(*ask())
            for answer in self.listen_fully(PROBE_EVERY_S):
                if answer.server == server:
                    return answer.at - since
        raise AssertionError(f"nobody answered for {within_s:g} s")

    def listen_fully(self, for_s: float) -> list[Answer]:
        """Take answers for that long."""
        answers: list[Answer] = []
        deadline = time.monotonic() + for_s
        while (left_s := deadline - time.monotonic()) > 0:
            self._socket.settimeout(left_s)
            try:
                answer = self._taken(self._socket.recv(65_535))
            except TimeoutError:
                break
            if answer:
                answers.append(answer)
        return answers

    def forget(self) -> None:
        """Give up all open questions."""
        self._open.clear()

    def _taken(self, data: bytes) -> Answer | None:
        """Hand an answer to the client that waits for it; a second one to the same question is nobody's."""
        message = read_message(data)
        assert isinstance(message, Message)
        duid = next(each.duid for each in message.options if isinstance(each, ClientId))
        question = self._open.get(duid)
        if question is None or question.message.transaction_id != message.transaction_id:
            return None
        client = question.client
        assert client.take(message), f"{client.duid.hex()} was told: {message}"
        del self._open[duid]
        server = next(each.duid for each in message.options if isinstance(each, ServerId))
        answer = Answer(client, message, server, question.asked_utc, time.monotonic())
        if message.type is MessageType.REPLY:
            self.ledger.promised(answer)
        return answer


def leases_of(clients: Iterable[SimClient]) -> dict[str, str]:
    """The leases of clients as servers show them, each with its client's DUID."""
    return {show_key(key): client.duid.hex(":") for client in clients for key in client.leases}

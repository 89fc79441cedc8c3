"""Simulated clients at real servers: the subscribers of the simulated world, with sockets and the real time.

They come through one relay, which asks all servers that it knows, so that no privilege is needed.
"""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from heapq import heappop, heappush
from itertools import count
from typing import NamedTuple

from tandem.sim.client import SimRelay
from tandem.sim.subscriber import Subscriber
from tandem.wire.message import MessageType
from tandem.wire.options import ClientId
from tandem.wire.reader import WireError

LOOPBACK = "::1"
BATCH = 64
IDLE_S = 0.05
RECEIVE_OCTETS = 4 << 20


class Answered(NamedTuple):
    """A question that was answered, and how long after it was first put."""

    type: MessageType
    seconds: float


class Crowd:
    """Clients behind one relay. `answered` is what came of their questions, the oldest first."""

    def __init__(self, link_address: bytes, servers: Iterable[tuple[str, int]]) -> None:
        self.subscribers: dict[bytes, Subscriber] = {}
        self.answered: list[Answered] = []
        self._servers = tuple(servers)
        self._relay = SimRelay(link_address)
        self._socket = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_OCTETS)
        self._socket.bind((LOOPBACK, 0))
        self._socket.setblocking(False)
        self._due: list[tuple[float, int, Subscriber]] = []
        """Who was due when, some of it out of date."""
        self._numbers = count()

    def join(self, subscribers: Iterable[Subscriber]) -> None:
        """Let clients be among those that are looked after."""
        for each in subscribers:
            self.subscribers[each.duid] = each
            self._plan(each)

    @property
    def leases(self) -> Mapping[bytes, tuple[int, ...]]:
        """Give what each client holds now."""
        now = time.monotonic()
        return {duid: tuple(sorted(each.held(now))) for duid, each in self.subscribers.items()}

    def come(self, subscribers: Iterable[Subscriber]) -> None:
        """Let these look after their leases, and ask for what they lack."""
        for each in subscribers:
            each.come(time.monotonic())
            self._plan(each)

    def give_up(self, subscribers: Iterable[Subscriber]) -> None:
        """Let these release what they have; they ask for nothing until they come again."""
        for each in subscribers:
            each.give_up(time.monotonic(), MessageType.RELEASE)
            self._plan(each)

    def ask(self, type_: MessageType) -> None:
        """Let all clients renew or rebind what they have, before it is time to."""
        now = time.monotonic()
        for each in self.subscribers.values():
            each.ask(now, type_)
            self._plan(each)

    @property
    def is_content(self) -> bool:
        """Whether every client has what it wants, and waits for no answer."""
        now = time.monotonic()
        return not any(each.question or each.missing(now) for each in self.subscribers.values())

    def live(self, is_done: Callable[[], bool], within_s: float) -> bool:
        """Let the clients live until something is so; False if it is not in time."""
        deadline = time.monotonic() + within_s
        while not is_done():
            now = time.monotonic()
            if now >= deadline:
                return False
            self._act(now)
            nearest = self._due[0][0] if self._due else deadline
            select.select([self._socket], [], [], max(0.0, min(nearest - time.monotonic(), IDLE_S)))
            self._hear()
        return True

    def close(self) -> None:
        """Close the relay's socket."""
        self._socket.close()

    def _plan(self, subscriber: Subscriber) -> None:
        heappush(self._due, (subscriber.due, next(self._numbers), subscriber))

    def _act(self, now: float) -> None:
        while self._due and self._due[0][0] <= now:
            due, _, subscriber = heappop(self._due)
            if due != subscriber.due:
                continue
            message = subscriber.act(now)
            self._plan(subscriber)
            if message is None:
                continue
            data = self._relay.forward(message, subscriber.duid)
            for server in self._servers:
                with contextlib.suppress(ConnectionRefusedError, BlockingIOError):
                    self._socket.sendto(data, server)

    def _hear(self) -> None:
        for _ in range(BATCH):
            try:
                message = self._relay.unwrap(self._socket.recv(65_535))
            except BlockingIOError:
                return
            except (ConnectionRefusedError, WireError):
                continue
            if message is None:
                continue
            duid = next((each.duid for each in message.options if isinstance(each, ClientId)), b"")
            subscriber = self.subscribers.get(duid)
            if subscriber is None:
                continue
            now = time.monotonic()
            heard = subscriber.hear(now, message)
            self._plan(subscriber)
            if heard is not None:
                self.answered.append(Answered(heard.asked, now - heard.since))

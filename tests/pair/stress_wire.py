"""The network between two stressed servers: streams that keep their order, are held, cut, broken, or forgotten."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from tandem.effects.events import Event, PartnerGone, PartnerOctets, PartnerUp

NAMES = ("a", "b")


def other(name: str) -> str:
    """Give the partner's name."""
    return "b" if name == "a" else "a"


class Stream:
    """One connection. Each end has its own number, and is open until it closes or hears that the other did."""

    def __init__(self, number: int) -> None:
        self.numbers = {"a": 2 * number + 1, "b": 2 * number + 2}
        self.is_open = {"a": True, "b": True}


class Parcel(NamedTuple):
    """Something on its way: octets, or a beginning or an end of the stream."""

    ready: float
    stream: Stream
    what: bytes | Event


class Wire:
    """All streams. `at` calls back later; `utc` gives a server's clock; `hand_over` gives a server an event."""

    def __init__(
        self,
        now: Callable[[], float],
        at: Callable[[float, Callable[[], None]], None],
        utc: Callable[[str], int],
        hand_over: Callable[[str, Event], None],
        is_up: Callable[[str], bool],
    ) -> None:
        self._now, self._at, self._utc, self._hand_over, self._is_up = now, at, utc, hand_over, is_up
        self._streams: list[Stream] = []
        self._queues: dict[str, deque[Parcel]] = {"a": deque(), "b": deque()}
        self.latency_s = 0.01
        self.held: dict[str, bool] = {"a": False, "b": False}
        """Towards whom nothing arrives for the moment."""
        self.watch: Callable[[str, int, bytes], None] | None = None

    @property
    def is_cut(self) -> bool:
        """Whether nothing gets through in at least one direction, so that no stream can be opened."""
        return self.held["a"] or self.held["b"]

    def hold(self, *names: str) -> None:
        for name in names:
            self.held[name] = True

    def heal(self) -> None:
        self.held = {"a": False, "b": False}
        for name in NAMES:
            self._at(self._now(), partial(self._drain, name))

    def open(self) -> None:
        """Open a stream, dialed by a."""
        stream = Stream(len(self._streams))
        self._streams.append(stream)
        self._push("b", stream, PartnerUp(stream.numbers["b"], ("campus",), "a", False))
        self._push("a", stream, PartnerUp(stream.numbers["a"], ("campus",), "b", True))

    def send(self, name: str, number: int, octets: bytes) -> None:
        stream = self._find(name, number)
        if stream.is_open[name]:
            self._push(other(name), stream, octets)

    def close(self, name: str, number: int) -> None:
        """Close one end; the other hears of it behind all that was sent."""
        stream = self._find(name, number)
        if stream.is_open[name]:
            stream.is_open[name] = False
            self._push(other(name), stream, self._gone(name, stream, "the partner closed the connection"))

    def die(self, name: str, is_heard: bool) -> None:
        """End a server's streams with it; its partner hears of it if the machine still lives."""
        for stream in self._streams:
            if is_heard:
                self.close(name, stream.numbers[name])
            stream.is_open[name] = False

    def break_all(self) -> None:
        """Reset all streams; what was on its way is lost."""
        for stream in self._streams:
            for name in NAMES:
                if stream.is_open[name]:
                    stream.is_open[name] = False
                    self._hand_over(name, PartnerGone(stream.numbers[name], "the connection was reset"))

    def _find(self, name: str, number: int) -> Stream:
        stream = self._streams[(number - 1) // 2]
        assert stream.numbers[name] == number
        return stream

    @staticmethod
    def _gone(name: str, stream: Stream, why: str) -> PartnerGone:
        return PartnerGone(stream.numbers[other(name)], why)

    def _push(self, to: str, stream: Stream, what: bytes | Event) -> None:
        queue = self._queues[to]
        ready = self._now() + self.latency_s
        if queue:
            ready = max(ready, queue[-1].ready)
        queue.append(Parcel(ready, stream, what))
        self._at(ready, lambda: self._drain(to))

    def _drain(self, to: str) -> None:
        queue = self._queues[to]
        while queue and not self.held[to] and queue[0].ready <= self._now():
            self._arrive(to, queue.popleft())

    def _arrive(self, to: str, parcel: Parcel) -> None:
        stream, what = parcel.stream, parcel.what
        if not self._is_up(to):
            return
        if not stream.is_open[to]:
            if isinstance(what, bytes) and stream.is_open[other(to)]:  # a reset: nobody knows this stream any more
                self._push(other(to), stream, self._gone(to, stream, "the connection was reset"))
            return
        if isinstance(what, bytes):
            if self.watch is not None:
                self.watch(to, stream.numbers[to], what)
            what = PartnerOctets(stream.numbers[to], what, self._utc(to))
        elif isinstance(what, PartnerGone):
            stream.is_open[to] = False
        self._hand_over(to, what)

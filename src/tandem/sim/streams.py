"""The network between two partners: streams that keep their order, and are stalled, cut at any octet, or forgotten."""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import NamedTuple, Protocol

from tandem.effects.events import ConnectionFailed, Event, PartnerGone, PartnerOctets, PartnerUp
from tandem.sim.agenda import Agenda
from tandem.sim.chance import Chance
from tandem.sim.plan import Pair

DIAL_S = 10.0
"""How long a server waits for a partner's machine that does not answer at all."""
SPLIT_PROBABILITY = 0.1
GONE_KEPT = 40
"""Streams that are remembered when they are gone: a server that slept still reads what came on one.

Meanwhile its partner, to whom nobody answers, opens a new one every 15 s.
"""


class End(Protocol):
    """What a stream asks of the server at one end of it."""

    name: str

    @property
    def is_up(self) -> bool:
        """Whether the server runs."""

    def hand(self, event: Event) -> None:
        """Let the server know of an event."""

    def number_connection(self) -> int:
        """Give a number for a new connection."""


class Stream:
    """One connection. Each end has its own number, and is open until it closes or hears that the other did."""

    def __init__(self, numbers: dict[str, int]) -> None:
        self.numbers = numbers
        self.is_open = dict.fromkeys(numbers, True)

    @property
    def stands(self) -> bool:
        """Whether both ends are open."""
        return all(self.is_open.values())


class Parcel(NamedTuple):
    """Something on its way: octets, or a beginning or an end of the stream."""

    ready: float
    stream: Stream
    what: bytes | Event


class Streams:
    """All streams of a pair."""

    def __init__(self, pair: Pair, ends: dict[str, End], agenda: Agenda, chance: Chance) -> None:
        self.pair = pair
        self._ends = ends
        self._agenda = agenda
        self._chance = chance
        self._other = {pair.primary: pair.secondary, pair.secondary: pair.primary}
        self._streams: list[Stream] = []
        self._queues: dict[str, deque[Parcel]] = {name: deque() for name in ends}
        self.held = dict.fromkeys(ends, 0)
        """By how many faults octets are kept from arriving at an end."""

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is on its way."""
        return not any(self._queues.values())

    @property
    def octets(self) -> int:
        """How many octets are on their way."""
        return sum(len(each.what) for queue in self._queues.values() for each in queue if isinstance(each.what, bytes))

    def current(self) -> Stream | None:
        """Give the stream that stands, if one does."""
        return next((each for each in reversed(self._streams) if each.stands), None)

    def is_open(self, name: str) -> bool:
        """Say whether a server has a stream that it takes to be open."""
        return any(stream.is_open[name] for stream in self._streams)

    def owner(self, name: str, number: int) -> Stream | None:
        """Give the stream that a server knows by a number, None if it is none of this pair's."""
        return next((each for each in reversed(self._streams) if each.numbers[name] == number), None)

    # -- what servers do

    def dial(self, name: str) -> None:
        """Let a server open a stream to its partner; it hears what came of it."""
        end, other = self._ends[name], self._ends[self._other[name]]
        if any(self.held.values()) or not other.is_up:
            failed = ConnectionFailed(self.pair.name, "nobody answers", False)
            self._agenda.after(DIAL_S, lambda: end.hand(failed))
            return
        stream = Stream({each.name: each.number_connection() for each in (end, other)})
        old = self._streams[:-GONE_KEPT]
        self._streams = [each for each in old if any(each.is_open.values())] + self._streams[-GONE_KEPT:] + [stream]
        self._push(other.name, stream, PartnerUp(stream.numbers[other.name], (self.pair.name,), name, False))
        self._push(name, stream, PartnerUp(stream.numbers[name], (self.pair.name,), other.name, True))

    def send(self, name: str, stream: Stream, octets: bytes) -> None:
        """Let a server send octets."""
        if not stream.is_open[name]:
            return
        while self._chance.happens(SPLIT_PROBABILITY) and len(octets) > 1:
            at = 1 + self._chance.below(len(octets) - 1)
            self._push(self._other[name], stream, octets[:at])
            octets = octets[at:]
        self._push(self._other[name], stream, octets)

    def close(self, name: str, stream: Stream) -> None:
        """Close one end; the other hears of it behind all that was sent."""
        if stream.is_open[name]:
            stream.is_open[name] = False
            self._push(self._other[name], stream, self._gone(name, stream, "the partner closed the connection"))

    # -- what happens to them

    def die(self, name: str, is_heard: bool) -> None:
        """End a server's streams with it; its partner hears of it if the machine still lives."""
        for stream in self._streams:
            if is_heard:
                self.close(name, stream)
            stream.is_open[name] = False

    def hold(self, *names: str) -> None:
        """Let nothing arrive at these ends until it is let go."""
        for name in names:
            self.held[name] += 1

    def let_go(self, *names: str) -> None:
        """Undo `hold`."""
        for name in names:
            self.held[name] -= 1
            self._agenda.after(0.0, partial(self._drain, name))

    def cut(self, fraction: float) -> None:
        """Reset all streams. Of what is on its way to each end, that fraction of octets still arrives."""
        for name, queue in self._queues.items():
            left = int(fraction * sum(len(each.what) for each in queue if isinstance(each.what, bytes)))
            while queue and isinstance(what := queue[0].what, bytes) and left > 0 and not self.held[name]:
                parcel = queue.popleft()
                self._arrive(name, parcel._replace(what=what[:left]))
                left -= len(what)
            queue.clear()
        for stream in self._streams:
            for name, end in self._ends.items():
                if stream.is_open[name]:
                    stream.is_open[name] = False
                    end.hand(PartnerGone(stream.numbers[name], "the connection was reset"))

    # -- inside

    def _gone(self, name: str, stream: Stream, why: str) -> PartnerGone:
        return PartnerGone(stream.numbers[self._other[name]], why)

    def _push(self, to: str, stream: Stream, what: bytes | Event) -> None:
        queue = self._queues[to]
        ready = self._agenda.now + self.pair.latency_s * self._chance.between(0.1, 1.0)
        if queue:
            ready = max(ready, queue[-1].ready)
        queue.append(Parcel(ready, stream, what))
        self._agenda.at(ready, lambda: self._drain(to))

    def _drain(self, to: str) -> None:
        queue = self._queues[to]
        while queue and not self.held[to] and queue[0].ready <= self._agenda.now:
            self._arrive(to, queue.popleft())

    def _arrive(self, to: str, parcel: Parcel) -> None:
        stream, what = parcel.stream, parcel.what
        if not self._ends[to].is_up:
            return
        if not stream.is_open[to]:
            other = self._other[to]
            if isinstance(what, bytes) and stream.is_open[other]:  # a reset: nobody knows this stream any more
                self._push(other, stream, self._gone(to, stream, "the connection was reset"))
            return
        if isinstance(what, bytes):
            what = PartnerOctets(stream.numbers[to], what, 0)
        elif isinstance(what, PartnerGone):
            stream.is_open[to] = False
        self._ends[to].hand(what)

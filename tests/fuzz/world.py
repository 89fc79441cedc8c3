"""A node under fire: its time, whoever watches it, and what each datagram cost."""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path

from fuzz.watch import Watch
from limits import limit
from served import ETH0, EVERYTHING, MULTICAST, START, ask, serve
from tandem.effects.now import Now
from tandem.server.offers import OFFERS_MAX
from tandem.server.policy import COMBINATIONS_MAX
from tandem.wire.message import Message, Relayed, read_message

WORST_CPU_S = limit(0.5)
MEDIAN_CPU_S = limit(0.002)
"""Of the processor's time: far above what is seen on any machine, far below what a bomb would cost."""


class World:
    """Hands datagrams to a node and fails as soon as anything is wrong that a stranger can make wrong."""

    def __init__(self, path: Path = EVERYTHING) -> None:
        self.node = serve(path)
        self.watch = Watch()
        self.costs_s: list[float] = []
        self._mono = START.mono

    @property
    def now(self) -> Now:
        """Both clocks, which run alike here."""
        return Now(self._mono, START.utc + int(self._mono - START.mono))

    def sleep(self, seconds: float) -> None:
        """Let time pass, for the node only."""
        self._mono += seconds

    def receive(self, data: bytes, interface: int = ETH0, local: bytes = MULTICAST) -> bytes | None:
        """Hand over one datagram, check all that must hold, and give the answer, if any."""
        now = self.now
        started = time.process_time()
        effects = ask(self.node, data, now, interface, local)
        self.costs_s.append(time.process_time() - started)
        return next((send.data for send in self.watch.see(now, effects)), None)

    def answer_to(self, question: Message, interface: int = ETH0) -> Message | Relayed:
        """Give the answer to a question that must have one."""
        answer = self.receive(question.write(), interface)
        assert answer is not None
        return read_message(answer)

    def check_bounds(self) -> None:
        """What is kept is bounded, and the leases do not overlap."""
        offers, combinations = self._remembered()
        assert offers <= OFFERS_MAX
        assert combinations <= COMBINATIONS_MAX
        self.watch.check_space()

    def check_costs(self) -> None:
        """No datagram took long, and most took next to nothing."""
        assert max(self.costs_s) < WORST_CPU_S
        assert statistics.median(self.costs_s) < MEDIAN_CPU_S

    def _remembered(self) -> tuple[int, int]:
        """Count the offers and the joined options in memory: a node shows them to nobody."""
        engine = self.node._engine
        return len(engine.offers._offers), len(engine.policy._joined)


def in_full(full: int, short: int) -> int:
    """Choose how much to do: all of it where TANDEM_FUZZ=full, and otherwise what a short run has time for."""
    return full if os.environ.get("TANDEM_FUZZ") == "full" else short

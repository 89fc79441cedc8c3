"""The time of a simulated world, and what is to happen when."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count


class Agenda:
    """True time in seconds, and calls that are due. What is due at the same time is done in the order it was put in."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()

    def at(self, when: float, what: Callable[[], None]) -> None:
        """Do something at a time; at once, if that has passed."""
        heappush(self._due, (max(when, self.now), next(self._numbers), what))

    def after(self, delay_s: float, what: Callable[[], None]) -> None:
        """Do something in so many seconds."""
        self.at(self.now + delay_s, what)

    def run(self, until: float) -> None:
        """Let time pass, with all that happens in it."""
        while self._due and self._due[0][0] <= until:
            self.now, _, what = heappop(self._due)
            what()
        self.now = max(self.now, until)

    def __len__(self) -> int:
        """How much is still to happen."""
        return len(self._due)

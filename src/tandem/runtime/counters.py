"""Counts what happens, from the notes of the node."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from tandem.effects.effects import Note, Send
from tandem.runtime.histogram import Histogram
from tandem.wire.message import MessageType


class Counters:
    """Totals since the start, by a stable name and what it is about."""

    def __init__(self) -> None:
        self._answered: Counter[int] = Counter()
        self._dropped: Counter[str] = Counter()
        self._other: Counter[str] = Counter()
        self._answer_times: dict[int, Histogram] = {}

    def add(self, notes: Iterable[Note]) -> None:
        """Count the notes of one call."""
        for note in notes:
            if note.event == "answered":
                self._answered[note.values["type"]] += 1
            elif note.event == "dropped":
                self._dropped[note.values["reason"]] += 1
            else:
                self._other[note.event] += 1

    def count(self, event: str, times: int = 1) -> None:
        """Count an event of the world around the node."""
        if times:
            self._other[event] += times

    def drop(self, reason: str, times: int) -> None:
        """Count datagrams that were dropped before the node saw them."""
        if times:
            self._dropped[reason] += times

    def sent(self, sends: Iterable[Send], now_mono: float) -> None:
        """Count how long answers took that were just sent, from when their questions came."""
        for each in sends:
            times = self._answer_times.get(each.type)
            if times is None:
                times = self._answer_times[each.type] = Histogram()
            times.add(now_mono - each.came)

    def times(self) -> dict[str, Any]:
        """Give how long answers took, by their type."""
        return {MessageType(type_).name.lower(): times.as_json() for type_, times in self._answer_times.items()}

    def as_json(self) -> dict[str, dict[str, int]]:
        """Give all totals: answers by the question's type, drops by reason, and other events."""
        return {
            "answered": {MessageType(type_).name: count for type_, count in sorted(self._answered.items())},
            "dropped": dict(sorted(self._dropped.items())),
            "events": dict(sorted(self._other.items())),
        }

"""Counts what happens, from the notes of the node."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from tandem.effects.effects import Note
from tandem.wire.message import MessageType


class Counters:
    """Totals since the start, by a stable name and what it is about."""

    def __init__(self) -> None:
        self._answered: Counter[int] = Counter()
        self._dropped: Counter[str] = Counter()
        self._other: Counter[str] = Counter()

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

    def as_json(self) -> dict[str, dict[str, int]]:
        """Give all totals: answers by the question's type, drops by reason, and other events."""
        return {
            "answered": {MessageType(type_).name: count for type_, count in sorted(self._answered.items())},
            "dropped": dict(sorted(self._dropped.items())),
            "events": dict(sorted(self._other.items())),
        }

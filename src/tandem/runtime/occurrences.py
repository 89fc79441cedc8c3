"""Counts recurring events and keeps the last few as examples."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterable

RECENT_S = 600
"""How long after its last occurrence an event still counts as a problem."""
SUBJECTS_MAX = 5


class Occurrences:
    """Occurrences of one kind of event by subject, such as a link-address; the latest subjects are kept."""

    def __init__(self) -> None:
        self._subjects: OrderedDict[str, tuple[int, int, str]] = OrderedDict()
        self._first = 0
        self._last = 0
        self._count = 0

    def add(self, utc: int, subject: str, example: str) -> None:
        """Record one occurrence."""
        if utc - self._last > RECENT_S:
            self._first, self._count = utc, 0
            self._subjects.clear()
        self._last = utc
        self._count += 1
        count = self._subjects[subject][0] if subject in self._subjects else 0
        self._subjects[subject] = (count + 1, utc, example)
        self._subjects.move_to_end(subject)
        if len(self._subjects) > SUBJECTS_MAX:
            self._subjects.popitem(last=False)

    def since(self, utc: int) -> int | None:
        """Return when the current series began, None if the last occurrence is not recent."""
        return self._first if self._count and utc - self._last <= RECENT_S else None

    @property
    def until(self) -> int:
        """Return when the series stops being recent, if nothing more occurs."""
        return self._last + RECENT_S

    @property
    def count(self) -> int:
        """Return how often it occurred in the current series."""
        return self._count

    def examples(self) -> tuple[str, ...]:
        """Return a line for each of the last subjects, the latest first."""
        return tuple(
            f"{time.strftime('%H:%M:%S', time.localtime(last))} {subject}"
            f"{f' ({example})' if example else ''}{f', {count} times' if count > 1 else ''}"
            for subject, (count, last, example) in reversed(self._subjects.items())
        )

    def subjects(self) -> Iterable[str]:
        """Return the kept subjects, the latest last."""
        return self._subjects.keys()

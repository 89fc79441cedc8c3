"""The last things that happened, for whoever looks at a running server."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from tandem.effects.effects import Note
from tandem.runtime.logs import LEVELS, as_json

KEPT_MAX = 1000
PAGE_MAX = 200
OF_EACH_EXCHANGE = frozenset(("answered", "dropped", "lease-ended"))
"""Events that come by the thousand: those are counted, and logged."""


class Recent:
    """Keeps the last events, but not those of each exchange, under numbers that grow by one from `before` on.

    `before` is to be greater than any number of an earlier life, so that who went along with that one misses nothing.
    """

    def __init__(self, before: int) -> None:
        self._kept: deque[tuple[float, Note]] = deque(maxlen=KEPT_MAX)
        self._last = before
        """The number of the newest."""

    def add(self, notes: Iterable[Note]) -> None:
        """Take over notes of the node or of the world around it."""
        for note in notes:
            if note.event not in OF_EACH_EXCHANGE and LEVELS[note.level] >= LEVELS["info"]:
                self._kept.append((time.time(), note))
                self._last += 1

    def after(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Give the first events behind the number `after`, at most PAGE_MAX, and the number that goes on from there.

        Without a number, the last ones. All that are kept, if the number is of none of them.
        """
        given = arguments.get("after")
        oldest = self._last - len(self._kept)
        after = given if isinstance(given, int) and oldest <= given <= self._last else oldest
        if given is None:
            after = max(oldest, self._last - PAGE_MAX)
        begin = after - oldest
        events = [
            {"number": after + at, **as_json(when, note)}
            for at, (when, note) in enumerate(list(self._kept)[begin : begin + PAGE_MAX], 1)
        ]
        return {"events": events, "last": after + len(events)}

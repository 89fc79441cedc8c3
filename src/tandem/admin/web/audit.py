"""What the web process logs: who did what, and who was refused."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from tandem.admin.console import echo_json

LINES_MAX = 10
WINDOW_S = 60.0
"""A place that is refused more often than LINES_MAX times in so long is told of once more, with how often."""
PLACES_MAX = 1024


class Audit:
    """Writes JSON lines to standard error. However often somebody is refused, the log does not fill up with it."""

    def __init__(self) -> None:
        self._windows: dict[str, tuple[float, int]] = {}
        """By place: when its window began, and how often it was refused since."""

    def act(self, who: str | None, place: str | None, act: str, given: Mapping[str, Any], outcome: str) -> None:
        """Log that somebody acted, and what came of it."""
        self._write("act", "warning", {"who": who, "from": place, "act": act, "given": dict(given), "outcome": outcome})

    def refused(self, place: str, why: str, level: str = "warning", **values: Any) -> None:
        """Log that a request, or a connection, was refused."""
        now = time.monotonic()
        began, count = self._windows.pop(place, (now, 0))
        more: dict[str, Any] = {}
        if now - began >= WINDOW_S:
            if count > LINES_MAX:
                more = {"not-logged": count - LINES_MAX}
            began, count = now, 0
        self._windows[place] = (began, count + 1)
        if len(self._windows) > PLACES_MAX:
            del self._windows[next(iter(self._windows))]
        if count < LINES_MAX:
            is_last = {"advice": f"Further ones are counted for {WINDOW_S:.0f} s."} if count == LINES_MAX - 1 else {}
            self._write("refused", level, {"from": place, "why": why, **values, **more, **is_last})

    def _write(self, event: str, level: str, values: Mapping[str, Any]) -> None:
        echo_json({"time": round(time.time(), 6), "level": level, "event": event, **values}, err=True)

"""A call at a time that moves with each event."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Alarm:
    """Calls `ring` by the earliest time it was set to since it last rang; early, if it is later put off.

    So it costs nothing to put it off, which each event does.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        self._loop = loop
        self._ring = ring
        self._timer: asyncio.TimerHandle | None = None

    def set(self, when: float | None) -> None:
        """Have it ring by then, in the loop's time; with None nothing is asked."""
        if when is None or (self._timer is not None and self._timer.when() <= when):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(when, self._rings)

    def _rings(self) -> None:
        self._timer = None
        self._ring()

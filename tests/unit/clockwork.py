"""An event loop that does not wait."""

from __future__ import annotations

import asyncio


class Clockwork(asyncio.SelectorEventLoop):
    """An event loop whose time is what it is told to be."""

    now = 0.0

    def time(self) -> float:
        return self.now

    def live(self, until: float, step: float = 1.0) -> None:
        """Let that time come, a step at a time."""
        while self.now < until:
            self.now += step
            self.look()

    def look(self) -> None:
        """Do all that is to be done now."""
        for _ in range(2):
            self.call_soon(self.stop)
            self.run_forever()

"""The alarm rings by the earliest time that it was set to."""

from __future__ import annotations

import asyncio

from tandem.runtime.alarm import Alarm


class Clockwork(asyncio.SelectorEventLoop):
    """An event loop whose time is what it is told to be."""

    now = 0.0

    def time(self) -> float:
        return self.now

    def live(self, until: float) -> None:
        """Let that time come, a second at a time."""
        while self.now < until:
            self.now += 1.0
            self.call_soon(self.stop)
            self.run_forever()
            self.call_soon(self.stop)
            self.run_forever()


def test_it_rings_by_the_earliest_time() -> None:
    loop = Clockwork()
    rang: list[float] = []
    alarm = Alarm(loop, lambda: rang.append(loop.now))
    try:
        for when in (50.0, 20.0, 90.0, None, 30.0):
            alarm.set(when)
        loop.live(19.0)
        assert rang == []
        loop.live(100.0)
        assert rang == [20.0]
        alarm.set(200.0)
        loop.live(300.0)
        assert rang == [20.0, 200.0]
    finally:
        loop.close()

"""The alarm rings by the earliest time that it was set to."""

from __future__ import annotations

from tandem.runtime.alarm import Alarm
from unit.clockwork import Clockwork


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

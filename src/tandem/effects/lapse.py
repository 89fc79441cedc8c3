"""The clock that leases end by: UTC, but never faster than real time.

Whatever happens to the wall clock, no lease may end early:

- It jumps ahead. Leases are held by the time before the jump plus the monotonic time since, until every lease that was
  granted before the jump has ended by that.
- It lies behind times on record. Either it is wrong now, or it was wrong when they were recorded; both ways leases that
  are held by it end late. What follows from that for service, `node` decides.
- It is slewed or steps back a little: leases are held a little longer.
"""

from __future__ import annotations

from typing import Final

from tandem.effects.now import Moment, Now

STEP_MAX_S: Final = 5
"""How far UTC may lie behind the newest time on record before it counts as behind."""
JUMP_S: Final = 60
"""How far ahead of the monotonic clock UTC has to step to count as a jump."""


class LapseClock:
    """Gives the moment for each reading of the clocks."""

    def __init__(self, now: Now) -> None:
        self._anchor = now
        self._ahead_since: float | None = None

    def moment(self, now: Now, longest_promise_s: int) -> Moment:
        """Give the moment for a reading of the clocks; no lease is promised for longer than `longest_promise_s`."""
        steady_utc = self.steady_utc(now)
        if now.utc <= steady_utc + 1:  # both clocks tick in whole seconds, not at the same instant
            self._ahead_since = None
        elif self._ahead_since is None:
            self._ahead_since = now.mono
        elif now.mono - self._ahead_since >= longest_promise_s:
            self.accept(now)
            steady_utc = now.utc
        return Moment(now.mono, now.utc, min(now.utc, steady_utc))

    def accept(self, now: Now) -> None:
        """Follow UTC as it is now."""
        self._anchor = now
        self._ahead_since = None

    def steady_utc(self, now: Now) -> int:
        """Return what UTC would be if it had never stepped."""
        return self._anchor.utc + int(now.mono - self._anchor.mono)

    def ahead_s(self, now: Now) -> int:
        """Return how far UTC jumped ahead of what the monotonic clock says, 0 if it did not."""
        ahead_s = now.utc - self.steady_utc(now)
        return ahead_s if self._ahead_since is not None and ahead_s > JUMP_S else 0

    def held_until_mono(self, longest_promise_s: int) -> float:
        """Return until when leases are held as if there had been no jump ahead."""
        return (self._ahead_since or 0.0) + longest_promise_s

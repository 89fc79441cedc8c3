"""The clock that leases end by: UTC, but never faster than real time."""

from __future__ import annotations

from tandem.effects.now import Moment, Now


class LapseClock:
    """Keeps UTC from ending leases early when it jumps ahead.

    It takes the smaller of UTC and what UTC was once plus the monotonic time since. A jump is believed only when
    every lease that was promised before it has ended by the monotonic clock.
    """

    def __init__(self, now: Now) -> None:
        self._anchor = now
        self._ahead_since: float | None = None

    def moment(self, now: Now, longest_promise_s: int) -> Moment:
        """Give the moment for a reading of the clocks; no lease is promised for longer than `longest_promise_s`."""
        steady_utc = self._anchor.utc + int(now.mono - self._anchor.mono)
        if now.utc <= steady_utc + 1:  # both clocks tick in whole seconds, not at the same instant
            self._ahead_since = None
        elif self._ahead_since is None:
            self._ahead_since = now.mono
        elif now.mono - self._ahead_since >= longest_promise_s:
            self._anchor, self._ahead_since, steady_utc = now, None, now.utc
        return Moment(now.mono, now.utc, min(now.utc, steady_utc))

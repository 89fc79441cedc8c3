"""Time, as an argument."""

from __future__ import annotations

from typing import NamedTuple


class Now(NamedTuple):
    """What the clocks of the machine say: `mono` for timers, in seconds, never going back; `utc` may step."""

    mono: float
    utc: int


class Moment(NamedTuple):
    """Now, as the engines see it. `lapse_utc` is the UTC that leases end by: it never runs ahead of real time.

    A lease is recorded by `utc` and held by `lapse_utc`, so that a clock that jumps ahead ends none early.
    """

    mono: float
    utc: int
    lapse_utc: int

"""Time, as an argument."""

from __future__ import annotations

from typing import NamedTuple


class Now(NamedTuple):
    """Two clocks: `mono` for timers, in seconds, never going back; `utc` for lifetimes, and it may step."""

    mono: float
    utc: int

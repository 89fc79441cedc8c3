"""Counts of how long something took, by ever longer times."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from typing import Any

BOUNDS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


class Histogram:
    """Used by one thread, and read by any."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS_S) + 1)
        self._sum_s = 0.0

    def add(self, seconds: float) -> None:
        """Count one that took so long."""
        self._counts[bisect_left(BOUNDS_S, seconds)] += 1
        self._sum_s += seconds

    def as_json(self) -> dict[str, Any]:
        """Give how many took up to each bound and longer than the one before, the last up to any, and all seconds."""
        return {"up-to-s": list(BOUNDS_S), "counts": list(self._counts), "sum-s": round(self._sum_s, 6)}


def at_most_s(found: Mapping[str, Any], share: float) -> float | None:
    """Give the bound that so great a share took no longer than, by what `as_json` gave; None if it is beyond all."""
    reached = 0
    for bound, count in zip(found["up-to-s"], found["counts"], strict=False):
        reached += count
        if reached >= share * sum(found["counts"]):
            return float(bound)
    return None

"""What a server did between two times that it was asked: rates and answer times, kept for plots."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, NamedTuple

from tandem.runtime.histogram import at_most_s

EVERY_S = 10.0
KEPT_MAX = 360
"""An hour."""


class Sample(NamedTuple):
    """A span of time, by its end."""

    time: int
    """UTC seconds."""
    answers_per_s: float
    drops_per_s: float
    reply_median_s: float | None
    """Half of the replies took no longer; None if there were none, or it is beyond all bounds."""
    reply_p99_s: float | None
    in_use: Mapping[str, int]
    """Leases in use, by pool."""
    unacked: Mapping[str, int]
    """Leases that the partner has not acknowledged, by relationship."""


def sample(before: Mapping[str, Any], after: Mapping[str, Any]) -> Sample | None:
    """Compare two answers to `status`; None if they are not of one life of the server, or of one moment."""
    seconds = after["time"] - before["time"]
    if before["pid"] != after["pid"] or seconds <= 0:
        return None
    replies = _between(before["times"].get("reply"), after["times"].get("reply"))
    return Sample(
        after["time"],
        _total(before, after, "answered") / seconds,
        _total(before, after, "dropped") / seconds,
        at_most_s(replies, 0.5) if replies else None,
        at_most_s(replies, 0.99) if replies else None,
        {pool["where"]: pool["in-use"] for link in after["links"] for pool in link["pools"]},
        {each["name"]: each["updates"]["unacked"] for each in after["relationships"]},
    )


def _total(before: Mapping[str, Any], after: Mapping[str, Any], what: str) -> int:
    then, now = (sum(found["counters"][what].values()) for found in (before, after))
    return int(now - then)


def _between(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Give the histogram of what came since; None if nothing did."""
    if after is None:
        return None
    earlier = before["counts"] if before is not None else [0] * len(after["counts"])
    counts = [now - then for now, then in zip(after["counts"], earlier, strict=True)]
    return {"up-to-s": after["up-to-s"], "counts": counts} if any(counts) else None


class History:
    """Samples of the last hour."""

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque(maxlen=KEPT_MAX)
        self._before: Mapping[str, Any] | None = None

    def add(self, status: Mapping[str, Any]) -> None:
        """Take a status in; it makes a sample if the last one is EVERY_S back."""
        if self._before is None or self._before["pid"] != status["pid"]:
            self._before = status
        elif status["time"] - self._before["time"] >= EVERY_S:
            found = sample(self._before, status)
            self._before = status
            if found is not None:
                self._samples.append(found)

    def as_json(self) -> list[dict[str, Any]]:
        """Give all samples, oldest first."""
        return [each._asdict() for each in self._samples]

"""Which commits a store's history consists of, so that a copy that was left behind is told from the store itself.

Each start of a server begins a *run* with a random id. A commit is named by its run and its number. A store that was
rolled back (a snapshot, a backup, a clone) begins another run behind an earlier commit: the commits that the partner
heard of since are not in its timeline, however many it makes afterwards. A counter alone would be caught up with.
"""

from __future__ import annotations

from itertools import pairwise
from struct import Struct
from typing import Final, NamedTuple, Self

RUN_ID_OCTETS: Final = 8
RUNS_MAX: Final = 256
"""Runs that are remembered. A commit of an older one counts as unknown, which is safe."""
RUN: Final = Struct(f"!{RUN_ID_OCTETS}sQ")


class Run(NamedTuple):
    """The commits that one process made."""

    id: bytes
    begins_after: int
    """The number of the last commit before it."""


class Timeline(NamedTuple):
    """The runs of a store, oldest first."""

    runs: tuple[Run, ...] = ()

    @classmethod
    def read(cls, octets: bytes) -> Self:
        """Return the timeline that `write` wrote, an empty one for anything else."""
        return cls(tuple(Run(*each) for each in RUN.iter_unpack(octets)) if len(octets) % RUN.size == 0 else ())

    def write(self) -> bytes:
        """Return the timeline as octets."""
        return b"".join(RUN.pack(*run) for run in self.runs)

    def begin(self, run_id: bytes, position: int) -> Self:
        """Return the timeline with another run, whose first commit follows commit `position`."""
        return self._replace(runs=(*self.runs, Run(run_id, position))[-RUNS_MAX:])

    @property
    def current(self) -> bytes:
        """Return the id of the run that goes on; empty if there is none."""
        return self.runs[-1].id if self.runs else b""

    def contains(self, run_id: bytes, number: int, position: int) -> bool:
        """True if commit `number` of run `run_id` is in this history, whose last commit is `position`."""
        ends = [later.begins_after for _, later in pairwise(self.runs)] + [position]
        return any(
            run.id == run_id and run.begins_after <= number <= end for run, end in zip(self.runs, ends, strict=False)
        )

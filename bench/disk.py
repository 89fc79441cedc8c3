"""What it costs to make changes durable: `python -m bench.disk [--leases N] [--changes K] [--commits C] [--at FOLDER]`.

Commits random changes as a busy server does, with a piece of housekeeping after each eighth, and says what it took.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench.leases import fill
from tandem.lease.change import Put
from tandem.runtime.writer import TIDY_EVERY
from tandem.stores.sqlite import SqliteStore

SHARES = (0.5, 0.9, 0.99, 0.999, 1.0)


def timed(step: Callable[[], object]) -> float:
    """Give the milliseconds that a step takes."""
    began = time.perf_counter()
    step()
    return (time.perf_counter() - began) * 1000


def percentiles(times_ms: list[float]) -> str:
    """Give them in one line."""
    ordered = sorted(times_ms)
    return "  ".join(f"{ordered[int((len(ordered) - 1) * share)]:.2f}" for share in SHARES)


def run(leases: int, changes: int, commits: int, folder: Path) -> None:
    """Fill a store and change it; print processor time and time passed for a change, and how long the pieces took."""
    fill(leases, folder)
    store = SqliteStore(folder / "leases.db")
    held = [(change.key, change.record) for change in store.load() if isinstance(change, Put)]
    chance = random.Random(leases)
    drawn = [[Put(*chance.choice(held)) for _ in range(changes)] for _ in range(commits)]
    committing, tidying = [], []
    busy_s, began = time.process_time(), time.perf_counter()
    for number, batch in enumerate(drawn):
        committing.append(timed(partial(store.commit, batch)))
        if number % TIDY_EVERY == 0:
            tidying.append(timed(store.tidy))
    busy_s, passed_s = time.process_time() - busy_s, time.perf_counter() - began
    store.close()
    print(f"processor, us a change   {busy_s / commits / changes * 1e6:.1f}")
    print(f"time passed, us a change {passed_s / commits / changes * 1e6:.1f}")
    print(f"percentiles, ms          {'  '.join(f'{share:.1%}' for share in SHARES)}")
    print(f"  of a commit            {percentiles(committing)}")
    print(f"  of housekeeping        {percentiles(tidying)}")


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m bench.disk", description=__doc__)
    parser.add_argument("--leases", type=int, default=100_000)
    parser.add_argument("--changes", type=int, default=20, help="in each commit")
    parser.add_argument("--commits", type=int, default=10_000)
    parser.add_argument("--at", type=Path, help="where the store is made; a temporary folder if not said")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.at) as folder:
        run(given.leases, given.changes, given.commits, Path(folder))


if __name__ == "__main__":
    main()

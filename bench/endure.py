"""A pair under load for long: `python -m bench.endure [--minutes 30] [--rate N]`, as root.

New clients, renewals, releases and leases that run out, all at once. At the end memory must have been flat from half
time on, nothing may be owed, and both tables must be equal.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.compare import COMPILED, PLAIN
from bench.contestants import Running, running, status
from bench.field import Field, field, resident_octets
from bench.perfdhcp import load
from system.net import until
from tandem.admin.client import CommandFailed, ControlClient

PIECE_S = 30
VALID_S = 120
"""So short that leases run out all the time."""
AT_REST_S = 120.0
MEMORY_GROWTH_MAX = 1.05
"""Times what it was at half time."""
SAME = ("duid", "iaid", "status", "start-time-of-state", "state-expiration-time")
FREE = ("FREE", "FREE-BACKUP")
CONSOLE = Console(stderr=True)


def watch(server: Running, until_set: threading.Event, seen: list[tuple[float, int, int]]) -> None:
    """Note the memory of both servers until told to stop."""
    began = time.monotonic()
    while not until_set.wait(5.0):
        first, second = (resident_octets(process.pid) for process in server.processes)
        seen.append((time.monotonic() - began, first, second))


def leases(folder: Path) -> dict[str, tuple[Any, ...]]:
    """Give what a server knows of each lease that is held."""
    with ControlClient(folder / "state" / "control.sock") as control:
        return {each["lease"]: tuple(each.get(name) for name in SAME) for each in control.leases(status="ACTIVE")}


def differing(folders: tuple[Path, ...], keys: Iterable[str]) -> list[str]:
    """Give which of these leases the servers do not have alike."""
    with ExitStack() as stack:
        servers = [stack.enter_context(ControlClient(folder / "state" / "control.sock")) for folder in folders]
        return [key for key in keys if len({_view(server, key) for server in servers}) > 1]


def _view(server: ControlClient, key: str) -> tuple[Any, ...] | None:
    """Give what a server knows of a lease; of one that is free it may have forgotten all."""
    try:
        found = server.ask("lease-show", lease=key)
    except CommandFailed:
        return None
    return None if found["status"] in FREE else tuple(found.get(name) for name in SAME)


def is_at_rest(server: Running) -> bool:
    """Say whether neither server owes the other anything."""
    found = [status(folder) for folder in server.folders]
    return all(each is not None and each["relationships"][0]["updates"]["unacked"] == 0 for each in found)


def endure(place: Field, minutes: float, rate: int, program: str) -> dict[str, Any]:
    """Put the load on a pair, and say how it bore it."""
    folders = (place.folder("a"), place.folder("b"))
    contestant = next(each for each in (PLAIN, COMPILED) if each.program == program)
    begun = done = 0
    seen: list[tuple[float, int, int]] = []
    over = threading.Event()
    with running(place, contestant, True, folders, valid_s=VALID_S) as server:
        watcher = threading.Thread(target=watch, args=(server, over, seen))
        watcher.start()
        for piece in range(round(minutes * 60 / PIECE_S)):
            run = load(place, "mixed", rate, PIECE_S)
            server.check()
            begun, done = begun + run.begun, done + run.done
            memory = " and ".join(f"{octets >> 20} MB" for octets in seen[-1][1:])
            CONSOLE.print(f"{(piece + 1) * PIECE_S} s: {done:,} of {begun:,} exchanges done, {memory}", highlight=False)
        over.set()
        watcher.join()
        until(lambda: is_at_rest(server), AT_REST_S, "nothing owed")
        first, second = (leases(folder) for folder in folders)
        # Leases run out while they are listed: what looks different must become alike.
        different = [key for key in {*first, *second} if first.get(key) != second.get(key)]
        began = time.monotonic()
        while different and time.monotonic() - began < AT_REST_S:
            time.sleep(1.0)
            different = differing(folders, different)
    half = [octets for at, *octets in seen if at > minutes * 30]
    growth = max(max(each) / each[0] for each in zip(*half, strict=True))
    return {
        "minutes": minutes,
        "rate": rate,
        "program": contestant.name,
        "begun": begun,
        "lost": round(1 - done / begun, 5),
        "leases-at-the-end": len(first),
        "different": len(different),
        "memory-growth": round(growth, 3),
        "memory": [(round(at), one >> 20, two >> 20) for at, one, two in seen[:: max(1, len(seen) // 60)]],
    }


def main() -> int:
    """Print the result as JSON; exit 1 if it is not as it should be."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--minutes", type=float, default=30)
    arguments.add_argument("--rate", type=int, required=True, help="four-way exchanges a second: 80 %% of the highest")
    arguments.add_argument("--program", default=COMPILED.program)
    wanted = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="tandem-endure-") as scratch, field(Path(scratch)) as place:
        found = endure(place, wanted.minutes, wanted.rate, wanted.program)
    print(json.dumps(found, indent=1))
    is_good = not found["different"] and found["memory-growth"] <= MEMORY_GROWTH_MAX and found["lost"] < 0.01
    return int(not is_good)


if __name__ == "__main__":
    raise SystemExit(main())

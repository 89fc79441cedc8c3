"""Where a packet's microseconds go: `python -m bench.profile [--rate N]`, as root, with Debian's linux-perf.

Samples the processor under a steady load and says, of one four-way exchange, which part costs how much; the same for a
server that only takes, syncs and sends (`bench.bare`), and for Kea.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.compare import COMPILED, KEA, PLAIN
from bench.contestants import Running, running
from bench.field import LAN, Field, field
from bench.measure import WARM_UP_S, step

FREQUENCY_HZ = 1999
KERNEL = "[kernel.kallsyms]"
BY_SYSTEM_CALL = {
    "sys_sendto": "kernel: sending",
    "sys_sendmsg": "kernel: sending",
    "sys_recvmsg": "kernel: receiving",
    "sys_fdatasync": "kernel: writing and syncing",
    "sys_pwrite64": "kernel: writing and syncing",
    "sys_write": "kernel: writing and syncing",
    "sys_epoll_wait": "kernel: waiting and waking",
    "sys_epoll_ctl": "kernel: waiting and waking",
    "sys_select": "kernel: waiting and waking",
    "sys_futex": "kernel: waiting and waking",
}
OTHER_KERNEL = "kernel: interrupts and the rest"
BY_OBJECT = {
    "mypyc": "the compiled core",
    "libsqlite3": "SQLite",
    "_sqlite3": "SQLite",
    "libc": "the C library",
    "python": "the interpreter",
    "_struct": "the interpreter",
    "_socket": "the interpreter",
    "_asyncio": "the interpreter",
}
OTHER_USER = "other"

Frame = tuple[str, str]


def stacks(text: str) -> Iterator[list[Frame]]:
    """Read what `perf script -F ip,sym,dso` prints: of each sample its frames, innermost first, symbol and object."""
    for sample in text.strip().split("\n\n"):
        frames = []
        for line in sample.strip().splitlines():
            words = line.strip().partition(" ")[2]
            symbol, _, where = words.rpartition(" (")
            frames.append((symbol, where.rstrip(")")))
        if frames:
            yield frames


def part_of(frames: list[Frame]) -> str:
    """Say which part of the work a sample belongs to."""
    where = frames[0][1]
    if where == KERNEL:
        for symbol, _ in frames:
            for call, part in BY_SYSTEM_CALL.items():
                if symbol.endswith(call):
                    return part
        return OTHER_KERNEL
    name = where.rpartition("/")[2]
    return next((part for start, part in BY_OBJECT.items() if start in name), OTHER_USER)


def sampled(place: Field, server: Running, rate: int, seconds: int) -> tuple[dict[str, float], float]:
    """Give the share of each part under load, and the processor microseconds of an exchange."""
    step(place, server, "na", rate, WARM_UP_S)
    data = place.scratch / "perf.data"
    record = ["perf", "record", "-q", "-g", "-F", str(FREQUENCY_HZ), "-p", str(server.primary.pid), "-o", str(data)]
    with subprocess.Popen([*record, "--", "sleep", str(seconds - 1)], stderr=subprocess.PIPE) as perf:
        _, primary_us, _ = step(place, server, "na", rate, seconds)
        assert perf.wait() == 0, perf.stderr.read() if perf.stderr else ""
    text = subprocess.run(
        ["perf", "script", "-i", str(data), "-F", "ip,sym,dso"], capture_output=True, text=True, check=True
    ).stdout
    parts = Counter(part_of(frames) for frames in stacks(text))
    return {part: count / parts.total() for part, count in parts.most_common()}, primary_us


def bare(place: Field, folder: Path, rate: int, seconds: int) -> tuple[dict[str, float], float]:
    """Sample the server that does not think."""
    host = place.servers[0]
    argv = [sys.executable, "-m", "bench.bare", LAN, str(folder / "records")]
    process = place.start(host, argv, folder / "bare.log", PYTHONPATH=":".join(sys.path))
    try:
        return sampled(place, Running([process], (folder, folder)), rate, seconds)
    finally:
        host.kill_all()


def profile(place: Field, rate: int, seconds: int) -> dict[str, dict[str, float]]:
    """Give the microseconds of each part, by who was measured."""
    found: dict[str, dict[str, float]] = {}
    shares, total_us = bare(place, place.folder("bare"), rate, seconds)
    found["bare"] = {part: share * total_us for part, share in shares.items()}
    for number, contestant in enumerate((COMPILED, PLAIN, KEA)):
        folders = (place.folder(f"{number}-1"), place.folder(f"{number}-2"))
        with running(place, contestant, False, folders) as server:
            shares, total_us = sampled(place, server, rate, seconds)
        found[contestant.name] = {part: share * total_us for part, share in shares.items()}
    return found


def main() -> None:
    """Print a table for people, and the same as JSON."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rate", type=int, default=6000)
    arguments.add_argument("--seconds", type=int, default=10)
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="tandem-profile-") as scratch, field(Path(scratch)) as place:
        found = profile(place, chosen.rate, chosen.seconds)
    table = Table("processor us of an exchange", *found)
    parts = sorted({part for each in found.values() for part in each}, key=lambda part: -found["bare"].get(part, 0))
    for part in parts:
        table.add_row(part, *(f"{each.get(part, 0):.1f}" for each in found.values()))
    table.add_row("together", *(f"{sum(each.values()):.1f}" for each in found.values()))
    Console(stderr=True).print(table)
    print(json.dumps({"rate": chosen.rate, "us": found}, indent=1))


if __name__ == "__main__":
    main()

"""Kea's load generator, and what it says."""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from bench.field import CLIENT_CPU, LAN, SERVER_CPU, Field

CLIENTS = 10_000_000
"""Clients are drawn from so many, so that nearly all are new."""
KINDS = {"na": (), "pd": ("-e", "prefix-only"), "napd": ("-e", "address-and-prefix"), "renew": (), "mixed": ()}
EXCHANGES = {"advertise": "SOLICIT-ADVERTISE", "reply": "REQUEST-REPLY", "renew": "RENEW-REPLY"}
FULL_OFFER = 0.97
"""Of the rate that was asked for, what must really have been offered."""
BUSY = 0.95
"""A generator that used so much of its processor was at its own limit."""


class Waits(NamedTuple):
    """How long answers took, in milliseconds."""

    median_ms: float
    p99_ms: float
    highest_ms: float


class Run(NamedTuple):
    """One load. An exchange is done if each of its answers came within a second."""

    rate: int
    seconds: int
    begun: int
    done: int
    lost: float
    """The greatest share of one kind of question that was not answered in time."""
    is_generator_busy: bool
    """Whether the generator used up its processor."""
    waits: dict[str, Waits]

    @property
    def is_fully_offered(self) -> bool:
        """Whether the generator offered what it should."""
        return self.begun >= FULL_OFFER * self.rate * self.seconds

    @property
    def done_rate(self) -> float:
        """Exchanges a second that were done."""
        return self.done / self.seconds


def load(field: Field, kind: str, rate: int, seconds: int, timed: bool = False) -> Run:
    """Have so many new clients a second get a lease; with `renew`, as many renewals beside.

    With `mixed` there are a quarter as many renewals and as many releases.
    """
    renewals: tuple[str, ...] = ("-f", str(rate)) if kind == "renew" else ()
    if kind == "mixed":
        renewals = ("-f", str(rate // 4), "-F", str(rate // 4))
    times = ("-x", "t") if timed else ()
    argv = ["perfdhcp", "-6", "-l", LAN, "-r", str(rate), "-R", str(CLIENTS), "-p", str(seconds), "-W", "1000000"]
    argv += ["-d", "1", *KINDS[kind], *renewals, *times, "all"]
    inside = ["ip", "netns", "exec", field.client.namespace, "taskset", "-c", CLIENT_CPU]
    timer = ["/usr/bin/env", "bash", "-c", 'TIMEFORMAT="cpu %U %S"; time "$@"', "load"]
    done = subprocess.run([*inside, *timer, *argv], capture_output=True, text=True, timeout=seconds + 60, check=False)
    return _read(done.stdout, done.stderr, rate, seconds)


def _read(text: str, times: str, rate: int, seconds: int) -> Run:
    counts: dict[str, tuple[int, int]] = {}
    waits: dict[str, Waits] = {}
    for name, heading in EXCHANGES.items():
        part = re.search(rf"\*\*\*Statistics for: {heading}\*\*\*(.*?)(?:\*\*\*|\Z)", text, re.DOTALL)
        if part is None:
            continue
        figures = dict(re.findall(r"^([a-z ]+): +([-\d.]+)", part[1], re.MULTILINE))
        counts[name] = (int(float(figures["sent packets"])), int(float(figures["received packets"])))
        stamps = re.search(rf"Timestamps for packets: {heading}\*\*\*\n(.*?)(?:\n\*|\Z)", text, re.DOTALL)
        pairs = re.findall(r"received: ([\d.]+) / ([\d.]+)", stamps[1]) if stamps is not None else []
        took = sorted((float(received) - float(sent)) * 1000 for sent, received in pairs)
        if took:
            waits[name] = Waits(statistics.median(took), took[len(took) * 99 // 100], took[-1])
    begun, done = counts.get("advertise", (0, 0))[0], counts.get("reply", (0, 0))[1]
    lost = 1 - done / begun if begun else 1.0
    if "renew" in counts:
        sent, answered = counts["renew"]
        lost = max(lost, 1 - answered / sent if sent else 1.0)
    used = re.search(r"cpu ([\d.]+) ([\d.]+)", times)
    busy = (float(used[1]) + float(used[2])) / seconds if used is not None else 0.0
    return Run(rate, seconds, begun, done, lost, busy > BUSY, waits)


SYNC = """
import os, statistics, sys, time
file, pause_s, took = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT), float(sys.argv[2]), []
for _ in range(500):
    os.write(file, bytes(128))
    began = time.perf_counter()
    os.fdatasync(file)
    took.append((time.perf_counter() - began) * 1000)
    time.sleep(pause_s)
print(statistics.median(took))
"""


def sync_ms(folder: Path, rate: int) -> float:
    """Give how long an fdatasync of a few octets takes on the servers' disk and processor, at a rate; the median."""
    argv = ["taskset", "-c", SERVER_CPU, sys.executable, "-c", SYNC, str(folder / "sync"), str(1 / rate)]
    return float(subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout)

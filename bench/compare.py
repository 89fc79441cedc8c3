"""Tandem beside Kea, in turns on one machine: `python -m bench.compare [--full] [--out FOLDER]` (`make bench`).

Prints a table as Markdown, and writes `results.json` and plots. The servers share one processor, the load has the
other. Tandem syncs to disk before each Reply; Kea does not.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from bench import measure, report
from bench.contestants import Contestant
from bench.field import Field, field
from bench.perfdhcp import load, sync_ms

PLAIN = Contestant(report.PLAIN, f"{sys.prefix}/bin/tandem")
COMPILED = Contestant(report.COMPILED, f"{sys.prefix}-compiled/bin/tandem")
KEA = Contestant(report.KEA)
KEA_QUIET = Contestant(report.KEA_QUIET, log="WARN")
KEA_THREADS = Contestant(report.KEA_THREADS, threads=2)
TANDEMS = (PLAIN, COMPILED)
START_ALONE, START_PAIR, START_KEA_PAIR = 4000, 2000, 500
NEAR = 1.15
FAR_MS = 50
FAR_RATE = 400
HELD = (1_000, 100_000, 1_000_000)
HELD_RATE = 2000
ALONE_AT_HALF = "alone, at half of Kea's highest rate"
PAIR_AT_HALF = "as a pair, at half of Kea's highest rate"
CONSOLE = Console(stderr=True)


class Comparison:
    """What was found so far, and where."""

    def __init__(self, place: Field, rounds: int) -> None:
        self.place = place
        self.rounds = rounds
        self.found: dict[str, Any] = {"rates": {}, "waits": {}, "work": {}}
        self._runs = 0

    def say(self, text: str) -> None:
        """Tell whoever waits."""
        CONSOLE.print(f"[dim]{time.strftime('%H:%M:%S')}[/] {text}", highlight=False)

    def _name(self) -> str:
        self._runs += 1
        return f"run{self._runs}"

    # -- rates

    def rates(self, kind: str, contestants: tuple[Contestant, ...], pair: bool) -> None:
        """Search for the highest rate of each contestant, one after the other, round by round."""
        row: dict[str, Any] = {}
        self.found["rates"][f"{'pair' if pair else 'alone'} {kind}"] = row
        for number in range(1, self.rounds + 1):
            for each in contestants:
                start, stride = self._first_try(row.get(each.name), each, kind, pair)
                with measure.fresh(self.place, each, pair, self._name()) as server:
                    highest = measure.highest_rate(self.place, server, kind, start, stride)
                row.setdefault(each.name, []).append(highest._asdict())
                bound = ", the generator's limit" if highest.is_generator_at_its_limit else ""
                who = f"{each.name}{' as a pair' if pair else ''}"
                self.say(f"round {number}: {who}, {kind}: {highest.rate:,} a second{bound}")

    def _first_try(
        self, found: list[dict[str, Any]] | None, contestant: Contestant, kind: str, pair: bool
    ) -> tuple[int, float]:
        """Give the rate that a search begins with, and its first stride: a small one from where the last one ended."""
        if found:
            return found[-1]["rate"], NEAR
        start = START_ALONE if not pair else START_PAIR if contestant.program else START_KEA_PAIR
        return (start if kind != "renew" else start // 2), 2

    def median_rate(self, work: str, contestant: Contestant) -> int:
        """Give the median of a contestant's highest rates."""
        return int(statistics.median(each["rate"] for each in self.found["rates"][work][contestant.name]))

    # -- waits

    def waits(self, name: str, contestants: tuple[Contestant, ...], rate: int, pair: bool) -> None:
        """Measure how long answers take at a rate."""
        row: dict[str, Any] = {"rate": rate}
        self.found["waits"][name] = row
        row["fdatasync_ms"] = sync_ms(self.place.scratch, rate)
        for number in range(self.rounds):
            for each in contestants if number % 2 == 0 else contestants[::-1]:
                with measure.fresh(self.place, each, pair, self._name()) as server:
                    load(self.place, "na", rate, measure.WARM_UP_S)
                    server.check()
                    run = load(self.place, "na", rate, measure.CONFIRM_S, timed=True)
                waits = {kind: wait._asdict() for kind, wait in run.waits.items()}
                row.setdefault(each.name, []).append(waits)
                reply = run.waits["reply"]
                self.say(f"{name}: {each.name} at {rate}/s: Reply {reply.median_ms:.2f} ms, p99 {reply.p99_ms:.2f}")

    def waits_alone(self) -> None:
        """Measure them alone, at half of Kea's highest rate."""
        self.waits(ALONE_AT_HALF, (KEA, PLAIN, COMPILED), self.median_rate("alone na", KEA) // 2, pair=False)

    def waits_as_a_pair(self) -> None:
        """Measure them as a pair, at half of the highest rate of Kea's better mode."""
        best = max(self.median_rate("pair na", each) for each in (KEA, KEA_THREADS))
        self.waits(PAIR_AT_HALF, (KEA, KEA_THREADS, PLAIN, COMPILED), best // 2, pair=True)

    def far(self) -> None:
        """Compare answers with a partner far away, and with none, at the same rate."""
        row: dict[str, Any] = {"rate": FAR_RATE}
        self.found["waits"]["partner far away"] = row
        for _ in range(self.rounds):
            with measure.fresh(self.place, COMPILED, False, self._name()):
                load(self.place, "na", FAR_RATE, measure.WARM_UP_S)
                alone = load(self.place, "na", FAR_RATE, measure.CONFIRM_S, timed=True)
            far = measure.waits_with_partner_far(self.place, COMPILED, FAR_RATE, FAR_MS, measure.CONFIRM_S)
            for name, run in (("no partner", alone), ("partner 50 ms away", far)):
                row.setdefault(name, []).append({kind: wait._asdict() for kind, wait in run.waits.items()})
                self.say(f"{name}: Reply {run.waits['reply'].median_ms:.3f} ms, p99 {run.waits['reply'].p99_ms:.2f}")

    # -- work

    def work_of_a_pair(self) -> None:
        """Compare the primary's processor time for an exchange, as one of a pair and alone, at the same rate."""
        rate = self.median_rate("pair na", PLAIN) // 2
        row: dict[str, Any] = {"rate": rate}
        self.found["work"]["primary"] = row
        for _ in range(self.rounds):
            for each in TANDEMS:
                for pair in (False, True):
                    with measure.fresh(self.place, each, pair, self._name()) as server:
                        _, primary_us, _ = measure.step(self.place, server, "na", rate, measure.CONFIRM_S)
                    row.setdefault(f"{each.name} {'pair' if pair else 'alone'}", []).append(round(primary_us, 1))
                    way = "as a pair" if pair else "alone"
                    self.say(f"{each.name} {way} at {rate}/s: {primary_us:.0f} us of the primary")

    def held(self) -> None:
        """See what an exchange costs with many leases held, and what they cost at a start and in memory."""
        rows = self.found["held"] = {}
        for each in (KEA, PLAIN, COMPILED):
            for leases in (0, *HELD):
                loaded = measure.memory_and_start(self.place, each, leases, self._name())
                rows.setdefault(each.name, []).append(loaded._asdict())
                self.say(f"{each.name} with {leases:,} leases: {loaded.resident_octets >> 20} MB, {loaded.start_s} s")
        rows = self.found["growth"] = {}
        for _ in range(self.rounds):
            for leases in HELD:
                for each in TANDEMS:
                    used_us = self._work_with(each, leases)
                    rows.setdefault(each.name, {}).setdefault(str(leases), []).append(used_us)
                    self.say(f"{each.name} with {leases:,} leases: {used_us} us for an exchange at {HELD_RATE}/s")

    def _work_with(self, contestant: Contestant, leases: int) -> float:
        with measure.fresh(self.place, contestant, False, self._name(), leases) as server:
            load(self.place, "na", HELD_RATE, 2)
            _, used_us, _ = measure.step(self.place, server, "na", HELD_RATE, measure.CONFIRM_S)
        return round(used_us, 1)

    def resync(self, sizes: tuple[int, ...]) -> None:
        """Fill an empty partner."""
        rows = self.found["resync"] = {}
        for each in TANDEMS:
            for leases in sizes:
                python = str(Path(each.program).with_name("python"))
                argv = [python, "-m", "bench.resync", str(leases)]
                done = subprocess.run(argv, capture_output=True, text=True, check=True)
                rows.setdefault(each.name, []).append(json.loads(done.stdout.splitlines()[-1]))
                self.say(f"{each.name}: {rows[each.name][-1]}")

    def too_much(self) -> None:
        """Flood a server alone, and one of a pair."""
        rows = self.found["overload"] = {}
        for pair in (False, True):
            work = f"{'pair' if pair else 'alone'} na"
            for each in TANDEMS:
                highest = self.median_rate(work, each)
                with measure.fresh(self.place, each, pair, self._name()) as server:
                    bore = measure.overload(self.place, server, server.folders[0], highest, pair)
                rows[f"{each.name} {'pair' if pair else 'alone'}"] = {"highest": highest, **bore._asdict()}
                self.say(f"{each.name} {'pair' if pair else 'alone'}, flooded: {bore}")


def machine() -> dict[str, str]:
    """Say what this was measured on."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    tandem = subprocess.run([COMPILED.program, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    kea = subprocess.run(["kea-dhcp6", "-v"], capture_output=True, text=True, check=True).stdout.strip()
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return {
        "processor": model[1] if model is not None else platform.processor(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "tandem": tandem,
        "kea": kea,
        "commit": commit.stdout.strip(),
        "date": time.strftime("%Y-%m-%d"),
    }


def steps(comparison: Comparison, is_full: bool) -> Iterator[tuple[str, Callable[[], None]]]:
    """Give all that is to be done, by a name, in its order."""
    alone = (KEA, KEA_QUIET, PLAIN, COMPILED) if is_full else (KEA, COMPILED)
    pairs = (KEA, KEA_THREADS, PLAIN, COMPILED) if is_full else (KEA_THREADS, COMPILED)
    yield "na", partial(comparison.rates, "na", alone, pair=False)
    yield "pair", partial(comparison.rates, "na", pairs, pair=True)
    if not is_full:
        return
    for kind in ("pd", "napd", "renew"):
        yield kind, partial(comparison.rates, kind, (KEA, PLAIN, COMPILED), pair=False)
    yield "waits", comparison.waits_alone
    yield "waits", comparison.waits_as_a_pair
    yield "far", comparison.far
    yield "work", comparison.work_of_a_pair
    yield "held", comparison.held
    yield "resync", partial(comparison.resync, (100_000, 1_000_000))
    yield "overload", comparison.too_much


def main() -> int:
    """Measure, print, and write. What cannot be measured is said, and the rest goes on; then the status is 1."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--full", action="store_true", help="everything, three rounds; about an hour")
    arguments.add_argument("--only", nargs="+", metavar="STEP", help="with --full: these, and the others as they were")
    arguments.add_argument("--out", type=Path, default=Path("docs/bench"), metavar="FOLDER")
    wanted = arguments.parse_args()
    wanted.out.mkdir(parents=True, exist_ok=True)
    file = wanted.out / ("results.json" if wanted.full else "short.json")
    with tempfile.TemporaryDirectory(prefix="tandem-bench-") as scratch, field(Path(scratch)) as place:
        comparison = Comparison(place, rounds=3 if wanted.full else 1)
        failed = 0
        if wanted.only:
            comparison.found = json.loads(file.read_text())
            comparison.found["measured again"] = {**machine(), "steps": wanted.only}
        else:
            comparison.found["machine"] = machine()
        for name, step in steps(comparison, wanted.full):
            if wanted.only and name not in wanted.only:
                continue
            try:
                step()
            except (AssertionError, KeyError, OSError, subprocess.SubprocessError) as error:
                failed = 1
                comparison.say(f"[red]this could not be measured: {error}[/]")
            file.write_text(json.dumps(comparison.found, indent=1) + "\n")
    print(report.table(comparison.found))
    if wanted.full:
        report.plot(comparison.found, wanted.out)
    return failed


if __name__ == "__main__":
    sys.exit(main())

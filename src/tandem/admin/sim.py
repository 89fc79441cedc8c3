"""`tandem sim`: lives simulated worlds, and shows what is wrong in the shortest world that still has it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from itertools import islice
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tandem.admin.console import PlainConsole, echo_json, styled
from tandem.sim.draw import draw
from tandem.sim.plan import Plan, read_plan
from tandem.sim.trial import Outcome, live, shrink

TRACE_LINES = 60
"""Of what led to a fault, how much is shown if not all is asked for."""
WAITING_PER_JOB = 4


def live_seed(seed: int) -> Outcome:
    """Live the world of a seed."""
    return live(draw(seed))


def run_many(seeds: range, jobs: int, stops: bool, as_json: bool, console: PlainConsole) -> int:
    """Live the worlds of these seeds, show what fails, shrunk, and sum up. Give 1 if anything failed, else 0.

    `stops`: at the first that fails.
    """
    started = time.monotonic()
    failed: list[Outcome] = []
    simulated_s, calls = 0.0, 0
    voids: Counter[str] = Counter()
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(
        *columns, TextColumn("{task.fields[rate]}", markup=False), console=console, disable=as_json
    ) as progress:
        task = progress.add_task("worlds", total=len(seeds), rate="")
        for outcome in _outcomes(seeds, jobs):
            simulated_s += outcome.simulated_s
            calls += outcome.calls
            voids.update(outcome.voids)
            rate = simulated_s / 60 / (time.monotonic() - started)
            progress.update(task, advance=1, rate=f"{rate:.0f} simulated hours a minute, {len(failed)} failed")
            if outcome.kind:
                failed.append(outcome)
                if not as_json:
                    progress.console.print(f"seed {outcome.seed}: {outcome.what}", soft_wrap=True)
            if failed and stops:
                break
    took_s = time.monotonic() - started
    if as_json:
        echo_json(_summary(seeds, failed, simulated_s, calls, voids, took_s))
        return int(bool(failed))
    for outcome in failed[:1]:
        show_failure(draw(outcome.seed), outcome, console, whole=False)
    console.print(
        f"{len(seeds)} worlds, {len(failed)} failed; {simulated_s / 3600:,.0f} simulated hours in {took_s:.0f} s "
        f"({simulated_s / 60 / took_s:,.0f} a minute, {jobs} at a time), {calls:,} calls of nodes.",
        soft_wrap=True,
    )
    for why, count in voids.most_common():
        console.print(f"  {count:8,} leases counted for nothing: {why}", soft_wrap=True)
    if failed:
        console.print(f"Failed: {' '.join(str(each.seed) for each in failed)}", soft_wrap=True)
    return int(bool(failed))


def _outcomes(seeds: range, jobs: int) -> Iterator[Outcome]:
    """Give what came of each seed, in the order in which they are done."""
    if jobs == 1:
        yield from map(live_seed, seeds)
        return
    with ProcessPoolExecutor(jobs) as pool:
        left = iter(seeds)
        at_work: set[Future[Outcome]] = {pool.submit(live_seed, seed) for seed in islice(left, jobs * WAITING_PER_JOB)}
        while at_work:
            done, at_work = wait(at_work, return_when=FIRST_COMPLETED)
            at_work |= {pool.submit(live_seed, seed) for seed in islice(left, len(done))}
            yield from (each.result() for each in done)


def _summary(
    seeds: range, failed: list[Outcome], simulated_s: float, calls: int, voids: Counter[str], took_s: float
) -> dict[str, object]:
    return {
        "first-seed": seeds.start,
        "worlds": len(seeds),
        "failed": [{"seed": each.seed, "kind": each.kind, "what": each.what} for each in failed],
        "simulated-hours": round(simulated_s / 3600, 1),
        "calls": calls,
        "voids": dict(voids),
        "seconds": round(took_s, 1),
        "simulated-hours-a-minute": round(simulated_s / 60 / took_s, 1),
    }


def run_one(plan: Plan, console: PlainConsole, whole: bool, save: Path | None) -> int:
    """Live one world again. Give 1 if it fails, after showing why, else 0."""
    say = _printer(console) if whole else None
    outcome = live(plan, say)
    if not outcome.kind:
        hours = outcome.simulated_s / 3600
        console.print(
            f"seed {plan.seed}: nothing failed in {hours:.1f} simulated hours; {plan.describe()}", soft_wrap=True
        )
        return 0
    smallest = show_failure(plan, outcome, console, whole)
    if save is not None:
        save.write_text(smallest.write())
        console.print(f"The shrunk world is in {save}: tandem sim --plan {save}")
    return 1


def _printer(console: PlainConsole) -> Callable[[str], None]:
    def say(line: str) -> None:
        console.print(line, soft_wrap=True)

    return say


def show_failure(plan: Plan, outcome: Outcome, console: PlainConsole, whole: bool) -> Plan:
    """Shrink a world that fails, show it with what led to the failure, and give its plan."""
    say = _printer(console)
    say(f"seed {plan.seed} fails: {outcome.what}")
    say(f"  {plan.describe()}")
    with console.status(styled("shrinking")) as status:
        smallest, last = shrink(
            plan,
            outcome,
            lambda each: status.update(styled(f"shrinking: {len(each.clients)} clients, {len(each.faults)} faults")),
        )
    lines: list[str] = []
    live(smallest, lines.append)
    say(f"The shortest world with the same fault: {last.what}")
    say(f"  {smallest.describe()}")
    for part in (*smallest.servers, *smallest.links, *smallest.clients, *smallest.faults):
        say(f"  {part}")
    shown = lines if whole else lines[-TRACE_LINES:]
    if len(shown) < len(lines):
        say(f"What happened last; --trace shows the {len(lines) - len(shown)} lines before it as well:")
    for line in shown:
        say(line)
    return smallest


def load_plan(path: Path) -> Plan:
    """Read a plan that was saved. ValueError says what is wrong with it."""
    try:
        return read_plan(path.read_text("utf-8"))
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(f"{path} is no plan of a simulated world: {error}") from error

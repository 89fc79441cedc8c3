"""Simulated worlds: what is promised holds in each of them, and each is the same wherever it is lived.

TANDEM_SEEDS says how many fresh ones are lived, TANDEM_FIRST_SEED which is the first.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tandem.sim.draw import draw
from tandem.sim.plan import Plan, read_plan
from tandem.sim.trial import Outcome, live, shrink

FIRST = int(os.environ.get("TANDEM_FIRST_SEED", "0"))
FRESH = range(FIRST, FIRST + int(os.environ.get("TANDEM_SEEDS", "20")))
PER_TEST = 10
HERE = Path(__file__).parent
ROOT = HERE.parent.parent
COMPILED = ROOT / ".venv-compiled" / "ready"
LINES = [line for line in (HERE / "seeds.txt").read_text().splitlines() if line and not line.startswith("#")]
FAILED_ONCE = [line.split()[0] for line in LINES]
DIGEST = """
import hashlib, sys
from tandem.sim.draw import draw
from tandem.sim.trial import live
digest = hashlib.sha256()
live(draw(int(sys.argv[1])), lambda line: digest.update(line.encode()))
print(digest.hexdigest())
"""


@pytest.mark.parametrize("first", FRESH[::PER_TEST])
def test_fresh_worlds(first: int) -> None:
    for seed in FRESH[first - FIRST : first - FIRST + PER_TEST]:
        outcome = live(draw(seed))
        assert not outcome.kind, f"tandem sim --seed {seed}: {outcome.what}"


@pytest.mark.parametrize("name", FAILED_ONCE)
def test_worlds_in_which_something_failed_once(name: str) -> None:
    plan = draw(int(name)) if name.isdigit() else read_plan((HERE / "worlds" / name).read_text())
    assert live(plan).what == ""


def test_every_world_that_is_kept_says_what_it_found() -> None:
    assert {path.name for path in (HERE / "worlds").iterdir()} == {name for name in FAILED_ONCE if not name.isdigit()}
    assert all(len(line.split()) > 3 for line in LINES)


def trace_of(plan: Plan) -> list[str]:
    lines: list[str] = []
    live(plan, lines.append)
    return lines


@pytest.mark.parametrize("seed", [0, 11])
def test_a_seed_is_one_world_whatever_was_lived_before(seed: int) -> None:
    trace = trace_of(draw(seed))
    live(draw(seed + 1))
    assert len(trace) > 100
    assert trace_of(draw(seed)) == trace


def test_a_seed_is_one_world_in_every_process() -> None:
    here = hashlib.sha256("".join(trace_of(draw(7))).encode()).hexdigest()
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        command = [sys.executable, "-c", DIGEST, "7"]
        found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert found.stdout.strip() == here


def is_compiled_as_it_is() -> bool:
    """Say whether there is a compiled build of the source as it is now."""
    if not COMPILED.exists():
        return False
    written = max(file.stat().st_mtime for file in (ROOT / "src").rglob("*.py"))
    return COMPILED.stat().st_mtime >= written


@pytest.mark.parametrize("seed", range(6))
def test_a_seed_is_one_world_in_the_compiled_build(seed: int) -> None:
    if not is_compiled_as_it_is():
        assert os.environ.get("TANDEM_REQUIRE_SYSTEM") != "1", "`make compiled` did not come first"
        pytest.skip("`make compiled` makes the build that this is about")
    here = hashlib.sha256("".join(trace_of(draw(seed))).encode()).hexdigest()
    script = "import tandem; assert tandem.is_compiled()\n" + DIGEST
    command = [str(COMPILED.with_name("bin") / "python"), "-c", script, str(seed)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.stdout.strip() == here, found.stderr


@pytest.mark.parametrize("seed", range(20))
def test_a_plan_is_what_was_written_of_it(seed: int) -> None:
    plan = draw(seed)
    assert read_plan(plan.write()) == plan


def test_a_plan_that_is_none_is_refused() -> None:
    for text in ("", "[]", "{}", '{"seed": 1}', "null"):
        with pytest.raises(ValueError, match=r"."):
            read_plan(text)


def test_what_is_left_out_changes_nothing_about_the_rest() -> None:
    """Each client has a chance of its own, so that a world can be shrunk."""
    plan = next(draw(seed) for seed in range(100) if len(draw(seed).clients) > 3)
    quiet = plan._replace(faults=(), loss=0.0, doubled=0.0)
    last = quiet.clients[-1]
    alone = quiet._replace(clients=(last,))
    name = f" c{last.number} SOLICIT"
    said = [[line for line in trace_of(each) if name in line] for each in (quiet, alone)]
    assert said[0][:1] == said[1][:1] != []


def test_a_world_is_shrunk_to_what_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Say that a world fails which has a `wipe` and a client that comes: all else goes."""
    plan = next(
        draw(seed)
        for seed in range(200)
        if len(draw(seed).clients) > 5 and sum(fault.what == "wipe" for fault in draw(seed).faults) > 1
    )

    def fails(plan: Plan) -> Outcome:
        is_bad = any(fault.what == "wipe" for fault in plan.faults) and bool(plan.clients)
        return Outcome(plan.seed, "wiped" if is_bad else "", "", 0.0, 0, {})

    monkeypatch.setattr("tandem.sim.trial.live", fails)
    smallest, _ = shrink(plan, fails(plan))
    assert [fault.what for fault in smallest.faults] == ["wipe"]
    assert len(smallest.clients) == 1
    assert len(smallest.clients[0].acts) <= 1
    assert (smallest.loss, smallest.doubled) == (0.0, 0.0)

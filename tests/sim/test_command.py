"""`tandem sim`: what it prints and how it ends, when all is well and when something fails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tandem.admin.cli import app
from tandem.lease import promise
from tandem.sim.draw import draw
from tandem.sim.plan import read_plan
from tandem.sim.trial import live

HONEST = promise.promise


def sim(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["sim", *words])
    return done.exit_code, done.output


@pytest.fixture
def breaks_the_mclt(monkeypatch: pytest.MonkeyPatch) -> None:
    def too_long(desired: promise.Lifetimes, acked: int, now_utc: int, mclt_s: int | None) -> promise.Lifetimes:
        return HONEST(desired, acked, now_utc, None if mclt_s is None else mclt_s + 1)

    monkeypatch.setattr("tandem.server.bindings.promise", too_long)


def test_many_worlds_are_summed_up() -> None:
    code, said = sim("--seeds", "3", "--json")
    found = json.loads(said)
    assert code == 0
    assert (found["worlds"], found["failed"]) == (3, [])
    assert found["simulated-hours"] > 0


def test_two_processes_find_the_same() -> None:
    alone, together = (json.loads(sim("--seeds", "6", "--jobs", jobs, "--json")[1]) for jobs in "12")
    assert [alone[key] for key in ("simulated-hours", "calls", "voids")] == [
        together[key] for key in ("simulated-hours", "calls", "voids")
    ]


def test_one_world_is_shown() -> None:
    code, said = sim("--seed", "3", "--trace")
    assert code == 0
    assert " -> " in said
    assert "nothing failed" in said


@pytest.mark.interpreted
@pytest.mark.usefixtures("breaks_the_mclt")
def test_what_fails_is_shrunk_shown_and_saved(tmp_path: Path) -> None:
    seed = next(seed for seed in range(50) if live(draw(seed)).kind == "beyond the MCLT")
    saved = tmp_path / "failed.json"
    code, said = sim("--seed", str(seed), "--save", str(saved))
    assert code == 1
    assert "1 s beyond what RFC 8156 4.4 allows" in said
    smallest = read_plan(saved.read_text())
    assert len(smallest.clients) == 1
    assert smallest.faults == ()
    code, said = sim("--plan", str(saved))
    assert code == 1
    assert "1 s beyond what RFC 8156 4.4 allows" in said


@pytest.mark.interpreted
@pytest.mark.usefixtures("breaks_the_mclt")
def test_it_stops_at_the_first_that_fails() -> None:
    code, said = sim("--seeds", "50", "--stop", "--json")
    assert code == 1
    assert len(json.loads(said)["failed"]) == 1


@pytest.mark.parametrize("text", [None, "", "{}", "[1]"])
def test_a_bad_plan_is_refused_with_a_sentence(tmp_path: Path, text: str | None) -> None:
    plan = tmp_path / "plan.json"
    if text is not None:
        plan.write_text(text)
    code, said = sim("--plan", str(plan))
    assert code == 1
    assert str(plan) in said.replace("\n", "")
    assert "Traceback" not in said

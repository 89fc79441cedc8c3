"""A store that was rolled back is told from one that went on, however many commits it makes afterwards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, strategies

from tandem.lease.change import RESTORED_FACT, Fact
from tandem.lease.timeline import RUNS_MAX, Timeline
from tandem.runtime.state import TIMELINE_FACT, State
from tandem.stores.store import STORE_ID_FACT

A, B, C = b"a" * 8, b"b" * 8, b"c" * 8


def test_commits_of_all_runs_are_contained() -> None:
    timeline = Timeline().begin(A, 0).begin(B, 100)
    assert timeline.contains(A, 100, 150)
    assert timeline.contains(B, 100, 150)
    assert timeline.contains(B, 150, 150)
    assert timeline.current == B


def test_commits_after_a_snapshot_are_not_contained_even_once_the_number_is_caught_up_with() -> None:
    snapshot = Timeline().begin(A, 0)
    rolled_back = snapshot.begin(C, 80)
    assert rolled_back.contains(A, 80, 500)
    assert not rolled_back.contains(A, 81, 500)
    assert not rolled_back.contains(B, 90, 500)


def test_a_process_that_was_rolled_back_with_its_memory_is_behind() -> None:
    assert not Timeline().begin(A, 0).contains(A, 120, 100)


def test_an_empty_timeline_contains_nothing() -> None:
    assert Timeline().current == b""
    assert not Timeline().contains(A, 0, 0)


@given(strategies.lists(strategies.tuples(strategies.binary(min_size=8, max_size=8), strategies.integers(0, 1 << 63))))
def test_it_round_trips(runs: list[tuple[bytes, int]]) -> None:
    timeline = Timeline()
    for run_id, position in runs:
        timeline = timeline.begin(run_id, position)
    assert Timeline.read(timeline.write()) == timeline


@pytest.mark.parametrize("octets", [b"", b"x", b"x" * 17])
def test_what_is_no_timeline_is_an_empty_one(octets: bytes) -> None:
    assert Timeline.read(octets) == Timeline()


def test_it_is_bounded() -> None:
    timeline = Timeline()
    for number in range(RUNS_MAX + 10):
        timeline = timeline.begin(number.to_bytes(8, "big"), number)
    assert len(timeline.runs) == RUNS_MAX
    assert timeline.current == (RUNS_MAX + 9).to_bytes(8, "big")


def started(folder: Path) -> State:
    state = State(folder, lambda _done, _total: None)
    for _ in state.leases():
        pass
    state.identity(None)
    return state


@pytest.fixture
def start(tmp_path: Path) -> Callable[[], State]:
    return lambda: started(tmp_path)


def test_each_start_begins_a_run_and_the_store_keeps_its_id(start: Callable[[], State]) -> None:
    first = start()
    first.store.commit([Fact("later", b"")])
    position = first.position
    first.store.close()
    second = start()
    assert second.facts[STORE_ID_FACT] == first.facts[STORE_ID_FACT]
    timeline = Timeline.read(second.facts[TIMELINE_FACT])
    assert timeline.contains(Timeline.read(first.facts[TIMELINE_FACT]).current, position, second.position)
    assert not timeline.contains(Timeline.read(first.facts[TIMELINE_FACT]).current, position + 1, second.position)
    assert second.position > position
    assert RESTORED_FACT not in second.facts
    second.store.close()

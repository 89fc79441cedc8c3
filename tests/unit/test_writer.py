"""Who waits for the disk, and when there is housekeeping: never so much that a commit waits for long."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest

from tandem.lease.change import Change, Fact
from tandem.runtime.writer import AT_ONCE_MAX, QUICK_S, TIDY_EVERY, Writer
from tandem.stores.store import StoreFull

PIECE = 2 * TIDY_EVERY
BATCH: list[Change] = [Fact("name", b"value")]


class Untidy:
    """A store that has a piece of housekeeping for so many commits; `done` is all that it did, in its order."""

    def __init__(self) -> None:
        self.left = 0
        self.done = ""
        self.while_committing: Callable[[], object] = lambda: None
        self.while_tidying: Callable[[], object] = lambda: None
        self.full = False

    @property
    def position(self) -> int:
        return self.done.count("c")

    def load(self) -> Iterator[Change]:
        return iter(())

    def commit(self, batch: Sequence[Change]) -> None:
        assert batch
        self.while_committing()
        if self.full:
            raise StoreFull("no room")
        self.left += 1
        self.done += "c"

    def tidy(self) -> bool:
        self.while_tidying()
        self.left = max(0, self.left - PIECE)
        self.done += "t"
        return self.left > 0

    def close(self) -> None:
        pass


class Desk:
    """A writer that works only when `run` is called, its store, and what it said of each batch that it was given."""

    def __init__(self) -> None:
        self.store = Untidy()
        self.said: list[BaseException | None] = []
        self.now_s = 0.0
        self.writer = Writer(self.store, self.said.append, lambda: self.now_s)

    def run(self) -> None:
        self.writer.stop()
        self.writer.run()


@pytest.fixture
def desk() -> Desk:
    """One whose disk has been found to be quick."""
    desk = Desk()
    desk.writer.commit(BATCH)
    desk.run()
    desk.store.done, desk.said[:] = "", []
    return desk


def test_without_a_pause_it_tidies_a_little_between_commits() -> None:
    desk = Desk()
    for _ in range(20 * PIECE):
        desk.writer.commit(BATCH)
    desk.run()
    assert {len(between) for between in desk.store.done.split("t")[1:-1]} == {TIDY_EVERY}
    assert desk.store.left < 2 * PIECE
    assert desk.said == [None] * 20 * PIECE


def test_position_is_that_of_the_store(desk: Desk) -> None:
    assert desk.writer.position == 0
    assert desk.writer.commit_at_once(BATCH)
    assert desk.writer.position == 1


def test_what_is_committed_at_once_is_durable_at_once(desk: Desk) -> None:
    assert desk.writer.commit_at_once(BATCH)
    assert desk.store.done == "c"
    assert desk.said == []
    assert desk.writer.times.as_json()["counts"][0] == 2


def test_what_was_committed_at_once_is_tidied_up_by_the_thread(desk: Desk) -> None:
    for _ in range(TIDY_EVERY - 1):
        assert desk.writer.commit_at_once(BATCH)
    desk.run()
    assert desk.store.done == "c" * (TIDY_EVERY - 1) + "t"


def is_left_to_the_thread(desk: Desk, batch: list[Change]) -> bool:
    before = desk.store.done
    is_durable = desk.writer.commit_at_once(batch)
    is_left = desk.store.done == before and not is_durable
    desk.run()
    return is_left and desk.store.done == before + "c" and desk.said == [None]


def test_the_first_batch_is_left_to_the_thread() -> None:
    assert is_left_to_the_thread(Desk(), BATCH)


def test_a_large_batch_is_left_to_the_thread(desk: Desk) -> None:
    assert is_left_to_the_thread(desk, BATCH * (AT_ONCE_MAX + 1))
    assert desk.writer.commit_at_once(BATCH * AT_ONCE_MAX)


def test_a_disk_that_was_slow_is_left_to_the_thread_until_it_is_quick(desk: Desk) -> None:
    def slow() -> None:
        desk.now_s += 2 * QUICK_S

    desk.store.while_committing = slow
    assert desk.writer.commit_at_once(BATCH)
    desk.store.while_committing = lambda: None
    assert is_left_to_the_thread(desk, BATCH)
    assert desk.writer.commit_at_once(BATCH)


def test_nobody_waits_for_housekeeping(desk: Desk) -> None:
    during: list[bool] = []
    desk.store.while_tidying = lambda: during.append(desk.writer.commit_at_once(BATCH))
    desk.writer.commit([])
    desk.run()
    assert during == [True]
    assert desk.store.done == "ct"


def test_a_full_disk_is_said_and_nothing_counts_as_durable(desk: Desk) -> None:
    desk.store.full = True
    assert not desk.writer.commit_at_once(BATCH)
    assert [type(error) for error in desk.said] == [StoreFull]
    desk.run()
    assert desk.store.done == ""

"""The history of a server's disk: which positions it went through."""

from __future__ import annotations

from tandem.effects.effects import Effects
from tandem.failover.history import INCARNATIONS_MAX, History, Position, split_position
from tandem.lease.change import Fact
from tandem.wire.failover import FailoverMessage, FailoverType


class Disk:
    """The facts of a server, and what it does when it runs."""

    def __init__(self, facts: dict[str, bytes] | None = None) -> None:
        self.facts = dict(facts or {})
        self._starts = 0

    def run(self, commits: int, name: bytes = b"run") -> History:
        """Start, commit so many batches, and stop."""
        self._starts += 1
        history = History(self.facts, name + b"%5d" % self._starts)
        for _ in range(commits):
            effects = Effects()
            effects.commit.append(Fact("something", b""))
            history.record(effects)
            self.facts.update((change.name, change.value) for change in effects.commit if isinstance(change, Fact))
        return history


def position_of(history: History) -> Position:
    message = FailoverMessage(FailoverType.STATE, 1, history.write_position(Effects()) + b"options")
    position, rest = split_position(message)
    assert position is not None
    assert rest.options == b"options"
    return position


def test_position_of_an_earlier_run_is_contained() -> None:
    disk = Disk()
    heard = position_of(disk.run(5))
    assert disk.run(1).contains(heard)
    assert disk.run(0).contains(heard)


def test_position_behind_the_copy_is_not_contained() -> None:
    disk = Disk()
    disk.run(3)
    copy = Disk(disk.facts)
    heard = position_of(disk.run(1))
    assert not copy.run(1, b"cop").contains(heard)


def test_copy_that_catches_up_with_the_counter_is_found_out() -> None:
    disk = Disk()
    first = disk.run(3)
    copy = Disk(disk.facts)
    first.record(_batch())
    heard = position_of(first)
    assert not copy.run(100, b"cop").contains(heard)


def test_memory_that_went_back_while_running_is_found_out() -> None:
    disk = Disk()
    history = disk.run(2)
    ahead = position_of(history)._replace(commits=9)
    assert not history.contains(ahead)


def test_empty_disk_contains_no_position_of_another_one() -> None:
    assert not Disk().run(10).contains(Position(b"another!", 1))


def test_incarnation_older_than_all_remembered_is_compared_by_its_counter() -> None:
    disk = Disk()
    heard = position_of(disk.run(5))
    for _ in range(INCARNATIONS_MAX):
        history = disk.run(1)
    assert history.contains(heard)
    assert not history.contains(heard._replace(commits=10**6))


def _batch() -> Effects:
    effects = Effects()
    effects.commit.append(Fact("something", b""))
    return effects

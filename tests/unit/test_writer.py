"""The writer tidies between commits if there is no pause, and never so much that one waits for long."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tandem.lease.change import Change
from tandem.runtime.writer import TIDY_EVERY, Writer

PIECE = 2 * TIDY_EVERY


class Untidy:
    """A store that has a piece of housekeeping for so many commits; `done` is all that it did, in its order."""

    def __init__(self) -> None:
        self.left = 0
        self.done = ""

    def load(self) -> Iterator[Change]:
        return iter(())

    def commit(self, batch: Sequence[Change]) -> None:
        assert not batch
        self.left += 1
        self.done += "c"

    def tidy(self) -> bool:
        self.left = max(0, self.left - PIECE)
        self.done += "t"
        return self.left > 0

    def close(self) -> None:
        pass


def test_without_a_pause_it_tidies_a_little_between_commits() -> None:
    store = Untidy()
    failed: list[BaseException] = []
    writer = Writer(store, lambda error: failed.append(error) if error is not None else None)
    for _ in range(20 * PIECE):
        writer.commit([])
    writer.stop()
    writer.run()
    assert {len(between) for between in store.done.split("t")[1:-1]} == {TIDY_EVERY}
    assert store.left < 2 * PIECE
    assert failed == []

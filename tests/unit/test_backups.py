"""A server leaves its files as they are while a backup is made, and no longer."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from contract.test_store import EAGER
from tandem.effects.effects import Answer
from tandem.effects.events import Command
from tandem.lease.change import Put
from tandem.runtime import backups as module
from tandem.runtime.backups import Backups
from tandem.runtime.writer import Writer
from tandem.stores.copy import StoreCopy
from tandem.stores.sqlite import SqliteStore


@pytest.fixture
def store(tmp_path: Path) -> SqliteStore:
    (tmp_path / "store").mkdir()
    store = SqliteStore(tmp_path / "store" / "leases.db", EAGER)
    store.commit([Put(number, b"lease") for number in range(50)])
    return store


def files(tmp_path: Path) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes() for path in (tmp_path / "store").glob("leases.db*") if "-mark" not in path.name
    }


def test_while_it_is_held_nothing_but_the_end_of_the_journal_changes(store: SqliteStore, tmp_path: Path) -> None:
    position = store.hold()
    before = files(tmp_path)
    for number in range(100):
        store.commit([Put(number, b"later")])
        assert not store.tidy()
    after = files(tmp_path)
    journal = max(name for name in before if "-changes-" in name)
    written = len(before[journal].rstrip(b"\0"))
    assert after[journal][:written] == before[journal][:written]
    assert {name: data for name, data in after.items() if name != journal} == {
        name: data for name, data in before.items() if name != journal
    }
    copy = StoreCopy(tmp_path / "store" / "leases.db", position)
    assert b"later" not in b"".join(copy.batches())
    assert copy.position == position
    copy.close()
    store.release()
    while store.tidy():
        pass
    assert files(tmp_path).keys() != before.keys()
    store.close()


def test_a_copy_of_a_held_store_is_all_of_it_at_any_stage_of_housekeeping(store: SqliteStore, tmp_path: Path) -> None:
    for number in range(60):
        store.commit([Put(number * 7 % 50, b"%d" % number)])
        store.tidy()
        position = store.hold()
        copy = StoreCopy(tmp_path / "store" / "leases.db", position)
        crashed = shutil.copytree(tmp_path / "store", tmp_path / f"copy{number}")
        held = StoreCopy(crashed / "leases.db")
        assert sorted(b"".join(copy.batches())) == sorted(b"".join(held.batches()))
        assert copy.position == held.position == position
        copy.close()
        held.close()
        store.release()
    store.close()


async def answered(answers: list[Answer], count: int) -> Answer:
    async with asyncio.timeout(20):
        while len(answers) < count:
            await asyncio.sleep(0)
    return answers[-1]


def test_files_are_held_no_longer_than_somebody_says_that_they_are_read(
    store: SqliteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        answers: list[Answer] = []
        later: list[Callable[[], None]] = []
        loop = asyncio.get_running_loop()

        def call_later(_delay_s: float, step: Callable[[], None]) -> asyncio.Handle:
            later.append(step)
            return asyncio.Handle(step, (), loop)

        monkeypatch.setattr(loop, "call_later", call_later)
        writer = Writer(store, lambda _error: None)
        backups = Backups("a", tmp_path, store, writer, answers.append, lambda _error: None)
        writer.start()
        backups.obey(Command(1, "backup-begin", {}))
        held = (await answered(answers, 1)).result
        assert not store.tidy()
        backups.obey(Command(2, "backup-continue", {"backup": held["backup"]}))
        assert (await answered(answers, 2)).error is None
        assert len(later) == 2
        later[-1]()
        assert store.tidy()
        backups.obey(Command(3, "backup-continue", {"backup": held["backup"]}))
        assert "not kept still for long enough" in str((await answered(answers, 3)).error)
        backups.obey(Command(4, "backup-begin", {}))
        assert (await answered(answers, 4)).result["backup"] != held["backup"]
        writer.stop()
        writer.join(20)

    assert module.HOLD_S > 10
    asyncio.run(run())
    store.close()

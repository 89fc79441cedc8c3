"""What any store promises, tried on every back end, and what the default one does with files that are not right."""

from __future__ import annotations

import errno
import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies

from tandem.lease.change import Change, Fact, Put
from tandem.stores.batch import BatchDamagedError, read_batch, write_batch
from tandem.stores.sqlite import Pace, SqliteStore
from tandem.stores.store import STORE_ID_FACT, Store, StoreBroken, StoreError, StoreFull

EAGER = Pace(leases_min=2, leases_per_change=2, block_octets_max=100, log_octets_max=20_000)
"""Housekeeping all the time, and in small pieces."""
FULL_AT_ONCE = EAGER._replace(block_changes_max=3)
"""The same, and blocks are full at once."""
BACK_ENDS: dict[str, Callable[[Path], Store]] = {
    "sqlite": lambda folder: SqliteStore(folder / "leases.db"),
    "sqlite-eager": lambda folder: SqliteStore(folder / "leases.db", EAGER),
    "sqlite-full": lambda folder: SqliteStore(folder / "leases.db", FULL_AT_ONCE),
}
NOT_BACK_ENDS = {
    "__init__",
    "backup",
    "batch",
    "blocks",
    "claim",
    "copy",
    "database",
    "journal",
    "mark",
    "restore",
    "store",
    "tail",
}

changes = strategies.one_of(
    strategies.builds(
        Put, strategies.integers(0, 5), strategies.one_of(strategies.none(), strategies.binary(max_size=40))
    ),
    strategies.builds(Fact, strategies.sampled_from(["duid", "state"]), strategies.binary(max_size=10)),
)
steps = strategies.lists(
    strategies.one_of(strategies.lists(changes, min_size=1, max_size=6), strategies.sampled_from(["tidy", "reopen"])),
    max_size=12,
)


def kept(store: Store) -> dict[object, bytes]:
    """Give what a store holds, as a plain dict, but for what it made itself."""
    found: dict[object, bytes] = {}
    for change in store.load():
        apply(found, change)
    del found[STORE_ID_FACT]
    return found


def apply(model: dict[object, bytes], change: Change) -> None:
    if isinstance(change, Fact):
        model[change.name] = change.value
    elif change.record is None:
        model.pop(change.key, None)
    else:
        model[change.key] = change.record


def tidy_up(store: Store) -> None:
    """Do all housekeeping that there is."""
    while store.tidy():
        pass


def test_every_back_end_is_tried() -> None:
    modules = {path.stem for path in (Path(__file__).parents[2] / "src/tandem/stores").glob("*.py")}
    assert modules - NOT_BACK_ENDS == {name.partition("-")[0] for name in BACK_ENDS}


@pytest.fixture(params=sorted(BACK_ENDS))
def open_store(request: pytest.FixtureRequest) -> Callable[[Path], Store]:
    return BACK_ENDS[request.param]


@pytest.mark.parametrize("name", sorted(BACK_ENDS))
@settings(max_examples=40, deadline=None)
@given(steps=steps)
def test_gives_back_what_was_committed(
    tmp_path_factory: pytest.TempPathFactory, name: str, steps: list[list[Change] | str]
) -> None:
    folder = tmp_path_factory.mktemp("store")
    store = BACK_ENDS[name](folder)
    model: dict[object, bytes] = {}
    for step in steps:
        if step == "tidy":
            tidy_up(store)
        elif step == "reopen":
            store.close()
            store = BACK_ENDS[name](folder)
        else:
            assert not isinstance(step, str)
            store.commit(step)
            for change in step:
                apply(model, change)
        assert kept(store) == model
    store.close()


def test_what_is_committed_is_in_the_files_at_once(open_store: Callable[[Path], Store], tmp_path: Path) -> None:
    """A copy of the files, taken while the store is open, holds every commit that has returned."""
    folder, copy = tmp_path / "store", tmp_path / "copy"
    folder.mkdir()
    store = open_store(folder)
    store.commit([Put(1, b"one")])
    store.commit([Put(2, b"two"), Put(1, None)])
    shutil.copytree(folder, copy)
    store.close()
    found = open_store(copy)
    assert kept(found) == {2: b"two"}
    found.close()


def test_position_grows_by_one_with_each_commit_and_is_kept(
    open_store: Callable[[Path], Store], tmp_path: Path
) -> None:
    store = open_store(tmp_path)
    kept(store)
    before = store.position
    for number in range(20):
        store.commit([Put(number, b"lease"), Fact("state", b"%d" % number)])
        assert store.position == before + number + 1
        store.tidy()
    store.close()
    again = open_store(tmp_path)
    kept(again)
    assert again.position == before + 20
    again.close()


def test_only_one_may_use_it(open_store: Callable[[Path], Store], tmp_path: Path) -> None:
    store = open_store(tmp_path)
    for _ in range(2):  # before it was read, and after
        with pytest.raises(StoreError, match="in use by another server"):
            open_store(tmp_path)
        kept(store)
    store.close()
    open_store(tmp_path).close()


@given(strategies.lists(changes, max_size=10))
def test_batches_round_trip(batch: list[Change]) -> None:
    assert list(read_batch(write_batch(batch))) == batch


@given(strategies.lists(changes, min_size=1, max_size=4), strategies.integers(0, 1000), strategies.integers(1, 255))
def test_damaged_batches_are_noticed(batch: list[Change], at: int, flip: int) -> None:
    data = bytearray(write_batch(batch))
    data[at % len(data)] ^= flip
    with pytest.raises(BatchDamagedError):
        list(read_batch(bytes(data)))
    with pytest.raises(BatchDamagedError):
        list(read_batch(write_batch(batch)[: at % len(data)]))


# -- the default store


def filled(folder: Path) -> Path:
    """Make a store's file with folded leases, a journal, and nothing left in a write-ahead log."""
    path = folder / "leases.db"
    store = SqliteStore(path, EAGER)
    store.commit([Put(number, b"record %d" % number) for number in range(1, 200)])
    tidy_up(store)
    store.commit([Put(1, b"later")])
    store.commit([Put(2, b"last")])
    store.close()
    return path


def refuse(error: int) -> Callable[..., int]:
    def refusing(*_: object) -> int:
        raise OSError(error, os.strerror(error))

    return refusing


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
def test_a_commit_that_is_refused_can_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    """Also when a part of it was written. Until then it is not there."""
    store = SqliteStore(tmp_path / "leases.db", Pace(leases_min=1))
    store.commit([Put(1, b"before")])
    given = [os.pwrite]

    def write_a_part(file: int, data: bytes, at: int) -> int:
        return given.pop()(file, data[:600], at) if given else refuse(error)()

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", write_a_part)
        with pytest.raises(StoreFull, match=os.strerror(error)):
            store.commit([Put(2, b"x" * 2000)])
    tidy_up(store)
    assert kept(store) == {1: b"before"}
    store.commit([Put(2, b"x" * 2000)])
    store.commit([Put(3, b"after")])
    store.close()
    assert kept(SqliteStore(tmp_path / "leases.db")) == {1: b"before", 2: b"x" * 2000, 3: b"after"}


def test_a_commit_whose_sync_fails_is_final(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SqliteStore(tmp_path / "leases.db")
    kept(store)
    monkeypatch.setattr(os, "fdatasync", refuse(errno.EIO))
    with pytest.raises(StoreBroken, match="the journal cannot be synced"):
        store.commit([Put(1, b"x")])
    store.close()


@pytest.mark.parametrize(("call", "is_new"), [("fsync", True), ("fdatasync", True), ("fdatasync", False)])
def test_a_disk_that_cannot_be_trusted_at_the_start_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, is_new: bool
) -> None:
    path = tmp_path / "leases.db" if is_new else filled(tmp_path)
    monkeypatch.setattr(os, call, refuse(errno.EIO))
    with pytest.raises(StoreError, match=r"leases.db cannot be used: .*Look after the disk"):
        open_and_read(path)


def test_what_a_crash_leaves_in_the_write_ahead_log_is_written_to_its_place_at_the_start(tmp_path: Path) -> None:
    """Its last sync may have failed. SQLite would go on behind it, and a power cut would take both."""
    (tmp_path / "server").mkdir()
    store = SqliteStore(tmp_path / "server" / "leases.db", EAGER)
    store.commit([Put(number, b"record %d" % number) for number in range(1, 200)])
    tidy_up(store)
    shutil.copytree(tmp_path / "server", tmp_path / "crashed")
    store.close()
    log = tmp_path / "crashed" / "leases.db-wal"
    assert log.stat().st_size > 0
    again = SqliteStore(tmp_path / "crashed" / "leases.db", EAGER)
    assert len(kept(again)) == 199
    assert log.stat().st_size == 0
    again.close()


@pytest.mark.parametrize(("code", "goes_on"), [(sqlite3.SQLITE_FULL, True), (sqlite3.SQLITE_IOERR_FSYNC, False)])
def test_on_a_full_disk_the_log_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, goes_on: bool
) -> None:
    class Failing:
        def execute(self, *_: object) -> None:
            error = sqlite3.OperationalError("as asked")
            error.sqlite_errorcode = code
            raise error

    store = SqliteStore(tmp_path / "leases.db")
    with monkeypatch.context() as patch:
        patch.setattr(store._db, "_db", Failing())
        if goes_on:
            store._db.empty_log()
        else:
            with pytest.raises(sqlite3.OperationalError):
                store._db.empty_log()
    store.close()


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (sqlite3.SQLITE_FULL, StoreFull),
        (sqlite3.SQLITE_READONLY, StoreFull),
        (sqlite3.SQLITE_IOERR_WRITE, StoreFull),
        (sqlite3.SQLITE_IOERR_FSYNC, StoreBroken),
        (sqlite3.SQLITE_CORRUPT, StoreBroken),
    ],
)
def test_failures_of_housekeeping_are_sorted_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, expected: type[Exception]
) -> None:
    class Failing:
        def execute(self, *_: object) -> None:
            store.commit([Put(5, b"changed meanwhile")])
            error = sqlite3.OperationalError("as asked")
            error.sqlite_errorcode = code
            raise error

    store = SqliteStore(tmp_path / "leases.db", EAGER)
    store.commit([Put(number, b"lease %d" % number) for number in range(20)])
    assert store.tidy()  # merging has begun
    with monkeypatch.context() as patch:
        patch.setattr(store._db, "_db", Failing())
        with pytest.raises(expected):
            store.tidy()
    tidy_up(store)
    store.commit([Put(number, b"later") for number in range(100, 120)])
    tidy_up(store)
    leases: dict[object, bytes] = {number: b"lease %d" % number for number in range(20)}
    later: dict[object, bytes] = dict.fromkeys(range(100, 120), b"later")
    assert kept(store) == {**leases, 5: b"changed meanwhile", **later}
    store.close()


@pytest.mark.parametrize("pace", [EAGER, FULL_AT_ONCE])
def test_what_is_committed_while_a_block_is_written_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pace: Pace
) -> None:
    """At the worst moment: neighbours of what is in the very block, which is parted, or goes."""
    store = SqliteStore(tmp_path / "leases.db", pace)
    model: dict[object, bytes] = {}
    chance = random.Random(8156)
    keys = chance.sample(range(1000), 1000)
    write = store._db._write

    def write_and_commit(statement: str, rows: list[tuple[object, ...]], digest: int) -> None:
        write(statement, rows, digest)
        change_some()

    def change_some() -> None:
        """Give a few leases, each once, and take some back, once."""
        batch: list[Change] = [Put(keys.pop(), b"lease") for _ in range(min(3, len(keys)))]
        leases = [key for key in model if isinstance(key, int)]
        batch += [Put(key, None) for key in chance.sample(leases, min(2, len(leases)))]
        store.commit(batch)
        for change in batch:
            apply(model, change)

    monkeypatch.setattr(store._db, "_write", write_and_commit)
    while keys:
        change_some()
        tidy_up(store) if chance.random() < 0.2 else store.tidy()
    store.close()
    again = SqliteStore(tmp_path / "leases.db", EAGER)
    assert kept(again) == model
    again.close()


def test_a_lease_that_changes_over_and_over_is_merged_too(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "leases.db", Pace(journal_octets_min=100 * 512))
    for number in range(1000):
        store.commit([Put(1, b"%d" % number)])
        store.tidy()
    assert store.count() <= 1 + 100
    assert kept(store) == {1: b"999"}
    store.close()


def test_a_block_is_merged_before_much_has_changed_there(tmp_path: Path) -> None:
    """However many leases are new: to merge them all into one block would hold up everything else."""
    store = SqliteStore(tmp_path / "leases.db", Pace(block_octets_max=2000, block_changes_max=50))
    keys = random.Random(8156).sample(range(100_000), 3000)
    merged = []
    for at in range(0, len(keys), 20):
        store.commit([Put(key, b"lease") for key in keys[at : at + 20]])
        merged.append(max(len(block.changes) for block in store._blocks))
        store.tidy()
    assert 50 <= max(merged) <= 100
    at_once = range(0, 100_000, 25)
    store.commit([Put(key, b"lease") for key in at_once])
    tidy_up(store)
    assert max(len(block.changes) for block in store._blocks) < 50
    assert kept(store) == dict.fromkeys([*keys, *at_once], b"lease")
    store.close()


def test_a_start_does_not_read_for_long_what_full_blocks_hold_already(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "leases.db", Pace(block_octets_max=2000, block_changes_max=50, leases_min=1000))
    for at in range(0, 3000, 100):
        store.commit([Put(key, b"lease") for key in range(at, at + 100)])
        tidy_up(store)
    assert int(min(tmp_path.glob("leases.db-changes-*")).name[-16:]) > 10
    store.close()


def test_merging_comes_to_an_end_though_there_is_always_a_full_block(tmp_path: Path) -> None:
    """Else the journal would grow for as long as leases are new that fast."""
    store = SqliteStore(tmp_path / "leases.db", Pace(block_octets_max=200, block_changes_max=3, leases_min=100))
    keys = iter(random.Random(8156).sample(range(100_000), 40_000))
    for _ in range(300):
        store.commit([Put(next(keys), b"lease") for _ in range(100)])
        assert store._blocks.full() is not None
        store.tidy()
    assert int(min(tmp_path.glob("leases.db-changes-*")).name[-16:]) > 1
    store.close()


def test_a_full_block_that_found_no_room_is_merged_another_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SqliteStore(tmp_path / "leases.db", FULL_AT_ONCE)
    store.commit([Put(number, b"lease") for number in range(5)])

    def full(*_: object) -> None:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(store._db, "_write", full)
        with pytest.raises(StoreFull):
            store.tidy()
    assert store._blocks.leases == 0
    tidy_up(store)
    assert store._blocks.leases == 5
    store.close()


def test_blocks_that_hold_the_same_leases_are_refused(tmp_path: Path) -> None:
    path = filled(tmp_path)
    other = sqlite3.connect(path)
    other.execute("INSERT INTO block SELECT max(number) + 1, leases, batch FROM block")
    other.commit()
    other.close()
    refused(path, "two of its blocks hold the same leases")


def test_a_block_that_is_damaged_while_it_is_in_use_stops_the_server(tmp_path: Path) -> None:
    store = SqliteStore(filled(tmp_path), EAGER)
    kept(store)
    store._db._db.execute("UPDATE block SET batch = substr(batch, 1, length(batch) - 1)")
    store.commit([Put(number, b"later") for number in range(1, 200)])
    with pytest.raises(StoreBroken, match="was damaged while it was in use: a block's checksum is wrong"):
        tidy_up(store)
    store.close()


def refused(path: Path, sentence: str) -> None:
    """Check that the store is refused with that sentence, and not touched."""
    before = {file: file.read_bytes() for file in path.parent.iterdir()}
    with pytest.raises(StoreError, match=sentence):
        open_and_read(path)
    assert {file: file.read_bytes() for file in path.parent.iterdir() if file in before} == before


def open_and_read(path: Path) -> None:
    store = SqliteStore(path)
    try:
        kept(store)
    finally:
        store.close()


def test_another_programs_file(tmp_path: Path) -> None:
    path = tmp_path / "leases.db"
    path.write_text("my diary\n")
    refused(path, "is not a lease file")
    path.unlink()
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE diary (day)")
    other.close()
    refused(path, "is not a lease file")


def test_a_newer_version(tmp_path: Path) -> None:
    path = filled(tmp_path)
    data = bytearray(path.read_bytes())
    data[60:64] = (99).to_bytes(4, "big")
    path.write_bytes(data)
    refused(path, r"was written by a newer version of this server \(format 99")


def test_a_journal_that_cannot_be_opened(tmp_path: Path) -> None:
    journal = tmp_path / "leases.db-changes-0000000000000001"
    journal.mkdir()
    with pytest.raises(StoreError, match=r"leases\.db cannot be opened: .*Is a directory"):
        SqliteStore(tmp_path / "leases.db")
    journal.rmdir()
    path = filled(tmp_path)
    for file in tmp_path.glob("leases.db-changes-*"):
        content = file.read_bytes()
        file.unlink()
        file.mkdir()
        with pytest.raises(StoreError, match=r"leases\.db cannot be opened: .*Is a directory"):
            open_and_read(path)
        file.rmdir()
        file.write_bytes(content)
    open_and_read(path)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_cut_short(tmp_path: Path, share: float) -> None:
    path = filled(tmp_path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    refused(path, "damaged")


@pytest.mark.parametrize("needle", [b"record 7", b"record 150", b"later"])
def test_flipped_bits_in_a_record(tmp_path: Path, needle: bytes) -> None:
    path = filled(tmp_path)
    for file in path.parent.iterdir():
        data = bytearray(file.read_bytes())
        at = data.rfind(needle)
        if at >= 0:
            data[at] ^= 1
            file.write_bytes(data)
    refused(path, "is damaged")


def test_a_damaged_page(tmp_path: Path) -> None:
    path = filled(tmp_path)
    data = bytearray(path.read_bytes())
    for page in range(1, len(data) // 4096):
        data[page * 4096 : page * 4096 + 8] = b"\xff" * 8
    path.write_bytes(data)
    refused(path, "is damaged")

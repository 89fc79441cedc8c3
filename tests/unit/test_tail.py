"""What is found at the end of a journal: each row of the table in `stores/tail.py`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tandem.lease.change import RESTORED_FACT, Fact, Put
from tandem.stores import mark as mark_module
from tandem.stores.journal import SECTOR
from tandem.stores.mark import FILE_OCTETS, SLOT_OCTETS, MarkFile
from tandem.stores.sqlite import SqliteStore

COMMITS = 10
Harm = Callable[[Path], object]


def killed(folder: Path) -> Path:
    """Make a store that committed ten times and was killed."""
    store = SqliteStore(folder / "leases.db")
    for number in range(COMMITS):
        store.commit([Put(number, b"lease %d" % number * 100)])
    store._journal.close()
    store._mark.close()
    store._db.close()
    store._let_go()
    return folder


def closed(folder: Path) -> Path:
    """Make the same store, closed as it should be."""
    SqliteStore(killed(folder) / "leases.db").close()
    store = SqliteStore(folder / "leases.db")
    list(store.load())
    store.close()
    return folder


def journal(folder: Path) -> Path:
    return max(folder.glob("leases.db-changes-*"))


def end_of(folder: Path) -> int:
    """Return where the last frame ends."""
    return -(-len(journal(folder).read_bytes().rstrip(b"\0")) // SECTOR) * SECTOR


def write(path: Path, at: int, octets: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(octets)


def found(folder: Path) -> tuple[list[str], int | None, bool]:
    """Return the sentences, how many commits are missing, and whether the fact says that some may be."""
    store = SqliteStore(folder / "leases.db")
    facts = {change.name: change.value for change in store.load() if isinstance(change, Fact)}
    store.close()
    missing = store.findings[0].missing if store.findings else 0
    return [each.sentence for each in store.findings], missing, bool(facts.get(RESTORED_FACT))


def lose_power(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mark_module, "read_boot_id", lambda: b"another")


@pytest.mark.parametrize("make", [killed, closed])
def test_nothing_is_found_where_nothing_is_wrong(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    assert found(make(tmp_path)) == ([], 0, False)


@pytest.mark.parametrize("make", [killed, closed])
@pytest.mark.parametrize("commits", [1, 3])
def test_missing_commits_are_counted(tmp_path: Path, make: Callable[[Path], Path], commits: int) -> None:
    make(tmp_path)
    frame = (end_of(tmp_path) - SECTOR) // COMMITS
    os.truncate(journal(tmp_path), end_of(tmp_path) - commits * frame)
    (sentence,), missing, is_said = found(tmp_path)
    assert (missing, is_said) == (commits, True)
    assert f"the last one there is {COMMITS - commits}, but {COMMITS} was acknowledged at " in sentence


def test_a_torn_frame_after_a_crash_of_the_process_was_never_acknowledged(tmp_path: Path) -> None:
    write(journal(killed(tmp_path)), end_of(tmp_path), b"half of a frame")
    sentences, missing, is_said = found(tmp_path)
    assert ("never acknowledged, and is dropped" in sentences[0], missing, is_said) == (True, 0, False)
    assert found(tmp_path) == ([], 0, False)


def test_a_torn_frame_after_a_power_cut_may_have_been_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(journal(killed(tmp_path)), end_of(tmp_path), b"half of a frame")
    lose_power(monkeypatch)
    sentences, missing, is_said = found(tmp_path)
    assert ("the power was cut" in sentences[0], missing, is_said) == (True, None, True)


def test_a_journal_that_was_cut_behind_its_last_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.truncate(journal(killed(tmp_path)), end_of(tmp_path))
    sentences, _, is_said = found(tmp_path)
    assert ("no commit is missing" in sentences[0], is_said) == (True, False)
    (tmp_path / "again").mkdir()
    os.truncate(journal(killed(tmp_path / "again")), end_of(tmp_path / "again"))
    lose_power(monkeypatch)
    sentences, missing, is_said = found(tmp_path / "again")
    assert ("was cut short" in sentences[0], missing, is_said) == (True, None, True)


def remove(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    os.truncate(path, SLOT_OCTETS)


def spoil(path: Path) -> None:
    path.write_bytes(bytes(FILE_OCTETS))


@pytest.mark.parametrize("harm", [remove, cut, spoil])
@pytest.mark.parametrize("make", [killed, closed])
def test_without_a_mark_commits_may_be_missing(tmp_path: Path, make: Callable[[Path], Path], harm: Harm) -> None:
    harm(make(tmp_path) / "leases.db-mark")
    sentences, missing, is_said = found(tmp_path)
    assert ("is missing or damaged" in sentences[0], missing, is_said) == (True, None, True)


@pytest.mark.parametrize("make", [killed, closed])
def test_a_mark_that_is_put_back_is_noticed(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    mark = tmp_path / "leases.db-mark"
    make(tmp_path)
    older = mark.read_bytes()
    store = SqliteStore(tmp_path / "leases.db")
    for number in range(5):
        store.commit([Put(number, b"later")])
    store.close()
    mark.write_bytes(older)
    sentences, _, is_said = found(tmp_path)
    assert ("an older copy was put back" in sentences[0], is_said) == (True, True)


def test_a_mark_of_another_store_is_noticed(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        killed(tmp_path / name)
    (tmp_path / "one/leases.db-mark").write_bytes((tmp_path / "other/leases.db-mark").read_bytes())
    sentences, _, is_said = found(tmp_path / "one")
    assert ("is of another time than the leases" in sentences[0], is_said) == (True, True)


def test_a_database_that_is_gone_is_not_begun_anew(tmp_path: Path) -> None:
    """Also where the journal holds nothing, since everything was merged."""
    killed(tmp_path)
    for path in (*tmp_path.glob("leases.db-changes-*"), tmp_path / "leases.db"):
        path.unlink()
    with pytest.raises(Exception, match=r"leases\.db-mark belongs to a file that is no longer beside it"):
        SqliteStore(tmp_path / "leases.db")


def test_one_slot_of_a_mark_is_enough(tmp_path: Path) -> None:
    mark = MarkFile(tmp_path / "mark")
    mark.create(b"store id", 0, 0)
    mark.open(b"store id", 1, 11)
    for position in range(2, 6):
        mark.write(position, position * 11)
    whole = (tmp_path / "mark").read_bytes()
    read = mark.read()
    assert read is not None
    assert (read.store_id, read.position, read.chain, read.is_closed) == (b"store id", 5, 55, False)
    positions = set()
    for at in (0, SLOT_OCTETS):
        (tmp_path / "mark").write_bytes(whole[:at] + bytes(SLOT_OCTETS) + whole[at + SLOT_OCTETS :])
        read = mark.read()
        assert read is not None
        positions.add(read.position)
    assert positions == {4, 5}
    mark.close()

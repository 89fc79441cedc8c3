"""Backups of a server that serves and of one that is stopped, and what is put back from them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from process.server import Server, get_leases
from tandem.lease.change import RESTORED_FACT
from tandem.runtime.state import DUID_FACT, State
from tandem.stores.backup import verify
from tandem.stores.restore import Restore
from tandem.stores.store import STORE_ID_FACT, StoreError


@pytest.fixture
def server(tmp_path: Path) -> Server:
    (tmp_path / "state").mkdir()
    return Server(tmp_path / "state")


def facts_of(folder: Path) -> dict[str, bytes]:
    """Return the facts of a stopped server's store."""
    state = State(folder, lambda _done, _total: None)
    for _ in state.leases():
        pass
    state.store.close()
    return state.facts


def make(server: Server, to: Path) -> dict[str, Any]:
    done = server.cli("backup", str(to), "--state-dir", str(server.folder), "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def restore(server: Server, backup: Path, *words: str) -> str:
    done = server.cli("restore", str(backup), "--state-dir", str(server.folder), *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_backup_of_a_server_that_serves_is_put_back(server: Server, tmp_path: Path) -> None:
    with server:
        get_leases(server, 1, 2, 3)
        held = server.leases()
        made = make(server, tmp_path / "b")
        get_leases(server, 4)
        assert len(server.leases()) > len(held)
        server.stop()
        before = facts_of(server.folder)
        said = restore(server, tmp_path / "b", "--yes")
        assert f"{len(held)} leases of server a" in said
        facts = facts_of(server.folder)
        assert facts[DUID_FACT] == before[DUID_FACT]
        assert facts[STORE_ID_FACT] != before[STORE_ID_FACT]
        assert int(facts[RESTORED_FACT]) >= made["taken"]
        server.start()
        assert server.leases() == held
    assert made["leases"] == len(held)
    assert Path(made["file"]).stat().st_mode & 0o777 == 0o600


def test_a_backup_of_a_stopped_server_is_the_same(server: Server, tmp_path: Path) -> None:
    with server:
        get_leases(server, 1, 2)
        serving = make(server, tmp_path / "serving")
        server.stop(signal.SIGKILL)
        stopped = make(server, tmp_path / "stopped")
    assert (stopped["leases"], stopped["position"], stopped["store-id"]) == (
        serving["leases"],
        serving["position"],
        serving["store-id"],
    )
    before, after = verify(tmp_path / "serving"), verify(tmp_path / "stopped")
    assert before.facts == after.facts


def test_backups_while_leases_are_given_are_each_of_one_commit(server: Server, tmp_path: Path) -> None:
    """Each holds the leases of all clients up to one, and no later one: they came one after another."""
    with server:
        stop = threading.Event()
        failed: list[BaseException] = []

        def give() -> None:
            try:
                for number in range(1, 10_000):
                    if stop.is_set():
                        return
                    get_leases(server, number)
            except BaseException as error:
                failed.append(error)

        giving = threading.Thread(target=give)
        giving.start()
        try:
            made = [make(server, tmp_path / f"b{number}") for number in range(4)]
        finally:
            stop.set()
            giving.join()
        assert not failed
        positions = [each["position"] for each in made]
        assert positions == sorted(positions)
        assert positions[0] < positions[-1]
        held = server.leases()
        assert made[-1]["leases"] <= len(held)
        server.stop()
        for each in made:
            restore(server, Path(each["file"]), "--yes")
            server.start()
            there = server.leases()
            assert there.items() <= held.items()
            assert len(there) == each["leases"]
            server.stop()


def test_one_backup_is_made_at_a_time(server: Server, tmp_path: Path) -> None:
    with server:
        make(server, tmp_path / "b")
        with pytest.raises(Exception, match="not kept still for long enough"):
            server.ask("backup-continue", backup=1)
        held = server.ask("backup-begin")
        with pytest.raises(Exception, match="A backup is being made already"):
            server.ask("backup-begin")
        server.ask("backup-continue", backup=held["backup"])
        server.ask("backup-end", backup=held["backup"])
        make(server, tmp_path / "later")


def test_restore_refuses_while_a_server_has_the_state_dir(server: Server, tmp_path: Path) -> None:
    with server:
        make(server, tmp_path / "b")
        done = server.cli("restore", str(tmp_path / "b"), "--state-dir", str(server.folder), "--yes")
        assert done.returncode == 1
        assert "is in use by a server. Stop it first." in done.stderr


def test_restore_asks_before_it_takes_back_what_is_newer_or_another_store(server: Server, tmp_path: Path) -> None:
    with server:
        get_leases(server, 1)
        make(server, tmp_path / "b")
        get_leases(server, 2)
        server.stop()
        at = ("--state-dir", str(server.folder))
        newer = server.cli("restore", str(tmp_path / "b"), *at)
        assert newer.returncode == 1
        assert "is newer than the backup by" in newer.stderr
        restore(server, tmp_path / "b", "--yes")
        other = server.cli("restore", str(tmp_path / "b"), *at)
        assert other.returncode == 1
        assert "another store" in other.stderr


def test_restore_into_an_empty_state_dir_does_not_ask_and_keeps_the_old_files_elsewhere(
    server: Server, tmp_path: Path
) -> None:
    with server:
        get_leases(server, 1)
        held = server.leases()
        make(server, tmp_path / "b")
        server.stop()
    for path in server.folder.glob("leases.db*"):
        path.unlink()
    restore(server, tmp_path / "b")
    aside = json.loads(restore(server, tmp_path / "b", "--yes", "--json"))["kept-aside"]
    with server:
        assert server.leases() == held
    kept = sorted(path.name for path in Path(aside).iterdir())
    assert kept[0] == "leases.db"
    assert "leases.db-mark" in kept
    assert not (server.folder / "restoring").exists()
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in server.folder.glob("leases.db*"))


@pytest.mark.parametrize("cut", [0, 5, 16, 40, -1, -33, -60])
def test_a_damaged_backup_is_refused_before_anything_is_touched(server: Server, tmp_path: Path, cut: int) -> None:
    with server:
        get_leases(server, 1)
        make(server, tmp_path / "b")
    server.stop()
    data = (tmp_path / "b").read_bytes()
    before = {path.name: path.read_bytes() for path in server.folder.glob("leases.db*")}
    for number, damaged in enumerate((data[:cut], data[:cut] + bytes((data[cut] ^ 1,)) + data[cut:][1:])):
        file = tmp_path / f"damaged{number}"
        file.write_bytes(damaged)
        done = server.cli("restore", str(file), "--state-dir", str(server.folder), "--yes")
        assert done.returncode == 1
        assert "is damaged" in done.stderr or "is no backup" in done.stderr
    assert {path.name: path.read_bytes() for path in server.folder.glob("leases.db*")} == before


def test_a_restore_that_is_interrupted_leaves_what_a_server_refuses_or_starts_from(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever of the renames is the last."""
    with server:
        get_leases(server, 1)
        make(server, tmp_path / "b")
        server.stop()
    contents = verify(tmp_path / "b")
    rename = os.rename
    outcomes = []
    for allowed in range(20):
        folder = shutil.copytree(server.folder, tmp_path / f"try{allowed}", ignore=shutil.ignore_patterns("*.sock"))
        left = [allowed]

        def rename_some(source: Path, to: Path, left: list[int] = left, folder: Path = folder) -> None:
            if Path(to).parent == folder or Path(source).parent == folder:
                if not left[0]:
                    raise OSError(5, "the power is cut")
                left[0] -= 1
            rename(source, to)

        with Restore(tmp_path / "b", contents, folder, "leases.db") as restoring, monkeypatch.context() as patch:
            patch.setattr(os, "rename", rename_some)
            try:
                restoring.write(lambda _done, _total: None)
                is_done = True
            except OSError:
                is_done = False
        try:
            facts = facts_of(folder)
            outcomes.append("restored" if RESTORED_FACT in facts else "old")
        except StoreError:
            outcomes.append("refused")
        if is_done:
            break
    assert outcomes[0] == "old"
    assert outcomes[-1] == "restored"
    assert set(outcomes[1:-1]) == {"refused"}


def test_where_nothing_is_to_be_backed_up(server: Server, tmp_path: Path) -> None:
    nothing = server.cli("backup", str(tmp_path / "b"), "--state-dir", str(tmp_path / "nowhere"))
    assert (nothing.returncode, "holds no leases" in nothing.stderr) == (1, True)
    with server:
        make(server, tmp_path / "b")
        again = server.cli("backup", str(tmp_path / "b"), "--state-dir", str(server.folder))
        assert (again.returncode, "exists already" in again.stderr) == (1, True)
        (tmp_path / "many").mkdir()
        assert Path(make(server, tmp_path / "many")["file"]).name.startswith("tandem-a-")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "many", "state"]

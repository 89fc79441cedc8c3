"""What a killed server promised is there when it starts again; a state that is not right is refused and not touched."""

from __future__ import annotations

import hashlib
import json
import random
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from process.server import Server
from system.crowd import Crowd, broken, exported
from system.needs import need_program
from system.wrapped import WrappedServer

pytestmark = pytest.mark.thorough

SEED = 9915
ROUNDS = 6
SEATS = 8
BEFORE_THE_KILL_S = (0.05, 0.4)
"""The shortest and the longest time under load."""
WITHIN_S = 5.0
WRITE_DELAY_US = 3000


@pytest.mark.parametrize("disk", ["quick", "slow"])
def test_kill_loses_nothing_that_was_promised(tmp_path: Path, disk: str) -> None:
    """A slow disk makes long what is a moment otherwise: between the decision and its being durable."""
    chance = random.Random(SEED)
    server = WrappedServer(tmp_path, slow_disk(first_journal_of(tmp_path / "state")) if disk == "slow" else ())
    crowd = Crowd(server.address, SEATS, SEED)
    try:
        for number in range(ROUNDS):
            server.start()
            if number:
                assert broken_promises(server, crowd) == []
            assert crowd.work(WITHIN_S, 4 * SEATS) == 4 * SEATS
            crowd.work(chance.uniform(*BEFORE_THE_KILL_S))
            server.stop(signal.SIGKILL)
            crowd.drain()
        assert len(crowd.promises) > ROUNDS * SEATS / 2
    finally:
        server.stop(signal.SIGKILL)
        crowd.close()


def slow_disk(file: Path) -> tuple[str, ...]:
    """Give the command that runs another and has each of its writes to the file wait a little."""
    need_program("strace")
    delay = f"inject=pwrite64,fdatasync:delay_enter={WRITE_DELAY_US}"
    return ("strace", "-f", "-P", str(file), "-e", delay, "-o", "/dev/null", "--")


def broken_promises(server: Server, crowd: Crowd) -> list[str]:
    """Compare what clients were told with what the server exports."""
    lines = server.cli("lease", "export", "--socket", str(server.folder / "control.sock")).stdout.splitlines()
    found = exported(map(json.loads, lines))
    return [
        line
        for promise in crowd.promises.values()
        for line in broken(promise, found, crowd.following(promise.question))
    ]


# -- a state that is not right


@pytest.fixture
def killed(tmp_path: Path) -> Server:
    """A server that served and was killed: leases are in its journal."""
    server = Server(tmp_path)
    crowd = Crowd(server.address, SEATS, SEED)
    try:
        for end in (signal.SIGTERM, signal.SIGKILL):
            server.start()
            assert crowd.work(WITHIN_S, 10 * SEATS) == 10 * SEATS
            server.stop(end)
    finally:
        server.stop(signal.SIGKILL)
        crowd.close()
    assert first_journal_of(tmp_path).stat().st_size > 0
    return server


def first_journal_of(folder: Path) -> Path:
    return folder / "leases.db-changes-0000000000000001"


def cut_short(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size * 2 // 3)


def flip_in_leases(file: Path) -> None:
    """Change one octet in each client's name, which nothing but a checksum can notice."""
    journal = first_journal_of(file.parent)
    journal.write_bytes(journal.read_bytes().replace(b"\7example", b"\7exbmple"))


def move_the_journal_away(file: Path) -> None:
    first_journal_of(file.parent).rename(file.with_name("journal"))


def put_a_later_journal_in_its_place(file: Path) -> None:
    first_journal_of(file.parent).rename(file.with_name("leases.db-changes-0000000000000002"))


def make_newer(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[60:64] = (99).to_bytes(4, "big")
    file.write_bytes(data)


def make_newer_in_the_log(file: Path) -> None:
    """Do as a newer version does that is killed just after it changed the format."""
    keep_log_of(file, "PRAGMA user_version = 99")


def replace_by_another(file: Path) -> None:
    file.with_name("leases.db-wal").unlink()
    file.write_text("Dear diary\n" * 100)


def move_away_without_its_journal(file: Path) -> None:
    file.rename(file.with_name("before.db"))


def keep_log_of(file: Path, statement: str) -> None:
    """Run a statement and leave it in the write-ahead log, as a process does that is killed."""
    log = file.with_name("leases.db-wal")
    db = sqlite3.connect(file)
    db.execute(statement)
    db.commit()
    as_killed = file.read_bytes(), log.read_bytes()
    db.close()
    file.write_bytes(as_killed[0])
    log.write_bytes(as_killed[1])


def digests(folder: Path) -> dict[str, str]:
    """Give what tells one content of the state from another; an empty write-ahead log is as good as none."""
    files = [file for file in folder.glob("*.db*") if not file.name.endswith("-shm") and file.stat().st_size]
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        (cut_short, "damaged"),
        (flip_in_leases, "damaged"),
        (move_the_journal_away, "its journal is missing"),
        (put_a_later_journal_in_its_place, "its journal is missing"),
        (make_newer, "was written by a newer version"),
        (make_newer_in_the_log, "was written by a newer version"),
        (replace_by_another, "is not a lease file"),
        (move_away_without_its_journal, "leases.db-changes-"),
    ],
)
def test_a_state_that_is_not_right_is_refused_and_not_touched(
    killed: Server, harm: Callable[[Path], None], sentence: str
) -> None:
    harm(killed.folder / "leases.db")
    before = digests(killed.folder)
    refused = killed.cli("serve", str(killed.file))
    assert (refused.returncode, refused.stdout) == (1, "")
    assert sentence in refused.stderr
    assert str(killed.folder / "leases.db") in refused.stderr
    assert "Traceback" not in refused.stderr
    assert digests(killed.folder) == before


def test_a_second_server_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    with Server(tmp_path) as first:
        crowd = Crowd(first.address, SEATS, SEED)
        assert crowd.work(WITHIN_S, SEATS) == SEATS
        second = first.cli("serve", str(first.file))
        assert second.returncode == 1
        assert second.stderr.splitlines()[-1].endswith("Give each server a state-dir of its own.")
        assert f"{tmp_path}/leases.db is in use by another server." in second.stderr
        assert crowd.work(WITHIN_S, 10 * SEATS) == 10 * SEATS
        assert broken_promises(first, crowd) == []
        crowd.close()

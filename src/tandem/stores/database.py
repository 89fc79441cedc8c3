"""The SQLite file: leases in blocks, facts, and up to which commit of the journal both are complete.

Each row has a checksum of its own, and one row a digest of all others, changed in the same transaction: a file or a
write-ahead log that was put back from an older copy shows, since rows of two times do not add up.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from tandem.lease.change import Fact
from tandem.stores.batch import BatchDamagedError
from tandem.stores.blocks import Written
from tandem.stores.claim import APPLICATION_ID, VERSION, newer
from tandem.stores.journal import sync_folder
from tandem.stores.store import StoreBroken, StoreFull

PAGE_OCTETS = 4096
DIGEST_OCTETS = 7
"""So many fit into an integer of SQLite, which has a sign."""
SYNC_FAILED = (sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC)
NO_ROOM = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)
SCHEMA = f"""
CREATE TABLE block (number INTEGER PRIMARY KEY, leases INTEGER NOT NULL, batch BLOB NOT NULL);
CREATE TABLE fact (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE merged (upto INTEGER NOT NULL, chain INTEGER NOT NULL, digest INTEGER NOT NULL);
INSERT INTO merged VALUES (0, 0, 0);
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {VERSION};
"""


class Merged(NamedTuple):
    """How far the journal is merged."""

    upto: int
    """The number of the last commit."""
    chain: int
    """The journal's checksum over all commits up to there."""


class Database:
    """The file `path`. Read-only until `take`, so that a damaged file is not touched. Errors are SQLite's own."""

    def __init__(self, path: Path, is_held: bool = False) -> None:
        """Open the file. A held one belongs to a running server, which has settled it and writes nothing to it now."""
        self.path = path
        self._log_octets = 0
        """About how much the write-ahead log has grown since it was last emptied."""
        self._digest = 0
        """Of all rows, as on disk."""
        self._facts: dict[str, bytes] = {}
        """As on disk."""
        self._db = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=ro{'&immutable=1' if is_held else ''}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            timeout=2,
        )
        version = self._db.execute("PRAGMA user_version").fetchone()[0]  # as the write-ahead log has it
        if version > VERSION:
            raise newer(path, version)
        if not is_held:  # it takes a while, and the rows' checksums say as much
            found = self._db.execute("PRAGMA quick_check(1)").fetchone()[0]
            if found != "ok":
                raise sqlite3.DatabaseError(" ".join(found.split()))

    # -- reading

    def leases(self) -> int:
        """Return how many leases the blocks hold, by what their rows say."""
        return int(self._db.execute("SELECT total(leases) FROM block").fetchone()[0])

    def merged(self) -> Merged:
        """Return how far the journal is merged. BatchDamagedError if the file does not say."""
        return Merged(*self._state()[:2])

    def blocks(self) -> Iterator[tuple[int, bytes]]:
        """Give the number and the batch of each block; `facts` has to be read behind them."""
        self._digest = 0
        for number, batch in self._db.execute("SELECT number, CAST(batch AS BLOB) FROM block"):
            self._digest ^= _digest(number, batch)
            yield number, batch

    def facts(self) -> list[Fact]:
        """Return the facts. BatchDamagedError if they or the blocks read before are not all from one time."""
        found = []
        for name, value in self._db.execute("SELECT CAST(name AS TEXT), CAST(value AS BLOB) FROM fact"):
            found.append(_read_fact(name, value))
            self._digest ^= _digest_of_fact(*found[-1])
        if self._digest != self._state()[2]:
            raise BatchDamagedError("its rows are not all from one time: a part of it was replaced by an older copy")
        self._facts = {fact.name: fact.value for fact in found}
        return found

    def fact(self, name: str) -> bytes:
        """Return the value of one fact, b"" if there is none."""
        row = self._db.execute("SELECT CAST(value AS BLOB) FROM fact WHERE name = ?", (name,)).fetchone()
        return _read_fact(name, row[0]).value if row else b""

    def _state(self) -> tuple[int, int, int]:
        row = self._db.execute(
            "SELECT CAST(upto AS INTEGER), CAST(chain AS INTEGER), CAST(digest AS INTEGER) FROM merged"
        ).fetchone()
        if row is None:
            raise BatchDamagedError("it does not say what is merged")
        return row[0], row[1], row[2]

    # -- writing

    def take(self) -> None:
        """Open the file for writing, for this process alone."""
        self._db.close()
        self._db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=2)
        self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
        mode = self._db.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":  # it says so instead of failing
            raise StoreBroken(f"{self.path} cannot be used with a write-ahead log, only with {mode!r}")
        self._db.execute("PRAGMA synchronous = NORMAL")  # until all is merged, the journal has it too
        self._db.execute("PRAGMA secure_delete = OFF")  # where it is on, each row that goes is written once more
        self._db.execute("PRAGMA wal_autocheckpoint = 0")
        self._db.execute("BEGIN IMMEDIATE")
        self._db.execute("ROLLBACK")
        self.empty_log()

    def empty_log(self) -> None:
        """Write what the write-ahead log holds to where it belongs, if there is room for that.

        Had its last sync failed, the system would take it for written all the same, and lose what follows with it.
        """
        try:
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._log_octets = 0
        except sqlite3.Error as error:
            if isinstance(failure(error), StoreBroken):
                raise

    def settle(self) -> None:
        """Write all that the write-ahead log holds to where it belongs, so that the file can be read by itself."""
        is_busy, *_ = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if is_busy:
            raise StoreFull("the write-ahead log is in use")
        self._log_octets = 0

    def shorten_log(self, octets_max: int) -> None:
        """Write the log to where it belongs, if it has more octets than that."""
        if self._log_octets > octets_max:
            self._db.execute("PRAGMA wal_checkpoint(RESTART)")
            self._log_octets = 0

    def block(self, number: int) -> bytes:
        """Return the batch of a block, b"" if there is none with that number."""
        found = self._db.execute("SELECT CAST(batch AS BLOB) FROM block WHERE number = ?", (number,)).fetchone()
        return found[0] if found else b""

    def replace_block(self, number: int, old: bytes, rows: Sequence[tuple[int, Written]]) -> None:
        """Write rows in place of the block whose batch is `old`. The first has its number, the others are new."""
        digest = self._digest ^ (_digest(number, old) if old else 0)
        for new, part in rows:
            digest ^= _digest(new, part.batch)
        if rows:
            write = "INSERT OR REPLACE INTO block VALUES (?, ?, ?)"
            self._write(write, [(new, part.leases, part.batch) for new, part in rows], digest)
        else:
            self._write("DELETE FROM block WHERE number = ?", [(number,)], digest)

    def end_merging(self, merged: Merged, facts: Mapping[str, bytes]) -> None:
        """Say that all is merged up to there, with the facts as they were then or later; synced when this returns."""
        digest = self._digest
        for name, value in facts.items():
            if name in self._facts:
                digest ^= _digest_of_fact(name, self._facts[name])
            digest ^= _digest_of_fact(name, value)
        rows = [(name, value + _checksum(name, value)) for name, value in facts.items()]
        self._write("INSERT OR REPLACE INTO fact VALUES (?, ?)", rows, digest)
        self._facts.update(facts)
        self._db.execute("PRAGMA synchronous = FULL")  # the sync takes in all that was written before
        self._write("UPDATE merged SET upto = ?, chain = ?", [merged], digest)
        self._db.execute("PRAGMA synchronous = NORMAL")

    def close(self) -> None:
        """Close the file; the last one to do so leaves no write-ahead log."""
        self._db.close()

    def _write(self, statement: str, rows: Sequence[tuple[object, ...]], digest: int) -> None:
        """Run a statement for each of the rows, and note the digest of all rows, in one transaction."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.executemany(statement, rows)
            self._db.execute("UPDATE merged SET digest = ?", (digest,))
            self._db.execute("COMMIT")
        except sqlite3.Error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        self._digest = digest
        self._log_octets += PAGE_OCTETS + sum(len(each) for row in rows for each in row if isinstance(each, bytes))


def create(path: Path, merged: Merged, facts: Mapping[str, bytes]) -> None:
    """Make a new file under another name first, so that one that was cut short is never taken for a store."""
    draft = path.with_name(path.name + ".new")
    for left_over in path.parent.glob(draft.name + "*"):
        left_over.unlink()
    os.close(os.open(draft, os.O_CREAT | os.O_WRONLY, 0o600))
    db = sqlite3.connect(draft, isolation_level=None)
    # In WAL mode from the beginning: changing to it later would leave a moment at which only a writer can open it.
    db.executescript("PRAGMA synchronous = FULL; PRAGMA journal_mode = WAL;" + SCHEMA)
    digest = 0
    for name, value in facts.items():
        digest ^= _digest_of_fact(name, value)
        db.execute("INSERT INTO fact VALUES (?, ?)", (name, value + _checksum(name, value)))
    db.execute("UPDATE merged SET upto = ?, chain = ?, digest = ?", (*merged, digest))
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # closing would not say if it cannot
    db.close()
    os.rename(draft, path)
    sync_folder(path.parent)


def failure(error: sqlite3.Error) -> Exception:
    """Sort out a failed write: no room, to be tried again; or one after which nothing may be trusted."""
    code = getattr(error, "sqlite_errorcode", 0)
    if code not in SYNC_FAILED and code & 0xFF in NO_ROOM:
        return StoreFull(str(error))
    return StoreBroken(str(error))


def _read_fact(name: str, row: bytes) -> Fact:
    value = row[:-4]
    if _checksum(name, value) != row[-4:]:
        raise BatchDamagedError("a row's checksum is wrong")
    return Fact(name, value)


def _checksum(name: str, value: bytes) -> bytes:
    return crc32(value, crc32(name.encode())).to_bytes(4, "big")


def _digest(number: int, batch: bytes) -> int:
    """Return what a block adds to the digest: its number, its size and its own checksum, mixed."""
    said = b"block %d %d " % (number, len(batch)) + batch[:4]
    return int.from_bytes(blake2b(said, digest_size=DIGEST_OCTETS).digest(), "big")


def _digest_of_fact(name: str, value: bytes) -> int:
    said = b"fact %d " % len(name) + name.encode() + value
    return int.from_bytes(blake2b(said, digest_size=DIGEST_OCTETS).digest(), "big")

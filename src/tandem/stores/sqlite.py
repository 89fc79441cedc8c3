"""The default store: one SQLite file, in WAL mode, synced at each commit.

A commit appends one row, whatever the number of changes in it: the disk sees one short sequential write and one
sync. Housekeeping folds those rows into a table with a row for each lease, a few at a time and between commits,
so that loading does not read history. Both rows and batches carry a checksum.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from zlib import crc32

from tandem.lease.change import Change, Fact, Put
from tandem.stores.batch import KEY_OCTETS, BatchDamagedError, read_batch, write_batch
from tandem.stores.store import StoreBroken, StoreError, StoreFull
from tandem.stores.wal import passed_over

APPLICATION_ID = 0x54416E64
VERSION = 2
FOLD_ROWS = 16
"""Journal rows folded per call of `tidy`: a few milliseconds, even if each holds many changes."""
WAL_PAGES_MAX = 4096
"""Pages in the write-ahead log from which on `tidy` empties it; 16 MB."""

HEADER_OCTETS = 100

SCHEMA = f"""
CREATE TABLE lease (key BLOB PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE fact (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE journal (sequence INTEGER PRIMARY KEY, batch BLOB NOT NULL);
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {VERSION};
"""

SYNC_FAILED = (sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC)
NO_ROOM = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)


class SqliteStore:
    """Keeps changes in the file `path`, which is made if there is none. StoreError if it is another's."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._is_writable = False
        _look_at_header(path)
        try:
            if not path.exists():
                _refuse_orphan(path.with_name(path.name + "-wal"))
                _create(path)
            # Without a right to write until all was read and found right: a damaged file is not touched.
            self._db = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode=ro",
                uri=True,
                isolation_level=None,
                check_same_thread=False,
                timeout=2,
            )
            self._check()
        except sqlite3.Error as error:
            raise self._cannot_use(error) from error

    def load(self) -> Iterator[Change]:
        """Give the folded leases and facts, then what was committed since, in order."""
        try:
            for key, record in self._db.execute("SELECT key, record FROM lease"):
                yield Put(int.from_bytes(key, "big"), self._checked(key, record))
            for name, value in self._db.execute("SELECT name, value FROM fact"):
                yield Fact(name, self._checked(name.encode(), value))
            for (batch,) in self._db.execute("SELECT batch FROM journal ORDER BY sequence"):
                yield from read_batch(batch)
            self._make_writable()
        except (sqlite3.Error, BatchDamagedError) as error:
            raise self._cannot_use(error) from error

    def count(self) -> int:
        """Give about how many changes `load` will give, to show progress by."""
        try:
            counted = self._db.execute("SELECT (SELECT count(*) FROM lease) + (SELECT count(*) FROM journal)")
            return int(counted.fetchone()[0])
        except sqlite3.Error as error:
            raise self._cannot_use(error) from error

    def commit(self, batch: Sequence[Change]) -> None:
        """Append the batch as one row and sync."""
        try:
            self._make_writable()
            # Outside a transaction each statement is one: this returns after the sync.
            self._db.execute("INSERT INTO journal (batch) VALUES (?)", (write_batch(batch),))
        except sqlite3.Error as error:
            raise _failure(error) from error

    def tidy(self) -> bool:
        """Fold the oldest rows of the journal into the tables; once in a while empty the write-ahead log."""
        try:
            self._make_writable()
            rows = self._db.execute(
                "SELECT sequence, batch FROM journal ORDER BY sequence LIMIT ?", (FOLD_ROWS,)
            ).fetchall()
            if rows:
                self._fold(rows)
            if len(rows) < FOLD_ROWS and self._wal_pages() > WAL_PAGES_MAX:
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            raise _failure(error) from error
        return len(rows) == FOLD_ROWS

    def close(self) -> None:
        """Close the file; the last one to do so leaves no write-ahead log."""
        self._db.close()

    def _fold(self, rows: Sequence[tuple[int, bytes]]) -> None:
        changes = [change for _, batch in rows for change in read_batch(batch)]
        latest = {change.key: change.record for change in changes if isinstance(change, Put)}
        facts = {change.name: change.value for change in changes if isinstance(change, Fact)}
        keyed = [(key.to_bytes(KEY_OCTETS, "big"), record) for key, record in sorted(latest.items())]
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.executemany(
                "INSERT OR REPLACE INTO lease VALUES (?, ?)",
                [(key, record + _checksum(key, record)) for key, record in keyed if record is not None],
            )
            self._db.executemany("DELETE FROM lease WHERE key = ?", [(key,) for key, record in keyed if record is None])
            self._db.executemany(
                "INSERT OR REPLACE INTO fact VALUES (?, ?)",
                [(name, value + _checksum(name.encode(), value)) for name, value in facts.items()],
            )
            self._db.execute("DELETE FROM journal WHERE sequence <= ?", (rows[-1][0],))
            self._db.execute("COMMIT")
        except sqlite3.Error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def _wal_pages(self) -> int:
        try:
            return os.path.getsize(f"{self._path}-wal") // 4096
        except FileNotFoundError:
            return 0

    def _checked(self, name: bytes, value: bytes) -> bytes:
        if _checksum(name, value[:-4]) != value[-4:]:
            raise BatchDamagedError("a row's checksum is wrong")
        return value[:-4]

    def _check(self) -> None:
        version = self._db.execute("PRAGMA user_version").fetchone()[0]  # as the write-ahead log has it
        if version > VERSION:
            raise _newer(self._path, version)
        found = self._db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise sqlite3.DatabaseError(" ".join(found.split()))
        if passed_over(self._path) > 1:
            raise sqlite3.DatabaseError("commits in its write-ahead log cannot be read")

    def _make_writable(self) -> None:
        """Take the file for this process alone."""
        if self._is_writable:
            return
        self._db.close()
        self._db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=2)
        self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
        mode = self._db.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":  # it says so instead of failing
            raise StoreBroken(f"{self._path} cannot be used with a write-ahead log, only with {mode!r}")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA wal_autocheckpoint = 0")
        self._db.execute("BEGIN IMMEDIATE")
        self._db.execute("ROLLBACK")
        sync_folder(self._path.parent)  # SQLite does not mind if it cannot; the log's name has to be durable too
        self._is_writable = True

    def _cannot_use(self, error: Exception) -> StoreError:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
            return StoreError(f"{self._path} is in use by another server. Give each server a state-dir of its own.")
        if isinstance(error, sqlite3.OperationalError):
            return StoreError(
                f"{self._path} cannot be opened: {error}. Check that its folder exists and can be written to."
            )
        return StoreError(
            f"{self._path} is damaged ({error}). It was not changed. Restore it from a backup, "
            f"or move it away to begin without leases."
        )


def _create(path: Path) -> None:
    """Make a new file under another name first, so that one that was cut short is never taken for a store."""
    draft = path.with_name(path.name + ".new")
    for left_over in path.parent.glob(draft.name + "*"):
        left_over.unlink()
    os.close(os.open(draft, os.O_CREAT | os.O_WRONLY, 0o600))
    db = sqlite3.connect(draft, isolation_level=None)
    # In WAL mode from the beginning: changing to it later would leave a moment at which only a writer can open it.
    db.executescript("PRAGMA synchronous = FULL; PRAGMA journal_mode = WAL;" + SCHEMA)
    db.close()
    os.rename(draft, path)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make names in a folder durable. StoreBroken if that fails."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    except OSError as error:
        raise StoreBroken(f"the folder {path} cannot be synced: {error.strerror}") from error
    finally:
        os.close(folder)


def _look_at_header(path: Path) -> None:
    """Refuse another program's file, and one of a newer version, without opening it as a database."""
    try:
        with path.open("rb") as file:
            header = file.read(HEADER_OCTETS)
    except FileNotFoundError:
        return
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}.") from error
    application, version = int.from_bytes(header[68:72], "big"), int.from_bytes(header[60:64], "big")
    if len(header) < HEADER_OCTETS or not header.startswith(b"SQLite format 3\0") or application != APPLICATION_ID:
        raise StoreError(
            f"{path} is not a lease file of this server, or is damaged. It was not changed. "
            "Move it away, or name another state-dir."
        )
    if version > VERSION:
        raise _newer(path, version)
    if version < VERSION:
        raise StoreError(
            f"{path} was written before the first release (format {version}; this one knows {VERSION}). "
            "It was not changed. Move it away to begin without leases."
        )


def _newer(path: Path, version: int) -> StoreError:
    return StoreError(
        f"{path} was written by a newer version of this server (format {version}; this one knows {VERSION}). "
        f"It was not changed. Install that version again."
    )


def _refuse_orphan(log: Path) -> None:
    """Refuse to begin anew beside the write-ahead log of a file that is gone: it would be taken for the new one's."""
    if log.exists() and log.stat().st_size:
        raise StoreError(
            f"{log} belongs to a file that is no longer beside it. Put both back, or move it away as well."
        )


def _checksum(name: bytes, value: bytes) -> bytes:
    return crc32(value, crc32(name)).to_bytes(4, "big")


def _failure(error: sqlite3.Error) -> Exception:
    """Sort out a failed write: no room, to be tried again; or one after which nothing may be trusted."""
    code = getattr(error, "sqlite_errorcode", 0)
    if code not in SYNC_FAILED and code & 0xFF in NO_ROOM:
        return StoreFull(str(error))
    return StoreBroken(str(error))

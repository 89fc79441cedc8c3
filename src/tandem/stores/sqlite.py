"""The default store: leases in blocks in an SQLite file, and what was committed since in a journal beside it.

A commit appends one frame to the journal, whatever the number of changes in it: the disk sees one short sequential
write and one sync. Once enough has changed, housekeeping merges it into blocks of leases, one at a time; when it has
been through all of them, what the journal held before goes. So loading reads little history. Blocks and journal carry
checksums.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from tandem.lease.change import Change, Fact, Put
from tandem.stores.batch import BatchDamagedError, merge, read_batch, read_leases, write_batch
from tandem.stores.blocks import CHANGES_MAX, Block, Blocks
from tandem.stores.claim import APPLICATION_ID, VERSION, look_at_header, newer, orphan, refuse_orphan, take_alone
from tandem.stores.journal import Journal, sync_folder
from tandem.stores.store import StoreBroken, StoreError, StoreFull

PAGE_OCTETS = 4096

SCHEMA = f"""
CREATE TABLE block (number INTEGER PRIMARY KEY, leases INTEGER NOT NULL, batch BLOB NOT NULL);
CREATE TABLE fact (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE merged (upto INTEGER NOT NULL);
INSERT INTO merged VALUES (0);
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {VERSION};
"""


class Pace(NamedTuple):
    """How much housekeeping is done at once, and how much is left for later."""

    leases_min: int = 32_768
    """Leases with changes that are merged at once, at least: so many a start may always have to read twice."""
    leases_per_change: int = 4
    """How many leases there may be in all blocks for one that has changes: so many are written anew for its sake."""
    journal_octets_min: int = 16 << 20
    """Octets of the journal that are merged at once, at least, were they of ever so few leases."""
    journal_octets_per_lease: int = 100
    """Octets of the journal that there may be for each lease in blocks: about what that takes there."""
    block_octets_max: int = 64 << 10
    """Octets of leases from which on a new block begins; some four hundred leases."""
    block_changes_max: int = CHANGES_MAX
    """Changes from which on a block is merged at once."""
    log_octets_max: int = 4 << 20
    """Octets in the write-ahead log from which on they are written to where they belong, in ten milliseconds."""


PACE = Pace()
SYNC_FAILED = (sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC)
NO_ROOM = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)


class SqliteStore:
    """Keeps changes in the file `path`, which is made if there is none. StoreError if it is another's."""

    def __init__(self, path: Path, pace: Pace = PACE) -> None:
        self._path = path
        self._pace = pace
        self._is_writable = False
        """Whether this process alone has the file, and knows what is in it."""
        self._lock = threading.Lock()
        """Held while the journal grows or is turned over, and while it is noted what that means for blocks."""
        self._journal = Journal(path.with_name(path.name + "-changes"))
        self._log_octets = 0
        """About how much the write-ahead log has grown since it was last emptied."""
        self._start([])
        self._alone = -1
        with self._explained():
            self._alone = take_alone(path)
            if not path.exists():
                refuse_orphan(path.with_name(path.name + "-wal"))
                if self._journal.is_there:
                    raise orphan(f"{path}-changes-*")
                self._journal.begin()  # first: whoever has the file has a journal
                _create(path)
            look_at_header(path)
            # Without a right to write until all was read and found right: a damaged file is not touched.
            self._db = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode=ro",
                uri=True,
                isolation_level=None,
                check_same_thread=False,
                timeout=2,
            )
            self._check()

    @property
    def position(self) -> int:
        """Return the number of the last commit."""
        return self._journal.newest

    def load(self) -> Iterator[Change]:
        """Give the leases in blocks and the facts, then what was committed since, in order."""
        with self._explained():
            blocks, spans = [], []
            for number, batch in self._db.execute("SELECT number, CAST(batch AS BLOB) FROM block"):
                leases = read_leases(batch)
                blocks.append(Block(leases[0].key, number, len(leases)))
                spans.append((leases[0].key, leases[-1].key))
                yield from leases
            if any(last >= first for (_, last), (first, _) in pairwise(sorted(spans))):
                raise BatchDamagedError("two of its blocks hold the same leases")
            for name, value in self._db.execute("SELECT CAST(name AS TEXT), CAST(value AS BLOB) FROM fact"):
                yield Fact(name, self._checked(name.encode(), value))
            self._start(blocks)
            for batch in self._journal.read(self._merged_upto()):
                changes = list(read_batch(batch))
                self._note(changes)
                yield from changes
            self._make_writable()

    def count(self) -> int:
        """Give about how many changes `load` will give, to show progress by."""
        with self._explained():
            leases = self._db.execute("SELECT total(leases) FROM block").fetchone()[0]
            return int(leases) + self._journal.count(self._merged_upto())

    def commit(self, batch: Sequence[Change]) -> None:
        """Append the batch to the journal and sync. It waits for no housekeeping but the turn to a new file."""
        self._be_loaded()
        data = write_batch(batch)
        with self._lock:
            self._journal.append(data)
            self._note(batch)

    def tidy(self) -> bool:
        """Merge a full block and what changed in one more, or end merging; make room in the journal; empty the log.

        One does not wait for the other: leases may be new so fast that there is always a full block.
        """
        self._be_loaded()
        try:
            full = self._full_block()
            if full is not None:
                self._merged_early += self._merge(full)
            if self._to_merge:
                self._merge(self._to_merge[-1])
                self._to_merge.pop()
            elif self._merges_to is not None:
                self._end_merging(self._merges_to)
            else:
                self._begin_merging()
            with self._lock:
                self._journal.make_room()
            if self._log_octets > self._pace.log_octets_max:
                self._db.execute("PRAGMA wal_checkpoint(RESTART)")
                self._log_octets = 0
        except sqlite3.Error as error:
            raise _failure(error) from error
        except BatchDamagedError as error:
            raise StoreBroken(f"{self._path} was damaged while it was in use: {error}") from error
        return self._merges_to is not None or self._full_block() is not None

    def close(self) -> None:
        """Close the files; the last one to do so leaves no write-ahead log."""
        self._journal.close()
        self._db.close()
        self._let_go()

    def _be_loaded(self) -> None:
        if not self._is_writable:
            for _ in self.load():
                pass

    def _start(self, blocks: Sequence[Block]) -> None:
        """Begin with these blocks, and nothing committed since."""
        self._blocks = Blocks(blocks, self._pace.block_changes_max)
        self._facts: dict[str, bytes] = {}
        """Facts that were in the journal at any time."""
        self._merged_early = 0
        """How many changes of full blocks are merged, and stand in the journal too until it is turned."""
        self._to_merge: list[Block] = []
        self._merges_to: int | None = None
        """The last frame whose changes are in the blocks once all of `_to_merge` are merged; None between merges."""

    def _note(self, batch: Sequence[Change]) -> None:
        """Note what a frame of the journal holds."""
        for change in batch:
            if isinstance(change, Put):
                self._blocks.change(change)
            else:
                self._facts[change.name] = change.value

    def _full_block(self) -> Block | None:
        with self._lock:
            return self._blocks.full()

    def _begin_merging(self) -> None:
        """Turn the journal over, if enough has changed: what it holds until then is to be merged."""
        pace, leases = self._pace, self._blocks.leases
        is_much = self._blocks.changed + self._merged_early >= max(pace.leases_min, leases // pace.leases_per_change)
        octets_max = max(pace.journal_octets_min, leases * pace.journal_octets_per_lease)
        if not is_much and self._journal.octets < octets_max:
            return
        prepared = self._journal.prepare()
        with self._lock:
            self._journal.turn(prepared)
            self._merges_to = self._journal.newest
            self._merged_early = 0
            self._to_merge = [block for block in self._blocks if block.changes]

    def _merge(self, block: Block) -> int:
        """Write a block with its changes, and give how many; they stay in the journal until the others are written."""
        with self._lock:
            changes = self._blocks.take_changes(block)
        if not changes:
            return 0  # the block was full, and merged before its turn; it may be gone
        try:
            found = self._db.execute(
                "SELECT CAST(batch AS BLOB) FROM block WHERE number = ?", (block.number,)
            ).fetchone()
            parts = merge(found[0] if found else b"", changes, self._pace.block_octets_max)
            rows = self._blocks.rows(block, parts)
            if rows:
                self._write(
                    "INSERT OR REPLACE INTO block VALUES (?, ?, ?)",
                    [(number, part.leases, part.batch) for number, part in rows],
                )
            else:
                self._write("DELETE FROM block WHERE number = ?", [(block.number,)])
        except BaseException:
            with self._lock:
                self._blocks.put_back(block, changes)
            raise
        with self._lock:
            self._blocks.merged(block, rows)
        return len(changes)

    def _end_merging(self, merged_to: int) -> None:
        """Say on disk that all is merged up to there, the facts with it; the journal up to there goes."""
        with self._lock:
            facts = [(name, value + _checksum(name.encode(), value)) for name, value in self._facts.items()]
        self._write("INSERT OR REPLACE INTO fact VALUES (?, ?)", facts)
        self._db.execute("PRAGMA synchronous = FULL")  # the sync takes in all that was written before
        self._write("UPDATE merged SET upto = ?", [(merged_to,)])
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._merges_to = None
        self._journal.drop(merged_to)

    def _write(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        """Run a statement for each of the rows, all in one transaction."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.executemany(statement, rows)
            self._db.execute("COMMIT")
        except sqlite3.Error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        self._log_octets += PAGE_OCTETS + sum(len(each) for row in rows for each in row if isinstance(each, bytes))

    def _merged_upto(self) -> int:
        """Give the last frame of the journal that is merged, by what is on disk."""
        row = self._db.execute("SELECT CAST(upto AS INTEGER) FROM merged").fetchone()
        if row is None:
            raise BatchDamagedError("it does not say what is merged")
        return int(row[0])

    def _checked(self, name: bytes, value: bytes) -> bytes:
        if _checksum(name, value[:-4]) != value[-4:]:
            raise BatchDamagedError("a row's checksum is wrong")
        return value[:-4]

    def _check(self) -> None:
        version = self._db.execute("PRAGMA user_version").fetchone()[0]  # as the write-ahead log has it
        if version > VERSION:
            raise newer(self._path, version)
        found = self._db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise sqlite3.DatabaseError(" ".join(found.split()))

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
        self._db.execute("PRAGMA synchronous = NORMAL")  # until all is merged, the journal has it too
        self._db.execute("PRAGMA secure_delete = OFF")  # where it is on, each row that goes is written once more
        self._db.execute("PRAGMA wal_autocheckpoint = 0")
        self._db.execute("BEGIN IMMEDIATE")
        self._db.execute("ROLLBACK")
        self._empty_log()
        self._journal.open()
        sync_folder(self._path.parent)  # SQLite does not mind if it cannot; the log's name has to be durable too
        self._is_writable = True

    def _empty_log(self) -> None:
        """Write what the write-ahead log holds to where it belongs, if there is room for that.

        Had its last sync failed, the system would take it for written all the same, and lose what follows with it.
        """
        try:
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            if isinstance(_failure(error), StoreBroken):
                raise

    def _let_go(self) -> None:
        """Leave the file to others."""
        if self._alone >= 0:
            os.close(self._alone)
            self._alone = -1

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Give whatever goes wrong while the file is opened and read as a StoreError; then it is left to others."""
        try:
            yield
        except StoreError:
            self._let_go()
            raise
        except (sqlite3.Error, BatchDamagedError, OSError, StoreFull, StoreBroken) as error:
            self._let_go()
            raise self._cannot_use(error) from error

    def _cannot_use(self, error: Exception) -> StoreError:
        if isinstance(error, BlockingIOError):
            return StoreError(f"{self._path} is in use by another server. Give each server a state-dir of its own.")
        if isinstance(error, StoreFull):
            return StoreError(f"The disk takes nothing: {error}. Make room and start again.")
        if isinstance(error, StoreBroken):
            return StoreError(f"{self._path} cannot be used: {error}. Look after the disk before starting again.")
        if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
            return StoreError(f"{self._path} is in use by another program. Give each server a state-dir of its own.")
        if isinstance(error, sqlite3.OperationalError | OSError):
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
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # closing would not say if it cannot
    db.close()
    os.rename(draft, path)
    sync_folder(path.parent)


def _checksum(name: bytes, value: bytes) -> bytes:
    return crc32(value, crc32(name)).to_bytes(4, "big")


def _failure(error: sqlite3.Error) -> Exception:
    """Sort out a failed write: no room, to be tried again; or one after which nothing may be trusted."""
    code = getattr(error, "sqlite_errorcode", 0)
    if code not in SYNC_FAILED and code & 0xFF in NO_ROOM:
        return StoreFull(str(error))
    return StoreBroken(str(error))

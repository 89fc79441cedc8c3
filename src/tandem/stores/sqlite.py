"""The default store: leases in blocks in an SQLite file, and what was committed since in a journal beside it.

A commit appends one frame to the journal, whatever the number of changes in it: the disk sees one short sequential
write and one sync. Once enough has changed, housekeeping merges it into blocks of leases, one at a time; when it has
been through all of them, what the journal held before goes. So loading reads little history. Blocks and journal carry
checksums, and a third file says how far commits were acknowledged (`mark.py`).
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from tandem.lease.change import RESTORED_FACT, Change, Fact, Put
from tandem.stores.batch import BatchDamagedError, merge, read_batch, read_leases, write_batch
from tandem.stores.blocks import CHANGES_MAX, Block, Blocks
from tandem.stores.claim import look_at_header, orphan, refuse_orphan, take_alone
from tandem.stores.database import Database, Merged, create, failure
from tandem.stores.journal import Journal, sync_folder
from tandem.stores.mark import MarkFile
from tandem.stores.store import (
    STORE_ID_FACT,
    STORE_ID_OCTETS,
    Finding,
    StoreBroken,
    StoreError,
    StoreFull,
)
from tandem.stores.tail import look_at_end


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
        self._mark = MarkFile(path.with_name(path.name + "-mark"))
        self._is_held = False
        """Whether somebody copies the files, and housekeeping has to wait."""
        self.findings: list[Finding] = []
        """What was noticed while the files were read."""
        self._start([])
        self._alone = -1
        with self._explained():
            self._alone = take_alone(path)
            if not path.exists():
                self._refuse_orphans()
                self._create()
            look_at_header(path)
            self._db = Database(path)

    @property
    def position(self) -> int:
        """Return the number of the last commit."""
        return self._journal.newest

    def load(self) -> Iterator[Change]:
        """Give the leases in blocks and the facts, then what was committed since, in order."""
        with self._explained():
            blocks, spans = [], []
            for number, batch in self._db.blocks():
                leases = read_leases(batch)
                blocks.append(Block(leases[0].key, number, len(leases)))
                spans.append((leases[0].key, leases[-1].key))
                yield from leases
            if any(last >= first for (_, last), (first, _) in pairwise(sorted(spans))):
                raise BatchDamagedError("two of its blocks hold the same leases")
            facts = self._db.facts()
            yield from facts
            self._start(blocks)
            mark, merged = self._mark.read(), self._db.merged()
            known = {merged.upto: merged.chain}
            if mark is not None:
                known.setdefault(mark.position, mark.chain)
            for batch in self._journal.read(merged.upto, known):
                changes = list(read_batch(batch))
                self._note(changes)
                yield from changes
            if merged.upto in self._journal.strays:
                raise BatchDamagedError("its journal is of another history")
            if not self._is_writable:
                store_id = dict(facts).get(STORE_ID_FACT, b"")
                ends = look_at_end(self._journal, mark, self._mark.path.name, store_id, merged.upto)
                self.findings = list(ends)
                yield from self._make_writable(store_id)

    def count(self) -> int:
        """Give about how many changes `load` will give, to show progress by."""
        with self._explained():
            return self._db.leases() + self._journal.count(self._db.merged().upto)

    def commit(self, batch: Sequence[Change]) -> None:
        """Append the batch to the journal and sync. It waits for no housekeeping but the turn to a new file."""
        self._be_loaded()
        data = write_batch(batch)
        with self._lock:
            self._journal.append(data)
            self._mark.write(self._journal.newest, self._journal.chain)
            self._note(batch)

    def tidy(self) -> bool:
        """Merge a full block and what changed in one more, or end merging; make room in the journal; empty the log.

        One does not wait for the other: leases may be new so fast that there is always a full block.
        """
        self._be_loaded()
        if self._is_held:
            with self._lock:
                self._journal.make_room()
            return False
        try:
            full = self._full_block()
            if full is not None:
                self._merged_early += self._merge(full)
            if self._to_merge:
                self._merge(self._to_merge[-1])
                self._to_merge.pop()
            elif self._merging is not None:
                self._end_merging(self._merging)
            else:
                self._begin_merging()
            with self._lock:
                self._journal.make_room()
            self._db.shorten_log(self._pace.log_octets_max)
        except sqlite3.Error as error:
            raise failure(error) from error
        except BatchDamagedError as error:
            raise StoreBroken(f"{self._path} was damaged while it was in use: {error}") from error
        return self._merging is not None or self._full_block() is not None

    def hold(self) -> int:
        """Leave the files as they are until `release`, but for what commits append; return the last commit's number.

        Called where `tidy` is. The files may be read meanwhile (`copy.py`). StoreFull or StoreBroken if not.
        """
        self._be_loaded()
        try:
            self._db.settle()
        except sqlite3.Error as error:
            raise failure(error) from error
        self._is_held = True
        with self._lock:
            return self._journal.newest

    def release(self) -> None:
        """Go on with housekeeping. For any thread."""
        self._is_held = False

    def close(self) -> None:
        """Close the files, and say in the mark that nothing was lost up to there."""
        if self._is_writable and not self._journal.is_broken:
            self._mark.write(self._journal.newest, self._journal.chain, is_closed=True)
            with contextlib.suppress(StoreBroken):  # then it counts as a crash
                self._mark.sync()
        self._mark.close()
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
        self._merging: Merged | None = None
        """How far the journal is in the blocks once all of `_to_merge` are merged; None between merges."""

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
            self._mark.sync()
            self._merging = Merged(self._journal.newest, self._journal.chain)
            self._merged_early = 0
            self._to_merge = [block for block in self._blocks if block.changes]

    def _merge(self, block: Block) -> int:
        """Write a block with its changes, and give how many; they stay in the journal until the others are written."""
        with self._lock:
            changes = self._blocks.take_changes(block)
        if not changes:
            return 0  # the block was full, and merged before its turn; it may be gone
        try:
            old = self._db.block(block.number)
            parts = merge(old, changes, self._pace.block_octets_max)
            rows = self._blocks.rows(block, parts)
            self._db.replace_block(block.number, old, rows)
        except BaseException:
            with self._lock:
                self._blocks.put_back(block, changes)
            raise
        with self._lock:
            self._blocks.merged(block, rows)
        return len(changes)

    def _end_merging(self, merged: Merged) -> None:
        """Say on disk that all is merged up to there, the facts with it; the journal up to there goes."""
        with self._lock:
            facts = dict(self._facts)
        self._db.end_merging(merged, facts)
        self._merging = None
        self._journal.drop(merged.upto)

    def _create(self) -> None:
        """Make the files, the database last: whoever has that has the others."""
        store_id = secrets.token_bytes(STORE_ID_OCTETS)
        self._journal.begin(store_id)
        self._mark.create(store_id, 0, self._journal.chain)
        create(self._path, Merged(0, self._journal.chain), {STORE_ID_FACT: store_id})

    def _refuse_orphans(self) -> None:
        """Refuse to begin anew beside what is left of a store whose database is gone."""
        refuse_orphan(self._path.with_name(self._path.name + "-wal"))
        mark = self._mark.read()
        if self._journal.is_there or (mark is not None and mark.position):
            raise orphan(f"{self._path}-changes-*" if self._journal.is_there else str(self._mark.path))

    def _make_writable(self, store_id: bytes) -> Iterator[Fact]:
        """Take the files for this process alone; what is lost is said in them before the mark is moved."""
        self._db.take()
        self._journal.open()
        sync_folder(self._path.parent)  # SQLite does not mind if it cannot; the log's name has to be durable too
        if any(finding.is_lost for finding in self.findings):
            fact = Fact(RESTORED_FACT, b"%d" % time.time())
            self._journal.append(write_batch([fact]))
            self._note([fact])
            yield fact
        self._mark.open(store_id, self._journal.newest, self._journal.chain)
        self._is_writable = True

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

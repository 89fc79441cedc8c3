"""All that a store holds, read from its files without opening them for writing: what a backup is made from.

The files are those of a stopped server, or of one that holds them (`SqliteStore.hold`): then its database does not
change, and its journal only grows behind the commit that is read up to.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from tandem.stores.batch import BatchDamagedError, write_batch
from tandem.stores.claim import look_at_header
from tandem.stores.database import Database
from tandem.stores.journal import Journal
from tandem.stores.mark import MarkFile
from tandem.stores.store import STORE_ID_FACT, Finding, StoreError
from tandem.stores.tail import look_at_end


class StoreCopy:
    """The store `path`, as of one commit. StoreError if it cannot be read, or is damaged."""

    def __init__(self, path: Path, held_upto: int | None = None) -> None:
        """Open the files; `held_upto` is the commit up to which a running server holds them."""
        self._path = path
        self._held_upto = held_upto
        self.position = 0
        """The number of the last commit that was read."""
        self.findings: list[Finding] = []
        """What was noticed about the end of the journal, once all is read."""
        try:
            if not path.exists():
                raise StoreError(f"There are no leases in {path.parent}: {path.name} is not there.")
            look_at_header(path)
            self._db = Database(path, is_held=held_upto is not None)
            self.store_id = self._db.fact(STORE_ID_FACT)
        except (sqlite3.Error, BatchDamagedError, OSError) as error:
            raise self._cannot_read(error) from error

    def batches(self) -> Iterator[bytes]:
        """Give batches of changes, the later of two changes to one lease or fact last."""
        try:
            for _, batch in self._db.blocks():
                yield batch
            yield write_batch(self._db.facts())
            yield from self._committed_since()
        except (sqlite3.Error, BatchDamagedError, OSError) as error:
            raise self._cannot_read(error) from error

    def octets(self) -> int:
        """Return about how many octets `batches` gives."""
        journals = self._path.parent.glob(f"{self._path.name}-changes-*")
        return sum(path.stat().st_size for path in (self._path, *journals))

    def close(self) -> None:
        """Close the files."""
        self._db.close()

    def _committed_since(self) -> Iterator[bytes]:
        merged = self._db.merged()
        self.position = merged.upto
        if merged.upto == self._held_upto:
            return
        journal = Journal(self._path.with_name(self._path.name + "-changes"))
        mark = MarkFile(self._path.with_name(self._path.name + "-mark"))
        found = mark.read()
        known = {merged.upto: merged.chain}
        if found is not None:
            known.setdefault(found.position, found.chain)
        for batch in journal.read(merged.upto, known):
            yield batch
            self.position = journal.newest
            if journal.newest == self._held_upto:
                break
        if merged.upto in journal.strays:
            raise BatchDamagedError("its journal is of another history")
        if self._held_upto is None:
            self.findings = list(look_at_end(journal, found, mark.path.name, self.store_id, merged.upto))
        elif self.position != self._held_upto:
            raise BatchDamagedError(f"commit {self._held_upto} is not in its journal")

    def _cannot_read(self, error: Exception) -> StoreError:
        if isinstance(error, OSError):
            return StoreError(f"{error.filename or self._path} cannot be read: {error.strerror}.")
        return StoreError(f"{self._path} is damaged ({error}). No backup was made of it.")

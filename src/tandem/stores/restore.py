"""Puts a backup into a state-dir, in place of what is there.

The new store is written and read back in a folder of its own, then the files change places one by one, the database
first and last. A restore that is interrupted leaves a state-dir that a server refuses, never one that it takes for an
empty one or for the old one.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from tandem.lease.change import RESTORED_FACT, Change, Fact
from tandem.stores.backup import Advance, BackupReader, Contents
from tandem.stores.batch import BatchDamagedError
from tandem.stores.claim import take_alone
from tandem.stores.copy import StoreCopy
from tandem.stores.journal import sync_folder
from tandem.stores.sqlite import SqliteStore
from tandem.stores.store import STORE_ID_FACT, StoreError

OWN_FACTS = (STORE_ID_FACT, RESTORED_FACT)
"""What a restored store has of its own."""
BATCH = 1000
DRAFT_NAME = "restoring"
ASIDE_NAME = "before-restore"


class Present(NamedTuple):
    """What store a folder holds."""

    store_id: str
    position: int


class Restore:
    """Puts a backup into `folder`. Use it as a context manager: it has the folder for itself meanwhile."""

    def __init__(self, backup: Path, contents: Contents, folder: Path, name: str) -> None:
        self._backup = backup
        self._contents = contents
        self._folder = folder
        self._path = folder / name
        self.objection = ""
        """Why an operator has to agree first; empty if nothing is lost by it."""

    def __enter__(self) -> Self:
        """Take the folder. StoreError if a server has it."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self._lock = take_alone(self._path)
        except BlockingIOError as error:
            raise StoreError(f"{self._path} is in use by a server. Stop it first.") from error
        try:
            self.objection = self._object()
        except BaseException:
            os.close(self._lock)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Leave the folder to others."""
        os.close(self._lock)

    def write(self, advance: Advance) -> Path | None:
        """Put the backup in its place; return where the files are that were there, if any.

        `advance` is told how many octets of how many are done. OSError, StoreError, StoreFull or StoreBroken if it
        cannot be written; then the old files are where they were, or aside.
        """
        draft = self._folder / DRAFT_NAME
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        try:
            self._fill(draft / self._path.name, advance)
            sync_folder(draft)
            aside = self._exchange(draft)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        self._give_to_owner()
        return aside

    def _files(self, folder: Path) -> list[Path]:
        """Return the store's files in a folder, the database first."""
        found = [path for path in folder.glob(f"{self._path.name}*") if not path.name.endswith("-lock")]
        return sorted(found, key=lambda path: (path.name != self._path.name, path.name.endswith("-mark"), path.name))

    def _object(self) -> str:
        """Return what speaks against putting the backup in the place of what is there."""
        if not self._files(self._folder):
            return ""
        try:
            present = look_at(self._path)
        except StoreError as error:
            return f"{self._folder} has leases that cannot be read: {error}"
        taken = self._contents.position
        if present.store_id != self._contents.origin.store_id:
            return f"{self._folder} has the leases of another store, or of one that was restored since."
        if present.position > taken:
            newer = present.position - taken
            return f"{self._folder} is newer than the backup by {newer} commits, which would be lost."
        return ""

    def _fill(self, path: Path, advance: Advance) -> None:
        """Write a new store with what the backup holds, and read it back."""
        store = SqliteStore(path)
        reader = BackupReader(self._backup)
        try:
            changes: list[Change] = []
            for batch in reader.changes():
                changes += [each for each in batch if not isinstance(each, Fact) or each.name not in OWN_FACTS]
                if len(changes) >= BATCH:
                    store.commit(changes)
                    store.tidy()
                    changes = []
                advance(reader.read_octets, reader.octets)
            store.commit([*changes, Fact(RESTORED_FACT, b"%d" % time.time())])
            while store.tidy():
                pass
            leases: set[int] = set()
            for change in store.load():
                if not isinstance(change, Fact):
                    (leases.discard if change.record is None else leases.add)(change.key)
        finally:
            reader.close()
            store.close()
        if len(leases) != self._contents.leases:
            raise StoreError(f"{len(leases)} leases were read back of {self._contents.leases}. Look after the disk.")

    def _exchange(self, draft: Path) -> Path | None:
        """Put what is there aside, and the draft in its place.

        Without a database, a mark or a journal with commits in it is refused by a server. There is always one of them.
        """
        old = self._files(self._folder)
        aside = None
        if old:
            aside = self._folder / f"{ASIDE_NAME}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
            aside.mkdir(mode=0o700)
            for path in old[:-1]:
                os.rename(path, aside / path.name)
            shutil.copy2(old[-1], aside / old[-1].name)  # it stays until there is another mark
            sync_folder(aside)
        mark, *others = reversed(self._files(draft))
        os.rename(mark, self._folder / mark.name)
        if old and old[-1].name != mark.name:
            old[-1].unlink()
        for path in others:
            os.rename(path, self._folder / path.name)
        sync_folder(self._folder)
        return aside

    def _give_to_owner(self) -> None:
        """Let the user whose folder it is use what root wrote into it."""
        owner = self._folder.stat()
        for path in self._folder.rglob("*") if os.geteuid() == 0 else ():
            if path.name.startswith((self._path.name, ASIDE_NAME)):
                os.chown(path, owner.st_uid, owner.st_gid)


def look_at(path: Path) -> Present:
    """Return which store the file `path` and those beside it are, and its last commit. StoreError if it is damaged."""
    copy = StoreCopy(path)
    try:
        for _ in copy.batches():
            pass
        return Present(copy.store_id.hex(), copy.position)
    except (sqlite3.Error, BatchDamagedError) as error:
        raise StoreError(f"{path} is damaged: {error}.") from error
    finally:
        copy.close()

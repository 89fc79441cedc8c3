r"""A backup: one file with all that a store held after one commit. It outlives changes of the store's own format.

    tandem-backup-1\n
    a piece that says what this is a backup of, as a JSON object
    a piece for each batch of changes
    an empty piece
    a piece that says what the last commit was, as a JSON object
    the SHA-256 of all that is before it

A piece is its size in four octets, and so many octets. Batches have a checksum of their own.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from tandem.lease.change import Change, Fact
from tandem.stores.batch import BatchDamagedError, read_batch
from tandem.stores.journal import sync_folder
from tandem.stores.store import StoreError

MAGIC = b"tandem-backup-1\n"
SIZE = struct.Struct("!I")
SLICE_OCTETS = 256 << 10
"""How much is written at a time, synced each time: one large sync would hold up those of a server on the same disk."""
PIECE_OCTETS_MAX = 64 << 20
Advance = Callable[[int, int], object]
"""Is told how much is done, and of how much."""


class Origin(NamedTuple):
    """What a backup was made of."""

    server: str
    """The server's name, empty if it is not known."""
    store_id: str
    utc: int
    """When it was made."""


class Contents(NamedTuple):
    """What was found in a whole backup."""

    origin: Origin
    position: int
    """The number of the last commit in it."""
    leases: int
    facts: dict[str, bytes]
    octets: int


def no_progress(_done: int, _total: int) -> None:
    """Tell nobody."""


class BackupWriter:
    """Writes a backup beside its place; `finish` puts it there. OSError if the disk takes nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.draft = path.with_name(path.name + ".partial")
        self._sum = hashlib.sha256()
        self._unsynced = 0
        file = os.open(self.draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self._file: BinaryIO = os.fdopen(file, "wb", buffering=1 << 20)

    def write(self, origin: Origin, batches: Iterable[bytes], position: Callable[[], int]) -> None:
        """Write all of it, and make it durable under its draft name; `position` is asked once all batches are read."""
        self._put(MAGIC)
        self._put_piece(json.dumps(origin._asdict()).encode())
        for batch in batches:
            self._put_piece(batch)
        self._put(SIZE.pack(0))
        self._put_piece(json.dumps({"position": position()}).encode())
        self._file.write(self._sum.digest())
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def finish(self) -> None:
        """Give the backup its name. StoreBroken if that cannot be made durable."""
        os.rename(self.draft, self._path)
        sync_folder(self._path.absolute().parent)

    def give_up(self) -> None:
        """Remove what was written."""
        self._file.close()
        self.draft.unlink(missing_ok=True)

    def _put_piece(self, piece: bytes) -> None:
        self._put(SIZE.pack(len(piece)))
        self._put(piece)

    def _put(self, octets: bytes) -> None:
        self._sum.update(octets)
        self._file.write(octets)
        self._unsynced += len(octets)
        if self._unsynced >= SLICE_OCTETS:
            self._sync_slice()

    def _sync_slice(self) -> None:
        """Sync what was written, then leave the disk to others for as long as that took."""
        began = time.monotonic()
        self._file.flush()
        os.fdatasync(self._file.fileno())
        self._unsynced = 0
        time.sleep(time.monotonic() - began)


class BackupReader:
    """The backup `path`. StoreError if it is none, or is damaged."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise StoreError(f"{path} cannot be read: {error.strerror}.") from error
        self._sum = hashlib.sha256()
        self.octets = path.stat().st_size
        self.position = 0
        """The number of the last commit, once all is read."""
        try:
            self.origin = self._read_origin()
        except BaseException:
            self._file.close()
            raise

    def _read_origin(self) -> Origin:
        if self._get(len(MAGIC)) != MAGIC:
            raise StoreError(f"{self.path} is no backup that `tandem backup` made.")
        try:
            return Origin(**json.loads(self._piece()))
        except (ValueError, TypeError) as error:
            raise self._damaged("it does not say what it is of") from error

    def changes(self) -> Iterator[list[Change]]:
        """Give the changes batch by batch. That they are all is known only once the last one was given."""
        while piece := self._piece():
            try:
                yield list(read_batch(piece))
            except BatchDamagedError as error:
                raise self._damaged(str(error)) from error
        end = self._piece()
        if self._file.read() != self._sum.digest():
            raise self._damaged("its checksum is wrong")
        self.position = int(json.loads(end)["position"])

    def read_through(self, advance: Advance) -> Contents:
        """Read all of it, and return what it holds; `advance` is told how many octets of how many were read."""
        leases: set[int] = set()
        facts: dict[str, bytes] = {}
        for changes in self.changes():
            advance(self._file.tell(), self.octets)
            for change in changes:
                if isinstance(change, Fact):
                    facts[change.name] = change.value
                elif change.record is None:
                    leases.discard(change.key)
                else:
                    leases.add(change.key)
        return Contents(self.origin, self.position, len(leases), facts, self.octets)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def read_octets(self) -> int:
        """Return how much of the file was read, for progress."""
        return self._file.tell()

    def _piece(self) -> bytes:
        (size,) = SIZE.unpack(self._get(SIZE.size))
        if size > PIECE_OCTETS_MAX:
            raise self._damaged(f"a piece of {size} octets is too long")
        return self._get(size)

    def _get(self, size: int) -> bytes:
        octets = self._file.read(size)
        if len(octets) < size:
            raise self._damaged("it ends too early")
        self._sum.update(octets)
        return octets

    def _damaged(self, why: str) -> StoreError:
        return StoreError(f"{self.path} is damaged: {why}. Use another backup.")


def verify(path: Path, advance: Advance = no_progress) -> Contents:
    """Read a backup through. StoreError if it is damaged."""
    reader = BackupReader(path)
    try:
        return reader.read_through(advance)
    finally:
        reader.close()

"""What was committed since leases were last put in blocks: each commit is appended by one write and one sync.

A frame is one batch under the next sequence number; its front and the batch have a checksum each. The front's begins
with a salt that nobody outside knows: octets that a client sent stand in a batch, and must not pass for a front. A
frame begins at a sector of its own, so that a write that a power cut tears spoils nothing before it. Room is made
ahead, filled with zeros: then a sync has no size of a file and no new place on the disk to write, and takes half of
the time.

Each file is named by the number of its first frame. A new one is begun when housekeeping begins; when that is done,
those before it go.

Frames are chained: each carries a checksum over all before it, and each file the one it begins with. So files of
different histories are told apart. Each frame also says how large the file was at least when it was written: a file
that is shorter has been cut.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from struct import Struct
from types import MappingProxyType
from typing import NamedTuple
from zlib import crc32

from tandem.stores.batch import BatchDamagedError, is_intact
from tandem.stores.store import StoreBroken, StoreFull

MAGIC = b"tandem-3"
SECTOR = 512
HEAD = Struct("!8s8sQII")
"""Magic, store id, the number of the first frame, the chain before it, and the salt; a CRC-32 of them follows."""
FRAME = Struct("!IQII")
"""Octets of the batch, its number, the chain before it, and the sectors that the file had at least, durably; a CRC-32
of the salt and them follows, then the batch, with its own."""
BATCH_AT = FRAME.size + 4
AHEAD_OCTETS = 256 << 10
"""How much room is made at a time."""


class Rest(NamedTuple):
    """What stands behind the last frame of a journal."""

    name: str
    """The file's name."""
    is_torn: bool = False
    """Whether there is something that is no frame: its write was cut short, or it was damaged since."""
    is_cut: bool = False
    """Whether the file is shorter than it was durably."""


class Journal:
    """The files `base-N`. One thread at a time uses it, but for `prepare`."""

    def __init__(self, base: Path) -> None:
        self._base = base
        self._file = -1
        self._salt = 0
        self._store_id = b""
        self._at = 0
        """Where the next frame goes."""
        self._last_at = 0
        """Where the last frame that was read begins; `_at` if none was."""
        self._room_to = 0
        """Where the room that was made ends."""
        self._durable_room_to = 0
        """Where the room ended when the file was last synced."""
        self.is_broken = False
        """Whether it is not known what is on disk: then nothing more is written."""
        self.newest = 0
        """The number of the last frame."""
        self.chain = 0
        """The checksum over all frames up to there."""
        self.rest = Rest("")
        """What was found behind it."""
        self.strays: set[int] = set()

    @property
    def is_there(self) -> bool:
        """Whether there is any file that holds a frame, or can no longer be read."""
        try:
            return any(_count(path) for path in self._paths())
        except BatchDamagedError:
            return True

    @property
    def octets(self) -> int:
        """How much was written since it was last turned."""
        return self._at

    # -- reading

    def read(self, merged_to: int, chains: Mapping[int, int] = MappingProxyType({})) -> Iterator[bytes]:
        """Give the batches behind the one with that number, in order. BatchDamagedError if not all can be had.

        A missing end is no error here: `newest`, `chain` and `rest` say how far it went and what was there. `chains`
        says what the chain has been known to be after some commits; `strays` are those after which it is another.
        """
        self.strays = set()
        paths = self._unmerged(merged_to)
        head = _head(paths[0])
        self._store_id, self.newest, self.chain = head.store_id, head.first - 1, head.chain
        for path in paths:
            head = _head(path)
            if head.first != self.newest + 1:
                raise BatchDamagedError(f"commits before {path.name} are missing")
            if head.chain != self.chain or head.store_id != self._store_id:
                raise BatchDamagedError(f"{path.name} does not go on where the file before it ends")
            self._salt = head.salt
            self._at = self._last_at = SECTOR
            self.rest = Rest(path.name)
            self._compare(chains)
            for frame in _frames(path, head):
                if isinstance(frame, Rest):
                    self.rest = frame
                    continue  # the last one: the generator ends by itself
                self.newest, self._last_at, self._at = frame.number, self._at, frame.ends
                self.chain = frame.chain
                self._compare(chains)
                if frame.number > merged_to:
                    yield frame.batch
        if self.newest < merged_to:
            raise BatchDamagedError("commits at the end of its journal are missing")

    def _compare(self, chains: Mapping[int, int]) -> None:
        if chains.get(self.newest, self.chain) != self.chain:
            self.strays.add(self.newest)

    def count(self, merged_to: int) -> int:
        """Give about how many batches `read` will give."""
        paths = self._unmerged(merged_to)
        return max(0, sum(map(_count, paths)) + _head(paths[0]).first - 1 - merged_to)

    def _paths(self) -> list[Path]:
        return sorted(self._base.parent.glob(f"{self._base.name}-" + "[0-9]" * 16))

    def _unmerged(self, merged_to: int) -> list[Path]:
        """Give the files from the one on that holds what comes first behind that number."""
        paths = self._paths()
        while len(paths) > 1 and _number(paths[1]) <= merged_to + 1:
            paths.pop(0)
        if not paths or _number(paths[0]) > merged_to + 1:
            raise BatchDamagedError("its journal is missing")
        return paths

    # -- writing

    def begin(self, store_id: bytes) -> None:
        """Make the first file, durable when this returns. What an earlier try left goes."""
        for path in (*self._paths(), self._draft):
            path.unlink(missing_ok=True)
        self._store_id, self.newest, self.chain = store_id, 0, crc32(store_id)
        self.turn(self.prepare())
        self.close()

    def open(self) -> None:
        """Go on behind what was read, after making sure that all of it is on disk.

        The last frame is written once more: had its sync failed, the system would take it for written all the same.
        """
        self._draft.unlink(missing_ok=True)
        path = self._paths()[-1]
        self._file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self._room_to = path.stat().st_size // SECTOR * SECTOR
        if self._room_to < AHEAD_OCTETS:  # it was cut; a full disk is no reason not to start
            with contextlib.suppress(StoreFull):
                self.make_room()
        if self.rest.is_torn:  # what is dropped must not be found again behind later frames
            self._write(self._file, bytes(max(0, self._room_to - self._at)), self._at)
        self._write(self._file, os.pread(self._file, self._at - self._last_at, self._last_at), self._last_at)
        self._sync(self._file)
        self._durable_room_to = self._room_to

    def append(self, batch: bytes) -> None:
        """Add a frame and sync. StoreFull if nothing was added; StoreBroken if it is not known whether."""
        front = FRAME.pack(len(batch), self.newest + 1, self.chain, self._durable_room_to // SECTOR)
        frame = _checked(front, self._salt) + batch
        self._write(self._file, frame, self._at)
        self._sync(self._file)
        self._durable_room_to = self._room_to
        self.newest += 1
        self.chain = crc32(frame[: BATCH_AT + 4])
        self._at += _sectors(len(frame))

    def make_room(self) -> bool:
        """Make room if there is little left; say whether that was so. It is durable with the next frame."""
        if self._room_to - self._at > AHEAD_OCTETS // 2:
            return False
        start = max(self._room_to, self._at)
        self._write(self._file, bytes(AHEAD_OCTETS), start)
        self._room_to = start + AHEAD_OCTETS
        return True

    def prepare(self) -> int:
        """Give a file to be turned to, with room in it. It may be called while another thread appends."""
        with _refusals():
            file = os.open(self._draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            self._write(file, bytes(AHEAD_OCTETS), 0)
            self._sync(file)
        except BaseException:
            os.close(file)
            raise
        return file

    def turn(self, prepared: int) -> None:
        """Begin that file: the next frame goes there."""
        salt = int.from_bytes(os.urandom(4), "big")
        try:
            head = HEAD.pack(MAGIC, self._store_id, self.newest + 1, self.chain, salt)
            self._write(prepared, _checked(head), 0)
            self._sync(prepared)
            with _refusals():
                os.rename(self._draft, f"{self._base}-{self.newest + 1:016d}")
            self.is_broken = True  # until its name is durable, the next frame could be in the wrong file
            sync_folder(self._base.parent)
            self.is_broken = False
        except BaseException:
            os.close(prepared)
            raise
        self.close()
        self._file, self._salt, self._at, self._room_to = prepared, salt, SECTOR, AHEAD_OCTETS
        self._durable_room_to = AHEAD_OCTETS

    def drop(self, merged_to: int) -> None:
        """Remove the files that hold nothing behind that number."""
        paths = self._paths()
        for path in paths[: -len(self._unmerged(merged_to))]:
            with _refusals():
                path.unlink()

    def close(self) -> None:
        """Give the file back."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    @property
    def _draft(self) -> Path:
        return self._base.with_name(f"{self._base.name}-new")

    def _write(self, file: int, data: bytes, at: int) -> None:
        if self.is_broken:
            raise StoreBroken("the journal could not be synced before")
        with _refusals():
            while data:
                written = os.pwrite(file, data, at)
                data, at = data[written:], at + written

    def _sync(self, file: int) -> None:
        try:
            os.fdatasync(file)
        except OSError as error:
            self.is_broken = True
            raise StoreBroken(f"the journal cannot be synced: {error.strerror}") from error


def sync_folder(path: Path) -> None:
    """Make names in a folder durable. StoreBroken if that fails."""
    try:
        folder = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise StoreBroken(f"the folder {path} cannot be synced: {error.strerror}") from error


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    """Take an error for a refusal after which nothing has changed, and which may end."""
    try:
        yield
    except OSError as error:
        raise StoreFull(error.strerror) from error


def _number(path: Path) -> int:
    return int(path.name[-16:])


class Head(NamedTuple):
    """What a file says of itself: whose it is, its first frame and the chain before that, the salt of its fronts."""

    store_id: bytes
    first: int
    chain: int
    salt: int


def _head(path: Path) -> Head:
    with path.open("rb") as file:
        head = file.read(HEAD.size + 4)
    if len(head) == HEAD.size + 4 and _checked(head[:-4]) == head:
        magic, *rest = HEAD.unpack(head[:-4])
        if magic == MAGIC and rest[1] == _number(path):
            return Head(*rest)
    raise BatchDamagedError(f"{path.name} does not begin as it should")


class Front(NamedTuple):
    """What a frame says in front of its batch."""

    size: int
    number: int
    chain: int
    """Of all frames before it."""
    sectors: int
    """How many the file had at least."""


class Frame(NamedTuple):
    """One commit, and where in its file the next one goes."""

    number: int
    ends: int
    chain: int
    """Of all frames with this one."""
    batch: bytes


def _frames(path: Path, head: Head) -> Iterator[Frame | Rest]:
    """Give the frames of a file, and what stands behind the last one.

    The first frame that is wrong may be one that a power cut left. But each was synced before the next one was
    written: the front of one behind it means damage, and so does a frame of another chain. BatchDamagedError if there
    is any.
    """
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    with mapped as data:  # the file is closed before a reader can stop half-way
        at, number, chain, sectors = SECTOR, head.first, head.chain, AHEAD_OCTETS // SECTOR
        while (front := _front(data, at, head.salt)) is not None and front.number == number:
            if front.chain != chain:
                raise BatchDamagedError(f"commit {number} in {path.name} does not follow the one before it")
            batch = data[at + BATCH_AT : at + BATCH_AT + front.size]
            if len(batch) < front.size or not is_intact(batch):
                break
            chain = crc32(data[at : at + BATCH_AT + 4])
            at += _sectors(BATCH_AT + front.size)
            yield Frame(number, at, chain, batch)
            number, sectors = number + 1, front.sectors
        for later in range(at + SECTOR, len(data), SECTOR):
            front = _front(data, later, head.salt)
            if front is not None and front.number > number:
                raise BatchDamagedError(f"a commit in {path.name} cannot be read, and others follow it")
        is_torn = any(data[later : later + SECTOR].strip(b"\0") for later in range(at, len(data), SECTOR))
        yield Rest(path.name, is_torn, len(data) < sectors * SECTOR)


def _front(data: mmap.mmap, at: int, salt: int) -> Front | None:
    """Give what the front of the frame there says; None if there is no front of one."""
    front = data[at : at + BATCH_AT]
    if len(front) == BATCH_AT and _checked(front[:-4], salt) == front:
        return Front(*FRAME.unpack(front[:-4]))
    return None


def _count(path: Path) -> int:
    """Give how many frames a file holds, by their fronts alone."""
    head, at, frames = _head(path), SECTOR, 0
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as data:
        while (front := _front(data, at, head.salt)) is not None and front.number == head.first + frames:
            frames += 1
            at += _sectors(BATCH_AT + front.size)
    return frames


def _checked(octets: bytes, salt: int = 0) -> bytes:
    """Give octets with their CRC-32 behind them, which begins with the salt."""
    return octets + crc32(octets, salt).to_bytes(4, "big")


def _sectors(octets: int) -> int:
    """Give how many octets the sectors have that hold so many."""
    return -(-octets // SECTOR) * SECTOR

"""The high-water mark: up to which commit the journal was acknowledged, said in a file of its own.

A journal that lost its end looks like a shorter one. So after each commit its number is written to a second file as
well. That write is not synced: a killed server leaves the mark exact, since the kernel has it; a power cut may leave an
older one, never one that is ahead. While the journal is turned to a new file, when the store is opened and when it is
closed, the mark is synced.

Two slots are written in turn, each in a sector of its own, so that a torn write leaves the other.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from struct import Struct
from typing import NamedTuple
from zlib import crc32

from tandem.stores.journal import sync_folder
from tandem.stores.store import StoreBroken

MAGIC = b"tandem-m"
SLOT_OCTETS = 512
OWNER = Struct("!8s8s36s")
"""Magic, store id, boot id: what stays the same while a store is open, so that a commit packs less."""
SLOT = Struct("!QQIQ?")
"""Serial number of the write, position, chain, UTC seconds, closed; a CRC-32 of owner and slot follows."""
FILE_OCTETS = 2 * SLOT_OCTETS
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Mark(NamedTuple):
    """What the file says."""

    store_id: bytes
    serial: int
    position: int
    """The number of the last commit that was acknowledged, at least."""
    chain: int
    """The journal's checksum over all commits up to there."""
    utc: int
    """When that was."""
    boot_id: bytes
    """During which run of the kernel."""
    is_closed: bool
    """Whether the store was closed after that commit."""

    def is_exact(self) -> bool:
        """True if no power cut can have lost a later mark."""
        return self.is_closed or (self.boot_id != b"" and self.boot_id == read_boot_id())


class MarkFile:
    """The file `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = -1
        self._owner = b""
        self._owner_checksum = 0
        self._serial = 0

    def read(self) -> Mark | None:
        """Return the newest intact slot. None if the file is missing, has another size, or no slot is intact."""
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return None
        slots = [_read_slot(data[at : at + SLOT_OCTETS]) for at in (0, SLOT_OCTETS)] if len(data) == FILE_OCTETS else []
        return max((slot for slot in slots if slot is not None), key=lambda slot: slot.serial, default=None)

    def create(self, store_id: bytes, position: int, chain: int) -> None:
        """Replace the file by one with that mark, durable once its folder is synced. OSError if that fails."""
        draft = self.path.with_name(self.path.name + ".new")
        self._own(store_id)
        file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            for at in (0, SLOT_OCTETS):
                self._serial += 1
                os.pwrite(file, self._slot(position, chain, is_closed=False).ljust(SLOT_OCTETS, b"\0"), at)
            os.fdatasync(file)
        finally:
            os.close(file)
        os.rename(draft, self.path)

    def open(self, store_id: bytes, position: int, chain: int) -> None:
        """Begin to keep the mark, synced when this returns. OSError or StoreBroken if that fails."""
        found = self.read()
        self._own(store_id)
        self._serial = found.serial if found is not None else 0
        if found is None or found.store_id != store_id:
            self.create(store_id, position, chain)
            sync_folder(self.path.parent)
        self._file = os.open(self.path, os.O_WRONLY | os.O_CLOEXEC)
        self.write(position, chain)
        self.sync()

    def write(self, position: int, chain: int, is_closed: bool = False) -> None:
        """Note that this commit is durable. What cannot be written leaves an older mark, which is no error."""
        self._serial += 1
        with contextlib.suppress(OSError):
            os.pwrite(self._file, self._slot(position, chain, is_closed), self._serial % 2 * SLOT_OCTETS)

    def sync(self) -> None:
        """Make the mark durable. StoreBroken if that fails."""
        try:
            os.fdatasync(self._file)
        except OSError as error:
            raise StoreBroken(f"{self.path} cannot be synced: {error.strerror}") from error

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _own(self, store_id: bytes) -> None:
        self._owner = OWNER.pack(MAGIC, store_id, read_boot_id())
        self._owner_checksum = crc32(self._owner)

    def _slot(self, position: int, chain: int, is_closed: bool) -> bytes:
        slot = SLOT.pack(self._serial, position, chain, int(time.time()), is_closed)
        return self._owner + slot + crc32(slot, self._owner_checksum).to_bytes(4, "big")


def _read_slot(data: bytes) -> Mark | None:
    end = OWNER.size + SLOT.size
    if crc32(data[:end]).to_bytes(4, "big") != data[end : end + 4] or not data.startswith(MAGIC):
        return None
    _, store_id, boot_id = OWNER.unpack_from(data)
    serial, position, chain, utc, is_closed = SLOT.unpack_from(data, OWNER.size)
    return Mark(store_id, serial, position, chain, utc, boot_id.rstrip(b"\0"), is_closed)


def read_boot_id() -> bytes:
    """Return what tells one run of the kernel from another; empty if that cannot be known."""
    try:
        return BOOT_ID.read_bytes().strip()[:36]
    except OSError:
        return b""

"""A disk that loses power: what is on it then, by the calls that were made and no more than the kernel promises.

What a file held when it was last synced is there. Of what was written since, any part may be: each write is kept,
lost or torn between two sectors, and nothing says in which order. Names (made, renamed, removed) are there once
their folder was synced; later ones in their order up to any point, as every journalling file system has it.
"""

from __future__ import annotations

import random
from typing import NamedTuple

from system.trace import Call

SECTOR = 512
KEPT_SHARES = (0.0, 0.3, 0.9, 1.0)
"""How much of what was not synced is there: mostly tried are the ends."""


class Write(NamedTuple):
    """Octets at an offset; without any, an end of the file there."""

    offset: int
    data: bytes | None


class File:
    """One file: what is safe, and what was written since."""

    def __init__(self) -> None:
        self.safe = b""
        self.pending: list[Write] = []

    def as_found(self, chance: random.Random) -> bytes:
        """Give what may be found of it."""
        share = chance.choice(KEPT_SHARES)
        found = bytearray(self.safe)
        for write in self.pending:
            if write.data is None:
                if chance.random() < share:
                    _cut(found, write.offset)
                continue
            for start, part in _sectors(write.offset, write.data):
                if chance.random() < share:
                    _put(found, start, part)
        return bytes(found)

    def sync(self, count: int) -> None:
        """Make what the first `count` of the pending writes did safe."""
        found = bytearray(self.safe)
        for write in self.pending[:count]:
            if write.data is None:
                _cut(found, write.offset)
            else:
                _put(found, write.offset, write.data)
        self.safe = bytes(found)
        del self.pending[:count]


class Disk:
    """One folder on a disk, changed by calls and by nothing else."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._names: dict[str, File] = {}
        self._may_be_found: list[dict[str, File]] = [{}]
        """The names as last synced, and as they were after each change since."""
        self._syncing: dict[int, int] = {}

    def take(self, call: Call) -> None:
        """Take a call in. AssertionError if it does something to the folder that is not known here."""
        if call.file.startswith(f"{self._folder}/"):
            self._change_file(call, self._names[call.file.removeprefix(f"{self._folder}/")])
        elif call.file == self._folder and call.name in ("fsync", "fdatasync"):
            if call.result == 0:
                self._may_be_found = [dict(self._names)]
        elif call.strings and call.strings[0].startswith(f"{self._folder}/".encode()):
            self._change_name(call, [each.decode().removeprefix(f"{self._folder}/") for each in call.strings])

    def as_found(self, chance: random.Random) -> dict[str, bytes]:
        """Give what may be found in the folder after a power cut now, by name."""
        return {name: file.as_found(chance) for name, file in chance.choice(self._may_be_found).items()}

    def at_least(self) -> dict[str, bytes]:
        """Give what is there if all that was not synced is lost."""
        return {name: file.safe for name, file in self._may_be_found[0].items()}

    def _change_file(self, call: Call, file: File) -> None:
        match call.name:
            case "pwrite64":
                if call.result is None:
                    file.pending.append(Write(call.number, call.strings[0]))
                else:
                    assert call.result == len(call.strings[0]), "a write was cut short"
            case "ftruncate":
                if call.result is None:
                    file.pending.append(Write(call.number, None))
            case "fsync" | "fdatasync":
                # Only what was written before it began is sure to be in it.
                if call.result is None:
                    self._syncing[call.thread] = len(file.pending)
                else:
                    assert call.result == 0, "a sync failed"
                    file.sync(self._syncing[call.thread])
            case _:
                raise AssertionError(f"what does this do to a disk? {call.name}({call.text[:200]})")

    def _change_name(self, call: Call, names: list[str]) -> None:
        if call.result is None or call.result < 0:
            return
        before = dict(self._names)
        match call.name:
            case "openat" | "open":
                if "O_CREAT" in call.text:
                    self._names.setdefault(names[0], File())
                if "O_TRUNC" in call.text:
                    self._names[names[0]].pending.append(Write(0, None))
            case "unlink" | "unlinkat":
                self._names.pop(names[0], None)  # a socket is bound, not opened: it holds no data, and no name here
            case "rename" | "renameat" | "renameat2":
                self._names[names[1]] = self._names.pop(names[0])
            case _:
                raise AssertionError(f"what does this do to a folder? {call.name}({call.text[:200]})")
        if self._names != before:
            self._may_be_found.append(dict(self._names))


def _sectors(offset: int, data: bytes) -> list[tuple[int, bytes]]:
    starts = [offset, *range(offset - offset % SECTOR + SECTOR, offset + len(data), SECTOR)]
    ends = [*starts[1:], offset + len(data)]
    return [(start, data[start - offset : end - offset]) for start, end in zip(starts, ends, strict=True)]


def _put(found: bytearray, offset: int, data: bytes) -> None:
    found.extend(bytes(max(0, offset - len(found))))
    found[offset : offset + len(data)] = data


def _cut(found: bytearray, size: int) -> None:
    found.extend(bytes(max(0, size - len(found))))
    del found[size:]

"""Leases on disk in blocks: neighbours together, and what has changed there since the block was written.

A block is one batch of some hundred leases in the order of their keys. To write one costs little more than to write
one lease, so changes are gathered and then merged into their block all at once (docs/decisions/002).
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tandem.lease.change import Put

CHANGES_MAX = 512
"""Changes of one block that are merged in half a millisecond, in which nothing else is done."""


class Written(NamedTuple):
    """A batch of leases to be one block, or a part of one."""

    first: int
    """The key of the first lease in it."""
    leases: int
    batch: bytes


class Block:
    """One row of the store, and the changes to its leases that are not in it yet."""

    __slots__ = ("changes", "first", "leases", "number")

    def __init__(self, first: int, number: int, leases: int = 0) -> None:
        self.first = first
        """The first key that belongs here; nothing in the row comes before it."""
        self.number = number
        """The row's number, which stays as it is."""
        self.leases = leases
        """How many leases the row holds."""
        self.changes: dict[int, bytes | None] = {}

    def __lt__(self, other: Block) -> bool:
        return self.first < other.first


class Blocks:
    """All blocks of a store. There is always one."""

    def __init__(self, rows: Sequence[Block] = (), changes_max: int = CHANGES_MAX) -> None:
        """Take the blocks that are on disk. One with `changes_max` changes is full."""
        self._blocks = sorted(rows) or [Block(0, 1)]
        self._firsts = self._begin_with_all()
        self._next_number = 1 + max(block.number for block in self._blocks)
        self.leases = sum(block.leases for block in self._blocks)
        """How many there are in all rows."""
        self.changed = 0
        """How many leases have changes that are not in their rows."""
        self._changes_max = changes_max
        self._filled: deque[Block] = deque()
        """Blocks that have become full, and may have been merged since."""

    def __iter__(self) -> Iterator[Block]:
        return iter(self._blocks)

    def change(self, change: Put) -> None:
        """Note what is to be merged into the block that the lease belongs to."""
        block = self._blocks[max(0, bisect_right(self._firsts, change.key) - 1)]
        changes = block.changes
        before = len(changes)
        changes[change.key] = change.record
        after = len(changes)
        if after > before:
            self.changed += 1
            if after == self._changes_max:
                self._filled.append(block)

    def full(self) -> Block | None:
        """Give the block that became full first, to be merged before it takes long to do so; None if none is full."""
        while self._filled:
            if len(self._filled[0].changes) >= self._changes_max:
                return self._filled[0]
            self._filled.popleft()
        return None

    def rows(self, block: Block, parts: Sequence[Written]) -> list[tuple[int, Written]]:
        """Give the numbers of the rows that the parts of a block that was merged are to be written to."""
        numbers = (block.number, *range(self._next_number, self._next_number + len(parts)))
        return list(zip(numbers, parts, strict=False))

    def take_changes(self, block: Block) -> dict[int, bytes | None]:
        """Give what is to be merged into a block; what changes there from now on is for the next time."""
        changes, block.changes = block.changes, {}
        self.changed -= len(changes)
        return changes

    def put_back(self, block: Block, changes: dict[int, bytes | None]) -> None:
        """Have changes that could not be merged merged another time; what has changed again since stays so."""
        later = self.take_changes(block)
        block.changes = {**changes, **later}
        self.changed += len(block.changes)
        self._filled.append(block)

    def merged(self, block: Block, rows: Sequence[tuple[int, Written]]) -> None:
        """Take over that a block with its changes is in those rows now; in none, if no lease is left of it."""
        later = self.take_changes(block)
        self.leases += sum(part.leases for _, part in rows) - block.leases
        block.leases = rows[0][1].leases if rows else 0
        for number, part in rows[1:]:
            self._next_number = number + 1
            insort(self._blocks, Block(part.first, number, part.leases))
        if not rows and len(self._blocks) > 1:
            self._blocks.remove(block)
        self._firsts = self._begin_with_all()
        for key, record in later.items():
            self.change(Put(key, record))

    def _begin_with_all(self) -> list[int]:
        """Give where each block begins: the first with whatever comes before the second, so that no lease has two."""
        self._blocks[0].first = 0
        return [block.first for block in self._blocks]

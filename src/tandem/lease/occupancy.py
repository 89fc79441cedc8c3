"""Which blocks of a pool have leases that were never given, so that the last of them is found at once.

Problem: a server is to use up all that it may give (RFC 8156 8.4.1). Leases that ended are remembered in order, but
of those that were never given nothing is on record: hashing finds one while many are left, and once few are left a
search through the whole pool would cost as much as the pool is large.

Invariant: a block marked as full has no lease that is neither on record nor in a hole. Leases on record are counted by
block, so a block is marked the moment that its last lease comes on record, and the mark goes when one is forgotten.
A block with holes, or one that the pool ends in, is marked by the first search that looks through it in vain.
The search skips full blocks with one call of `bytearray.find`, whatever their number.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

from tandem.lease.space import Interval, Range
from tandem.wire.received import ADDRESS_LENGTH

BLOCK_BITS: Final = 8
BLOCK: Final = 1 << BLOCK_BITS
SIZE_MAX: Final = 1 << 24
"""Leases of the largest pool whose blocks are counted. Larger ones never come near to being full."""
BLOCKS_PER_SEARCH: Final = 64

OPEN: Final = b"\x01"


class Occupancy:
    """Counts the leases on record in each block of a pool: of addresses, those of either partner for themselves.

    A lane is what one partner has of a pool of addresses, which they share by the last bit; a pool of prefixes
    has one lane, since its shares move.
    """

    __slots__ = ("_counts", "_cursors", "_has_room", "_lanes", "_per_lane", "_range")

    def __init__(self, range_: Range) -> None:
        self._range = range_
        self._lanes = 2 if range_.length == ADDRESS_LENGTH else 1
        self._per_lane = BLOCK // self._lanes
        blocks = -(-range_.size // BLOCK)
        self._counts = [array("H", bytes(2 * blocks)) for _ in range(self._lanes)]
        self._has_room = [bytearray(OPEN * blocks) for _ in range(self._lanes)]
        self._cursors = [0] * self._lanes

    def count(self, address: int, change: int) -> None:
        """Take over that a lease came on record (1) or was forgotten (-1)."""
        block = (address - self._range.first) // self._range.unit >> BLOCK_BITS
        lane = address % self._lanes
        counts = self._counts[lane]
        counts[block] += change
        self._has_room[lane][block] = counts[block] < self._per_lane

    def use_other_holes(self) -> None:
        """Take over that there are other holes: blocks that were full because of them may no longer be."""
        for counts, has_room in zip(self._counts, self._has_room, strict=True):
            has_room[:] = bytes(count < self._per_lane for count in counts)

    def find(
        self,
        lanes: Iterable[int],
        intervals: Sequence[Interval],
        is_unused: Callable[[int], bool],
        is_free: Callable[[int], bool],
        refusals_max: int,
    ) -> int | None:
        """Return an address in one of the intervals that `is_unused`, and `is_free` now; None if none is found.

        Looks at no more than BLOCKS_PER_SEARCH blocks of a lane, and `refusals_max` unused addresses that are not free;
        the next search goes on behind them.
        """
        for lane in lanes:
            block = -1
            for block in islice(self._blocks_with_room(lane, intervals), BLOCKS_PER_SEARCH):
                unused = [address for address in self._addresses(block, lane) if is_unused(address)]
                if not unused:
                    self._has_room[lane][block] = 0
                for address in unused[:refusals_max]:
                    if is_free(address):
                        self._cursors[lane] = block
                        return address
                refusals_max = max(0, refusals_max - len(unused))
                if not refusals_max:
                    break
            self._cursors[lane] = block + 1
        return None

    def _blocks_with_room(self, lane: int, intervals: Sequence[Interval]) -> Iterator[int]:
        """Yield the blocks of the intervals that are not marked as full: first those from the lane's cursor on."""
        first, unit, cursor = self._range.first, self._range.unit, self._cursors[lane]
        spans = [((low - first) // unit >> BLOCK_BITS, (high - first) // unit >> BLOCK_BITS) for low, high in intervals]
        has_room = self._has_room[lane]
        for begin, end in (*((max(a, cursor), b) for a, b in spans), *((a, min(b, cursor - 1)) for a, b in spans)):
            block = has_room.find(OPEN, begin, end + 1)
            while block >= 0:
                yield block
                block = has_room.find(OPEN, block + 1, end + 1)

    def _addresses(self, block: int, lane: int) -> range:
        """Return the addresses of a lane in a block."""
        unit = self._range.unit
        first = self._range.first + (block << BLOCK_BITS) * unit
        if self._lanes == 1:
            return range(first, min(first + BLOCK * unit, self._range.last + 1), unit)
        return range(first + ((first ^ lane) & 1), min(first + BLOCK, self._range.last + 1), 2)

"""Keeps the partners' shares of the delegable prefixes in proportion: RFC 8156 4.2.2.

What changes hands are the largest aligned parts of a pool on which there is no lease on record.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from tandem.lease.lease import Lease
from tandem.lease.pool import Pool
from tandem.lease.space import Gifts, Role, interval_of
from tandem.lease.table import LeaseTable

THRESHOLD_PERCENT: Final = 10
"""Of all that is available in a pool, how much a share may be off before something changes hands."""
MOVES_PER_POOL: Final = 16


class Move(NamedTuple):
    """A large prefix that is to change hands."""

    key: int
    to: Role


def moves(pool: Pool, secondary_percent: int) -> list[Move]:
    """Say what should change hands for the shares of a pool to be right again."""
    gifts = pool.gifts
    if gifts is None:
        return []
    available = {role: gifts.available(role) for role in Role}
    total = sum(available.values())
    needed = total * secondary_percent // 100 - available[Role.SECONDARY]
    if abs(needed) <= total * THRESHOLD_PERCENT // 100:
        return []
    giver = Role.PRIMARY if needed > 0 else Role.SECONDARY
    slack = total * THRESHOLD_PERCENT // 200
    return [Move(key, giver.partner) for key in _whole_parts(pool, gifts, giver, abs(needed), slack)]


def _whole_parts(pool: Pool, gifts: Gifts, giver: Role, needed: int, slack: int) -> list[int]:
    """Choose aligned prefixes of the giver's space without a lease on record, together for about `needed` leases.

    It may be up to `slack` more or less, so that few large ones will do. Large ones first, and from the pool's end,
    since leases are given out from its beginning.
    """
    first, last, length = pool.range
    part = gifts.bucket_octets
    free = [
        not count and not pool.holes.touches(at, at + part - 1) and gifts.owner(at) is giver
        for at, count in zip(range(first, last + 1, part), gifts.records, strict=True)
    ]
    chosen: list[int] = []
    step = len(free)
    while step and len(chosen) < MOVES_PER_POOL:
        size = step * part // pool.range.unit
        for at in range(len(free) - step, -1, -step):
            is_wanted = needed > slack and size <= needed + slack and len(chosen) < MOVES_PER_POOL
            if is_wanted and all(free[at : at + step]):
                chosen.append((first + at * part) << 8 | length - (size - 1).bit_length())
                free[at : at + step] = [False] * step
                needed -= size
        step //= 2
    return chosen


def give(table: LeaseTable, move: Move, now_utc: int) -> Lease:
    """Give the record of a prefix that changes hands at that time."""
    before = table.get(move.key)
    start = before.next_start_time(now_utc) if before is not None else now_utc
    return Lease(move.key, move.to.available, b"", 0, start, 0, start, 0, 0, 0, 0, b"")


def inside(table: LeaseTable, pool: Pool, key: int) -> list[int]:
    """Give the keys of all that is on record inside a large prefix."""
    gifts = pool.gifts
    assert gifts is not None
    first, last = interval_of(key)
    found = [each for each in gifts.aggregates if each != key and first <= each >> 8 and interval_of(each)[1] <= last]
    at = (first - pool.range.first) // gifts.bucket_octets
    to = (last - pool.range.first) // gifts.bucket_octets
    if any(gifts.records[at : to + 1]):
        found += [each for each in table.keys_in(first, last) if each & 0xFF == pool.range.length]
    return found

"""Keeps the partners' shares of the delegable prefixes in proportion: RFC 8156 4.2.2.

Problem: few messages should move much, and a server that has nothing left must be helped although its partner has
only scattered prefixes. So what moves is chosen in three rounds, each only for what the one before leaves open:

1. large aligned parts of the giver's space without a lease on record;
2. such parts in which all leases on record are free again: they move with it, and their last clients are forgotten;
3. single prefixes in parts that are otherwise in use.

Invariant: nothing that a client holds, or may still hold, moves. Both servers forget the free leases inside, and the
receiver refuses a part in which it knows of a client (`Exchange._decide_on_gift`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from tandem.lease.lease import Lease, key_of
from tandem.lease.pool import Pool
from tandem.lease.space import Gifts, Role, interval_of
from tandem.lease.table import LeaseTable

THRESHOLD_PERCENT: Final = 10
"""Of all that is available in a pool, how much a share may be off before something changes hands."""
MOVES_PER_POOL: Final = 16
UNITS_EXAMINED_MAX: Final = 4096
"""Single prefixes that are looked at for one pool."""


class Move(NamedTuple):
    """A prefix that is to change hands."""

    key: int
    to: Role


def moves(pool: Pool, secondary_percent: int, is_urgent: bool = False) -> list[Move]:
    """Return what should change hands for the shares of a pool to be right again.

    With `is_urgent` a server could not give a client a prefix: it gets one even if that is all that there is.
    """
    gifts = pool.gifts
    if gifts is None:
        return []
    available = {role: gifts.available(role) for role in Role}
    total = sum(available.values())
    missing = total * secondary_percent // 100 - available[Role.SECONDARY]
    needed = missing if abs(missing) > total * THRESHOLD_PERCENT // 100 else 0
    poor = next((role for role in Role if not available[role]), None)
    if poor is not None and total >= (1 if is_urgent else 2):  # few are missing of a small share, but all
        needed = max(missing, 1) if poor is Role.SECONDARY else min(missing, -1)
    if not needed:
        return []
    giver = Role.PRIMARY if needed > 0 else Role.SECONDARY
    slack = min(total * THRESHOLD_PERCENT // 200, abs(needed) - 1)
    return [Move(key, giver.partner) for key in _chosen(pool, gifts, giver, abs(needed), slack)]


def _chosen(pool: Pool, gifts: Gifts, giver: Role, needed: int, slack: int) -> list[int]:
    """Choose prefixes of the giver, together for about `needed` leases; it may be up to `slack` more or less."""
    first, last, _ = pool.range
    part = gifts.bucket_octets
    starts = range(first, last + 1, part)
    chosen: list[int] = []
    for is_free in (_is_untouched, _is_free_again):
        sizes = [_size_for(pool, gifts, giver, at, is_free) for at in starts]
        for number, count in _whole_parts(sizes, needed, slack, MOVES_PER_POOL - len(chosen)):
            chosen.append(
                key_of(first + number * part, pool.range.length - (count * part // pool.range.unit - 1).bit_length())
            )
            needed -= sum(sizes[number : number + count])
        if needed <= slack or len(chosen) >= MOVES_PER_POOL:
            return chosen
    taken = [interval_of(key) for key in chosen]
    for address in _single_prefixes(pool, gifts, giver):
        if needed <= slack or len(chosen) >= MOVES_PER_POOL:
            break
        if not any(low <= address <= high for low, high in taken):
            chosen.append(key_of(address, pool.range.length))
            needed -= 1
    return chosen


def _is_untouched(gifts: Gifts, first: int, last: int) -> bool:
    return not gifts.on_record(first, last)


def _is_free_again(gifts: Gifts, first: int, last: int) -> bool:
    return all(gifts.giver(address) is not None for address in gifts.on_record(first, last))


def _size_for(pool: Pool, gifts: Gifts, giver: Role, at: int, is_free: Callable[[Gifts, int, int], bool]) -> int:
    """Return how many prefixes the giver would give with a part; 0 if the part cannot move as a whole."""
    last = min(at + gifts.bucket_octets - 1, pool.range.last)
    if pool.holes.touches(at, last) or not is_free(gifts, at, last):
        return 0
    on_record = gifts.on_record(at, last)
    size = sum(gifts.giver(address) is giver for address in on_record)
    if gifts.owner(at) is giver:
        size += (last - at + 1) // pool.range.unit - len(on_record)
    return size


def _whole_parts(sizes: list[int], needed: int, slack: int, at_most: int) -> Iterator[tuple[int, int]]:
    """Choose aligned runs of parts: where each begins and how many parts it has.

    Large ones first, and from the end of the pool, since leases are given out from its beginning.
    """
    left = list(sizes)
    step = 1 << (len(left).bit_length() - 1) if left else 0
    while step:
        for at in range((len(left) // step - 1) * step, -1, -step):
            size = sum(left[at : at + step])
            is_wanted = needed > slack and size <= needed + slack and at_most > 0
            if is_wanted and all(left[at : at + step]):
                yield at, step
                left[at : at + step] = [0] * step
                needed -= size
                at_most -= 1
        step //= 2


def _single_prefixes(pool: Pool, gifts: Gifts, giver: Role) -> Iterator[int]:
    """Return addresses of prefixes that the giver may give, from the end of the pool; of a large pool not all."""
    first, last, _ = pool.range
    unit = pool.range.unit
    examined = 0
    for at in reversed(range(first, last + 1, gifts.bucket_octets)):
        until = min(at + gifts.bucket_octets - 1, last)
        on_record = set(gifts.on_record(at, until))
        if len(on_record) * unit > until - at and not any(gifts.giver(each) is giver for each in on_record):
            continue
        for address in range(until - unit + 1, at - 1, -unit):
            examined += 1
            if examined > UNITS_EXAMINED_MAX:
                return
            is_givers = gifts.giver(address) is giver if address in on_record else gifts.owner(address) is giver
            if is_givers and not pool.holes.touches(address, address + unit - 1):
                yield address


def give(table: LeaseTable, move: Move, now_utc: int) -> Lease:
    """Return the record of a prefix that changes hands at that time, newer than all that is on record inside."""
    pool = table.pool_of(move.key)
    assert pool is not None
    known = [table.get(key) for key in (move.key, *inside(pool, move.key))]
    start = max([now_utc, *(lease.next_start_time(now_utc) for lease in known if lease is not None)])
    return Lease(move.key, move.to.available, b"", 0, start, 0, start, 0, 0, 0, 0, b"")


def inside(pool: Pool, key: int) -> list[int]:
    """Return the keys of all that is on record inside a large prefix."""
    gifts = pool.gifts
    assert gifts is not None
    first, last = interval_of(key)
    found = [each for each in gifts.aggregates if each != key and first <= each >> 8 and interval_of(each)[1] <= last]
    length = pool.range.length
    return found + [key_of(address, length) for address in gifts.on_record(first, last) if key & 0xFF < length]

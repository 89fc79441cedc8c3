"""Pools that are laid over a table in steps, while it changes: the same as if all were done at once."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from tandem.lease.holes import Holes, differences
from tandem.lease.lease import BindingStatus, Lease, key_of
from tandem.lease.pool import Pool
from tandem.lease.space import Range, Role
from tandem.lease.table import LeaseTable

BASE = 0x20010DB8 << 96
UNIT = 1 << 72
STATUSES = (
    BindingStatus.ACTIVE,
    BindingStatus.ABANDONED,
    BindingStatus.EXPIRED,
    BindingStatus.FREE,
    BindingStatus.FREE_BACKUP,
)
ADDRESSES = [key_of(BASE + number) for number in range(400)]
PREFIXES = [key_of(BASE + (1 << 96) + number * UNIT, 56) for number in range(64)]


def change(table: LeaseTable, random: Random, number: int) -> None:
    """Let anything happen to any lease; shares of prefixes change where nothing is on record."""
    key = random.choice(ADDRESSES + PREFIXES)
    if random.random() < 0.1 and table.get(key) is not None:
        table.forget(key)
    else:
        times = (number, number, number + 99)
        table.put(Lease(key, random.choice(STATUSES), b"client%d" % random.randrange(9), 1, *times, 1, 2, 3, 4, b""))


def layout(random: Random) -> list[tuple[Range, Holes]]:
    """Draw some pools of addresses and perhaps one of prefixes, each with holes."""
    pools, first = [], 0
    while first < 380:
        size = random.choice((50, 100))
        holes = Holes((BASE + at, BASE + at) for at in range(first, first + size) if random.random() < 0.1)
        if random.random() < 0.8:
            pools.append((Range(BASE + first, BASE + first + size - 1, 128), holes))
        first += size
    if random.random() < 0.7:
        begin = BASE + (1 << 96)
        held = Holes((begin + at * UNIT, begin + at * UNIT) for at in range(64) if random.random() < 0.2)
        pools.append((Range(begin, begin + 64 * UNIT - 1, 56), held))
    random.shuffle(pools)
    return pools


def counts(pool: Pool) -> dict[str, Any]:
    found: dict[str, Any] = {name: getattr(pool, name) for name in ("range", "in_use", "size", "remembered")}
    found["free"] = [pool.free(role) for role in Role]
    found["ended"] = sorted(pool.ended())
    found["holes"] = list(pool.holes.intervals())
    found["records"] = None if pool.gifts is None else pool.gifts.on_record(pool.range.first, pool.range.last)
    return found


@pytest.mark.parametrize("seed", range(30))
def test_steps_give_what_one_step_would(seed: int) -> None:
    random = Random(seed)
    table = LeaseTable()
    table.use_pools(layout(random))
    for number in range(300):
        change(table, random, number)
    for number in range(300, 330):
        wanted = layout(random)
        for _ in table.lay_out(wanted):
            for _ in range(random.randrange(3)):
                change(table, random, number)
        if random.random() < 0.3:
            continue  # another reload came before this one was through
        table.use_layout()
        change(table, random, number)
        anew = LeaseTable()
        for lease in map(table.get, table.keys()):
            assert lease is not None
            anew.put(lease)
        anew.use_pools(wanted)
        assert [counts(pool) for pool in table.pools()] == [counts(pool) for pool in anew.pools()]


def test_pools_that_stay_are_not_touched() -> None:
    table = LeaseTable()
    holes = Holes([(BASE + 3, BASE + 3)])
    table.use_pools([(Range(BASE, BASE + 99, 128), holes), (Range(BASE + 100, BASE + 199, 128), Holes())])
    for number in range(300):
        change(table, Random(number), number)
    before, _ = table.pools()
    changed = [
        (Range(BASE, BASE + 99, 128), Holes([(BASE + 3, BASE + 3)])),
        (Range(BASE + 100, BASE + 150, 128), holes),
    ]
    table.use_pools(changed)
    after, other = table.pools()
    assert after is before
    assert other.range.last == BASE + 150


def test_a_pool_with_one_more_reservation_is_adjusted_and_not_counted_anew() -> None:
    table = LeaseTable()
    range_ = Range(BASE + 1, BASE + (1 << 20), 128)
    table.use_pools([(range_, Holes())])
    for number in range(5000):
        key = key_of(BASE + 1 + number)
        table.put(Lease(key, BindingStatus.ACTIVE, b"client", 1, 5, 5, 99, 1, 2, 3, 4, b""))
    (before,) = table.pools()
    steps = list(table.lay_out([(range_, Holes([(BASE + 7, BASE + 7)]))]))
    table.use_layout()
    (pool,) = table.pools()
    assert pool is before
    assert (pool.in_use, pool.size) == (4999, (1 << 20) - 1)
    assert len(steps) < 10


def test_ended_leases_stay_in_their_order_when_their_pool_is_made_anew() -> None:
    table = LeaseTable()
    ended = [(3, 30), (1, 10), (2, 20)]
    for number, start in ended:
        table.put(Lease(key_of(BASE + number), BindingStatus.EXPIRED, b"c", 1, start, start, start, 1, 2, 3, 4, b""))
    table.use_pools([(Range(BASE, BASE + 9, 128), Holes())])
    (pool,) = table.pools()
    assert list(pool.ended()) == [key_of(BASE + number) for number in (1, 2, 3)]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("scale", [1, 1 << 72, 1 << 100, 3])
def test_holes_are_as_a_list_of_intervals(seed: int, scale: int) -> None:
    random = Random(seed)
    chosen = [
        (first := random.randrange(200), first + random.choice((0, 0, 1, 7))) for _ in range(random.randrange(12))
    ]
    holes = Holes((BASE + first * scale, BASE + (last + 1) * scale - 1) for first, last in chosen)
    inside = {at for first, last in chosen for at in range(first, last + 1)}
    for first in range(0, 210, 3):
        for last in (first, first + 5, first + 40):
            numbers = set(range(first, last + 1)) & inside
            low, high = BASE + first * scale, BASE + (last + 1) * scale - 1
            assert holes.touches(low, high) is bool(numbers)
            assert holes.covered(low, high) == len(numbers) * scale
            assert holes.covered(low + 1, high) == len(numbers) * scale - (first in inside)
    flat = [(first, last) for first, last in holes.intervals()]
    assert flat == sorted(flat)
    assert sum(last - first + 1 for first, last in flat) == len(inside) * scale
    assert holes.is_same(Holes(flat))


@pytest.mark.parametrize("seed", range(20))
def test_differences_of_holes(seed: int) -> None:
    random = Random(seed)
    sets = [{random.randrange(60) for _ in range(random.randrange(40))} for _ in range(2)]
    before, after = (Holes((at, at) for at in each) for each in sets)
    found = [at for first, last in differences(before, after) for at in range(first, last + 1)]
    assert found == sorted(sets[0] ^ sets[1])

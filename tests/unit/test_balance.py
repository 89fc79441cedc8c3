"""The shares of delegable prefixes, kept in proportion with few messages: RFC 8156 4.2.2."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tandem.failover import balance
from tandem.failover.balance import MOVES_PER_POOL, THRESHOLD_PERCENT, Move, moves
from tandem.lease.holes import Holes
from tandem.lease.lease import BindingStatus, Lease, key_of
from tandem.lease.pool import Pool
from tandem.lease.space import Range, Role, interval_of
from tandem.lease.table import LeaseTable

SAME_EVERY_TIME = settings(derandomize=True, deadline=None, max_examples=150)
LENGTH = 56
FIRST = 0x20010DB9 << 96
UNIT = 1 << 128 - LENGTH
LARGE = Range(FIRST, FIRST + (1 << 96) - 1, LENGTH)
SMALL = Range(FIRST, FIRST + 64 * UNIT - 1, LENGTH)
HOLE = (FIRST + 40 * UNIT, FIRST + 41 * UNIT - 1)
NOW = 1_800_000_000


def table_with(range_: Range, holes: tuple[tuple[int, int], ...] = ()) -> tuple[LeaseTable, Pool]:
    table = LeaseTable()
    table.use_pools([(range_, Holes(holes))])
    (pool,) = table.pools()
    return table, pool


def record(key: int, status: int) -> Lease:
    duid = b"" if status in (BindingStatus.FREE, BindingStatus.FREE_BACKUP) else b"client"
    return Lease(key, status, duid, 1, NOW - 9, NOW - 9, NOW + 900, 3, 4, 1, 2, b"")


def apply(table: LeaseTable, move: Move) -> None:
    """Take over a move as both partners do once it is acknowledged."""
    pool = table.pool_of(move.key)
    assert pool is not None
    for key in balance.inside(pool, move.key):
        table.forget(key)
    table.put(balance.give(table, move, NOW))


def available(pool: Pool) -> dict[Role, int]:
    assert pool.gifts is not None
    return {role: pool.gifts.available(role) for role in Role}


def wanted(pool: Pool, percent: int) -> int:
    return sum(available(pool).values()) * percent // 100


def test_a_32_of_56s_takes_one_message_at_first() -> None:
    table, pool = table_with(LARGE)
    (move,) = moves(pool, 50)
    assert move == Move(key_of(FIRST + (1 << 95), 33), Role.SECONDARY)  # the upper half; the lower is used first
    apply(table, move)
    assert available(pool) == dict.fromkeys(Role, 1 << 23)
    assert moves(pool, 50) == []


@given(
    used=st.dictionaries(st.integers(0, 63).filter(lambda number: number != 40), st.sampled_from(BindingStatus)),
    given_away=st.sets(st.integers(0, 15)),
    percent=st.integers(1, 99),
)
@SAME_EVERY_TIME
def test_what_moves_is_free_whole_and_about_what_is_needed(
    used: dict[int, BindingStatus], given_away: set[int], percent: int
) -> None:
    table, pool = table_with(SMALL, (HOLE,))
    assert pool.gifts is not None
    for number in sorted(given_away):
        table.put(record(key_of(FIRST + number * 4 * UNIT, LENGTH - 2), BindingStatus.FREE_BACKUP))
    for number, status in used.items():
        table.put(record(key_of(FIRST + number * UNIT, LENGTH), status))
    needed = wanted(pool, percent) - available(pool)[Role.SECONDARY]
    found = moves(pool, percent)
    giver = Role.PRIMARY if needed > 0 or not available(pool)[Role.SECONDARY] else Role.SECONDARY
    moved: set[int] = set()
    for move in found:
        first, last = interval_of(move.key)
        prefixes = set(range(first, last + 1, UNIT))
        assert move.to is giver.partner
        assert SMALL.first <= first <= last <= SMALL.last
        assert not pool.holes.touches(first, last)
        assert {pool.gifts.owner(start) for start in prefixes} == {giver}
        assert not [start for start in prefixes if table.get(key_of(start, LENGTH))]
        assert not moved & prefixes
        moved |= prefixes
    slack = sum(available(pool).values()) * THRESHOLD_PERCENT // 200
    assert len(moved) <= max(abs(needed), 1) + slack
    assert len(found) <= MOVES_PER_POOL
    if abs(needed) <= sum(available(pool).values()) * THRESHOLD_PERCENT // 100 and all(available(pool).values()):
        assert not found


@given(used=st.sets(st.integers(0, 63)), first_percent=st.integers(1, 99), percent=st.integers(1, 99))
@SAME_EVERY_TIME
def test_it_converges(used: set[int], first_percent: int, percent: int) -> None:
    """After a few rounds nothing moves, there and back again; what is off by then has no free space to move."""
    table, pool = table_with(SMALL)
    for number in used:
        table.put(record(key_of(FIRST + number * UNIT, LENGTH), BindingStatus.ACTIVE))
    for each in (first_percent, percent):
        for _ in range(8):
            off = abs(wanted(pool, each) - available(pool)[Role.SECONDARY])
            for move in moves(pool, each):
                apply(table, move)
            assert abs(wanted(pool, each) - available(pool)[Role.SECONDARY]) <= max(off, 1)
        assert moves(pool, each) == []
        total = sum(available(pool).values())
        assert total == 64 - len(used)
        assert abs(wanted(pool, each) - available(pool)[Role.SECONDARY]) <= total * THRESHOLD_PERCENT // 100


def test_a_pool_of_addresses_is_not_balanced() -> None:
    _, pool = table_with(Range(FIRST, FIRST + 255, 128))
    assert moves(pool, 50) == []


def test_what_changes_hands_again_is_newer() -> None:
    """Also within one second, so that the partner sees which came last."""
    table, _ = table_with(SMALL)
    key = key_of(FIRST, LENGTH - 1)
    first = balance.give(table, Move(key, Role.SECONDARY), NOW)
    table.put(first)
    second = balance.give(table, Move(key, Role.PRIMARY), NOW)
    assert (first.status, second.status) == (BindingStatus.FREE_BACKUP, BindingStatus.FREE)
    assert second.start_time_of_state > first.start_time_of_state


def test_freed_prefixes_take_part_in_rebalancing() -> None:
    """Records of ended leases are no reason for shares to stay unequal."""
    table, pool = table_with(Range(FIRST, FIRST + 16 * UNIT - 1, LENGTH))
    for number in range(16):
        table.put(record(key_of(FIRST + number * UNIT, LENGTH), BindingStatus.FREE))
    for move in moves(pool, 50):
        apply(table, move)
    assert available(pool) == dict.fromkeys(Role, 8)
    assert moves(pool, 50) == []


def test_scattered_prefixes_are_moved_one_by_one() -> None:
    """Each part of a large pool has a client, and the secondary has nothing left."""
    table, pool = table_with(Range(FIRST, FIRST + 4096 * UNIT - 1, LENGTH))
    for number in range(0, 4096, 4):
        table.put(record(key_of(FIRST + number * UNIT, LENGTH), BindingStatus.ACTIVE))
    found = moves(pool, 50)
    assert len(found) == MOVES_PER_POOL
    assert {move.key & 0xFF for move in found} == {LENGTH}
    for move in found:
        apply(table, move)
    assert available(pool)[Role.SECONDARY] == MOVES_PER_POOL


@pytest.mark.parametrize("percent", [1, 5, 10, 90, 95])
def test_a_small_share_of_which_nothing_is_left_is_filled_again(percent: int) -> None:
    """What is missing is within what shares may be off, but it is all of the share."""
    poor = Role.SECONDARY if percent < 50 else Role.PRIMARY
    table, pool = table_with(SMALL)
    if poor is Role.PRIMARY:
        table.put(record(key_of(FIRST, LENGTH - 6), BindingStatus.FREE_BACKUP))
    for move in moves(pool, percent, is_urgent=True):
        apply(table, move)
    assert 0 < available(pool)[poor] <= 64 * 2 * THRESHOLD_PERCENT // 100


def test_last_prefix_goes_where_a_client_needs_it() -> None:
    table, pool = table_with(Range(FIRST, FIRST + UNIT - 1, LENGTH))
    assert moves(pool, 50) == []
    (move,) = moves(pool, 50, is_urgent=True)
    assert move.to is Role.SECONDARY
    apply(table, move)
    assert moves(pool, 50, is_urgent=True)[0].to is Role.PRIMARY


@pytest.mark.interpreted
def test_cost_of_transferred_prefixes_grows_in_proportion() -> None:
    """Loading twice as many takes about twice the calls, not eight times."""

    def calls(count: int) -> int:
        made = 0

        def profile(_frame: object, event: str, _argument: object) -> None:
            nonlocal made
            made += event in ("call", "c_call")

        table = LeaseTable()
        for number in range(count):
            status = BindingStatus.FREE_BACKUP if number % 2 else BindingStatus.FREE
            table.put(record(key_of(FIRST + number * 4 * UNIT, LENGTH - 2), status))
        sys.setprofile(profile)
        try:
            table.use_pools([(Range(FIRST, FIRST + (1 << 20) * UNIT - 1, LENGTH), Holes(()))])
            (pool,) = table.pools()
            assert pool.gifts is not None
            pool.gifts.available(Role.SECONDARY)
        finally:
            sys.setprofile(None)
        return made

    assert calls(2000) < 3 * calls(1000)

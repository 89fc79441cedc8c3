"""A pool is given out to its last lease: what was never given is found however few of it are left."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv6Network

import pytest

from tandem.lease.holes import Holes
from tandem.lease.lease import BindingStatus
from tandem.lease.pool import Pool
from tandem.lease.space import Range, Role

SEARCHES = 40


def range_of(network: str, length: int = 128) -> Range:
    parsed = IPv6Network(network)
    return Range(int(parsed.network_address), int(parsed.broadcast_address), length)


def pool_in_use(range_: Range, unused: set[int], holes: Holes | None = None) -> tuple[Pool, set[int]]:
    """Return a pool of which all but the `unused` (numbers in the range) are on record, and the keys on record."""
    pool = Pool(range_, holes or Holes())
    used = {
        range_.first + number * range_.unit << 8 | range_.length
        for number in range(range_.size)
        if number not in unused
    }
    for key in used:
        pool.note(key, None, BindingStatus.ACTIVE)
    return pool, used


def choose(
    pool: Pool, used: set[int], client: int, role: Role | None = None, also: Callable[[int], bool] = bool
) -> object:
    return pool.choose(
        client.to_bytes(4, "big"), lambda key: key not in used and also(key), lambda key: key not in used, role
    )


@pytest.mark.parametrize("at", [1, 300, 1023, 2046])
def test_last_address_of_a_pool_is_found_by_every_search(at: int) -> None:
    pool, used = pool_in_use(range_of("2001:db8::1:0/117"), {at})
    assert [choose(pool, used, client) for client in range(SEARCHES)] == [pool.first_key + (at << 8)] * SEARCHES


def test_last_address_of_a_large_pool_is_found() -> None:
    pool, used = pool_in_use(range_of("2001:db8::1:0/112"), {54_321})
    assert choose(pool, used, 1) == pool.first_key + (54_321 << 8)


@pytest.mark.parametrize("role", list(Role))
def test_last_address_of_each_partner_is_found(role: Role) -> None:
    pool, used = pool_in_use(range_of("2001:db8::1:0/117"), {500, 1501})
    expected = {Role.SECONDARY: 500, Role.PRIMARY: 1501}[role]
    assert {choose(pool, used, client, role, lambda key: key >> 8 & 1 == role) for client in range(SEARCHES)} == {
        pool.first_key + (expected << 8)
    }


def test_last_prefix_is_found() -> None:
    pool, used = pool_in_use(range_of("2001:db8::/45", 56), {1234})
    expected = pool.first_key + (1234 * pool.range.unit << 8)
    assert {choose(pool, used, client, Role.PRIMARY) for client in range(SEARCHES)} == {expected}


def test_address_that_was_forgotten_is_found_again() -> None:
    pool, used = pool_in_use(range_of("2001:db8::1:0/117"), {7})
    assert choose(pool, used, 1) == pool.first_key + (7 << 8)
    used.add(pool.first_key + (7 << 8))
    pool.note(pool.first_key + (7 << 8), None, BindingStatus.ACTIVE)
    assert choose(pool, used, 1) is None
    forgotten = pool.first_key + (1900 << 8)
    used.remove(forgotten)
    pool.note(forgotten, BindingStatus.ACTIVE, BindingStatus.FREE)
    pool.note(forgotten, BindingStatus.FREE, None)
    assert choose(pool, used, 1) == forgotten


def test_address_is_found_once_its_reservation_is_gone() -> None:
    range_ = range_of("2001:db8::1:0/117")
    reserved = range_.first + 900
    pool, used = pool_in_use(range_, {900, 5}, Holes([(reserved, reserved)]))
    assert choose(pool, used, 1) == pool.first_key + (5 << 8)
    pool.note(pool.first_key + (5 << 8), None, BindingStatus.ACTIVE)
    used.add(pool.first_key + (5 << 8))
    assert choose(pool, used, 1) is None
    pool.use_holes(Holes(), {})
    assert choose(pool, used, 1) == reserved << 8 | 128


def test_search_that_is_refused_everything_goes_on_behind_it() -> None:
    """The partner holds back what comes first: with each search more of the pool has been looked at."""
    pool, used = pool_in_use(range_of("2001:db8::1:0/112"), set(range(0, 65_536, 16)))
    last = pool.first_key + (65_520 << 8)
    found = [choose(pool, used, client, None, lambda key: key == last) for client in range(SEARCHES)]
    assert last in found


def test_search_looks_at_few_leases_of_a_full_pool() -> None:
    pool, used = pool_in_use(range_of("2001:db8::1:0/112"), {9_000})
    looked_at: list[int] = []

    def is_new(key: int) -> bool:
        looked_at.append(key)
        return key not in used

    assert pool.choose(b"client", lambda key: key not in used, is_new) == pool.first_key + (9_000 << 8)
    assert len(looked_at) < 300

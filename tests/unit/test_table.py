"""The lease table against a model that knows nothing of indexes, and the pools against what they promise."""

from __future__ import annotations

import gc
from collections import Counter
from random import Random

import pytest
from hypothesis import settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tandem.lease.change import Put
from tandem.lease.clients import FEW_KEYS, FORMER_MAX
from tandem.lease.holes import Holes
from tandem.lease.lease import TIMED, BindingStatus, Lease, key_of, unpack
from tandem.lease.pool import ENDED_MAX, Pool, is_reserved_interface_id
from tandem.lease.space import Range, Role, address_owner
from tandem.lease.table import LeaseTable, load_table

BASE = 0x20010DB8 << 96
POOL = Range(BASE + 8, BASE + 15, 128)
KEYS = [key_of(BASE + 8 + number) for number in range(10)]  # two of them lie outside the pool
DUIDS = [bytes((0, 3, 0, number)) for number in range(4)]


def lease(key: int, duid: bytes, status: int, state_expiration_time: int, start: int = 0, iaid: int = 1) -> Lease:
    return Lease(key, status, duid, iaid, start, start, state_expiration_time, 10, 20, 5, 8, b"")


class TableMachine(RuleBasedStateMachine):
    """Puts, ends, forgets and reloads leases at random, and compares all that can be asked."""

    def __init__(self) -> None:
        super().__init__()
        self.table = LeaseTable()
        self.table.use_pools([(POOL, Holes())])
        self.model: dict[int, Lease] = {}
        self.now = 0

    @rule(
        key=strategies.sampled_from(KEYS),
        duid=strategies.sampled_from(DUIDS),
        status=strategies.sampled_from([BindingStatus.ACTIVE, BindingStatus.RELEASED, BindingStatus.ABANDONED]),
        lasts=strategies.integers(1, 50),
    )
    def put(self, key: int, duid: bytes, status: BindingStatus, lasts: int) -> None:
        put = lease(key, duid, status, self.now + lasts, self.now)
        change = self.table.put(put)
        assert change.record is not None
        assert unpack(key, change.record) == put
        self.model[key] = put

    @rule(key=strategies.sampled_from(KEYS))
    def forget(self, key: int) -> None:
        assert self.table.forget(key) == Put(key, None)
        self.model.pop(key, None)

    @rule(seconds=strategies.integers(0, 30))
    def pass_time(self, seconds: int) -> None:
        self.now += seconds
        due = set()
        while (deadline := self.table.next_deadline()) is not None and deadline <= self.now:
            for each in self.table.take_due(self.now, 3):  # none, if all that it looked at were extended since
                assert each.key not in due
                due.add(each.key)
                self.table.put(each._replace(status=BindingStatus.EXPIRED))
                self.model[each.key] = each._replace(status=BindingStatus.EXPIRED)
        assert not [
            each for each in self.model.values() if each.status in TIMED and each.state_expiration_time <= self.now
        ]
        assert all(self.model[key].state_expiration_time <= self.now for key in due)

    @rule()
    def reload(self) -> None:
        records = [Put(each.key, each.pack()) for each in self.model.values()]
        self.table = load_table(records)
        self.table.use_pools([(POOL, Holes())])

    @invariant()
    def answers_agree(self) -> None:
        assert len(self.table) == len(self.model)
        assert all(self.table.get(key) == self.model.get(key) for key in KEYS)
        for duid in DUIDS:
            its = {key: each.status for key, each in self.model.items() if each.duid == duid}
            held = {key for key, status in its.items() if status != BindingStatus.ABANDONED}
            assert set(self.table.keys_of_client(duid)) == held
            assert len(self.table.keys_of_client(duid)) == len(held)
            assert set(self.table.abandoned_by(duid)) == its.keys() - held
        assert set(self.table.clients()) == {each.duid for each in self.model.values()}

    @invariant()
    def pool_counts(self) -> None:
        pool = self.table.pool_of(KEYS[0])
        assert pool is not None
        inside = {key: each for key, each in self.model.items() if key in KEYS[:8]}
        taken = {key for key, each in inside.items() if each.status in TIMED}
        assert pool.in_use == len(taken)
        declined = [each.duid for each in inside.values() if each.status == BindingStatus.ABANDONED]
        assert pool.abandoned == Counter(declined)
        assert pool.abandoned_count == len(declined)
        for role in Role:
            assert pool.free(role) == sum(address_owner(key) is role for key in KEYS[:8] if key not in taken)
        assert set(pool.ended()) == {key for key, each in inside.items() if each.status not in TIMED}

    @invariant()
    def no_deadline_is_missed(self) -> None:
        ends = [each.state_expiration_time for each in self.model.values() if each.status in TIMED]
        deadline = self.table.next_deadline()
        assert not ends or (deadline is not None and deadline <= min(ends))


TestTable = TableMachine.TestCase
TestTable.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_pool_gives_all_it_has_and_no_more() -> None:
    pool = Pool(Range(BASE, BASE + 255, 128), Holes([(BASE + 10, BASE + 19)]))
    given: set[int] = set()
    for client in range(pool.size):
        key = pool.choose(client.to_bytes(2, "big"), lambda key: key not in given, lambda key: key not in given)
        if key is None:
            break
        given.add(key)
        pool.in_use += 1
    assert len(given) == pool.size == 256 - 10 - 1  # ::0 is the subnet-router anycast address, and is never given
    assert not given & {key_of(BASE + number) for number in range(10, 20)}


def test_what_is_free_of_each_share_leaves_out_holes() -> None:
    pool = Pool(Range(BASE + 1, BASE + 9, 128), Holes([(BASE - 5, BASE + 2), (BASE + 5, BASE + 5)]))
    assert (pool.free(Role.PRIMARY), pool.free(Role.SECONDARY)) == (3, 3)  # 3, 7, 9; 4, 6, 8
    pool.note(key_of(BASE + 7), None, BindingStatus.ACTIVE)
    assert (pool.free(Role.PRIMARY), pool.free(Role.SECONDARY)) == (2, 3)


def all_of(pool: Pool) -> set[int]:
    """Return all that the pool gives if nothing is given back."""
    given: set[int] = set()
    while (chosen := pool.choose(b"x", lambda key: key not in given, lambda _: False)) is not None:
        given.add(chosen)
    return given


@pytest.mark.parametrize("length", [128, 56])
def test_reserved_lease_takes_no_room_from_the_others(length: int) -> None:
    """Neither while it is held nor once it has ended, and nobody else is given it then."""
    unit = 1 << 128 - length
    reserved = (BASE + 2 * unit, BASE + 3 * unit - 1)
    pool = Pool(Range(BASE + unit, BASE + 4 * unit - 1, length), Holes([reserved]))
    free = {role: pool.free(role) for role in Role}
    assert sum(free.values()) == pool.size == 2
    key = key_of(BASE + 2 * unit, length)
    before = None
    for status in (BindingStatus.ACTIVE, BindingStatus.EXPIRED, BindingStatus.FREE, BindingStatus.ACTIVE):
        pool.note(key, before, status)
        before = status
        assert pool.in_use == pool.remembered == 0
        assert {role: pool.free(role) for role in Role} == free
        assert all_of(pool) == {key_of(BASE + number * unit, length) for number in (1, 3)}


def test_table_counts_reserved_leases_as_the_pool_does() -> None:
    table = LeaseTable()
    pools = [(Range(BASE + 1, BASE + 3, 128), Holes([(BASE + 2, BASE + 2)]))]
    table.put(lease(key_of(BASE + 2), DUIDS[0], BindingStatus.ACTIVE, 100))
    table.put(lease(key_of(BASE + 3), DUIDS[1], BindingStatus.ACTIVE, 100))
    table.use_pools(pools)
    assert [(pool.size, pool.in_use) for pool in table.pools()] == [(2, 1)]
    table.forget(key_of(BASE + 2))
    assert [(pool.size, pool.in_use) for pool in table.pools()] == [(2, 1)]


def test_leases_partly_reserved_are_counted_once() -> None:
    unit = 1 << 72
    holes = Holes([(BASE + 5, BASE + 6), (BASE + 8, BASE + 9), (BASE + unit - 1, BASE + unit)])
    pool = Pool(Range(BASE, BASE + 16 * unit - 1, 56), holes)
    assert pool.size == 14


def test_holes_count_what_they_cover() -> None:
    holes = Holes([(10, 19), (30, 39)])
    inside = {*range(10, 20), *range(30, 40)}
    for first in range(45):
        for last in range(first, 45):
            assert holes.covered(first, last) == len(inside.intersection(range(first, last + 1)))


def test_same_client_same_place_different_clients_spread() -> None:
    pool = Pool(Range(BASE, BASE + (1 << 48) - 1, 128), Holes())
    chosen = [pool.choose(bytes((number,)), lambda _: True, lambda _: True) for number in range(100)]
    assert chosen == [pool.choose(bytes((number,)), lambda _: True, lambda _: True) for number in range(100)]
    assert len(set(chosen)) == 100
    assert None not in chosen


def test_prefixes_do_not_overlap_and_respect_holes() -> None:
    unit = 1 << 72
    pool = Pool(Range(BASE, BASE + 16 * unit - 1, 56), Holes([(BASE + 3 * unit + 5, BASE + 3 * unit + 6)]))
    assert pool.size == 15
    given = set()
    while (key := pool.choose(b"x", lambda key: key not in given, lambda key: key not in given)) is not None:
        given.add(key)
        pool.in_use += 1
    assert given == {key_of(BASE + number * unit, 56) for number in range(16) if number != 3}


def test_longest_ended_is_given_first() -> None:
    pool = Pool(Range(BASE + 1, BASE + 3, 128), Holes())
    for number in (2, 3, 1):
        pool.note(key_of(BASE + number), None, BindingStatus.EXPIRED)
    assert pool.choose(b"x", lambda _: True, lambda _: False) == key_of(BASE + 2)


def test_lease_of_another_length_is_a_hole() -> None:
    table = LeaseTable()
    unit = 1 << 72
    table.put(lease(key_of(BASE, 48), DUIDS[0], BindingStatus.ACTIVE, 100))
    table.use_pools([(Range(BASE, BASE + 512 * unit - 1, 56), Holes())])
    pool = table.pool_of(key_of(BASE, 56))
    assert pool is not None
    assert pool.size == 256
    assert not pool.holds(key_of(BASE, 56))
    assert pool.holds(key_of(BASE + 256 * unit, 56))


def test_reserved_interface_ids() -> None:
    assert is_reserved_interface_id(BASE)
    assert is_reserved_interface_id(BASE + 0xFDFF_FFFF_FFFF_FF80)
    assert is_reserved_interface_id(BASE + 0xFDFF_FFFF_FFFF_FFFF)
    assert is_reserved_interface_id(BASE + 0x0200_5EFF_FE00_0000)
    assert is_reserved_interface_id(BASE + 0x0200_5EFF_FE00_5214)
    assert is_reserved_interface_id(BASE + 0x0200_5EFF_FEFF_FFFF)
    assert not is_reserved_interface_id(BASE + 0x0200_5EFF_FDFF_FFFF)
    assert not is_reserved_interface_id(BASE + 0x0200_5EFF_FF00_0000)
    assert not is_reserved_interface_id(BASE + 1)
    assert not is_reserved_interface_id(BASE + 0xFDFF_FFFF_FFFF_FF7F)


def test_a_pool_gives_no_reserved_interface_id() -> None:
    """RFC 9915 13.1: not even if nothing else is left, and however many subnets of 64 bits the pool spans."""
    assert not Pool(Range(BASE, BASE + (1 << 100) - 1, 128), Holes()).holds(key_of(BASE))
    pool = Pool(Range(BASE, BASE + 1, 128), Holes())
    assert not pool.holds(key_of(BASE))
    assert pool.choose(b"one", lambda _: True, lambda _: True) == key_of(BASE + 1)
    assert pool.choose(b"two", lambda key: key != key_of(BASE + 1), lambda _: True) is None


def test_only_what_both_partners_know_to_be_free_is_forgotten() -> None:
    """Beyond ENDED_MAX the longest ended goes first, but nothing that the partner is yet to hear of."""
    table = LeaseTable()
    table.use_pools([(Range(BASE, BASE + (1 << 20) - 1, 128), Holes())])
    table.use_territories([((BASE, BASE + (1 << 20) - 1), "campus")])
    owed = [key_of(BASE + 1 + number) for number in range(ENDED_MAX)]
    agreed = [key_of(BASE + 1 + ENDED_MAX + number) for number in range(3)]
    for key in owed:
        table.change(lease(key, key.to_bytes(17, "big"), BindingStatus.EXPIRED, 0))
    for key in agreed:
        table.put(lease(key, b"", address_owner(key).available, 0))
    assert set(table.take_forgettable(100)) == set(agreed)
    for key in agreed[:2]:
        table.change(lease(key, b"", BindingStatus.EXPIRED, 0))
    assert table.take_forgettable(100) == agreed[2:]


def test_clients_with_many_leases_are_looked_up_by_link() -> None:
    """The table agrees with a model while a client's leases become many, and few again."""
    table, random = LeaseTable(), Random(1)
    expected: set[int] = set()
    for _ in range(400):
        key = key_of(BASE + random.randrange(120))
        if random.random() < 0.6:
            table.put(lease(key, DUIDS[0], BindingStatus.ACTIVE, 9))
            expected.add(key)
        else:
            table.forget(key)
            expected.discard(key)
        assert set(table.keys_of_client(DUIDS[0])) == expected
        first, last = BASE + 20, BASE + 59
        found = {each.key for each in table.of_client_on(DUIDS[0], [(first, last)], [key_of(BASE + 99)])}
        here = {key for key in expected if first <= key >> 8 <= last or key == key_of(BASE + 99)}
        assert here <= found <= expected
        assert found == here or len(expected) <= FEW_KEYS


def test_only_the_last_ended_leases_of_a_client_are_looked_at() -> None:
    """However often a client asks and gives up, and after a restart as well."""
    table = LeaseTable()
    ended = [key_of(BASE + number) for number in range(5 * FORMER_MAX)]
    for key in ended:
        table.put(lease(key, DUIDS[0], BindingStatus.ACTIVE, 9))
        table.put(lease(key, DUIDS[0], BindingStatus.RELEASED, 9))
    table.put(lease(ended[0], DUIDS[0], BindingStatus.FREE, 9))
    held = key_of(BASE + 5 * FORMER_MAX)
    table.put(lease(held, DUIDS[0], BindingStatus.ACTIVE, 9))
    assert len(table.of_client(DUIDS[0])) == FORMER_MAX + 1
    assert {held, ended[0], *ended[-FORMER_MAX + 1 :]} == set(table.keys_of_client(DUIDS[0]))
    again = load_table([Put(key, table.record(key)) for key in (*ended, held)])
    assert len(again.of_client(DUIDS[0])) == FORMER_MAX + 1
    for key in ended:
        table.forget(key)
    assert table.keys_of_client(DUIDS[0]) == (held,)


def test_leases_are_nothing_to_walk_through_when_python_collects_garbage() -> None:
    table = LeaseTable()
    for number in range(1000):
        for length in (64, 128):  # with two leases, each client's keys are more than one
            table.put(lease(key_of(BASE + (number << 64), length), number.to_bytes(8, "big"), BindingStatus.ACTIVE, 9))
    parts = gc.get_referents(table)
    parts += [inner for each in parts for inner in gc.get_referents(each)]
    large = [each for each in (*parts, *gc.get_referents(*parts)) if isinstance(each, dict) and len(each) >= 1000]
    assert len(large) >= 2
    assert [len(each) for each in large if gc.is_tracked(each)] == []

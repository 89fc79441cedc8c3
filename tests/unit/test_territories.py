"""Other space that is shared with partners, taken over in steps while the table changes: the same as all at once."""

from __future__ import annotations

from random import Random

import pytest

from tandem.lease.lease import BindingStatus, Lease, key_of
from tandem.lease.space import Interval
from tandem.lease.table import LeaseTable
from tandem.lease.territories import OWING_PER_STEP

BASE = 0x20010DB8 << 96
KEYS = [key_of(BASE + number) for number in range(600)]
NAMES = ("campus", "town")


def drawn(random: Random) -> list[tuple[Interval, str]]:
    """Draw some shared space, and in which relationship each part is shared."""
    ends = sorted(random.sample(range(600), 6))
    return [((BASE + ends[at], BASE + ends[at + 1]), random.choice(NAMES)) for at in (0, 2, 4)]


def change(table: LeaseTable, random: Random, number: int) -> None:
    """Have a lease owe, or no longer, or be forgotten."""
    key = random.choice(KEYS)
    if random.random() < 0.1:
        table.forget(key)
        return
    lease = Lease(key, BindingStatus.ACTIVE, b"client", 1, number, number, number + 99, 1, 2, 3, 4, b"")
    if random.random() < 0.3:
        table.put(lease)
    else:
        table.change(lease)


@pytest.mark.parametrize("seed", range(20))
def test_steps_give_what_one_step_would(seed: int) -> None:
    random = Random(seed)
    table = LeaseTable()
    table.use_territories(drawn(random))
    for number in range(2000):
        change(table, random, number)
    for number in range(2000, 2020):
        wanted = drawn(random)
        steps = 0
        for _ in table.lay_out_territories(wanted):
            steps += 1
            for _ in range(random.randrange(20)):
                change(table, random, number)
        assert steps <= 2 + len(NAMES) + len(KEYS) / OWING_PER_STEP
        if random.random() < 0.3:
            continue  # another reload came before this one was through
        table.use_layout()
        change(table, random, number)
        anew = LeaseTable()
        anew.use_territories(wanted)
        for lease in map(table.get, table.keys()):
            assert lease is not None
            anew.put(lease)
        for name in NAMES:
            assert table.owing(name).keys() == anew.owing(name).keys()
        assert [table.relationship_of(key) for key in KEYS] == [anew.relationship_of(key) for key in KEYS]


def test_what_is_shared_as_before_takes_no_steps() -> None:
    table = LeaseTable()
    shared = [((BASE, BASE + 599), "campus")]
    table.use_territories(shared)
    for number in range(1000):
        change(table, Random(number), number)
    assert table.owing("campus")
    assert list(table.lay_out_territories(shared)) == []
    table.use_layout()
    assert table.owing("campus")

"""A reload in steps: none of them does more work because there are more subnets, pools or leases.

Work is counted in calls of functions, as in `test_large_configuration`.
"""

from __future__ import annotations

import re
from functools import partial

import pytest

from served import START
from tandem.config.load import load_text
from tandem.effects.events import Reload
from tandem.effects.rules import Rules
from tandem.effects.settings import Settings
from tandem.failover.membership import Membership
from tandem.lease.holes import Holes, only_in
from tandem.lease.lease import BindingStatus, Lease, key_of
from tandem.lease.table import LeaseTable
from tandem.node import Node
from tandem.server.pool_watch import POOLS_PER_LOOK, PoolWatch
from unit.test_large_configuration import HEAD, IDENTITY, calls_of, file_with

pytestmark = pytest.mark.interpreted  # what is compiled makes no calls that could be counted

PARTNERS = (
    HEAD + 'address = "2001:db8:ffff::a"\n[server.b]\ninterfaces = ["lan0"]\naddress = "2001:db8:ffff::b"\n'
    '[failover.campus]\nprimary = "a"\nsecondary = "b"\nsecurity = "insecure"\n'
)


def settings_of(text: str, is_pair: bool) -> Settings:
    if is_pair:
        text = text.replace(HEAD, PARTNERS).replace("[[subnet]]\n", '[[subnet]]\nfailover = "campus"\n')
    return load_text(text, "a").settings


def table_of(settings: Settings, per_pool: int) -> LeaseTable:
    """Return a table with so many leases in each pool of addresses, all of which owe."""
    table = LeaseTable()
    table.use_territories((each, shared.name) for shared in settings.relationships for each in shared.territories)
    for pool in (pool for link in settings.links for subnet in link.subnets for pool in subnet.pools):
        for number in range(0 if pool.is_of_prefixes else per_pool):
            key = key_of(pool.range.first + number)
            table.change(Lease(key, BindingStatus.ACTIVE, b"%d" % key, 1, 5, 5, 99, 1, 2, 3, 4, b""))
    return table


def most_calls(subnets: int, per_pool: int, is_pair: bool, change: tuple[str, str]) -> int:
    """Return the calls of the step of a reload that makes most of them."""
    text = file_with(subnets, 2)
    before, after = (settings_of(each, is_pair) for each in (text, text.replace(*change)))
    node = Node(before, IDENTITY, table_of(before, per_pool), START)
    while node.handle(START, ()).wake == START.mono:
        pass
    found = [calls_of(partial(node.handle, START, (Reload(after),)))]
    is_more = True

    def go_on() -> None:
        nonlocal is_more
        is_more = node.handle(START, ()).wake == START.mono

    while is_more:
        found.append(calls_of(go_on))
    assert not node.is_reloading
    return max(found)


NOTHING, POOLS, SPACE = ("::8:", "::9:"), (":0:1::/80", ":0:1::/81"), ("2001:db9:", "2001:dba:")


@pytest.mark.parametrize(
    ("is_pair", "change"), [(False, POOLS), (False, SPACE), (True, NOTHING)], ids=["pools", "space", "pair, nothing"]
)
def test_no_step_grows_with_subnets_or_leases(is_pair: bool, change: tuple[str, str]) -> None:
    most_calls(2, 1, is_pair, change)  # what is done once only is done
    few = most_calls(100, 50, is_pair, change)
    assert most_calls(400, 50, is_pair, change) < few * 1.6
    assert most_calls(100, 200, is_pair, change) < few * 1.6


def test_other_space_in_a_pair_is_compared_in_steps() -> None:
    most_calls(2, 1, True, SPACE)  # what is done once only is done
    ranges = 300
    assert most_calls(ranges, 5, True, SPACE) < most_calls(ranges, 5, True, NOTHING) + 30 * ranges


def spread(count: int, shift: int) -> list[tuple[int, int]]:
    return [(number << 16, (number << 16) + 255 + shift) for number in range(count)]


def test_ranges_are_compared_in_time_that_grows_with_their_number() -> None:
    def compare(count: int) -> list[tuple[int, int]]:
        return list(only_in(Holes(spread(count, 1)), Holes(spread(count, 0))))

    assert compare(3) == [(256, 256), (65792, 65792), (131328, 131328)]
    works = [calls_of(partial(compare, count)) for count in (100, 400)]
    assert works[1] < works[0] * 4.5


@pytest.mark.parametrize("shift", [0, 1], ids=["others moved", "all changed"])
def test_what_joins_and_leaves_is_found_in_time_that_grows_with_the_number_of_ranges(shift: int) -> None:
    def follow(count: int) -> int:
        before, after = (
            settings_of(file_with(count, 0).replace("2001:db9:", prefix), is_pair=True)
            for prefix in ("2001:db9:", "2001:dba:")
        )
        membership = Membership(LeaseTable(), {})
        membership.use(before.relationships, spread(count, 0), ("campus",))
        return calls_of(lambda: membership.use(after.relationships, spread(count, shift), ("campus",)))

    follow(2)
    assert follow(400) < follow(100) * 4.5


def test_every_pool_is_looked_at_in_turn_and_one_with_a_problem_each_time() -> None:
    text = file_with(POOLS_PER_LOOK, 0)
    settings = load_text(re.sub(r'"([0-9a-f:]+):0:1::/80"', r'"\1::5:1-\1::5:2"', text), None).settings
    table = table_of(settings, 2)
    table.use_pools((pool.range, pool.holes) for link in settings.links for pool in link.subnets[0].pools)
    watch = PoolWatch(settings, table)
    found = []
    for _ in range(4):
        watch.look({None: Rules()}, START.utc, is_thorough=False)
        found.append(len(list(watch.problems())))
    assert found == [POOLS_PER_LOOK // 2, POOLS_PER_LOOK, POOLS_PER_LOOK, POOLS_PER_LOOK]
    assert len(watch.closed_links) == POOLS_PER_LOOK
    for key in list(table.keys()):
        table.forget(key)
    watch.look({None: Rules()}, START.utc, is_thorough=False)
    assert list(watch.problems()) == []

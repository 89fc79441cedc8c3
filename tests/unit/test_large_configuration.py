"""Large configurations: the work grows with the file and no faster, and a packet's with neither.

Work is counted in calls of functions, Python's and C's, which is the same on every machine and at any load.
"""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable
from functools import partial

import pytest

from served import START
from tandem.config.load import load_text, parse
from tandem.config.problems import ConfigError
from tandem.effects.events import Interfaces
from tandem.effects.settings import Settings
from tandem.lease.lease import key_of
from tandem.lease.table import LeaseTable
from tandem.node import Identity, Node
from tandem.server.places import LINK_ADDRESSES_MAX, Places
from tandem.wire.received import Relay

IDENTITY = Identity(b"\0\3\0\1server", b"secret of a test")
HEAD = '[server.a]\ninterfaces = ["lan0"]\n'


def file_with(subnets: int, reservations: int) -> str:
    """Give a file with so many subnets, each with a pool and a pd-pool and so many reservations, some inside these."""
    parts = [HEAD]
    for number in range(subnets):
        parts.append(
            f'[[subnet]]\nprefix = "2001:db8:{number:x}::/64"\npools = ["2001:db8:{number:x}:0:1::/80"]\n'
            f'pd-pools = [{{ prefix = "2001:db9:{number:x}::/48", delegated-length = 56 }}]\n'
        )
        for item in range(reservations):
            duid = f"00:03:00:01:02:{number >> 8:02x}:{number & 255:02x}:{item >> 8:02x}:{item & 255:02x}:00"
            place = "1:0:0:" if item % 2 else ":"
            parts.append(
                f'[[subnet.reservation]]\nduid = "{duid}"\naddress = "2001:db8:{number:x}:0:{place}{item + 16:x}"\n'
                f'hostname = "host-{item}"\n'
            )
    return "\n".join(parts)


def calls_of(work: Callable[[], object]) -> int:
    """Count the calls that a piece of work makes."""
    calls = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls


def start(text: str) -> Node:
    return make_node(load_text(text, None).settings)


def make_node(settings: Settings) -> Node:
    return Node(settings, IDENTITY, LeaseTable(), START)


@pytest.mark.parametrize(
    ("small", "large"), [((20, 10), (80, 10)), ((10, 10), (10, 40))], ids=["subnets", "reservations"]
)
def test_a_start_grows_with_the_file(small: tuple[int, int], large: tuple[int, int]) -> None:
    make_node(load_text(file_with(2, 2), None).settings)  # what is done once only is done
    texts = file_with(*small), file_with(*large)
    works = [calls_of(partial(start, text)) for text in texts]
    assert works[1] < works[0] * len(texts[1]) / len(texts[0]) * 1.1, works


def test_all_reservations_are_found() -> None:
    (first, *others) = load_text(file_with(3, 40), None).settings.links
    assert [len(link.reservations) for link in (first, *others)] == [40, 40, 40]
    for link in (first, *others):
        assert [each.where for each in link.reservations] == [
            f"{link.subnets[0].where}.reservation[{item}]" for item in range(1, 41)
        ]
        for each in link.reservations:
            assert each.duid is not None
            assert link.reservations.of_client(each.duid, False) == each
            assert link.reservations.of_client(each.duid, True) is None
            assert [link.reservations.subnet_of_lease(key) for key in each.keys] == [0]
        assert link.reservations.subnet_of_lease(key_of(1)) is None
    assert others[0].reservations.of_client(next(iter(first.reservations)).duid or b"", False) is None


def test_what_is_reserved_in_a_pool_is_a_hole_of_that_pool() -> None:
    pools = [pool for link in load_text(file_with(3, 4), None).settings.links for pool in link.subnets[0].pools]
    for pool in pools:
        inside = [pool.range.first + item + 16 for item in (1, 3)] if not pool.is_of_prefixes else []
        assert list(pool.holes.intervals()) == [(address, address) for address in inside]


def test_interfaces_that_are_as_before_cost_nothing_however_many_subnets_there_are() -> None:
    node = make_node(load_text(file_with(50, 0), None).settings)
    present = Interfaces({1: ("lan0", (1,))})
    node.handle(START, (present,))
    assert calls_of(lambda: node.handle(START, (present,))) < 100


def test_two_servers_cannot_have_one_duid() -> None:
    servers = '[server.a]\ninterfaces = ["lan0"]\nduid = "{}"\n[server.b]\ninterfaces = ["lan0"]\nduid = "{}"\n'
    parse(servers.format("00:03:00:01:02", "00:03:00:01:03"))
    with pytest.raises(ConfigError) as caught:
        parse(servers.format("00:03:00:01:02", "00-03-00-01-02"))
    assert caught.value.problems == [
        "line 6, server.b.duid: server a has the DUID 00:03:00:01:02, too; each needs its own."
    ]


def test_a_bad_reservation_hides_no_other_error() -> None:
    text = file_with(2, 2).replace('hostname = "host-1"', "hostnam = 1", 1)
    with pytest.raises(ConfigError) as caught:
        parse(text.replace("2001:db8:1:0:1::/80", "2001:db8:2:0:1::/80"))
    assert [problem.split(": ", 1)[0] for problem in caught.value.problems] == [
        "line 17, subnet[1].reservation[2].hostnam",
        "line 21, subnet[2].pools[1]",
    ]


def test_lines_are_found_in_any_form_of_the_file() -> None:
    text = HEAD + (
        'rare = """\n[[subnet]]\n"""\n'  # no header: it stands in a string
        "[[subnet]] # one\n"
        'prefix = "2001:db8:1::/64"\npools = [\n  "2001:db8:2::/80",\n]\n'
        '[[subnet.reservation]]\nduid = "00"\n[subnet.lifetimes]\nvalid-lifetime = "x"\n'
        '[[subnt]]\nprefix = "x"\n[srver.a]\nx = 1\n'
    )
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert [problem.split(": ", 1)[0] for problem in caught.value.problems] == [
        "line 3, server.a.rare",
        "line 12, subnet[1].reservation[1].duid",
        "line 14, subnet[1].lifetimes.valid-lifetime",
        "line 15, subnt",
        "line 17, srver",
    ]


def test_made_up_link_addresses_lead_to_their_link_and_are_not_all_remembered() -> None:
    settings = load_text(file_with(2, 0), None).settings
    places = Places(settings.links)

    def located(address: int) -> str:
        relay = Relay(0, address.to_bytes(16, "big"), bytes(16), [])
        place = places.locate(b"", [relay], 1)
        return place.name if place is not None else ""

    first = settings.links[1].subnets[0].first
    tracemalloc.start()
    try:
        assert {located(first + 1 + number) for number in range(LINK_ADDRESSES_MAX)} == {settings.links[1].name}
        full, _ = tracemalloc.get_traced_memory()
        assert {located(first + (1 << 32) + number) for number in range(20_000)} == {settings.links[1].name}
        assert tracemalloc.get_traced_memory()[0] < full + 100_000
    finally:
        tracemalloc.stop()
    assert located(first + 1) == settings.links[1].name
    assert located(settings.links[0].subnets[0].first) == settings.links[0].name
    assert located(1) == ""

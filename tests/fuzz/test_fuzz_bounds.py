"""Limits that no single datagram reaches, each reached on purpose."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from fuzz.world import WORST_CPU_S, World
from served import ETH1, EVERYTHING
from tandem.config.problems import ConfigError
from tandem.effects.settings import Limits
from tandem.server.offers import OFFER_S, OFFERS_MAX, Offers
from tandem.wire.message import Message, MessageType
from tandem.wire.option import Option
from tandem.wire.options import ClientFqdn, ClientId, IaAddress, IaNa, IaPd, OptionRequest, Status
from tandem.wire.received import ASKED_MAX, EXCESS_IAS_MAX, IAS_MAX
from wire.answers import RESERVED, client, leases_of, say

OPTION_REQUEST_CODES = 32_000
REMEMBERED_OCTETS_MAX = 4 << 20
LEASES_PER_CLIENT_MAX = Limits().leases_per_client
LARGE_POOL = ("2001:db8:1::100-2001:db8:1::163", "2001:db8:1::8000-2001:db8:1::ffff")
LARGE_POOL_SIZE = 0x8000


def new_ias(first: int) -> tuple[IaNa, ...]:
    return tuple(IaNa(iaid) for iaid in range(first, first + LEASES_PER_CLIENT_MAX))


def offered_addresses(world: World, messages: int) -> list[Option]:
    """Have one client offered many times as many addresses as it may hold, and give them."""
    found: list[Option] = []
    for round_ in range(messages):
        answer = world.answer_to(say(MessageType.SOLICIT, client(1), *new_ias(round_ * LEASES_PER_CLIENT_MAX)), ETH1)
        ias = [ia for ia in leases_of(answer) if isinstance(ia, IaNa)]
        found += [each for ia in ias for each in ia.options if isinstance(each, IaAddress)]
    return found


@pytest.mark.parametrize("held", [1, LEASES_PER_CLIENT_MAX - 1, LEASES_PER_CLIENT_MAX])
def test_a_client_that_holds_some_is_given_no_more_than_the_rest(held: int) -> None:
    world = World()
    world.answer_to(say(MessageType.REQUEST, client(1), *new_ias(0)[:held]), ETH1)
    world.answer_to(say(MessageType.REQUEST, client(1), *new_ias(1000)), ETH1)


def test_offers_do_not_lift_the_limit_of_leases() -> None:
    world = World()
    offered = offered_addresses(world, 20)
    assert len(offered) == 20 * LEASES_PER_CLIENT_MAX
    for first in range(0, len(offered), ASKED_MAX):
        named = IaNa(first, options=tuple(offered[first : first + ASKED_MAX]))
        world.answer_to(say(MessageType.REQUEST, client(1), named), ETH1)


@pytest.mark.parametrize("count", [LEASES_PER_CLIENT_MAX + 1, IAS_MAX + 1, IAS_MAX + EXCESS_IAS_MAX, 4000])
@pytest.mark.parametrize("type_", [MessageType.SOLICIT, MessageType.REQUEST, MessageType.RENEW, MessageType.RELEASE])
def test_identity_associations_beyond_the_limit_get_a_status(type_: MessageType, count: int) -> None:
    world = World()
    answer = world.answer_to(say(type_, client(1), *(IaNa(iaid) for iaid in range(count))), ETH1)
    ias = [ia for ia in leases_of(answer) if isinstance(ia, IaNa)]
    assert [ia.iaid for ia in ias] == list(range(min(count, IAS_MAX + EXCESS_IAS_MAX)))
    given = [ia for ia in ias if isinstance(ia.options[0], IaAddress)]
    assert len(given) == (0 if type_ is MessageType.RELEASE else LEASES_PER_CLIENT_MAX)
    assert all(isinstance(ia.options[0], Status) for ia in ias if ia not in given)
    assert max(world.costs_s) < WORST_CPU_S


def test_reservations_do_not_lift_the_limit_of_leases() -> None:
    world = World()
    for iaids in (new_ias(1000), (IaNa(1), IaPd(2))):
        world.answer_to(say(MessageType.REQUEST, RESERVED, *iaids))


def test_offers_are_bounded_and_the_oldest_goes_first() -> None:
    offers = Offers()
    for key in range(OFFERS_MAX + 1):
        offers.add(key, key % 3, b"%d" % key, 0.0, 1)
    assert offers.holder(0, 1.0) is None
    assert offers.holder(1, 1.0) == b"1"
    assert offers.holder(1, OFFER_S) is None


def test_long_option_requests_are_not_kept() -> None:
    """Octets that a client makes up are nothing to remember it by: there is no end to them."""
    world = World()
    codes = tuple(range(OPTION_REQUEST_CODES))
    tracemalloc.start()
    try:
        for number in range(50):
            different = OptionRequest((number, *codes))
            world.receive(say(MessageType.INFORMATION_REQUEST, client(number), different).write())
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < REMEMBERED_OCTETS_MAX


def test_a_pool_of_which_everything_is_offered_is_searched_a_little(tmp_path: Path) -> None:
    """A search for the last free address gives up before the other clients notice."""
    world = World(edited(tmp_path, *LARGE_POOL))
    for number in range(LARGE_POOL_SIZE // LEASES_PER_CLIENT_MAX + 3):
        who = ClientId(b"\0\2" + number.to_bytes(4, "big"))
        world.receive(Message(MessageType.SOLICIT, 1, (who, *new_ias(0))).write())
    assert max(world.costs_s) < WORST_CPU_S


@pytest.mark.parametrize(
    ("line", "instead"),
    [
        ('valid-lifetime = "5m"', 'valid-lifetime = "30000d"'),
        ('valid-lifetime = "5m"', "valid-lifetime = 4294967294"),
        ('valid-lifetime = "5m"', 'valid-lifetime = "forever"'),
        ('preferred-lifetime = "4m"', 'renew-timer = "forever"'),
        ('decline-time = "10m"', 'decline-time = "forever"'),
        ('decline-time = "10m"', 'decline-time = "30000d"'),
        ('reuse-grace = "2s"', 'reuse-grace = "forever"'),
        ('hostname = "printer.example.net"', 'hostname = "a..b"'),
        ('hostname = "printer.example.net"', f'hostname = "{"l" * 64}"'),
    ],
)
def test_a_file_that_is_accepted_can_be_served(line: str, instead: str, tmp_path: Path) -> None:
    """A setting at the end of its range is refused when the file is read, or never fails afterwards."""
    try:
        world = World(edited(tmp_path, line, instead))
    except ConfigError:
        return
    given = leases_of(world.answer_to(say(MessageType.REQUEST, RESERVED, IaNa(1), IaPd(2), ClientFqdn(1, "me."))))
    for type_ in (MessageType.RENEW, MessageType.REBIND, MessageType.DECLINE, MessageType.RELEASE):
        world.answer_to(say(type_, RESERVED, *given))
        world.sleep(1)


def edited(directory: Path, text: str, instead: str) -> Path:
    """Give the path of the file with one text in the place of another."""
    original = EVERYTHING.read_text()
    assert text in original
    path = directory / "edited.toml"
    path.write_text(original.replace(text, instead))
    return path

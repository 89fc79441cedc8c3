"""What one client sends or takes leaves the others what they need, and costs no more for having been much."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from bench import hostile

from served import EVERYTHING, START, answer_to, ask, reasons_to_drop, sends, serve
from tandem.effects.now import Now
from tandem.lease.change import Put
from tandem.lease.lease import BindingStatus, Lease, key_of
from tandem.lease.table import load_table
from tandem.server.limits import SENDERS_MAX, Rates
from tandem.server.offers import OFFER_S, Offers
from tandem.wire.message import Message, MessageType
from tandem.wire.options import ClientId, IaAddress, IaNa, Status, StatusCode
from wire.answers import client, leases_of, say

MESSAGES_PER_CLIENT = 600
HOSTILE_MESSAGES = 400
FLOOD = 2000
BASE = 0x20010DB8 << 96


def test_a_sender_has_its_allowance_at_once_and_more_as_time_passes() -> None:
    rates = Rates()
    assert [rates.is_exceeded("eth0", b"a", 3, 0.0) for _ in range(5)] == [False, False, False, True, True]
    assert not rates.is_exceeded("eth0", b"b", 3, 0.0)
    assert not rates.is_exceeded("eth1", b"a", 3, 0.0)
    assert [rates.is_exceeded("eth0", b"a", 3, 20.0) for _ in range(2)] == [False, True]
    assert not rates.is_exceeded("eth0", b"a", 0, 20.0)


def test_senders_are_forgotten_in_their_order() -> None:
    rates = Rates()
    for number in range(SENDERS_MAX + 10):
        rates.is_exceeded("eth0", number.to_bytes(4, "big"), 1, 0.0)
    assert len(rates._left) == SENDERS_MAX
    assert not rates.is_exceeded("eth0", bytes(4), 1, 0.0)
    assert rates.is_exceeded("eth0", SENDERS_MAX.to_bytes(4, "big"), 1, 0.0)


def test_offers_to_one_client_are_bounded_in_each_pool() -> None:
    offers = Offers()
    for key in range(10):
        offers.add(key, key % 2, b"client", 0.0, 2)
    assert [key for key in range(10) if offers.holder(key, 1.0)] == [6, 7, 8, 9]
    assert not offers.fill(0, 2, b"client", 1.0)
    assert offers.fill(0, 2, b"other", 1.0)
    assert not offers.fill(0, 3, b"other", 1.0)
    assert not offers.fill(0, 2, b"other", OFFER_S)
    assert list(offers.oldest(1, 8)) == []


def test_an_offer_made_again_is_the_newest() -> None:
    offers = Offers()
    for key in (1, 2, 3):
        offers.add(key, 0, b"client", 0.0, 8)
    offers.add(1, 0, b"client", 1.0, 8)
    offers.add(2, 0, b"other", 2.0, 8)
    assert list(offers.oldest(0, 8)) == [3, 1, 2]
    assert [offers.holder(key, 2.0) for key in (1, 2, 3)] == [b"client", b"other", b"client"]


def test_innocents_are_answered_while_one_client_floods() -> None:
    """Of the flood, what is beyond the allowance is dropped for a small part of what an answer costs."""
    node = serve()
    flood = say(MessageType.SOLICIT, client(1), IaNa(1))
    answered = 0
    for number in range(FLOOD):
        now = Now(START.mono + number / 1000, START.utc + number // 1000)
        answered += len(sends(ask(node, flood, now)))
        if number % 100 == 0:
            asked = say(MessageType.REQUEST, client(20 + number // 100), IaNa(1))
            assert isinstance(leases_of(answer_to(node, asked, now))[0], IaNa)
    assert MESSAGES_PER_CLIENT <= answered <= MESSAGES_PER_CLIENT + FLOOD // 100
    now = Now(START.mono + FLOOD / 1000, START.utc + 2)
    data = flood.write()
    ask(node, data, now)
    idle = hostile.calls(partial(node.handle, now, []))
    dropped = hostile.calls(partial(ask, node, data, now)) - idle
    effects = ask(node, data, now)
    assert reasons_to_drop(effects) == ["client-rate"]
    whole = hostile.calls(partial(ask, node, say(MessageType.SOLICIT, client(99), IaNa(1)).write(), now)) - idle
    assert dropped * 2 < whole


def test_a_limit_that_is_reached_is_a_warning_once_a_minute() -> None:
    node = serve()
    flood = say(MessageType.INFORMATION_REQUEST, client(1)).write()
    levels = [
        (note.level, note.values["limit"], note.values["link"])
        for number in range(MESSAGES_PER_CLIENT + 200)
        for note in ask(node, flood, START).notes
        if note.event == "limit-reached" and number
    ]
    assert levels[0] == ("warning", "messages-per-client", "eth0")
    assert set(levels[1:]) == {("debug", "messages-per-client", "eth0")}


@pytest.mark.parametrize("attack", hostile.ATTACKS)
def test_what_a_message_costs_does_not_grow_with_what_was_asked_before(attack: str) -> None:
    fresh = hostile.measure(hostile.Host(), 1 << 40)
    ratios = hostile.ratios(HOSTILE_MESSAGES, attack, fresh)
    assert {kind: count for kind, (count, _) in ratios.items() if count > hostile.RATIO_MAX} == {}


def test_a_client_that_declines_leaves_half_of_a_pool_to_the_others(tmp_path: Path) -> None:
    """However many DUIDs it makes up."""
    path = tmp_path / "tandem.toml"
    path.write_text(EVERYTHING.read_text().replace("2001:db8:1::163", "2001:db8:1::10f"))  # 16 addresses, one reserved
    node = serve(path)
    for number in range(100):
        who = ClientId(b"\0\2" + number.to_bytes(4, "big"))
        now = Now(START.mono + 20 * number, START.utc + 20 * number)
        given = leases_of(answer_to(node, say(MessageType.REQUEST, who, IaNa(1)), now))
        assert isinstance(given[0], IaNa)
        assert isinstance(given[0].options[0], IaAddress)
        answer_to(node, say(MessageType.DECLINE, who, *given), now)
    (pool,) = (pool for pool in node._table.pools() if pool.range.last & 0xFFFF == 0x10F)
    assert (pool.size, pool.abandoned_count) == (15, 7)


@pytest.mark.parametrize("status", [BindingStatus.ABANDONED, BindingStatus.RELEASED, BindingStatus.ACTIVE])
def test_a_start_takes_time_in_proportion_to_the_leases_of_one_client(status: BindingStatus) -> None:
    def load(count: int) -> None:
        load_table(changes[:count])

    lease = Lease(0, status, b"client", 1, 0, 0, 9, 0, 0, 0, 0, b"")
    keys = [key_of(BASE + (number * 7919) % 8192) for number in range(8192)]
    changes = [Put(key, lease._replace(key=key).pack()) for key in keys]
    load(10)
    assert hostile.calls(partial(load, 8192)) < 8.5 * hostile.calls(partial(load, 1024))


def test_status_of_identity_associations_beyond_what_a_message_may_have() -> None:
    node = serve()
    many = say(MessageType.RELEASE, client(1), *(IaNa(iaid) for iaid in range(200)))
    answer = answer_to(node, many)
    assert isinstance(answer, Message)
    found = [each.status for ia in leases_of(answer) for each in getattr(ia, "options", ()) if isinstance(each, Status)]
    assert found == [StatusCode.NO_BINDING] * 128 + [StatusCode.UNSPEC_FAIL] * 72

"""What one client sends or takes leaves the others what they need, and costs no more for having been much."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random

import pytest
from bench import hostile

from served import EVERYTHING, START, UNKNOWN_INTERFACE, answer_to, ask, reasons_to_drop, sends, serve, through_relay
from tandem.effects.now import Now
from tandem.lease.change import Put
from tandem.lease.clients import Kind
from tandem.lease.lease import BindingStatus, Lease, key_of
from tandem.lease.table import LeaseTable, load_table
from tandem.runtime.unserved import Unserved
from tandem.server.client import REMOTE_ID_MAX
from tandem.server.limits import MESSAGE_OCTETS, SENDERS_MAX, Rates
from tandem.server.offers import OFFER_S, Offers
from tandem.wire.message import Message, MessageType, Relayed
from tandem.wire.option import Option, Unknown
from tandem.wire.options import ClientId, IaAddress, IaNa, RemoteId, Status, StatusCode
from tandem.wire.received import IGNORED_MAX, RELAY_OPTIONS_MAX
from wire.answers import client, leases_of, say

MESSAGES_PER_CLIENT = 600
HOSTILE_MESSAGES = 400
FLOOD = 2000
BASE = 0x20010DB8 << 96
COUNTED = (BindingStatus.ACTIVE, BindingStatus.ABANDONED)


def lease_of(key: int, status: BindingStatus, duid: bytes) -> Lease:
    """Return a lease with that status."""
    return Lease(key, status, duid, 1, 0, 0, 9, 0, 0, 0, 0, b"")


def behind(options: Iterable[Option], message: Message) -> Relayed:
    """Wrap a message as a relay agent does that adds these options."""
    return replace(through_relay(message), options=tuple(options))


def inside(answer: Message | Relayed) -> Message:
    """Return the message to the client in an answer to a relay agent."""
    assert isinstance(answer, Relayed)
    assert isinstance(answer.message, Message)
    return answer.message


def test_a_sender_has_its_allowance_at_once_and_more_as_time_passes() -> None:
    rates = Rates()
    one, other = ("client", b"a"), ("client", b"b")
    assert [rates.is_exceeded("eth0", one, 3, 0.0) for _ in range(5)] == [False, False, False, True, True]
    assert not rates.is_exceeded("eth0", other, 3, 0.0)
    assert not rates.is_exceeded("eth0", ("remote-id", b"a"), 3, 0.0)
    assert not rates.is_exceeded("eth1", one, 3, 0.0)
    assert [rates.is_exceeded("eth0", one, 3, 20.0, is_counted=False) for _ in range(2)] == [False, False]
    assert [rates.is_exceeded("eth0", one, 3, 20.0) for _ in range(2)] == [False, True]
    assert not rates.is_exceeded("eth0", one, 0, 20.0)


def test_senders_are_forgotten_in_their_order() -> None:
    rates = Rates()
    for number in range(SENDERS_MAX + 10):
        rates.is_exceeded("eth0", ("client", number.to_bytes(4, "big")), 1, 0.0)
    assert len(rates._left) == SENDERS_MAX
    assert not rates.is_exceeded("eth0", ("client", bytes(4)), 1, 0.0)
    assert rates.is_exceeded("eth0", ("client", SENDERS_MAX.to_bytes(4, "big")), 1, 0.0)


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


def test_offers_to_a_group_are_bounded_in_all_pools() -> None:
    offers = Offers()
    bounds = ((b"line", 2), (b"relay", 3), (b"other relay", 0))
    full = [offers.add(key, key % 2, b"client %d" % key, 0.0, 8, bounds if key < 4 else bounds[1:]) for key in range(6)]
    assert full == [b"", b"", b"line", b"line", b"", b"relay"]
    assert [key for key in range(6) if offers.holder(key, 1.0)] == [3, 4, 5]
    assert offers.add(3, 1, b"client 3", 1.0, 8, bounds) == b""
    assert offers.add(9, 1, b"client 9", 1.0, 8, bounds[1:]) == b"relay"
    assert [key for key in range(10) if offers.holder(key, 1.0)] == [3, 5, 9]
    for key in (3, 5, 9):
        offers.drop(key)
    assert not offers._by_group


def test_leases_of_a_group_count_while_its_client_has_them() -> None:
    """Held, or set aside since it declined them: as many as a recount finds, whatever became of them."""
    chance = Random(1)
    table = LeaseTable()
    groups: dict[int, tuple[bytes, bytes]] = {}
    for _ in range(FLOOD):
        key, duid, group = key_of(BASE + chance.randrange(40)), *(b"%d" % chance.randrange(3) for _ in range(2))
        status = chance.choice(list(BindingStatus))
        table.put(lease_of(key, status, duid))
        if status not in COUNTED or groups.get(key, (b"", b""))[1] != duid:
            groups.pop(key, None)
        if status is BindingStatus.ACTIVE and chance.randrange(2):
            table.by_relay.put(key, group)
            groups[key] = group, duid
        if not chance.randrange(8):
            table.forget(key)
            groups.pop(key, None)
        for each in (b"0", b"1", b"2"):
            statuses = [lease.status for key in groups if groups[key][0] == each and (lease := table.get(key))]
            assert table.by_relay.held(each) == statuses.count(BindingStatus.ACTIVE)
            assert table.by_relay.declined(each) == statuses.count(BindingStatus.ABANDONED)
    assert 0 < len(table.by_relay) == len(groups)
    for key in groups:
        table.forget(key)
    assert not len(table.by_relay)


def test_clients_behind_one_remote_id_ask_for_what_was_offered_only_up_to_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "tandem.toml"
    path.write_text(EVERYTHING.read_text() + "\n[limits]\nleases-per-remote-id = 2\n")
    node = serve(path)
    line = (RemoteId(9, b"line"),)
    asked = [say(MessageType.SOLICIT, client(number), IaNa(1)) for number in range(30, 35)]
    offered = [answer_to(node, behind(line, each)) for each in asked]
    kinds = []
    for number, each in zip(range(30, 35), offered, strict=True):
        (ia,) = leases_of(inside(each))
        answer = inside(answer_to(node, behind(line, say(MessageType.REQUEST, client(number), ia))))
        kinds.append([type(part) for each in leases_of(answer) if isinstance(each, IaNa) for part in each.options])
    assert kinds == [[IaAddress], [IaAddress], [Status], [Status], [Status]]


def test_limits_that_are_reached_are_a_problem_with_its_examples() -> None:
    node, unserved = serve(), Unserved()
    flood = say(MessageType.INFORMATION_REQUEST, client(1)).write()
    for _ in range(MESSAGES_PER_CLIENT + 3):
        unserved.add(ask(node, flood, START).notes)
    (found,) = unserved.problems(frozenset(), all_partners_heard=True)
    assert (found.id, found.about) == ("limit-reached", "messages-per-client on eth0")
    assert "3 times" in found.what
    assert "from fe80::c" in found.examples[0]


@pytest.mark.interpreted  # it counts calls
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


def test_a_long_message_counts_as_several() -> None:
    node = serve()
    flood = say(MessageType.SOLICIT, client(1), IaNa(1), Unknown(65_000, bytes(60_000))).write()
    answered = sum(len(sends(ask(node, flood, START))) for _ in range(MESSAGES_PER_CLIENT))
    assert answered == -(-MESSAGES_PER_CLIENT // (1 + len(flood) // MESSAGE_OCTETS))


def test_clients_on_unknown_links_have_an_allowance_too() -> None:
    node = serve()
    flood = say(MessageType.INFORMATION_REQUEST, client(1)).write()
    told = [ask(node, flood, START, UNKNOWN_INTERFACE) for _ in range(MESSAGES_PER_CLIENT + 1)]
    assert [len(sends(each)) for each in told] == [1] * MESSAGES_PER_CLIENT + [0]
    assert reasons_to_drop(told[-1]) == ["client-rate"]


def test_a_long_remote_id_is_kept_as_a_short_one() -> None:
    node = serve()
    for last in (b"a", b"b"):
        relayed = behind((RemoteId(9, bytes(40_000) + last),), say(MessageType.REQUEST, client(ord(last)), IaNa(1)))
        assert isinstance(leases_of(inside(answer_to(node, relayed)))[0], IaNa)
    groups = node._table.by_remote_id._counts[Kind.HELD]
    assert list(groups.values()) == [1, 1]
    assert max(map(len, groups)) < 2 * REMOTE_ID_MAX


@pytest.mark.parametrize(
    "extra",
    [
        [Unknown(200, b"")] * 15_000,
        [ClientId(b"\0\2abc")] * 6000,
        [IaNa(2)] * 3000,
        [IaNa(2, options=(Unknown(201, b""),) * 15_000)],
        [IaNa(2, options=(Unknown(5, b""),) * 15_000)],
    ],
)
def test_of_a_message_with_countless_parts_some_are_looked_at(extra: list[Option]) -> None:
    """It is answered, and what is left out of it is named, but not each part of thousands."""
    node = serve()
    effects = ask(node, say(MessageType.SOLICIT, client(1), IaNa(1), *extra))
    assert len(sends(effects)) == 1
    left_out = [note.values["reason"] for note in effects.notes if note.event == "option-ignored"]
    assert 0 < len(left_out) <= IGNORED_MAX


def test_a_relays_countless_options_hide_the_message() -> None:
    node = serve()
    for count, reasons in ((RELAY_OPTIONS_MAX - 1, []), (RELAY_OPTIONS_MAX, ["malformed"])):
        relayed = behind([Unknown(200, b"")] * count, say(MessageType.SOLICIT, client(1), IaNa(1)))
        assert reasons_to_drop(ask(node, relayed)) == reasons


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

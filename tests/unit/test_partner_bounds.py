"""What a partner's update may be about, and what it costs (RFC 8156 7.4, 7.5)."""

from __future__ import annotations

import pytest

from tandem.effects.effects import Effects, ToPartner
from tandem.effects.now import Moment
from tandem.failover.bindings import accepted, with_expiration
from tandem.failover.exchange import fits
from tandem.failover.session import Session
from tandem.failover.updates import Updates
from tandem.lease.holes import Holes
from tandem.lease.lease import BindingStatus, Lease, key_of
from tandem.lease.pool import Pool
from tandem.lease.space import Range
from tandem.lease.table import LeaseTable
from tandem.wire import codes
from tandem.wire.binding import LeaseUpdate, LeaseVerdict, Update, read_update, write_reply, write_update
from tandem.wire.failover import FailoverType, read_failover_message
from tandem.wire.octets import index_options, write_option
from tandem.wire.option import write_options
from tandem.wire.options import ClientFqdn

SUBNET = 0x20010DB8 << 96
NOW = 1_800_000_000
ADDRESSES = Pool(Range(SUBNET + 0x1000, SUBNET + 0x1FFF, 128), Holes([(SUBNET + 0x1100, SUBNET + 0x1100)]))
PREFIXES = Pool(
    Range(SUBNET + (1 << 80), SUBNET + (2 << 80) - 1, 56), Holes([(SUBNET + (1 << 80), SUBNET + (1 << 80))])
)
DUID = b"\0\3\0\1client"
LEASE = LeaseUpdate(key_of(SUBNET + 0x1001), 7, 0, 0, 100, 200, BindingStatus.ACTIVE, NOW - 50)


@pytest.mark.parametrize(
    ("key", "pool"),
    [
        (key_of(SUBNET, 64), ADDRESSES),
        (key_of(SUBNET + 0x1000, 120), ADDRESSES),
        (key_of(SUBNET + (1 << 80), 48), ADDRESSES),
        (key_of(SUBNET + (1 << 80) + (3 << 72), 57), PREFIXES),
        (key_of(SUBNET + (1 << 80) + 5), PREFIXES),
        (key_of(SUBNET, 40), PREFIXES),
    ],
)
def test_lease_that_is_none_of_its_pools_does_not_fit(key: int, pool: Pool) -> None:
    first = key >> 8
    last = first | (1 << 128 - (key & 0xFF)) - 1
    touches = first <= pool.range.last and last >= pool.range.first
    assert not fits([pool] if touches else [], key) or not touches


def test_leases_of_a_pool_fit() -> None:
    assert fits([ADDRESSES], key_of(SUBNET + 0x1234))
    assert fits([ADDRESSES], key_of(SUBNET + 0x1100))
    assert fits([PREFIXES], key_of(SUBNET + (1 << 80) + (3 << 72), 56))
    assert fits([PREFIXES], key_of(SUBNET + (1 << 80), 49))
    assert not fits([ADDRESSES, PREFIXES], key_of(SUBNET, 32))


def test_subnet_router_anycast_address_is_no_lease() -> None:
    assert not fits([], key_of(SUBNET))
    assert fits([], key_of(SUBNET + 0x99))


def test_declined_address_without_an_end_stays_for_the_decline_time() -> None:
    told = with_expiration(LEASE._replace(status=BindingStatus.ABANDONED), 3600)
    assert told is not None
    assert told.state_expiration_time == LEASE.start_time_of_state + 3600


def test_active_lease_without_an_end_lasts_for_its_valid_lifetime() -> None:
    told = with_expiration(LEASE._replace(client_last_transaction_time=NOW - 20), 3600)
    assert told is not None
    assert told.state_expiration_time == NOW - 20 + LEASE.valid_s


def test_active_lease_with_neither_an_end_nor_a_lifetime_is_incomplete() -> None:
    assert with_expiration(LEASE._replace(valid_s=0), 3600) is None


def test_options_left_out_by_a_foreign_partner_stay() -> None:
    fqdn = write_options((ClientFqdn(1, "laptop.example.net."),))
    first = accepted(None, LEASE, Update(DUID, fqdn, (LEASE,)), NOW, False)
    again = accepted(first, LEASE, Update(DUID, b"", (LEASE,)), NOW, False)
    assert again.details == first.details != b""
    other = accepted(first, LEASE, Update(b"another client", b"", (LEASE,)), NOW, False)
    assert other.details == b""


def test_temporary_address_is_rejected_and_the_rest_is_taken() -> None:
    whole = write_update(Update(DUID, b"", (LEASE,)), NOW)
    ia_ta = write_option(codes.IA_TA, b"\0\0\0\5")
    update = read_update(write_option(codes.CLIENT_DATA, whole[4:] + ia_ta))
    assert [each.key for each in update.leases] == [LEASE.key]
    reply = write_reply(update, [LeaseVerdict(LEASE.key)])
    inner = {code: reply[start:end] for code, start, end in index_options(reply, 4, len(reply))}
    assert inner[codes.IA_TA][:4] == b"\0\0\0\5"
    assert codes.STATUS in {code for code, _, _ in index_options(inner[codes.IA_TA], 4, len(inner[codes.IA_TA]))}


def test_each_binding_is_told_whole_and_once() -> None:
    """RFC 8156 7.4: all of a client binding is in one OPTION_CLIENT_DATA, also in the answer to UPDREQALL."""
    table = LeaseTable()
    table.use_territories([((SUBNET, SUBNET + (1 << 96) - 1), "campus")])
    for number in (1, 3, 5):
        table.put(Lease(key_of(SUBNET + number), BindingStatus.ACTIVE, DUID, 7, NOW, NOW, NOW + 60, 30, 60, 1, 2, b""))
    table.put(Lease(key_of(SUBNET + 8), BindingStatus.ACTIVE, DUID, 8, NOW, NOW, NOW + 60, 30, 60, 1, 2, b""))
    updates, effects = Updates(table, "campus"), Effects()
    now = Moment(1.0, NOW, NOW)
    session = Session(1, "peer", now)
    session.max_unacked = 100
    updates.connected()
    updates.request(9, True)
    updates.send(now, session, effects, live=False)
    sent = [read_failover_message(each.data[2:]) for each in effects.then if isinstance(each, ToPartner)]
    told = [[lease.key >> 8 & 0xFF for lease in read_update(each.options).leases] for each in sent]
    assert sorted(map(sorted, told)) == [[1, 3, 5], [8]]


def test_repeated_requests_for_everything_cost_one_pass_more() -> None:
    table = LeaseTable()
    updates, effects = Updates(table, "campus"), Effects()
    now = Moment(1.0, NOW, NOW)
    session = Session(1, "peer", now)
    updates.connected()
    for number in range(1, 500):
        updates.request(number, True)
    for _ in range(3):
        updates.send(now, session, effects, live=False)
    done = [read_failover_message(each.data[2:]) for each in effects.then if isinstance(each, ToPartner)]
    assert [(each.type, each.transaction_id) for each in done] == [
        (FailoverType.UPDDONE, 1),
        (FailoverType.UPDDONE, 499),
    ]


OF_OLD = Lease(
    key_of(SUBNET + (1 << 80), 57), BindingStatus.ACTIVE, b"\0\4c", 1, 5, 5, 99, 1, 2, 3, 4, b""
)  # of a length that was delegated before


def test_a_prefix_of_another_length_keeps_its_space() -> None:
    table = LeaseTable()
    table.use_pools([(PREFIXES.range, Holes())])
    around = key_of(SUBNET + (1 << 80), 56)
    pool = table.pool_of(around)
    assert pool is not None
    assert pool.holds(around)
    size = pool.size
    table.put(OF_OLD)
    assert not pool.holds(around)
    assert pool.size == size - 1


def test_a_prefix_of_another_length_keeps_its_space_if_it_comes_during_a_reload() -> None:
    table = LeaseTable()
    for _ in table.lay_out([(PREFIXES.range, Holes())]):
        pass
    table.put(OF_OLD)
    table.use_layout()
    around = key_of(SUBNET + (1 << 80), 56)
    pool = table.pool_of(around)
    assert pool is not None
    assert not pool.holds(around)

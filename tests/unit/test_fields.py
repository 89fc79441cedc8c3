"""Leases and updates that are made in the order of their fields have each value where its name says."""

from __future__ import annotations

from bench.pure import MULTICAST, NOW, make_node

from tandem.effects.effects import Send
from tandem.effects.events import Datagram
from tandem.failover.bindings import accepted, client_update, lease_update
from tandem.lease.change import Put
from tandem.lease.lease import BindingStatus, Lease, unpack
from tandem.sim.client import SimClient
from tandem.wire.binding import LeaseUpdate, read_update, write_update
from tandem.wire.message import Message, read_message
from tandem.wire.options import IaAddress, IaNa

UTC = 1_800_000_000
KEY = 7 << 8 | 128
LEASE = Lease(
    key=KEY,
    status=BindingStatus.ACTIVE,
    duid=b"\0\4client",
    iaid=11,
    start_time_of_state=UTC + 1,
    client_last_transaction_time=UTC + 2,
    state_expiration_time=UTC + 103,
    preferred_s=70,
    valid_s=80,
    t1_s=30,
    t2_s=40,
    details=b"",
    owes_partner=True,
    acked_partner_lifetime=UTC + 205,
    partner_raw_clt_time=UTC + 6,
    expiration_time=UTC + 107,
    partner_lifetime=UTC + 108,
)


def test_a_lease_that_ended_keeps_what_does_not_end() -> None:
    ended = LEASE.ended(BindingStatus.EXPIRED, UTC + 300, UTC + 103)
    assert ended == LEASE._replace(
        status=BindingStatus.EXPIRED,
        start_time_of_state=UTC + 300,
        state_expiration_time=UTC + 300,
        acked_partner_lifetime=0,
        partner_lifetime=UTC + 205,
    )


def test_a_partner_is_told_what_is_on_record() -> None:
    told = lease_update(LEASE)
    same = set(LeaseUpdate._fields) & set(Lease._fields)
    assert set(LeaseUpdate._fields) == same
    assert {name: getattr(told, name) for name in same} == {name: getattr(LEASE, name) for name in same}
    (read,) = read_update(write_update(client_update([LEASE]), UTC + 10)).leases
    assert read == told


def test_what_a_partner_tells_is_recorded_as_it_says() -> None:
    """RFC 8156 7.5.5: its own times are here the partner's, and the other way round."""
    update = client_update([LEASE])
    assert accepted(None, update.leases[0], update, UTC + 20, True) == LEASE._replace(
        owes_partner=False,
        client_last_transaction_time=UTC + 6,
        acked_partner_lifetime=0,
        partner_raw_clt_time=UTC + 2,
        expiration_time=UTC + 108,
        partner_lifetime=UTC + 107,
    )


def test_what_a_client_is_told_is_on_record() -> None:
    node, client = make_node(), SimClient(1, with_prefix=False)
    for ask in (client.solicit, client.request):
        effects = node.handle(NOW, [Datagram(ask().write(), "fe80::1", 546, 1, 1, MULTICAST)])
        (sent,) = (each for each in (*effects.at_once, *effects.then) if isinstance(each, Send))
        reply = read_message(sent.data)
        assert isinstance(reply, Message)
        client.take(reply)
    (put,) = (each for each in effects.commit if isinstance(each, Put))
    (ia,) = (each for each in reply.options if isinstance(each, IaNa))
    (told,) = (each for each in ia.options if isinstance(each, IaAddress))
    kept = unpack(put.key, put.record or b"")
    assert len({ia.t1, ia.t2, told.preferred, told.valid}) == 4
    assert (kept.iaid, kept.t1_s, kept.t2_s) == (ia.iaid, ia.t1, ia.t2)
    assert (kept.preferred_s, kept.valid_s) == (told.preferred, told.valid)
    assert (kept.start_time_of_state, kept.client_last_transaction_time) == (NOW.utc, NOW.utc)
    assert (kept.state_expiration_time, kept.owes_partner) == (NOW.utc + told.valid, False)

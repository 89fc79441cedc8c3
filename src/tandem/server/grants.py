"""The record of a grant: the lease as it is put down before the client is told of it."""

from __future__ import annotations

from tandem.lease.lease import FOREVER, BindingStatus, Lease, end_of
from tandem.server.bindings import Told
from tandem.server.client import Client
from tandem.server.policy import merge_details


def granted_lease(
    client: Client, iaid: int, told: Told, times: tuple[int, int], details: bytes, before: Lease | None
) -> Lease:
    """Make the lease that records what the client is told."""
    now_utc = client.now.utc
    lifetimes = told.lifetimes
    start, partner_lifetime = now_utc, _partner_lifetime(client, told, times[0])
    ends = end_of(now_utc, lifetimes.valid_s)
    acked_partner_lifetime = partner_raw_clt_time = expiration_time = 0
    if before is not None:
        partner_raw_clt_time = before.partner_raw_clt_time
        if before.duid == client.duid:
            details = merge_details(details, before.details)
        if before.duid != client.duid or before.status != BindingStatus.ACTIVE:
            start = before.next_start_time(now_utc)
        else:
            start = before.start_time_of_state
            acked_partner_lifetime = before.acked_partner_lifetime
            expiration_time = before.expiration_time
            partner_lifetime = max(partner_lifetime, before.partner_lifetime)
            ends = _longest_end(ends, before.state_expiration_time)
    return Lease(  # in the order of its fields: by their names it would take twice as long
        told.key,
        BindingStatus.ACTIVE,
        client.duid,
        iaid,
        start,
        now_utc,
        ends,
        lifetimes.preferred_s,
        lifetimes.valid_s,
        times[0],
        times[1],
        details,
        False,
        acked_partner_lifetime,
        partner_raw_clt_time,
        expiration_time,
        partner_lifetime,
    )


def _longest_end(promised: int, promised_before: int) -> int:
    """Give the end to keep of two that one client was promised: it may not have heard of the one that is new.

    Only for ever gives way: nothing would end the lease of a client that is gone.
    """
    return promised if promised_before == FOREVER else max(promised, promised_before)


def _partner_lifetime(client: Client, told: Told, t1_s: int) -> int:
    """Give until when the partner is to believe in the lease: beyond the client's next renewal (RFC 8156 4.4.1).

    0 if nothing is held to what the partner acknowledged: alone, or without a partner.
    """
    if client.rules.mclt_s is None or told.home is None:
        return 0
    return client.now.utc + t1_s + told.home.subnet.lifetimes_of(client.classes).valid_s

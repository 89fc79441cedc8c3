"""Between leases as the table has them and as partners tell them: RFC 8156 7.4 to 7.7."""

from __future__ import annotations

from typing import Final

from tandem.lease.lease import TIMED, BindingStatus, Lease, end_of, ia_code_of
from tandem.lease.share import ENDED
from tandem.lease.space import address_owner
from tandem.wire.binding import LeaseUpdate, Update
from tandem.wire.failover_options import ClientData
from tandem.wire.octets import index_options, write_option
from tandem.wire.options import IaNa

NOTHING_KNOWN: Final = Lease(0, BindingStatus.FREE, b"", 0, 0, 0, 0, 0, 0, 0, 0, b"")
AVAILABLE: Final = (BindingStatus.FREE, BindingStatus.FREE_BACKUP)


def available_status(key: int) -> BindingStatus:
    """Give the status of a lease that just became available (RFC 8156 4.2.1, 4.2.2)."""
    return address_owner(key).available if ia_code_of(key) == IaNa.code else BindingStatus.FREE


def stored_status(key: int, status: int) -> int:
    """Give the status under which an accepted one is kept: what ended is available, and addresses are their owner's."""
    if status in ENDED or (status in AVAILABLE and ia_code_of(key) == IaNa.code):
        return available_status(key)
    return status


def changes_hands(mine: Lease, theirs: LeaseUpdate, duid: bytes) -> bool:
    """True if a prefix is free on both sides, and one of the two versions gave it to one of the partners.

    Such a version has no client, and counts from its start: when the last client was heard does not matter any more.
    """
    is_free = mine.status in AVAILABLE and theirs.status in AVAILABLE and ia_code_of(mine.key) != IaNa.code
    return is_free and not (mine.duid and duid) and mine.start_time_of_state != theirs.start_time_of_state


def lease_update(lease: Lease) -> LeaseUpdate:
    """Give what a partner is told of a lease."""
    is_timed = lease.status in TIMED  # only they come with a time of that (RFC 8156 7.4)
    own_details, _ = split_details(lease.details)
    return LeaseUpdate(
        lease.key,
        lease.iaid,
        lease.t1_s,
        lease.t2_s,
        lease.preferred_s,
        lease.valid_s,
        lease.status,
        lease.start_time_of_state,
        lease.state_expiration_time if is_timed else 0,
        lease.client_last_transaction_time,
        partner_lifetime_of(lease),
        lease.partner_raw_clt_time,
        lease.expiration_time if is_timed else 0,
        own_details,
    )


def partner_lifetime_of(lease: Lease) -> int:
    """Give until when a partner is to believe in a lease, 0 for one that does not end by itself."""
    return max(lease.partner_lifetime, lease.state_expiration_time) if lease.status in TIMED else 0


def client_update(leases: list[Lease]) -> Update:
    """Give one BNDUPD's worth: all of the given leases, which are one client's."""
    _, about_client = split_details(leases[0].details)
    return Update(leases[0].duid, about_client, tuple(lease_update(lease) for lease in leases))


def with_expiration(theirs: LeaseUpdate, decline_time_s: int) -> LeaseUpdate | None:
    """Return an update whose status has an end, None if that of an ACTIVE lease cannot be known.

    Without OPTION_F_STATE_EXPIRATION_TIME a status does not end by itself. But every lease here does: a declined
    address after `decline-time`, a client's lease after the lifetime that it was given when it was last heard.
    """
    if theirs.status not in TIMED or theirs.state_expiration_time:
        return theirs
    if theirs.status == BindingStatus.ABANDONED:
        return theirs._replace(state_expiration_time=end_of(theirs.start_time_of_state, decline_time_s))
    if not theirs.valid_s:
        return None
    given_at = theirs.client_last_transaction_time or theirs.start_time_of_state
    return theirs._replace(state_expiration_time=end_of(given_at, theirs.valid_s))


def merge_options(known: bytes, said: bytes) -> bytes:
    """Return options as said, and behind them those that were known and are left out, since they did not change.

    RFC 8156 9.2 lets a server leave out an FQDN that is the same as before.
    """
    codes = {code for code, _, _ in index_options(said, 0, len(said))}
    kept = [known[start - 4 : end] for code, start, end in index_options(known, 0, len(known)) if code not in codes]
    return b"".join((said, *kept))


def accepted(mine: Lease | None, theirs: LeaseUpdate, update: Update, now_utc: int, is_whole: bool) -> Lease:
    """Return the lease as an accepted update makes it (RFC 8156 7.5.5, figure 5).

    When this server heard the client is what its own clock said: a time that is yet to come is not believed.
    `is_whole`: the partner says everything that it knows each time, as another Tandem does.
    """
    is_given = mine is not None and not update.duid and changes_hands(mine, theirs, update.duid)
    known = NOTHING_KNOWN if mine is None or is_given else mine
    own, about_client = theirs.details, update.details
    if not is_whole and known.details and known.duid == update.duid:
        known_own, known_about_client = split_details(known.details)
        own, about_client = merge_options(known_own, own), merge_options(known_about_client, about_client)
    status = stored_status(theirs.key, theirs.status)
    goes_on = known.status == status == BindingStatus.ACTIVE and known.duid == update.duid
    client_last_transaction_time = max(known.client_last_transaction_time, min(theirs.partner_raw_clt_time, now_utc))
    state_expiration_time = theirs.state_expiration_time if status in TIMED else theirs.start_time_of_state
    client = write_option(ClientData.code, about_client) if about_client else b""
    return Lease(  # in the order of its fields: by their names it would take twice as long
        theirs.key,
        status,
        update.duid or known.duid,
        theirs.iaid,
        theirs.start_time_of_state,
        client_last_transaction_time,
        state_expiration_time,
        theirs.preferred_s,
        theirs.valid_s,
        theirs.t1_s,
        theirs.t2_s,
        own + client,
        False,
        known.acked_partner_lifetime if goes_on else 0,
        theirs.client_last_transaction_time or known.partner_raw_clt_time,
        theirs.partner_lifetime or known.expiration_time,
        max(known.partner_lifetime, theirs.expiration_time),
    )


def prevailed(mine: Lease, theirs: LeaseUpdate, duid: bytes) -> Lease:
    """Give the lease that stays as it is although the partner said something else of the same client.

    It has taken into account that the partner heard the client then, so that what happens to it next is newer than all
    that the partner knows.
    """
    if mine.duid != duid:
        return mine
    heard_there = max(mine.partner_raw_clt_time, theirs.client_last_transaction_time)
    return mine._replace(partner_raw_clt_time=heard_there)


def settled(lease: Lease, partner_lifetime_sent: int) -> tuple[int, int]:
    """Give the status and the acked-partner-lifetime of a lease once the partner accepts all it says (RFC 8156 7.7)."""
    if lease.status == BindingStatus.ACTIVE:
        return lease.status, believed(lease, partner_lifetime_sent)
    status = available_status(lease.key) if lease.status in ENDED else lease.status
    return status, lease.acked_partner_lifetime


def believed(sent: Lease, echoed: int) -> int:
    """Give the partner-lifetime that an answer acknowledges: never more than was sent."""
    return min(echoed, partner_lifetime_of(sent))


def split_details(details: bytes) -> tuple[bytes, bytes]:
    """Give the encoded options about the lease, and those about its client."""
    if not details:
        return b"", b""
    own, about_client = [], b""
    for code, start, end in index_options(details, 0, len(details)):
        if code == ClientData.code:
            about_client = details[start:end]
        else:
            own.append(details[start - 4 : end])
    return b"".join(own), about_client

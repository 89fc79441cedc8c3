"""Accept or reject what a partner says of a lease: RFC 8156 7.5.4.

The table is the RFC's figure 4. Where it says "later", both partners come to the same answer about the same two
versions of a lease, so that crossed updates end with the same winner (docs/protocol-notes.md, 7 and 8).
"""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple

from tandem.failover.bindings import changes_hands, stored_status
from tandem.lease.lease import TIMED, BindingStatus, Lease
from tandem.lease.space import Role
from tandem.wire.binding import LeaseUpdate
from tandem.wire.failover_options import FailoverStatus

SAME_TIME_S: Final = 5
"""Times of two clocks that are no further apart count as the same (RFC 8156 7.5.1)."""


class Rule(Enum):
    """What a cell of figure 4 says."""

    ACCEPT = "accept"
    CLIENTS = "accept(3)"
    IF_OVER_HERE = "time(1)"
    IF_HEARD_SINCE = "time(2)"


class Verdict(NamedTuple):
    """`code` None accepts. `tell_partner`: it should be told what is on record here."""

    code: FailoverStatus | None = None
    reason: str = ""
    tell_partner: bool = False


B = BindingStatus
HEARD: Final = (B.ACTIVE, B.EXPIRED, B.RELEASED)
"""Of a lease with one of these it counts when its client was heard; of others also when they became so."""
COLUMNS: Final = (B.ACTIVE, B.EXPIRED, B.RELEASED, B.FREE, B.FREE_BACKUP, B.RESET, B.ABANDONED)
ACCEPT_ALL: Final[dict[int, Rule]] = dict.fromkeys(COLUMNS, Rule.ACCEPT)
FIGURE_4: dict[int, dict[int, Rule]] = {
    B.ACTIVE: {
        **ACCEPT_ALL,
        B.ACTIVE: Rule.CLIENTS,
        B.EXPIRED: Rule.IF_OVER_HERE,
        B.FREE: Rule.IF_OVER_HERE,
        B.FREE_BACKUP: Rule.IF_OVER_HERE,
    },
    B.EXPIRED: ACCEPT_ALL,
    B.RELEASED: ACCEPT_ALL,
    B.FREE: ACCEPT_ALL,
    B.FREE_BACKUP: ACCEPT_ALL,
    B.RESET: {**ACCEPT_ALL, B.ACTIVE: Rule.IF_HEARD_SINCE},
    B.ABANDONED: ACCEPT_ALL,
}
"""By the status on record here, then by the status in the update."""

ACCEPTED: Final = Verdict()


def judge(mine: Lease | None, theirs: LeaseUpdate, duid: bytes, role: Role, now_utc: int) -> Verdict:
    """Decide on an update about a lease; `role` is the receiver's."""
    if theirs.status not in FIGURE_4:
        text = f"binding-status {theirs.status} is not one that is exchanged"
        return Verdict(FailoverStatus.MISSING_BINDING_INFORMATION, text)
    if theirs.status == B.ACTIVE and not duid:
        return Verdict(FailoverStatus.MISSING_BINDING_INFORMATION, "an ACTIVE lease is a client's, and none is named")
    if mine is None or says_the_same(mine, theirs, duid):
        return ACCEPTED
    if changes_hands(mine, theirs, duid):
        later = theirs.start_time_of_state > mine.start_time_of_state
    else:
        later = is_later(theirs, mine, role)
    outdated = Verdict(FailoverStatus.OUTDATED_BINDING_INFORMATION, "what is known here is newer", not later)
    match FIGURE_4[mine.status][theirs.status]:
        case Rule.ACCEPT | Rule.IF_HEARD_SINCE:
            return ACCEPTED if later else outdated
        case Rule.IF_OVER_HERE:
            return ACCEPTED if later and now_utc > mine.state_expiration_time else outdated
        case Rule.CLIENTS:
            if mine.duid == duid:
                return ACCEPTED if later else outdated
            if _wins_over(theirs, mine, role):
                return ACCEPTED
            return Verdict(FailoverStatus.ADDRESS_IN_USE, "another client has it here", tell_partner=True)


def says_the_same(mine: Lease, theirs: LeaseUpdate, duid: bytes) -> bool:
    """Say whether an update repeats what is on record, as what it was stored as."""
    return (
        mine.start_time_of_state == theirs.start_time_of_state
        and mine.status == stored_status(theirs.key, theirs.status)
        and mine.iaid == theirs.iaid
        and _ends(mine) == _ends(theirs)
        and (duid == mine.duid or not duid)
        and theirs.client_last_transaction_time in (mine.partner_raw_clt_time, 0)
    )


def _ends(version: Lease | LeaseUpdate) -> int:
    """Give when a status ends by itself, 0 if it does not."""
    return version.state_expiration_time if version.status in TIMED else 0


def _time(version: Lease | LeaseUpdate, heard: int) -> int:
    """Give the time that counts for a version whose client was last heard then (RFC 8156 7.5.4)."""
    return heard if version.status in HEARD else max(heard, version.start_time_of_state)


def is_later(theirs: LeaseUpdate, mine: Lease, role: Role) -> bool:
    """Say whether an update is newer than what is on record; the partner would say the opposite of the same two.

    Each version says when either server last heard the client. Who knows of all that the other knows, and more, is
    newer, by one clock at a time and exactly. Only if each heard the client without the other's knowing, the promise
    that lasts longer goes, whatever the clocks say; of one that is over, they decide.
    """
    ours_here, theirs_here = mine.client_last_transaction_time, mine.partner_raw_clt_time
    ours_there, theirs_there = theirs.partner_raw_clt_time, theirs.client_last_transaction_time
    if ours_there != ours_here or theirs_there != theirs_here:
        if ours_there >= ours_here and theirs_there >= theirs_here:
            return True
        if ours_there <= ours_here and theirs_there <= theirs_here:
            return False
        if theirs.status == mine.status == B.ACTIVE and _ends(theirs) != _ends(mine):
            return _ends(theirs) > _ends(mine)
        apart_s = _time(theirs, max(ours_there, theirs_there)) - _time(mine, max(ours_here, theirs_here))
        if abs(apart_s) > SAME_TIME_S:
            return apart_s > 0
        if _ends(theirs) != _ends(mine):
            return _ends(theirs) > _ends(mine)
    if theirs.start_time_of_state != mine.start_time_of_state:
        return theirs.start_time_of_state > mine.start_time_of_state
    if _ends(theirs) != _ends(mine):
        return _ends(theirs) > _ends(mine)
    return role is Role.SECONDARY


def _wins_over(theirs: LeaseUpdate, mine: Lease, role: Role) -> bool:
    """Say whose client keeps a lease that two clients were given: accept(3), the same on both sides."""
    if role is Role.PRIMARY:
        return theirs.client_last_transaction_time > mine.start_time_of_state + SAME_TIME_S
    return not mine.client_last_transaction_time > theirs.start_time_of_state + SAME_TIME_S

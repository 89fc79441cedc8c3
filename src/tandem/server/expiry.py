"""Ends leases whose time has come, and forgets those that ended longest ago, a bounded number each time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tandem.effects.effects import Effects
from tandem.effects.rules import Rules, Serve
from tandem.lease.lease import BindingStatus, Lease
from tandem.lease.space import Role, address_owner
from tandem.lease.table import LeaseTable
from tandem.wire.received import ADDRESS_LENGTH

ENDED_PER_CALL: Final = 256
SKEW_MAX_S: Final = 5
"""A partner whose clock lags so much would not yet agree that a lease is over (RFC 8156 7.1, 7.5.4)."""
STAND_IN_S: Final = 30
"""How much longer a server waits before it ends a lease that is the partner's to end."""
LOOK_AGAIN_S: Final = 30


def end_leases(table: LeaseTable, now_utc: int, rules: Mapping[str | None, Rules], effects: Effects) -> bool:
    """End what is due at `now_utc`; say whether more may be due right away.

    An active lease becomes EXPIRED. One that was set aside may be given again: it becomes FREE, or with a partner,
    who has to agree first, RESET. While nobody is served by the rules, nothing ends.
    """
    due = table.take_due(now_utc, ENDED_PER_CALL)
    for lease in due:
        relationship = table.relationship_of(lease.key)
        rule = rules[relationship]
        if rule.serve is Serve.NONE:
            table.put_back(lease, now_utc + LOOK_AGAIN_S)
            continue
        ends_at = lease.state_expiration_time + _delay_s(lease, rule)
        if ends_at > now_utc:
            table.put_back(lease, ends_at)
            continue
        status = BindingStatus.EXPIRED
        if lease.status != BindingStatus.ACTIVE:
            status = BindingStatus.FREE if relationship is None else BindingStatus.RESET
        effects.commit.append(table.change(lease.ended(status, now_utc, lease.state_expiration_time)))
        effects.note("lease-ended", "info", key=lease.key, duid=lease.duid, iaid=lease.iaid, status=status)
    forgotten = table.take_forgettable(ENDED_PER_CALL)
    effects.commit += [table.forget(key) for key in forgotten]
    return len(due) == ENDED_PER_CALL or len(forgotten) == ENDED_PER_CALL


def _delay_s(lease: Lease, rule: Rules) -> int:
    if rule.share is None:
        return 0
    owner = address_owner(lease.key) if lease.length == ADDRESS_LENGTH else Role.PRIMARY
    return SKEW_MAX_S if owner is rule.share.role else SKEW_MAX_S + STAND_IN_S

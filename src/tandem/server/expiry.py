"""Ends leases whose time has come, and forgets those that ended longest ago, a bounded number each time."""

from __future__ import annotations

from tandem.effects.effects import Effects
from tandem.lease.lease import BindingStatus
from tandem.lease.table import LeaseTable

ENDED_PER_CALL = 256


def end_leases(table: LeaseTable, now_utc: int, effects: Effects) -> bool:
    """End what is due at `now_utc`; say whether more may be due right away.

    An active lease becomes EXPIRED; one that was set aside may be given again and becomes FREE.
    """
    due = table.take_due(now_utc, ENDED_PER_CALL)
    for lease in due:
        active = lease.status == BindingStatus.ACTIVE
        status = BindingStatus.EXPIRED if active else BindingStatus.FREE
        effects.commit.append(table.put(lease._replace(status=status, start_time_of_state=now_utc)))
        effects.note("lease-ended", "info", key=lease.key, duid=lease.duid, iaid=lease.iaid, status=status)
    forgotten = table.take_forgettable(ENDED_PER_CALL)
    effects.commit += [table.forget(key) for key in forgotten]
    return len(due) == ENDED_PER_CALL or len(forgotten) == ENDED_PER_CALL

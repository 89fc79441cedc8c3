"""Whose a prefix is to give, as a second reader of a disk sees it."""

from __future__ import annotations

from collections.abc import Mapping

from tandem.lease.lease import BindingStatus, Lease, unpack
from tandem.lease.space import Role, interval_of

FREE, FREE_BACKUP = BindingStatus.FREE, BindingStatus.FREE_BACKUP
AVAILABLE = (FREE, FREE_BACKUP)


def owner(leases: Mapping[int, bytes], key: int) -> Role | None:
    """Say whose a prefix is to give by what a disk says; None if it is a client's."""
    record = leases.get(key)
    return giver(leases, key, None if record is None else unpack(key, record))


def giver(leases: Mapping[int, bytes], key: int, lease: Lease | None) -> Role | None:
    """Say the same of a prefix that is, or was, that lease: beside it what was decided last counts."""
    if lease is not None:
        return {FREE: Role.PRIMARY, FREE_BACKUP: Role.SECONDARY}.get(BindingStatus(lease.status))
    first, last = interval_of(key)
    latest = (-1, Role.PRIMARY)
    for each, record in leases.items():
        if each & 0xFF < key & 0xFF:
            low, high = interval_of(each)
            if low <= first and last <= high:
                gift = unpack(each, record)
                who = Role.SECONDARY if gift.status == FREE_BACKUP else Role.PRIMARY
                latest = max(latest, (gift.start_time_of_state, who))
    return latest[1]

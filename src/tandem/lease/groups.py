"""How many leases groups of clients have, such as all clients behind one relay agent.

A lease is counted from when its client is given it, and for as long as the client holds it, or it is set aside since
that client declined it. The group is no part of a lease's record, so leases that were read from the store or learnt
from a partner are counted only once their clients renew them.
"""

from __future__ import annotations

from typing import Final

from tandem.lease.clients import Kind

COUNTED: Final = (Kind.HELD, Kind.DECLINED)


class Groups:
    """Leases by the group of their client, counted as they change. A group is named by octets."""

    def __init__(self) -> None:
        # No containers but these: Python walks through each of them when it collects garbage.
        self._group_of: dict[int, bytes] = {}
        self._counts: dict[Kind, dict[bytes, int]] = {kind: {} for kind in COUNTED}

    def put(self, key: int, group: bytes) -> None:
        """Take over that the client of this group holds the lease; an empty group is none."""
        before = self._group_of.get(key)
        if before == group:
            return
        if before is not None:
            self._count(Kind.HELD, before, -1)
            del self._group_of[key]
        if group:
            self._group_of[key] = group
            self._count(Kind.HELD, group, 1)

    def change(self, key: int, before: Kind, after: Kind) -> None:
        """Take over what the lease is to its client from now on; to another client, it is a former one."""
        group = self._group_of.get(key)
        if group is None or before is after:
            return
        self._count(before, group, -1)
        if after in COUNTED:
            self._count(after, group, 1)
        else:
            del self._group_of[key]

    def held(self, group: bytes) -> int:
        """Return how many leases clients of the group hold."""
        return self._counts[Kind.HELD].get(group, 0)

    def declined(self, group: bytes) -> int:
        """Return how many leases are set aside since clients of the group declined them."""
        return self._counts[Kind.DECLINED].get(group, 0)

    def __len__(self) -> int:
        return len(self._group_of)

    def _count(self, kind: Kind, group: bytes, change: int) -> None:
        counts = self._counts[kind]
        count = counts.get(group, 0) + change
        if count:
            counts[group] = count
        else:
            del counts[group]

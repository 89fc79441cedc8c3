"""What was offered in an Advertise and not yet asked for. Bounded, kept in memory only, short-lived.

An offer keeps two clients from being offered the same lease while there are others. It binds nobody: a Request is
decided without it, and once all else is offered, what was offered longest ago is offered again. So nobody can close a
pool by asking for offers, and what one client is offered in one pool is bounded by what it may hold.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

OFFER_S: Final = 60.0
OFFERS_MAX: Final = 100_000
EXPIRED_PER_CALL: Final = 64
DECLINED_MAX: Final = 4096


Offer = tuple[bytes, float, int, tuple[bytes, ...]]
"""Whose it is, until when, of which pool, and for which groups of clients it counts."""
Bounds = Sequence[tuple[bytes, int]]
"""Groups of clients, and how many offers are kept for each; 0 is no bound."""


class Offers:
    """Keys offered, to whom, and until which monotonic time; the oldest first, in all and in each pool.

    A pool is named by its first address.
    """

    def __init__(self) -> None:
        self._offers: OrderedDict[int, Offer] = OrderedDict()
        self._by_pool: dict[int, OrderedDict[int, None]] = {}
        self._by_client: dict[tuple[int, bytes], tuple[int, ...]] = {}
        self._by_group: dict[bytes, OrderedDict[int, None]] = {}
        self._declined: OrderedDict[int, bytes] = OrderedDict()

    def add(self, key: int, pool: int, duid: bytes, now_mono: float, limit: int, bounds: Bounds = ()) -> bytes:
        """Remember that the lease was offered to the client, and no more than its last `limit` offers of the pool.

        Of each group in `bounds` no more than so many last offers are remembered either. Return the group that had
        more, b"" if none had.
        """
        groups = tuple([group for group, most in bounds if group and most])
        before = self._offers.get(key)
        if before is not None and before[0] == duid and before[2:] == (pool, groups):
            self._offers[key] = (duid, now_mono + OFFER_S, pool, groups)
            self._offers.move_to_end(key)
            for of_it in (self._by_pool[pool], *(self._by_group[group] for group in groups)):
                of_it.move_to_end(key)
            return b""
        self.drop(key)
        self._expire(now_mono)
        self._offers[key] = (duid, now_mono + OFFER_S, pool, groups)
        self._by_pool.setdefault(pool, OrderedDict())[key] = None
        its = (*self._by_client.get((pool, duid), ()), key)
        self._by_client[pool, duid] = its
        if len(its) > limit:
            self.drop(its[0])
        full = b""
        for group, most in bounds:
            if group in groups:
                of_group = self._by_group.setdefault(group, OrderedDict())
                of_group[key] = None
                if len(of_group) > most:
                    self.drop(next(iter(of_group)))
                    full = group
        if len(self._offers) > OFFERS_MAX:
            self.drop(next(iter(self._offers)))
        return full

    def drop(self, key: int) -> None:
        """Forget the offer: the lease is granted."""
        offer = self._offers.pop(key, None)
        if offer is None:
            return
        duid, _, pool, groups = offer
        in_pool = self._by_pool[pool]
        del in_pool[key]
        if not in_pool:
            del self._by_pool[pool]
        for group in groups:
            of_group = self._by_group[group]
            del of_group[key]
            if not of_group:
                del self._by_group[group]
        its = tuple([each for each in self._by_client[pool, duid] if each != key])
        if its:
            self._by_client[pool, duid] = its
        else:
            del self._by_client[pool, duid]

    def holder(self, key: int, now_mono: float) -> bytes | None:
        """Say which client's the lease is to ask for, None if anybody's."""
        offer = self._offers.get(key)
        if offer is None or offer[1] <= now_mono:
            return None
        return offer[0]

    def fill(self, pool: int, free: int, duid: bytes, now_mono: float) -> bool:
        """True if all of so many free leases of the pool are offered to other clients than this one."""
        if free > len(self._by_pool.get(pool, ())):
            return False
        self._expire(now_mono)
        return free <= len(self._by_pool.get(pool, ())) - len(self._by_client.get((pool, duid), ()))

    def oldest(self, pool: int, limit: int) -> Iterator[int]:
        """Give the keys of the pool that were offered longest ago."""
        return islice(self._by_pool.get(pool, ()), limit)

    def note_declined(self, key: int, duid: bytes) -> None:
        """Remember that a client declined a lease that is not set aside for it: it is to be given another one."""
        self._declined[key] = duid
        self._declined.move_to_end(key)
        if len(self._declined) > DECLINED_MAX:
            self._declined.popitem(last=False)

    def was_declined(self, key: int, duid: bytes) -> bool:
        """True if the client was the last to decline the lease, as far as that is remembered."""
        return self._declined.get(key) == duid if self._declined else False

    def _expire(self, now_mono: float) -> None:
        for _ in range(EXPIRED_PER_CALL):
            key = next(iter(self._offers), None)
            if key is None or self._offers[key][1] > now_mono:
                return
            self.drop(key)

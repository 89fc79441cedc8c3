"""What was offered in an Advertise and not yet asked for. Bounded, kept in memory only, short-lived.

An offer keeps two clients from being offered the same lease while there are others. It binds nobody: a Request is
decided without it, and once all else is offered, what was offered longest ago is offered again. So nobody can close a
pool by asking for offers, and what one client is offered in one pool is bounded by what it may hold.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from itertools import islice
from typing import Final

OFFER_S: Final = 60.0
OFFERS_MAX: Final = 100_000
EXPIRED_PER_CALL: Final = 64
DECLINED_MAX: Final = 4096


class Offers:
    """Keys offered, to whom, and until which monotonic time; the oldest first, in all and in each pool.

    A pool is named by its first address.
    """

    def __init__(self) -> None:
        self._offers: OrderedDict[int, tuple[bytes, float, int]] = OrderedDict()
        self._by_pool: dict[int, OrderedDict[int, None]] = {}
        self._by_client: dict[tuple[int, bytes], tuple[int, ...]] = {}
        self._declined: OrderedDict[int, bytes] = OrderedDict()

    def add(self, key: int, pool: int, duid: bytes, now_mono: float, limit: int) -> None:
        """Remember that the lease was offered to the client, and no more than its last `limit` offers of the pool."""
        before = self._offers.get(key)
        if before is not None and before[0] == duid and before[2] == pool:
            self._offers[key] = (duid, now_mono + OFFER_S, pool)
            self._offers.move_to_end(key)
            self._by_pool[pool].move_to_end(key)
            return
        self.drop(key)
        self._expire(now_mono)
        self._offers[key] = (duid, now_mono + OFFER_S, pool)
        self._by_pool.setdefault(pool, OrderedDict())[key] = None
        its = (*self._by_client.get((pool, duid), ()), key)
        self._by_client[pool, duid] = its
        if len(its) > limit:
            self.drop(its[0])
        if len(self._offers) > OFFERS_MAX:
            self.drop(next(iter(self._offers)))

    def drop(self, key: int) -> None:
        """Forget the offer: the lease is granted."""
        offer = self._offers.pop(key, None)
        if offer is None:
            return
        duid, _, pool = offer
        in_pool = self._by_pool[pool]
        del in_pool[key]
        if not in_pool:
            del self._by_pool[pool]
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

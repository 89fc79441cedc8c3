"""What was offered in an Advertise and not yet asked for. Bounded, kept in memory only, short-lived.

A Request is decided with or without it: an offer only keeps two clients from being offered the same lease.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

OFFER_S: Final = 60.0
OFFERS_MAX: Final = 100_000


class Offers:
    """Keys offered, to whom, and until which monotonic time; the oldest first."""

    def __init__(self) -> None:
        self._offers: OrderedDict[int, tuple[bytes, float]] = OrderedDict()

    def add(self, key: int, duid: bytes, now_mono: float) -> None:
        """Remember that the lease was offered to the client."""
        self._offers[key] = (duid, now_mono + OFFER_S)
        self._offers.move_to_end(key)
        if len(self._offers) > OFFERS_MAX:
            self._offers.popitem(last=False)

    def drop(self, key: int) -> None:
        """Forget the offer: the lease is granted."""
        self._offers.pop(key, None)

    def holder(self, key: int, now_mono: float) -> bytes | None:
        """Say which client's the lease is to ask for, None if anybody's."""
        offer = self._offers.get(key)
        if offer is None or offer[1] <= now_mono:
            return None
        return offer[0]

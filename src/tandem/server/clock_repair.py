"""Corrects times on record once the clock is known to be right.

After it ran ahead, what is on record with a time in the future is taken as granted just now, for as long as it was
granted then (`BringBack`). After it lay behind, what was recorded meanwhile is moved by as much as it was behind
(`MoveForward`). Either way a lease ends no earlier than its client was told.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tandem.lease.change import Put
from tandem.lease.lease import (
    FOREVER,
    Lease,
    client_last_transaction_time_of,
    end_of,
    start_time_of_state_of,
    state_expiration_time_of,
    unpack,
)
from tandem.lease.table import LeaseTable

EXAMINED_PER_STEP: Final = 5_000
"""Records that one step examines: a few milliseconds in which nobody is answered."""


class BringBack:
    """The correction of leases that begin later than `now_utc`, or end later than any that begins by then may."""

    def __init__(self, now_utc: int, longest_promise_s: int) -> None:
        self._now_utc = now_utc
        self._ends_max = now_utc + longest_promise_s

    def is_wrong(self, record: bytes) -> bool:
        """True if a packed lease was recorded by the wrong time."""
        began = max(client_last_transaction_time_of(record), start_time_of_state_of(record))
        return began > self._now_utc or self._ends_max < state_expiration_time_of(record) < FOREVER

    def corrected(self, lease: Lease) -> Lease:
        """Return a lease with no beginning in the future; what it lasts stays the same.

        What the partner acknowledged was acknowledged by wrong times too, and counts for nothing.
        """
        now_utc, began = self._now_utc, max(lease.client_last_transaction_time, lease.start_time_of_state)
        ends = lease.state_expiration_time
        until = FOREVER if ends == FOREVER else min(self._ends_max, end_of(now_utc, max(0, ends - began)))
        return lease._replace(
            start_time_of_state=min(lease.start_time_of_state, now_utc),
            client_last_transaction_time=min(lease.client_last_transaction_time, now_utc),
            state_expiration_time=until,
            partner_raw_clt_time=min(lease.partner_raw_clt_time, now_utc),
            expiration_time=min(lease.expiration_time, until),
            acked_partner_lifetime=0,
        )


class MoveForward:
    """The correction of leases whose client was last heard from `first` to `last`, by a clock `by_s` behind."""

    def __init__(self, first: int, last: int, by_s: int, longest_promise_s: int) -> None:
        self._first, self._last, self._by_s = first, last, by_s
        self._ends_max = last + by_s + longest_promise_s

    def is_wrong(self, record: bytes) -> bool:
        """True if a packed lease was recorded by the wrong time."""
        return self._first <= client_last_transaction_time_of(record) <= self._last

    def corrected(self, lease: Lease) -> Lease:
        """Return a lease as it had been recorded by the right time."""
        ends = lease.state_expiration_time
        return lease._replace(
            start_time_of_state=end_of(lease.start_time_of_state, self._by_s),
            client_last_transaction_time=end_of(lease.client_last_transaction_time, self._by_s),
            state_expiration_time=max(ends, min(self._ends_max, end_of(ends, self._by_s))),
        )


class ClockRepair:
    """Goes through all leases a step at a time. `newest` is the newest time on record among those examined."""

    def __init__(self, table: LeaseTable, correction: BringBack | MoveForward) -> None:
        self._table = table
        self._correction = correction
        self._keys = table.keys()
        self.newest = 0

    @property
    def is_done(self) -> bool:
        """True once all leases have been examined."""
        return not self._keys

    def step(self) -> Iterator[Put]:
        """Examine the next leases, and return the changes to those that were recorded by the wrong time."""
        keys = self._keys[-EXAMINED_PER_STEP:]
        del self._keys[-EXAMINED_PER_STEP:]
        for key in keys:
            record = self._table.record(key)
            if record is None:
                continue
            if self._correction.is_wrong(record):
                lease = self._correction.corrected(unpack(key, record))
                yield self._table.change(lease)
                self.newest = max(self.newest, lease.client_last_transaction_time)
            else:
                self.newest = max(self.newest, client_last_transaction_time_of(record))

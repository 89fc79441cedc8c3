"""RELEASE and DECLINE: which leases a client gives up (RFC 9915 18.3.7, 18.3.8)."""

from __future__ import annotations

from typing import Final

from tandem.effects.effects import Effects
from tandem.lease.lease import BindingStatus, Lease, end_of
from tandem.lease.table import LeaseTable
from tandem.server.bindings import Decision
from tandem.server.client import Client
from tandem.server.limits import LimitAlarms, Quotas
from tandem.server.offers import Offers
from tandem.server.reply import write_ia
from tandem.wire.options import IaNa, StatusCode
from tandem.wire.received import Ia

SET_ASIDE_PERCENT: Final = 50
"""Of a pool, how much may be set aside at once since clients declined it, whatever the limits say."""


class Releases:
    """Ends leases that their clients give up."""

    def __init__(
        self, table: LeaseTable, offers: Offers, quotas: Quotas, alarms: LimitAlarms, decline_time_s: int
    ) -> None:
        self._table = table
        self._offers = offers
        self._quotas = quotas
        self._alarms = alarms
        self._decline_time_s = decline_time_s

    def release(self, client: Client, effects: Effects) -> tuple[list[bytes], list[int]]:
        """End what the client releases. Return the identity associations to be answered, and the keys of the leases."""
        return self._give_up(client, client.message.ias, BindingStatus.RELEASED, effects)

    def decline(self, client: Client, effects: Effects) -> tuple[list[bytes], list[int]]:
        """Set aside what the client declines: for `decline-time` nobody is given it. Prefixes cannot be declined."""
        ias = [ia for ia in client.message.ias if ia.code == IaNa.code]
        return self._give_up(client, ias, BindingStatus.ABANDONED, effects)

    def _give_up(
        self, client: Client, ias: list[Ia], status: BindingStatus, effects: Effects
    ) -> tuple[list[bytes], list[int]]:
        parts: list[bytes] = []
        given_up: list[int] = []
        for ia in ias:
            here = [lease for lease in client.held(ia) if self._is_of_link(client, ia, lease, effects)]
            if not here:
                parts.append(write_ia(client, Decision(ia, [], StatusCode.NO_BINDING), 0, 0))
            for lease in here:
                if lease.key in ia.asked:
                    given_up.append(lease.key)
                    effects.commit.append(self._table.change(self._ended(client, lease, status, effects)))
        return parts, given_up

    @staticmethod
    def _is_of_link(client: Client, ia: Ia, lease: Lease, effects: Effects) -> bool:
        """True if the lease belongs to the link that the client is on, whose rules allow this.

        Whoever can send through any relay agent could otherwise end the leases of all others by their DUIDs alone.
        """
        if client.place is not None and client.place.home_of(lease.key) is not None:
            return True
        if lease.key in ia.asked:
            effects.note("release-refused", "info", key=lease.key, duid=client.duid, peer=client.source)
        return False

    def _ended(self, client: Client, lease: Lease, status: BindingStatus, effects: Effects) -> Lease:
        now_utc = client.now.utc
        until = now_utc
        if status is BindingStatus.ABANDONED:
            limit = self.limit_reached(client, lease.key)
            if limit:
                # The client is rid of it, and is given another one; others may be given it.
                status = BindingStatus.RELEASED
                self._offers.note_declined(lease.key, client.duid)
                self._alarms.reached(limit, client, effects)
            else:
                self._quotas.count(client, lease.key)
                until = end_of(now_utc, self._decline_time_s)
        return lease.ended(status, now_utc, until)._replace(client_last_transaction_time=now_utc)

    def limit_reached(self, client: Client, key: int) -> str:
        """Name the limit that keeps a declined lease from being set aside; "" if none does.

        What is reserved takes no room from others.
        """
        pool = self._table.pool_of(key)
        if client.place is None or pool is None or pool.is_reserved(key):
            return ""
        is_half = (pool.abandoned_count + 1) * 100 > pool.size * SET_ASIDE_PERCENT
        return self._quotas.declines(client) or ("declines-per-link" if is_half else "")

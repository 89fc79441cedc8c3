"""Updates that the partner refuses are told again, each by itself, more and more seldom."""

from __future__ import annotations

from itertools import pairwise

from tandem.effects.effects import Effects
from tandem.effects.now import Moment
from tandem.failover.session import Session
from tandem.failover.updates import RETRY_LAST_S, Updates
from tandem.lease.lease import BindingStatus, Lease
from tandem.lease.table import LeaseTable
from tandem.wire.binding import LeaseVerdict, Reply
from tandem.wire.failover_options import FailoverStatus

UTC = 1_800_000_000
KEY = 7 << 8 | 128
LEASE = Lease(KEY, BindingStatus.ACTIVE, b"\0\4c", 1, UTC, UTC, UTC + 9000, 60, 90, 30, 45, b"", owes_partner=True)
REFUSED = Reply((LeaseVerdict(KEY, FailoverStatus.OUTDATED_BINDING_INFORMATION, "what is known here is newer"),))


class Refused:
    """A server that tells one lease to a partner that refuses it each time."""

    def __init__(self) -> None:
        self._table = LeaseTable()
        self._table.use_territories([((0, 255), "campus")])
        self._updates = Updates(self._table, "campus")
        self._session = Session(1, "b", self.moment(0))
        self._session.max_unacked = 10
        self.told: list[int] = []
        self.change(0)

    @staticmethod
    def moment(second: int) -> Moment:
        return Moment(float(second), UTC + second, UTC + second)

    def change(self, second: int) -> None:
        """Let the client renew, and the partner be told."""
        self._table.put(LEASE._replace(client_last_transaction_time=UTC + second))
        self._updates.changed(KEY)
        self.live(second, second + 1)

    def live(self, begin: int, end: int) -> None:
        for second in range(begin, end):
            now = self.moment(second)
            effects = Effects()
            self._updates.send(now, self._session, effects, live=True)
            for _ in effects.then:
                self.told.append(second)
                self._updates.answered(now, self._session._last_id, REFUSED, Effects())


def test_what_is_refused_is_told_more_and_more_seldom() -> None:
    server = Refused()
    server.live(1, 4000)
    apart_s = [after - before for before, after in pairwise(server.told)]
    assert apart_s[:4] == [5, 10, 20, 40]
    assert set(apart_s[7:]) == {RETRY_LAST_S}


def test_a_lease_that_changed_between_two_tries_is_tried_no_more_often() -> None:
    server = Refused()
    for second in (600, 700, 800):
        server.live(server.told[-1] + 1, second)
        server.change(second)
    server.live(801, 8000)
    late = [second for second in server.told if second > 3000]
    assert {after - before for before, after in pairwise(late)} == {RETRY_LAST_S}


def test_a_refusal_of_what_is_not_on_record_any_more_does_not_stand() -> None:
    table = LeaseTable()
    table.use_territories([((0, 255), "campus")])
    updates = Updates(table, "campus")
    now = Refused.moment(0)
    session = Session(1, "b", now)
    table.put(LEASE)
    updates.changed(KEY)
    updates.send(now, session, Effects(), live=True)
    table.put(LEASE._replace(client_last_transaction_time=UTC + 1, owes_partner=False))
    updates.answered(now, session._last_id, REFUSED, Effects())
    assert updates.rejected == {}

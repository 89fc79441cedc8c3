"""Moves prefixes between the partners while they are in NORMAL: RFC 8156 4.2.2.

A prefix given to the secondary counts when it is sent: the primary writes it down first. One taken back counts when
the secondary acknowledges it: until then it is the secondary's on both disks. So at no moment both may delegate it.

Shares are looked after once a minute, when the secondary asks (POOLREQ), and as soon as a server could not give a
client a prefix. A few pools are examined in each call, so that clients do not wait for many of them.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from tandem.effects.effects import Effects
from tandem.effects.now import Moment
from tandem.effects.settings import Relationship
from tandem.failover import balance
from tandem.failover.fingerprint import Fingerprint
from tandem.failover.session import Session
from tandem.failover.states import State
from tandem.failover.updates import Updates
from tandem.lease.lease import BindingStatus, Lease
from tandem.lease.pool import Pool
from tandem.lease.space import Role
from tandem.lease.table import LeaseTable
from tandem.wire.binding import LeaseUpdate, Reply, Update
from tandem.wire.failover import FailoverType
from tandem.wire.failover_options import FailoverStatus

BALANCE_EVERY_S: Final = 60.0
POOLREQ_EVERY_S: Final = 1.0
"""How often the secondary asks at most, if it runs out again and again."""
POOLS_PER_CALL: Final = 64


class Rebalancing:
    """The shares of the prefixes of one relationship."""

    def __init__(self, table: LeaseTable, updates: Updates) -> None:
        self._table = table
        self._updates = updates
        self._balance_at: float | None = None
        self._to_examine: deque[int] = deque()
        self._is_urgent = False
        self._is_normal = False
        self._asks_for_pools = False
        self._may_ask_at = 0.0
        self._taking_back: dict[int, tuple[int, Lease]] = {}

    def disconnected(self) -> None:
        """Forget what was under way."""
        self._taking_back.clear()
        self._to_examine.clear()
        self._balance_at = None
        self._is_normal = self._asks_for_pools = False

    def entered(self, now: Moment, state: State, relationship: Relationship) -> None:
        """Begin to look after the shares in NORMAL, and stop when it is left (8.8)."""
        is_normal = self._is_normal = state is State.NORMAL
        if is_normal:
            self._tell_transfers_again(relationship)
        # The secondary asks as soon as it has told all that it gave out; until then the counts are not right.
        is_primary = relationship.role is Role.PRIMARY
        self._balance_at = now.mono + BALANCE_EVERY_S if is_normal and is_primary else None
        self._asks_for_pools = is_normal and not is_primary
        self._to_examine.clear()

    def next_wake(self, default: float) -> float:
        """Return the monotonic time at which the shares are to be looked at, or `default` if that comes first."""
        return default if self._balance_at is None else min(self._balance_at, default)

    def asked(self, relationship: Relationship) -> None:
        """Look at all pools at once, since the secondary asks for prefixes (POOLREQ)."""
        if self._balance_at is not None:
            self._examine_all(relationship, is_urgent=True)

    def pump(
        self, now: Moment, session: Session, relationship: Relationship, fingerprint: Fingerprint, effects: Effects
    ) -> bool:
        """Do what is due; return True if there is more right away."""
        if self._table.exhausted:
            self._handle_exhausted(now, relationship)
        if self._balance_at is not None and now.mono >= self._balance_at:
            self._balance_at = now.mono + BALANCE_EVERY_S
            self._examine_all(relationship, is_urgent=False)
        for _ in range(min(POOLS_PER_CALL, len(self._to_examine))):
            pool = self._table.pool_at(self._to_examine.popleft())
            if pool is not None and self._is_common(pool, fingerprint):
                self._balance(now, pool, session, relationship, effects)
        if self._asks_for_pools and not self._updates.waiting:
            self._asks_for_pools = False
            self._may_ask_at = now.mono + POOLREQ_EVERY_S
            session.send(FailoverType.POOLREQ, b"", effects.then, now)
        return bool(self._to_examine)

    def _handle_exhausted(self, now: Moment, relationship: Relationship) -> None:
        """Ask for prefixes, or take some back, in pools in which this server has just found none for a client."""
        for key in [key for key in self._table.exhausted if self._table.relationship_of(key) == relationship.name]:
            self._table.exhausted.discard(key)
            if self._balance_at is not None:
                self._to_examine.append(key)
                self._is_urgent = True
            elif self._is_normal and now.mono >= self._may_ask_at:
                self._asks_for_pools = True

    def _examine_all(self, relationship: Relationship, is_urgent: bool) -> None:
        keys = (pool.first_key for pool in self._table.pools() if pool.gifts is not None)
        self._to_examine = deque(key for key in keys if self._table.relationship_of(key) == relationship.name)
        self._is_urgent = is_urgent

    @staticmethod
    def _is_common(pool: Pool, fingerprint: Fingerprint) -> bool:
        """True if the partner has the pool too."""
        withheld = fingerprint.withheld
        return withheld is None or not withheld.touches(pool.range.first, pool.range.last)

    def _balance(self, now: Moment, pool: Pool, session: Session, relationship: Relationship, effects: Effects) -> None:
        """Transfer prefixes of a pool to the secondary, or propose to take some back."""
        if any(self._table.pool_of(key) is pool for key, _ in self._taking_back.values()):
            return
        for move in balance.moves(pool, relationship.secondary_share_percent, self._is_urgent):
            if move.to is Role.PRIMARY and not self._updates.has_room(session):
                self._balance_at = min(self._balance_at or now.mono, now.mono + POOLREQ_EVERY_S)
                return
            lease = balance.give(self._table, move, now.utc)
            to = move.to.name.lower()
            effects.note("prefixes-moved", "info", relationship=relationship.name, key=move.key, to=to)
            if move.to is Role.SECONDARY:
                effects.commit += [self._table.forget(each) for each in balance.inside(pool, move.key)]
                effects.commit.append(self._table.change(lease))
                self._updates.changed(move.key)
            else:
                proposal = LeaseUpdate(lease.key, 0, 0, 0, 0, 0, lease.status, lease.start_time_of_state)
                transaction_id = self._updates.send_proposal(now, session, effects, Update(b"", b"", (proposal,)))
                self._taking_back[transaction_id] = (move.key, lease)

    def answered(self, transaction_id: int, reply: Reply, effects: Effects) -> None:
        """Take back the prefixes that the secondary agreed to return."""
        key, lease = self._taking_back.pop(transaction_id, (0, None))
        if lease is None or reply.code or any(each.code for each in reply.verdicts):
            return
        pool = self._table.pool_of(key)
        if pool is not None:
            effects.commit += [self._table.forget(each) for each in balance.inside(pool, key)]
        effects.commit.append(self._table.put(lease))

    def rejected(self, now: Moment, key: int, code: int, relationship: Relationship, effects: Effects) -> None:
        """Keep a prefix that the secondary would not take, since a client of it has a prefix inside.

        One that is in no pool of the secondary's file stays as it is, since its pool may come back.
        """
        if code == FailoverStatus.CONFIGURATION_CONFLICT:
            return
        lease, pool = self._table.get(key), self._table.pool_of(key)
        is_large = pool is not None and key & 0xFF < pool.range.length
        if lease is None or not is_large or relationship.role is not Role.PRIMARY:
            return
        if lease.status == BindingStatus.FREE_BACKUP:
            effects.commit.append(self._table.change(lease.ended(BindingStatus.FREE, now.utc, 0)))
            self._updates.changed(key)

    def _tell_transfers_again(self, relationship: Relationship) -> None:
        """Mark all transferred prefixes as unacknowledged, since an answer may have been lost."""
        for pool in self._table.pools():
            if pool.gifts is not None and self._table.relationship_of(pool.first_key) == relationship.name:
                for key in pool.gifts.aggregates:
                    lease = self._table.get(key)
                    if lease is not None and not lease.owes_partner:
                        self._table.put(lease._replace(owes_partner=True))
                        self._updates.changed(key)

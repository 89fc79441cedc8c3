"""What the partner is yet to be told: RFC 8156 7.4 to 7.7, and the answers to UPDREQ and UPDREQALL.

What waits is the set of leases that owe the partner (a flag on record), never a list of messages: a lease that
changes again while it waits is told once, as it is when its turn comes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from heapq import heappop, heappush
from itertools import chain
from math import inf
from typing import Final, NamedTuple

from tandem.effects.effects import Effects
from tandem.effects.now import Moment
from tandem.failover.bindings import believed, client_update, settled
from tandem.failover.session import Session
from tandem.lease.lease import CONTENT_AT, BindingStatus, Lease, unpack
from tandem.lease.table import LeaseTable
from tandem.wire.binding import LeaseVerdict, Reply, Update, write_update
from tandem.wire.failover import FailoverType
from tandem.wire.received import ADDRESS_LENGTH

MESSAGES_PER_CALL: Final = 32
EXAMINED_PER_CALL: Final = 2048
OCTETS_PER_MESSAGE: Final = 32_768
"""Of records, from which on a message takes in no more leases."""
OCTETS_BESIDE: Final = 64
"""How much longer a lease is in a message than on record, at most."""
RETRY_FIRST_S: Final = 5
RETRY_LAST_S: Final = 600


class Sent(NamedTuple):
    """A BNDUPD on its way: each lease with the record that it told of."""

    records: dict[int, bytes]
    sent_mono: float


class Rejection(NamedTuple):
    """The partner's last word on a lease that it would not take over."""

    code: int
    text: str
    times: int


def _are_of_one_binding(lease: Lease, other: Lease) -> bool:
    """True if both leases are held in the same identity association."""
    are_held = lease.status == other.status == BindingStatus.ACTIVE
    return are_held and (lease.ia_code, lease.iaid) == (other.ia_code, other.iaid)


class Updates:
    """The updates of one relationship, sent as fast as the partner allows."""

    def __init__(self, table: LeaseTable, relationship: str) -> None:
        self._table = table
        self._relationship = relationship
        self._pending: OrderedDict[int, None] = OrderedDict()
        """What is to be looked at, in its order; a dict would not give its first key at once."""
        self._in_flight: dict[int, Sent] = {}
        self._flying: dict[int, int] = {}
        self._retries: list[tuple[float, int]] = []
        self._retry_at: dict[int, float] = {}
        """When a lease that was refused is told again; an entry of `_retries` with another time is of old."""
        self.rejected: dict[int, Rejection] = {}
        self._asked_for: Iterator[int] | None = None
        self._asked_id: int | None = None
        self._asked_everything = False
        self._next_request: tuple[int, bool] | None = None
        """The UPDREQ to be answered next: its transaction-id, and whether it was UPDREQALL."""
        self._told_with_others: set[int] = set()
        """Of what the partner asked for, what it was told with another lease of the same IA."""
        self._awaited: set[int] = set()
        starts = [lease.start_time_of_state for key in self._owing() if (lease := table.get(key))]
        self.told_until = max(starts, default=0)
        """No status that began later was ever told to the partner; what was told before a restart is not known."""
        self.rejections = 0
        """How many leases the partner refused since the start."""

    @property
    def waiting(self) -> int:
        """How many leases the partner has not acknowledged."""
        return len(self._owing())

    @property
    def in_flight(self) -> int:
        """How many messages are on their way."""
        return len(self._in_flight)

    def _owing(self) -> dict[int, None]:
        return self._table.owing(self._relationship)

    def connected(self) -> None:
        """Begin anew on a new connection: all that is owed is to be sent."""
        self.disconnected()
        owing = self._owing()
        self._pending = OrderedDict.fromkeys(key for key in self._gifts() if key in owing)
        self._pending.update(owing)

    def disconnected(self) -> None:
        """Forget what was on its way: nobody knows whether it arrived."""
        self._pending.clear()
        self._in_flight.clear()
        self._flying.clear()
        self._retries.clear()
        self._retry_at.clear()
        self.rejected.clear()
        self._asked_for = None
        self._asked_id = None
        self._next_request = None
        self._awaited.clear()

    def changed(self, key: int) -> None:
        """Hear that a lease now owes the partner something."""
        self._pending[key] = None

    def overtaken(self, key: int) -> None:
        """Forget what the partner refused of a lease: its own version was taken over since."""
        self.rejected.pop(key, None)

    def oldest_sent_mono(self) -> float | None:
        """Give when the message was sent that waits longest for its answer, None if none does."""
        return next(iter(self._in_flight.values())).sent_mono if self._in_flight else None

    def request(self, transaction_id: int, everything: bool) -> None:
        """Answer an UPDREQ or UPDREQALL (RFC 8156 5.3.5, 5.3.6), once the one before it is answered.

        Of those that come meanwhile only the last one counts: each is a pass over the table, and costs the partner
        a few octets.
        """
        if self._asked_id is None:
            self._begin_answer(transaction_id, everything)
        else:
            self._next_request = transaction_id, everything or (self._next_request or (0, False))[1]

    def _begin_answer(self, transaction_id: int, everything: bool) -> None:
        """Begin to answer from what there is to say now."""
        keys = self._table.keys() if everything else list(self._owing())
        self._asked_for = chain(self._gifts(), keys)
        self._asked_id = transaction_id
        self._asked_everything = everything
        self._awaited = set(self._in_flight)
        self._told_with_others.clear()

    def _gifts(self) -> list[int]:
        """Give the large prefixes that changed hands: they are told before the leases in them."""
        return [
            key
            for pool in self._table.pools()
            if pool.gifts is not None and self._table.relationship_of(pool.first_key) == self._relationship
            for key in pool.gifts.aggregates
        ]

    def send(self, now: Moment, session: Session, effects: Effects, live: bool) -> bool:
        """Send what the partner has room for; with `live` not only what it asked for. Say whether more waits."""
        while self._retries and self._retries[0][0] <= now.mono:
            due, key = heappop(self._retries)
            if self._retry_at.get(key) == due:  # else it was told and refused again meanwhile
                self._pending[key] = None
        budget = min(MESSAGES_PER_CALL, session.max_unacked - len(self._in_flight))
        has_room = budget > 0
        examined = 0
        while budget > 0 and live and self._pending and examined < EXAMINED_PER_CALL:
            examined += 1
            key = next(iter(self._pending))
            budget -= self._send(now, session, effects, self._take(key, only_owing=True))
        while budget > 0 and self._asked_for is not None and examined < EXAMINED_PER_CALL:
            examined += 1
            key = next(self._asked_for, -1)
            if key < 0:
                self._asked_for = None
                break
            if self._table.relationship_of(key) == self._relationship and key not in self._told_with_others:
                budget -= self._send(now, session, effects, self._take(key, not self._asked_everything))
        self._finish_answer(session, effects)
        return has_room and bool((live and self._pending) or self._asked_for is not None)

    def next_retry(self) -> float:
        """Give the monotonic time at which a rejected update is tried again, infinite if there is none."""
        return self._retries[0][0] if self._retries else inf

    def answered(self, now: Moment, transaction_id: int, reply: Reply, effects: Effects) -> dict[int, int]:
        """Take in a BNDREPLY (RFC 8156 7.7) and return what was rejected: the status code by key.

        A reply to nothing that was sent on this connection is ignored.
        """
        sent = self._in_flight.pop(transaction_id, None)
        if sent is None:
            return {}
        refused: dict[int, int] = {}
        self._awaited.discard(transaction_id)
        by_key = {each.key: each for each in reply.verdicts}
        for key, record in sent.records.items():
            if self._flying.get(key) == transaction_id:
                del self._flying[key]
            verdict = by_key.get(key, LeaseVerdict(key))
            if reply.code:
                verdict = LeaseVerdict(key, reply.code, reply.text)
            if verdict.code:
                refused[key] = verdict.code
                self._refused(now, verdict, record, effects)
            else:
                self._acknowledged(key, record, verdict.partner_lifetime_sent, effects)
        return refused

    def _take(self, key: int, only_owing: bool) -> list[Lease]:
        """Return the lease, and with it what one message tells beside it of the same client.

        That is what waits to be told, and the other leases of the same IA: all of one client binding has to be in one
        OPTION_CLIENT_DATA (RFC 8156 7.4).
        """
        self._pending.pop(key, None)
        lease = self._table.get(key)
        if lease is None or key in self._flying or (only_owing and not lease.owes_partner):
            return []
        leases = [lease]
        octets = 0
        for other in self._table.keys_of_client(lease.duid) if lease.duid else ():
            octets += len(self._table.record(other) or b"") + OCTETS_BESIDE
            if other == key or other in self._flying or octets >= OCTETS_PER_MESSAGE:
                continue
            also = self._table.get(other)
            if also is None or self._table.relationship_of(other) != self._relationship:
                continue
            is_waiting = other in self._pending and also.owes_partner
            if is_waiting or _are_of_one_binding(lease, also):
                self._pending.pop(other, None)
                leases.append(also)
                if self._asked_for is not None:
                    self._told_with_others.add(other)
        return leases

    def _send(self, now: Moment, session: Session, effects: Effects, leases: list[Lease]) -> bool:
        """Send a BNDUPD with these leases, if there are any that can be told; say whether one was sent."""
        if not leases:
            return False
        if not leases[0].duid and leases[0].length == ADDRESS_LENGTH:
            # An address that is nobody's cannot be told: there is no form for it, and no need.
            effects.commit.append(self._table.put(leases[0]._replace(owes_partner=False)))
            return False
        options = session.position(effects) + write_update(client_update(leases), now.utc)
        transaction_id = session.send(FailoverType.BNDUPD, options, effects.then, now)
        self.told_until = max(self.told_until, *(lease.start_time_of_state for lease in leases))
        records = {lease.key: self._table.record(lease.key) or b"" for lease in leases}
        self._in_flight[transaction_id] = Sent(records, now.mono)
        self._flying.update(dict.fromkeys(records, transaction_id))
        if self._asked_for is not None:
            self._awaited.add(transaction_id)
        return True

    def has_room(self, session: Session) -> bool:
        """True if the partner takes another BNDUPD without having answered those on their way."""
        return len(self._in_flight) < session.max_unacked

    def send_proposal(self, now: Moment, session: Session, effects: Effects, update: Update) -> int:
        """Send a BNDUPD about what is not on record yet, and return its transaction-id.

        It takes room in the partner's window like any other, and the connection is given up if it is never answered.
        """
        options = session.position(effects) + write_update(update, now.utc)
        transaction_id = session.send(FailoverType.BNDUPD, options, effects.then, now)
        self._in_flight[transaction_id] = Sent({}, now.mono)
        return transaction_id

    def _finish_answer(self, session: Session, effects: Effects) -> None:
        """Say UPDDONE once all that was asked for is answered; a rejection is an answer too."""
        if self._asked_id is not None and self._asked_for is None and not self._awaited:
            session.answer(FailoverType.UPDDONE, self._asked_id, b"", effects.then)
            self._asked_id = None
            if self._next_request is not None:
                self._begin_answer(*self._next_request)
                self._next_request = None

    def _acknowledged(self, key: int, record: bytes, partner_lifetime_sent: int, effects: Effects) -> None:
        self.rejected.pop(key, None)
        self._retry_at.pop(key, None)
        current = self._table.record(key)
        if current is None:
            return
        lease = unpack(key, current)
        if current[CONTENT_AT:] == record[CONTENT_AT:]:
            status, acked_partner_lifetime = settled(lease, partner_lifetime_sent)
            change = self._table.settle(key, status, acked_partner_lifetime)
            if change.record != current:
                effects.commit.append(change)
            return
        # It changed since; if it is still the same binding, the partner knows at least so much of it.
        sent = unpack(key, record)
        if lease.status == sent.status == BindingStatus.ACTIVE and lease.duid == sent.duid:
            after = lease._replace(acked_partner_lifetime=believed(sent, partner_lifetime_sent))
            if after != lease:
                effects.commit.append(self._table.put(after))
        if lease.owes_partner:
            self._pending[key] = None

    def _refused(self, now: Moment, verdict: LeaseVerdict, record: bytes, effects: Effects) -> None:
        """Remember a rejection, and try again later and later; a lease that changes meanwhile is tried at once."""
        key = verdict.key
        self.rejections += 1
        before = self.rejected.get(key)
        times = before.times + 1 if before else 1
        effects.note("update-rejected", "warning", key=key, code=verdict.code, why=verdict.text, times=times)
        lease = self._table.get(key)
        if (self._table.record(key) or b"")[CONTENT_AT:] != record[CONTENT_AT:]:  # it is not so any more
            if lease is not None and lease.owes_partner:
                self._pending[key] = None
            return
        self.rejected[key] = Rejection(verdict.code, verdict.text, times)
        if lease is None or not lease.owes_partner:
            return
        delay_s = min(RETRY_FIRST_S * 2 ** min(times - 1, 10), RETRY_LAST_S)
        self._retry_at[key] = now.mono + delay_s
        heappush(self._retries, (now.mono + delay_s, key))

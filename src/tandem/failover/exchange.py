"""What partners tell each other about leases once they are connected: RFC 8156 section 7, and 4.2.2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tandem.effects.effects import Effects
from tandem.effects.now import Moment
from tandem.effects.settings import Relationship
from tandem.failover import balance
from tandem.failover.bindings import AVAILABLE, accepted, prevailed, with_expiration
from tandem.failover.fingerprint import Fingerprint
from tandem.failover.rebalance import Rebalancing
from tandem.failover.session import Session
from tandem.failover.states import State
from tandem.failover.updates import Updates
from tandem.failover.verdict import Verdict, judge
from tandem.lease.lease import TIMED, BindingStatus, Lease
from tandem.lease.pool import Pool, is_reserved_interface_id
from tandem.lease.space import Role, interval_of
from tandem.lease.table import LeaseTable
from tandem.wire.binding import (
    LeaseUpdate,
    LeaseVerdict,
    RejectedUpdate,
    Update,
    read_reply,
    read_update,
    write_rejection,
    write_reply,
)
from tandem.wire.failover import FailoverMessage, FailoverType
from tandem.wire.failover_options import FailoverStatus
from tandem.wire.received import ADDRESS_LENGTH

BEGINS_AHEAD_MAX_S: Final = 366 * 86400
"""How far ahead of now a lease may have begun, by a partner's clock that was wrong for a while."""
ENDS_AHEAD_MAX_S: Final = 20 * 366 * 86400
DETAILS_OCTETS_MAX: Final = 4096
"""Of what a partner says of a lease beside what is understood, so that it fits into a message again."""


class Exchange:
    """The lease traffic of one relationship."""

    def __init__(self, relationship: Relationship, table: LeaseTable) -> None:
        self.relationship = relationship
        self._table = table
        self.updates = Updates(table, relationship.name)
        self.fingerprint = Fingerprint(relationship)
        self._rebalancing = Rebalancing(table, self.updates)
        self.owes_everything = False
        """True while not all leases are marked that joined the relationship."""
        self.last_update_mono = 0.0
        """When the partner's last update came."""
        self.conflicts = 0
        """How many updates named another client than is on record here, since the start."""

    def use(self, relationship: Relationship) -> None:
        """Go on with changed settings."""
        self.relationship = relationship
        self.fingerprint = Fingerprint(relationship)

    def connected(self, session: Session, digest: bytes | None) -> None:
        """Begin on a new connection, to a partner that serves what the digest says."""
        self.updates.connected()
        self.fingerprint.connected(digest)
        session.details_due = self.fingerprint.differs

    def disconnected(self) -> None:
        """Forget what was under way."""
        self.updates.disconnected()
        self._rebalancing.disconnected()

    def entered(self, now: Moment, state: State) -> None:
        """Take over a new state."""
        self._rebalancing.entered(now, state, self.relationship)

    def pump(self, now: Moment, session: Session, state: State, partner: State | None, effects: Effects) -> bool:
        """Send what is due; say whether there is more to do right away."""
        live = state in (State.NORMAL, State.CONFLICT_DONE) or partner in (State.RECOVER_WAIT, State.RECOVER_DONE)
        more = self._rebalancing.pump(now, session, self.relationship, self.fingerprint, effects)
        more = self.updates.send(now, session, effects, live) or more
        if session.details_due:
            session.details_due = False
            session.send(FailoverType.CONTACT, self.fingerprint.details(), effects.at_once, now)
        return more

    def next_wake(self) -> float:
        """Give the monotonic time at which something is due that nothing else brings about, infinite if nothing is."""
        return self._rebalancing.next_wake(self.updates.next_retry())

    def take(
        self, now: Moment, message: FailoverMessage, session: Session, communicated: bool, effects: Effects
    ) -> None:
        """Take in a message about leases. WireError if it breaks its format."""
        match message.type:
            case FailoverType.BNDUPD:
                self.last_update_mono = now.mono
                self._judge(now, message, session, effects)
            case FailoverType.BNDREPLY:
                self._answered(now, message, effects)
            case FailoverType.UPDREQ | FailoverType.UPDREQALL:
                # Never in step before: what it had before there was a partner owes nobody, and is needed all the same.
                everything = message.type is FailoverType.UPDREQALL or not communicated or self.owes_everything
                self.updates.request(message.transaction_id, everything)
            case FailoverType.POOLREQ:
                session.answer(FailoverType.POOLRESP, message.transaction_id, b"", effects.then)
                self._rebalancing.asked(self.relationship)
            case FailoverType.CONTACT:
                self.fingerprint.heard(message, effects)
            case _:  # POOLRESP: what it announces comes as BNDUPD
                pass

    # -- the partner's updates

    def _judge(self, now: Moment, message: FailoverMessage, session: Session, effects: Effects) -> None:
        """RFC 8156 7.5: every BNDUPD is answered, once what it changes is durable."""
        try:
            update = read_update(message.options)
        except RejectedUpdate as rejected:
            options = write_rejection(message.options, rejected.code, str(rejected))
            effects.note("update-refused", "warning", relationship=self.relationship.name, why=str(rejected))
            session.answer(FailoverType.BNDREPLY, message.transaction_id, options, effects.then)
            return
        is_whole = session.history is not None
        verdicts = [self._decide(now, lease, update, is_whole, effects) for lease in update.leases]
        options = session.position(effects) + write_reply(update, verdicts)
        session.answer(FailoverType.BNDREPLY, message.transaction_id, options, effects.then)

    def _why_impossible(self, now: Moment, theirs: LeaseUpdate, update: Update) -> str:
        """Return why an update can be about no lease of this relationship, whatever is known of it; empty if it can."""
        key = theirs.key
        if self._table.relationship_of(key) != self.relationship.name:
            return f"it does not belong to the relationship {self.relationship.name} here"
        if len(theirs.details) + len(update.details) > DETAILS_OCTETS_MAX:
            return f"more than {DETAILS_OCTETS_MAX} octets are said of it that are not known here"
        pools = self._table.pools_touched(key)
        if not fits(pools, key) and not (update.duid and may_be_left(pools, key)):
            return "it is no lease of a pool here, nor reserved"
        mine = self._table.get(key)
        is_new = bool(update.duid) and theirs.status in TIMED and (mine is None or mine.status not in TIMED)
        mixed = [pool for pool in pools if pool.foreign or key & 0xFF != pool.range.length] if is_new else []
        if any(self._table.overlaps_another(pool, key) for pool in mixed):
            return "a client has a prefix here that overlaps with it"
        begins = (theirs.start_time_of_state, theirs.client_last_transaction_time, theirs.partner_raw_clt_time)
        ends = (theirs.state_expiration_time, theirs.partner_lifetime, theirs.expiration_time)
        if max(begins) > now.utc + BEGINS_AHEAD_MAX_S or max(ends) > now.utc + ENDS_AHEAD_MAX_S:
            return "its times are too far ahead to be true"
        return ""

    def _decide(
        self, now: Moment, theirs: LeaseUpdate, update: Update, is_whole: bool, effects: Effects
    ) -> LeaseVerdict:
        key = theirs.key
        mine = self._table.get(key)
        whole = with_expiration(theirs, self.relationship.decline_time_s)
        refusal = self._why_impossible(now, theirs, update)
        if refusal:
            verdict = Verdict(FailoverStatus.CONFIGURATION_CONFLICT, refusal)
        elif whole is None:
            text = "an ACTIVE lease needs an end: a state-expiration-time, or a valid lifetime"
            verdict = Verdict(FailoverStatus.MISSING_BINDING_INFORMATION, text)
        else:
            theirs, pool = whole, self._table.pool_of(key)
            is_short = pool is not None and pool.gifts is not None and key & 0xFF < pool.range.length
            if pool is not None and is_short and not (update.duid and pool.holes.covers(*interval_of(key))):
                verdict = self._decide_on_gift(mine, pool, theirs, effects)
            else:
                verdict = judge(mine, theirs, update.duid, self.relationship.role, now.lapse_utc)
        if verdict.code is None:
            after = accepted(mine, theirs, update, now.utc, is_whole)
            if after != mine:
                self.updates.overtaken(key)
                # The primary counts what it takes back only once it hears so, and its hearing so may fail.
                is_taken_back = self.relationship.role is Role.SECONDARY and _is_nobodys_prefix(after)
                effects.commit.append(self._table.change(after) if is_taken_back else self._table.put(after))
            return LeaseVerdict(key)
        self.conflicts += verdict.code is FailoverStatus.ADDRESS_IN_USE
        effects.note("update-refused", "warning", relationship=self.relationship.name, key=key, why=verdict.reason)
        if verdict.tell_partner and mine is not None:
            prevailing = prevailed(mine, theirs, update.duid)._replace(owes_partner=True)
            if prevailing != mine:
                effects.commit.append(self._table.put(prevailing))
        return LeaseVerdict(key, verdict.code, verdict.reason)

    def _decide_on_gift(self, mine: Lease | None, pool: Pool, theirs: LeaseUpdate, effects: Effects) -> Verdict:
        """Decide on a large prefix that is to change hands: all of it must be available (RFC 8156 4.2.2).

        What is on record inside stands if it is newer. A lease of a client does so only if the partner knows of it.
        """
        if theirs.status not in (BindingStatus.FREE, BindingStatus.FREE_BACKUP):
            return Verdict(FailoverStatus.CONFIGURATION_CONFLICT, "no client has so short a prefix here")
        if mine is not None and mine.status in TIMED:  # of a length that was delegated before
            return Verdict(FailoverStatus.OUTDATED_BINDING_INFORMATION, "a client has it")
        if mine is not None and mine.start_time_of_state > theirs.start_time_of_state:
            return Verdict(FailoverStatus.OUTDATED_BINDING_INFORMATION, "what is known here is newer", True)
        assert pool.gifts is not None
        if theirs.status == BindingStatus.FREE and not pool.gifts.touches_given(theirs.key):
            return Verdict()  # nothing in it was the secondary's
        if mine is not None and mine.start_time_of_state == theirs.start_time_of_state:
            return Verdict()
        inner = [lease for key in balance.inside(pool, theirs.key) if (lease := self._table.get(key))]
        newer = [lease for lease in inner if lease.start_time_of_state > theirs.start_time_of_state]
        for lease in inner:
            if lease.status not in AVAILABLE and (lease.owes_partner or lease not in newer):
                return Verdict(FailoverStatus.OUTDATED_BINDING_INFORMATION, "a client has a prefix in it")
        effects.commit += [self._table.forget(lease.key) for lease in inner if lease not in newer]
        return Verdict()

    def _answered(self, now: Moment, message: FailoverMessage, effects: Effects) -> None:
        reply = read_reply(message.options)
        for key, code in self.updates.answered(now, message.transaction_id, reply, effects).items():
            self._rebalancing.rejected(now, key, code, self.relationship, effects)
        self._rebalancing.answered(message.transaction_id, reply, effects)


def _is_nobodys_prefix(lease: Lease) -> bool:
    """Say whether it is a prefix that is the primary's to give, and was never a client's."""
    return not lease.duid and lease.length != ADDRESS_LENGTH and lease.status == BindingStatus.FREE


def fits(pools: Sequence[Pool], key: int) -> bool:
    """True if a lease that touches these pools, and no others, can exist.

    It lies wholly in one of them and is one of its leases, reserved in it, or a part of it that changes hands between
    the partners. What touches no pool is reserved outside of them, or left from an earlier configuration.
    """
    length = key & 0xFF
    if not pools:
        return length != ADDRESS_LENGTH or not is_reserved_interface_id(key >> 8)
    pool = pools[0]
    first, last = interval_of(key)
    if len(pools) > 1 or first < pool.range.first or last > pool.range.last:
        return False
    is_reserved = pool.holes.covers(first, last) and (length == ADDRESS_LENGTH) is (pool.range.length == ADDRESS_LENGTH)
    if is_reserved or pool.holds(key):
        return True
    return pool.gifts is not None and length < pool.range.length


def may_be_left(pools: Sequence[Pool], key: int) -> bool:
    """True if a prefix may be of a length that its pool delegated before."""
    first, last = interval_of(key)
    is_inside = len(pools) == 1 and pools[0].range.first <= first and last <= pools[0].range.last
    return is_inside and pools[0].gifts is not None and key & 0xFF != ADDRESS_LENGTH

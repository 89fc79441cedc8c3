"""One server's end of a failover relationship: its connection, its state machine, its lease traffic (RFC 8156)."""

from __future__ import annotations

from math import inf
from typing import Final, NamedTuple

from tandem.effects.effects import Effects, Hangup
from tandem.effects.now import Moment
from tandem.effects.rules import Rules
from tandem.effects.settings import Relationship
from tandem.failover.exchange import Exchange
from tandem.failover.handshake import (
    Introduction,
    Refuse,
    Terms,
    check_clock,
    read_status,
    read_terms,
    write_status,
    write_terms,
)
from tandem.failover.history import Own, Position, split_position
from tandem.failover.machine import Machine
from tandem.failover.membership import Unsynchronized
from tandem.failover.record import Record
from tandem.failover.session import SKEW_WARN_S, Session
from tandem.failover.state_message import ToldState, read_state, write_state
from tandem.failover.states import Happening, State
from tandem.lease.space import Role
from tandem.lease.table import LeaseTable
from tandem.wire.failover import FailoverMessage, FailoverType
from tandem.wire.failover_options import FailoverStatus
from tandem.wire.reader import WireError

REDIAL_SOON_S: Final = 0.1
REDIAL_S: Final = 1.0
REDIAL_REFUSED_S: Final = 5.0
DIAL_TIMEOUT_S: Final = 15.0
WAKE_MIN_S: Final = 0.01


class Memory(NamedTuple):
    """What the disk says of a relationship when its endpoint is made."""

    record: Record | None
    last_operation: int
    """The UTC second at which this server last operated, 0 if never."""
    heard: Position | None


class Endpoint:
    """Speaks with one partner, and knows what may be done for clients meanwhile."""

    def __init__(
        self,
        relationship: Relationship,
        table: LeaseTable,
        own: Own,
        memory: Memory,
        now: Moment,
    ) -> None:
        self.relationship = relationship
        self.table = table
        self._own = own
        self._longest_lifetime_s = relationship.longest_lifetime_s
        """The longest valid lifetime since the start; a reload may have shortened it."""
        self.machine = Machine(relationship, memory.record, memory.last_operation, now)
        self.exchange = Exchange(relationship, table)
        self.session: Session | None = None
        self.aside = ""
        """Why this server does not serve although its state would let it; empty if it does."""
        self.aside_when_told = ""
        """The reason to step aside once the partner knows all; empty if there is none."""
        self.unsynchronized: Unsynchronized | None = None
        """What is not given out anew until the partner told all that it has there (see `failover.membership`)."""
        self.is_synchronized = False
        self.cannot_serve = ""
        """Why this server could not serve if it had to; empty if it could."""
        self.partner_cannot_serve = False
        self.last_refusal = ""
        self.heard: Position | None = memory.heard
        """The partner's position that was heard last (see `failover.history`)."""
        self.heard_utc = 0
        """When the partner was last heard in any way, in UTC seconds."""
        self._dial_at = now.mono
        self.machine.cut_since = max(self.machine.cut_since, self.exchange.updates.told_until)

    @property
    def role(self) -> Role:
        """This server's role."""
        return self.relationship.role

    def rules(self) -> Rules:
        """Say what may be done for clients."""
        return self.machine.rules(self.table, self.aside, self.exchange.fingerprint.withheld, self.unsynchronized)

    def next_wake(self, now: Moment) -> float:
        """Give the monotonic time at which something may be due, infinite if there is nothing."""
        due, session = inf, self.session
        if session is not None:
            due = session.dead_mono(self.relationship.keepalive_s)
            if session.established:
                due = min(due, session.next_contact_mono())
            if self.machine.ok:
                due = min(due, self.exchange.next_wake())
        elif self.role is Role.PRIMARY:
            due = self._dial_at
        if self.machine.starting:
            due = min(due, self.machine.startup_until)
        else:
            for until in self.machine.record.deadlines():
                due = min(due, now.mono + max(1, until - now.lapse_utc)) if until else due
        return max(now.mono + WAKE_MIN_S, due)

    def use(self, relationship: Relationship, now: Moment, effects: Effects) -> None:
        """Go on with changed settings; what was agreed with the partner is agreed anew."""
        self.relationship = relationship
        self._longest_lifetime_s = max(self._longest_lifetime_s, relationship.longest_lifetime_s)
        self.machine.use(relationship, now)
        self.exchange.use(relationship)
        self.hang_up(now, effects, "the configuration was read again")
        self._dial_at = now.mono

    def pump(self, now: Moment, effects: Effects) -> bool:
        """Send the partner what is due; say whether there is more to send right away."""
        if self.session is None or not self.machine.ok:
            return False
        record = self.machine.record
        may_ask = record.state is State.NORMAL and self.session.requested_mono is None
        if may_ask and self.unsynchronized is not None and self.exchange.fingerprint.has_common(self.unsynchronized):
            self.session.request_updates(False, effects.then, now)
        return self.exchange.pump(now, self.session, record.state, record.partner_state, effects)

    def holds(self, connection: int) -> bool:
        """Say whether that connection is the one in use."""
        return self.session is not None and self.session.connection == connection

    # -- connections

    def dial_failed(self, now: Moment, reason: str, refused: bool = False) -> None:
        """Hear that no connection could be made; with `refused` the partner was there and said no."""
        self.last_refusal = reason
        self._dial_at = now.mono + (REDIAL_REFUSED_S if refused else REDIAL_S)
        if refused:
            self.heard_utc = now.utc

    def connected(self, now: Moment, connection: int, peer: str, effects: Effects) -> None:
        """Begin a connection that this server, the primary, opened (6.1.1)."""
        if self.session is not None:
            effects.lines.append(Hangup(connection))
            return
        self.session = Session(connection, peer, now)
        options = write_terms(self.relationship, FailoverType.CONNECT, self.relationship.mclt_s, self._introduction())
        self.session.send(FailoverType.CONNECT, options, effects.at_once, now)

    def accept(
        self, now: Moment, session: Session, message: FailoverMessage, received_utc: int, effects: Effects
    ) -> None:
        """Take over a connection on which this server, the secondary, was sent a CONNECT (6.1.2)."""
        self.heard_utc = now.utc
        try:
            if self.role is Role.PRIMARY:
                both = "both servers are primary; the partners' files differ in who is who"
                raise Refuse(FailoverStatus.CONFIGURATION_CONFLICT, both)
            check_clock(message, received_utc)
            terms = read_terms(message, self.relationship, self._own.duid)
            if self.aside:
                raise Refuse(FailoverStatus.SERVER_SHUTTING_DOWN, self.aside)
        except Refuse as refusal:
            self.last_refusal = refusal.reason
            effects.note("connect-refused", "warning", relationship=self.relationship.name, why=refusal.reason)
            options = write_status(refusal.code, refusal.reason)
            session.answer(FailoverType.CONNECTREPLY, message.transaction_id, options, effects.at_once)
            effects.lines.append(Hangup(session.connection))
            return
        if self.session is not None:  # the primary would not dial if it still had the old one
            self.hang_up(now, effects, "the partner opened a new connection")
        self.session = session
        self._use_mclt(now, terms.mclt_s, effects)
        options = write_terms(self.relationship, FailoverType.CONNECTREPLY, terms.mclt_s, self._introduction())
        session.answer(FailoverType.CONNECTREPLY, message.transaction_id, options, effects.at_once)
        self._establish(now, terms, effects)

    def _introduction(self) -> Introduction:
        return Introduction(self.exchange.fingerprint.digest, self._own.duid, self.heard)

    def lost(self, now: Moment, reason: str, effects: Effects) -> None:
        """Hear that the connection is gone."""
        was_established = self.session is not None and self.session.established
        self._dial_at = now.mono + (REDIAL_SOON_S if was_established else REDIAL_REFUSED_S)
        self.session = None
        self.exchange.disconnected()
        if self.machine.ok:
            effects.note("partner-lost", "warning", relationship=self.relationship.name, why=reason)
        self.machine.partner_lost(now, reason, self.exchange.updates.told_until)
        self.follow(now, effects)

    def dial_at(self, mono: float) -> None:
        """Open the next connection at that monotonic time."""
        self._dial_at = mono

    def may_dial(self, now: Moment) -> bool:
        """Say whether the partner is to be called now, which is then taken as being done (6.1)."""
        due = now.mono >= self._dial_at
        if due:
            self._dial_at = now.mono + DIAL_TIMEOUT_S  # for the case that nobody says what came of it
        return due

    def waits_since(self, now: Moment) -> float:
        """Give for how many seconds the partner has owed an answer, and was not telling anything either."""
        oldest = self.exchange.updates.oldest_sent_mono()
        requested = self.session.requested_mono if self.session is not None else None
        since = [each for each in (oldest, requested) if each is not None]
        return now.mono - max(min(since), self.exchange.last_update_mono) if since else 0.0

    def hang_up(self, now: Moment, effects: Effects, reason: str, status: bytes = b"") -> None:
        session = self.session
        if session is None:
            return
        if status:
            session.send(FailoverType.DISCONNECT, status, effects.at_once, now)
        effects.lines.append(Hangup(session.connection))
        self.lost(now, reason, effects)

    def _establish(self, now: Moment, terms: Terms, effects: Effects) -> None:
        session = self.session
        assert session is not None
        session.partner_keepalive_s = terms.keepalive_s
        session.max_unacked = terms.max_unacked
        session.history = self._own.history if terms.knows_positions else None
        self.last_refusal = ""
        self.partner_cannot_serve = False
        if terms.heard is not None and not self._own.history.contains(terms.heard):
            self.roll_back(now, "the partner remembers commits of this server that its disk does not have", effects)
        session.established = True
        self.exchange.connected(session, terms.digest)
        self._send_state(now, effects)

    def roll_back(self, now: Moment, why: str, effects: Effects) -> None:
        """Recover as a server does whose disk was lost: this one runs from an older copy of it."""
        effects.note("rollback-detected", "error", relationship=self.relationship.name, why=why)
        self.machine.roll_back(now, why)
        if not self.machine.moves:
            self._commit(effects)
        self.follow(now, effects)

    def _look_for_rollback(self, now: Moment, told: ToldState, effects: Effects) -> None:
        """Detect a rollback by times alone, beside a partner that sends no positions."""
        session = self.session
        assert session is not None
        if session.history is None and self.machine.is_older_than(told, session.partner_keepalive_s):
            self.roll_back(now, f"the partner lost touch at {told.since_utc}, after this disk's last commit", effects)

    # -- messages

    def take(self, now: Moment, message: FailoverMessage, received_utc: int, effects: Effects) -> None:
        """Take in a message from the connection. WireError if it breaks its format or the protocol."""
        session = self.session
        assert session is not None
        session.heard(now, message.sent_time, received_utc)
        if session.history is not None:
            position, message = split_position(message)
            self.heard = position or self.heard
        if abs(session.skew_s) > SKEW_WARN_S and not session.skew_told:
            session.skew_told = True
            effects.note("skew-grows", "warning", relationship=self.relationship.name, seconds=session.skew_s)
        self.heard_utc = now.utc
        match message.type:
            case FailoverType.CONNECTREPLY if not session.established:
                self._connect_answered(now, message, effects)
            case FailoverType.DISCONNECT:
                self._disconnected(now, message, effects)
            case _ if not session.established:
                raise WireError(f"{message.type.name} before CONNECTREPLY")
            case FailoverType.STATE:
                self._state_received(now, message, effects)
            case FailoverType.UPDDONE:
                self._updates_done(now, message, effects)
            case _:
                self.exchange.take(now, message, session, self.machine.record.communicated, effects)

    def _connect_answered(self, now: Moment, message: FailoverMessage, effects: Effects) -> None:
        """RFC 8156 6.1.3."""
        session = self.session
        assert session is not None
        status = read_status(message)
        try:
            if status is not None:
                raise Refuse(FailoverStatus.CONFIGURATION_CONFLICT, status.message or f"status {status.status}")
            terms = read_terms(message, self.relationship, self._own.duid)
            if terms.mclt_s != self.relationship.mclt_s:
                differ = f"the secondary answers with an MCLT of {terms.mclt_s} s, not {self.relationship.mclt_s} s"
                raise Refuse(FailoverStatus.CONFIGURATION_CONFLICT, differ)
        except Refuse as refusal:
            effects.note("connect-refused", "warning", relationship=self.relationship.name, why=refusal.reason)
            reply = b"" if status is not None else write_status(refusal.code, refusal.reason)
            self.hang_up(now, effects, refusal.reason, reply)
            self.dial_failed(now, refusal.reason, refused=True)
            return
        if self.aside:
            reason = write_status(FailoverStatus.SERVER_SHUTTING_DOWN, self.aside)
            self.hang_up(now, effects, self.aside, reason)
            self.dial_failed(now, self.aside, refused=True)
            return
        self._use_mclt(now, terms.mclt_s, effects)
        self._establish(now, terms, effects)

    def _disconnected(self, now: Moment, message: FailoverMessage, effects: Effects) -> None:
        status = read_status(message)
        reason = (status.message or f"status {status.status}") if status else "no reason was given"
        self.partner_cannot_serve = status is not None and status.status == FailoverStatus.SERVER_SHUTTING_DOWN
        self.hang_up(now, effects, f"the partner disconnected: {reason}")
        self.dial_failed(now, reason, refused=True)

    def _state_received(self, now: Moment, message: FailoverMessage, effects: Effects) -> None:
        """RFC 8156 6.4; one with the STARTUP flag says that communications are OK, and moves nothing (8.4.2).

        A state of a later version of the protocol is ignored and counted: it must not end the connection.
        """
        told = read_state(message)
        if told.state is None:
            effects.note("failover-unknown-state", "warning", relationship=self.relationship.name)
            return
        self._look_for_rollback(now, told, effects)
        self.machine.partner_said(now, told.state, told.flags, told.since_utc)
        if not self.machine.moves:
            self._commit(effects)
        self.follow(now, effects)

    def _updates_done(self, now: Moment, message: FailoverMessage, effects: Effects) -> None:
        session = self.session
        if session is None or not session.is_request_done(message.transaction_id):
            return
        session.forget_request()
        self.is_synchronized = self.machine.record.state is State.NORMAL
        effects.note("updates-done", "info", relationship=self.relationship.name)
        self.happen(now, Happening.UPDDONE, effects)

    # -- states

    def happen(self, now: Moment, what: Happening, effects: Effects) -> None:
        """Move on because of something else than the partner's state."""
        self.machine.happen(now, what)
        self.follow(now, effects)

    def end_startup(self, now: Moment, effects: Effects) -> None:
        """Go on without the partner."""
        self.machine.end_startup(now)
        self.follow(now, effects)

    def follow(self, now: Moment, effects: Effects) -> None:
        """Make durable where the state machine went, tell the partner, and ask for what the new state wants."""
        moves, self.machine.moves = self.machine.moves, []
        for before, after, why in moves:
            if after is not before:
                is_alarm = before is State.NORMAL or after is State.RESOLUTION_INTERRUPTED
                names = {"relationship": self.relationship.name, "state": after.words, "was": before.words}
                effects.note("failover-state", "warning" if is_alarm else "info", **names, why=why)
        if moves:
            self.exchange.entered(now, moves[-1].after)
            self._commit(effects)
            self._send_state(now, effects)
            if self.session is not None:
                self.session.forget_request()
        if self.machine.wants_updates and self.session is not None and self.session.requested_mono is None:
            self.session.request_updates(self.machine.needs_everything, effects.then, now)

    def _send_state(self, now: Moment, effects: Effects) -> None:
        """RFC 8156 6.3: behind the commit that makes the state durable."""
        session, machine = self.session, self.machine
        if session is None or not session.established:
            return
        options = write_state(machine.record, machine.starting, machine.partner_is_starting)
        session.send(FailoverType.STATE, session.position(effects) + options, effects.then, now)

    def _use_mclt(self, now: Moment, mclt_s: int, effects: Effects) -> None:
        record = self.machine.record
        if mclt_s != record.mclt_s:
            self.remember(record.with_mclt(mclt_s, self._longest_lifetime_s, now.utc), effects)
            effects.note("mclt-changed", "warning", relationship=self.relationship.name, seconds=mclt_s)

    def tell_position(self, effects: Effects) -> None:
        """Send this server's position in a CONTACT: an idle server sends no other message that has it."""
        session = self.session
        if session is not None and session.established and session.history is not None:
            session.send(FailoverType.CONTACT, session.position(effects), effects.then, None)

    def end_precautions(self, now: Moment, effects: Effects) -> None:
        """Note that leases which this server had to allow for are over, if they are since just now."""
        if self.machine.end_precautions(now):
            self._commit(effects)

    def remember(self, record: Record, effects: Effects) -> None:
        """Take over a changed memory."""
        self.machine.record = record
        self._commit(effects)

    def _commit(self, effects: Effects) -> None:
        effects.commit.append(self.machine.record.as_fact(self.relationship.name))

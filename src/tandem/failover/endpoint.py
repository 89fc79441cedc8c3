"""One server's end of a failover relationship: its connection, its state machine, its lease traffic (RFC 8156)."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import Final

from tandem.effects.effects import Effects, Hangup
from tandem.effects.now import Moment
from tandem.effects.rules import Rules, Serve
from tandem.effects.settings import Relationship
from tandem.failover.exchange import Exchange
from tandem.failover.handshake import Refuse, check_clock, read_status, read_terms, write_status, write_terms
from tandem.failover.machine import Machine
from tandem.failover.record import Record
from tandem.failover.session import SKEW_WARN_S, Session
from tandem.failover.states import Happening, State
from tandem.lease.space import Role
from tandem.lease.table import LeaseTable
from tandem.wire import failover_options as fo
from tandem.wire.failover import FailoverMessage, FailoverType, find
from tandem.wire.failover_options import FailoverStatus, ServerFlags
from tandem.wire.option import Option, write_options
from tandem.wire.reader import WireError
from tandem.wire.times import from_wire, to_wire

REDIAL_SOON_S: Final = 0.1
REDIAL_S: Final = 1.0
REDIAL_REFUSED_S: Final = 5.0
DIAL_TIMEOUT_S: Final = 15.0
WAKE_MIN_S: Final = 0.01


class Endpoint:
    """Speaks with one partner, and knows what may be done for clients meanwhile."""

    def __init__(
        self, relationship: Relationship, table: LeaseTable, record: Record | None, last_operation: int, now: Moment
    ) -> None:
        self.relationship = relationship
        self.table = table
        self.machine = Machine(relationship, record, last_operation, now)
        self.exchange = Exchange(relationship, table)
        self.session: Session | None = None
        self.aside = ""
        """Why this server does not serve although its state would let it; empty if it does."""
        self.aside_when_told = ""
        """The reason to step aside once the partner knows all; empty if there is none."""
        self.cannot_serve = ""
        """Why this server could not serve if it had to; empty if it could."""
        self.partner_cannot_serve = False
        self.last_refusal = ""
        self.heard_utc = 0
        """When the partner was last heard in any way, in UTC seconds."""
        self._dial_at = now.mono
        self._requested = 0
        self._requested_mono = 0.0
        self.machine.cut_since = max(self.machine.cut_since, self.exchange.updates.told_until)

    @property
    def role(self) -> Role:
        """This server's role."""
        return self.relationship.role

    def rules(self) -> Rules:
        """Say what may be done for clients."""
        return self.machine.rules(self.table, self.aside, self.exchange.fingerprint.withheld)

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
        elif self.machine.record.wait_until:
            due = min(due, now.mono + max(1, self.machine.record.wait_until - now.lapse_utc))
        return max(now.mono + WAKE_MIN_S, due)

    def use(self, relationship: Relationship, now: Moment, effects: Effects) -> None:
        """Go on with changed settings; what was agreed with the partner is agreed anew."""
        self.relationship = relationship
        self.machine.use(relationship, now)
        self.exchange.use(relationship)
        self.hang_up(now, effects, "the configuration was read again")
        self._dial_at = now.mono

    def pump(self, now: Moment, effects: Effects) -> bool:
        """Send the partner what is due; say whether there is more to send right away."""
        if self.session is None or not self.machine.ok:
            return False
        record = self.machine.record
        more = self.exchange.pump(now, self.session, record.state, record.partner_state, effects)
        if self.aside_when_told and not self.exchange.updates.waiting:
            self.step_aside(now, self.aside_when_told, effects)
        return more

    def holds(self, connection: int) -> bool:
        """Say whether that connection is the one in use."""
        return self.session is not None and self.session.connection == connection

    # -- stepping aside (RFC 7031 4.7)

    def mind_service(self, now: Moment, reason: str, is_mute: bool, effects: Effects) -> None:
        """Step aside if this server cannot serve, and its partner can; come back when it can again.

        A secondary that is in step only raises an alarm: clients do not need it. But who is mute, since its disk takes
        nothing, can acknowledge nothing either, and what it was about to say is lost: the connection has to go.
        """
        if reason == self.cannot_serve:
            return
        before, self.cannot_serve = self.cannot_serve, reason
        if reason and before and self.aside == before:
            self.aside = reason  # it comes back when that is over
        if not reason:
            if self.aside == before:
                self.come_back(now, effects)
            return
        effects.note("cannot-serve", "error", relationship=self.relationship.name, why=reason)
        is_spare = self.role is Role.SECONDARY and self.machine.record.state is State.NORMAL
        can_leave = self.machine.ok and not is_spare and not self.partner_cannot_serve
        if (can_leave or is_mute) and not self.aside:
            self.step_aside(now, reason, effects)

    def step_aside(self, now: Moment, reason: str, effects: Effects) -> None:
        """Serve no more, and say so, so that the partner serves alone. A secondary in NORMAL serves nobody anyway."""
        if self.rules().serve is not Serve.NONE:
            self.machine.last_operation = now.utc
        self.aside = reason
        self.aside_when_told = ""
        effects.note("stepped-aside", "error", relationship=self.relationship.name, why=reason)
        self.hang_up(now, effects, reason, write_status(FailoverStatus.SERVER_SHUTTING_DOWN, reason))
        self._dial_at = now.mono + REDIAL_REFUSED_S

    def come_back(self, now: Moment, effects: Effects) -> None:
        """Serve again, through STARTUP; if this server was only about to step aside, it just goes on.

        While it cannot serve it stays aside, until it can.
        """
        self.aside_when_told = ""
        if self.aside and self.cannot_serve:
            self.aside = self.cannot_serve
        if not self.aside or self.cannot_serve:
            return
        effects.note("came-back", "warning", relationship=self.relationship.name)
        self.aside = ""
        self.machine.start(now, "this server serves again")
        self._dial_at = now.mono

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
        options = write_terms(
            self.relationship, FailoverType.CONNECT, self.relationship.mclt_s, self.exchange.fingerprint.digest
        )
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
            terms = read_terms(message, self.relationship)
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
        self._use_mclt(terms.mclt_s, effects)
        options = write_terms(
            self.relationship, FailoverType.CONNECTREPLY, terms.mclt_s, self.exchange.fingerprint.digest
        )
        session.answer(FailoverType.CONNECTREPLY, message.transaction_id, options, effects.at_once)
        self._establish(now, terms.keepalive_s, terms.max_unacked, terms.digest, effects)

    def lost(self, now: Moment, reason: str, effects: Effects) -> None:
        """Hear that the connection is gone."""
        was_established = self.session is not None and self.session.established
        self._dial_at = now.mono + (REDIAL_SOON_S if was_established else REDIAL_REFUSED_S)
        self.session = None
        self.exchange.disconnected()
        self._requested = 0
        if self.machine.ok:
            effects.note("partner-lost", "warning", relationship=self.relationship.name, why=reason)
        self.machine.partner_lost(now, reason, self.exchange.updates.told_until)
        self.follow(now, effects)

    def may_dial(self, now: Moment) -> bool:
        """Say whether the partner is to be called now, which is then taken as being done (6.1)."""
        due = now.mono >= self._dial_at
        if due:
            self._dial_at = now.mono + DIAL_TIMEOUT_S  # for the case that nobody says what came of it
        return due

    def waits_since(self, now: Moment) -> float:
        """Give for how many seconds the partner has owed an answer, and was not telling anything either."""
        oldest = self.exchange.updates.oldest_sent_mono()
        since = [each for each in (oldest, self._requested_mono if self._requested else None) if each is not None]
        return now.mono - max(min(since), self.exchange.last_update_mono) if since else 0.0

    def hang_up(self, now: Moment, effects: Effects, reason: str, status: bytes = b"") -> None:
        session = self.session
        if session is None:
            return
        if status:
            session.send(FailoverType.DISCONNECT, status, effects.at_once, now)
        effects.lines.append(Hangup(session.connection))
        self.lost(now, reason, effects)

    def _establish(
        self, now: Moment, keepalive_s: int, max_unacked: int, digest: bytes | None, effects: Effects
    ) -> None:
        session = self.session
        assert session is not None
        session.established = True
        session.partner_keepalive_s = keepalive_s
        session.max_unacked = max_unacked
        self.last_refusal = ""
        self.partner_cannot_serve = False
        self.exchange.connected(session, digest)
        self._send_state(now, effects)

    # -- messages

    def take(self, now: Moment, message: FailoverMessage, received_utc: int, effects: Effects) -> None:
        """Take in a message from the connection. WireError if it breaks its format or the protocol."""
        session = self.session
        assert session is not None
        session.heard(now, message.sent_time, received_utc)
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
            terms = read_terms(message, self.relationship)
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
        self._use_mclt(terms.mclt_s, effects)
        self._establish(now, terms.keepalive_s, terms.max_unacked, terms.digest, effects)

    def _disconnected(self, now: Moment, message: FailoverMessage, effects: Effects) -> None:
        status = read_status(message)
        reason = (status.message or f"status {status.status}") if status else "no reason was given"
        self.partner_cannot_serve = status is not None and status.status == FailoverStatus.SERVER_SHUTTING_DOWN
        self.hang_up(now, effects, f"the partner disconnected: {reason}")
        self.dial_failed(now, reason, refused=True)

    def _state_received(self, now: Moment, message: FailoverMessage, effects: Effects) -> None:
        """RFC 8156 6.4; one with the STARTUP flag says that communications are OK, and moves nothing (8.4.2)."""
        options = message.read_options()
        state, flags = find(options, fo.ServerState), find(options, fo.ServerFlagsOption)
        start = find(options, fo.StartTimeOfState)
        if state is None or flags is None or state.state not in State._value2member_map_:
            raise WireError("a STATE needs flags, and a state that can be told")
        since = from_wire(start.time) if start else 0
        self.machine.partner_said(now, State(state.state), ServerFlags(flags.flags & 7), since)
        if not self.machine.moves:
            self._commit(effects)
        self.follow(now, effects)

    def _updates_done(self, now: Moment, message: FailoverMessage, effects: Effects) -> None:
        if message.transaction_id != self._requested:
            return
        self._forget_request()
        effects.note("updates-done", "info", relationship=self.relationship.name)
        self.happen(now, Happening.UPDDONE, effects)

    def _forget_request(self) -> None:
        """Wait no more for an UPDDONE: it came, or was for a state that is over, and says nothing for the next one."""
        if self.session is not None and self._requested:
            self.session.finished(self._requested)
        self._requested = 0

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
            self._forget_request()
        if self.machine.wants_updates and self.session is not None and not self._requested:
            type_ = FailoverType.UPDREQALL if self.machine.lost_everything else FailoverType.UPDREQ
            self._requested = self.session.send(type_, b"", effects.then, now)
            self._requested_mono = now.mono

    def _send_state(self, now: Moment, effects: Effects) -> None:
        """RFC 8156 6.3: behind the commit that makes the state durable."""
        session, machine = self.session, self.machine
        if session is None or not session.established:
            return
        flags = ServerFlags.COMMUNICATED if machine.record.communicated else ServerFlags(0)
        if machine.starting:
            flags |= ServerFlags.STARTUP
        if machine.partner_is_starting:
            flags |= ServerFlags.ACK_STARTUP
        options: list[Option] = [
            fo.ServerState(machine.record.state),
            fo.ServerFlagsOption(flags),
            fo.StartTimeOfState(to_wire(machine.record.start_time_of_state)),
        ]
        if machine.record.partner_down_time:
            options.append(fo.PartnerDownTime(to_wire(machine.record.partner_down_time)))
        session.send(FailoverType.STATE, write_options(options), effects.then, now)

    def _use_mclt(self, mclt_s: int, effects: Effects) -> None:
        record = self.machine.record
        if mclt_s != record.mclt_s:
            largest_s = max(mclt_s, record.largest_mclt_s)
            self.remember(replace(record, mclt_s=mclt_s, largest_mclt_s=largest_s), effects)
            effects.note("mclt-changed", "warning", relationship=self.relationship.name, seconds=mclt_s)

    def remember(self, record: Record, effects: Effects) -> None:
        """Take over a changed memory."""
        self.machine.record = record
        self._commit(effects)

    def _commit(self, effects: Effects) -> None:
        effects.commit.append(self.machine.record.as_fact(self.relationship.name))

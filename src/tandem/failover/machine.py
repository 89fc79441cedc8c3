"""The state machine of an endpoint: its memory, STARTUP, and how it moves. RFC 8156 section 8.

It sends nothing. `moves` lists what happened, for whoever makes it durable and tells the partner.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, NamedTuple

from tandem.effects.now import Moment
from tandem.effects.rules import Rules, Serve
from tandem.effects.settings import Relationship
from tandem.failover.membership import Unsynchronized
from tandem.failover.record import HEARTBEAT_S, Record
from tandem.failover.session import SKEW_MAX_S
from tandem.failover.state_message import ToldState
from tandem.failover.states import BEHAVIOUR, CUT, ON, Happening, State, served, settle
from tandem.lease.holes import Holes
from tandem.lease.share import Share, Withheld, WithheldReason
from tandem.lease.space import Role
from tandem.lease.table import LeaseTable
from tandem.wire.failover_options import ServerFlags

WAITING: Final = (Serve.NONE, Serve.RENEW_OF_KNOWN)
EVERYTHING: Final = Holes([(0, (1 << 128) - 1)])
"""Withheld after a rollback: any free lease may be one that this server gave and has forgotten."""
OPERATION_MARGIN_S: Final = 2 * HEARTBEAT_S + 2 * SKEW_MAX_S
"""How long before the partner lost touch an honest server's last commit may be, beside the keepalive time."""


class Move(NamedTuple):
    """The endpoint went from one state to another, or left STARTUP, which is told although the state is the same."""

    before: State
    after: State
    why: str


class Machine:
    """Where an endpoint is, where its partner is, and what follows."""

    def __init__(self, relationship: Relationship, record: Record | None, last_operation: int, now: Moment) -> None:
        self.relationship = relationship
        self.role = relationship.role
        mclt_s = relationship.mclt_s
        self.record = record or Record(State.RECOVER, None, now.utc, mclt_s, mclt_s)
        self.last_operation = last_operation
        """The UTC second at which this server last promised anything before it started, 0 if never."""
        self.ok = False
        """Whether communications are "OK": the partner's STATE was received on this connection (6.1)."""
        self.partner_flags = ServerFlags(0)
        self.cut_since = now.utc
        self.moves: list[Move] = []
        self._had_record = record is not None
        self._rules = Rules()
        self._rules_follow: tuple[object, ...] = ()
        """What the rules were last made from."""
        self.start(now, "this server has just started")

    def start(self, now: Moment, why: str) -> None:
        """Enter STARTUP (8.3): what was recorded before is gone on with once the partner is heard."""
        self.starting = True
        self.startup_until = now.mono + self.relationship.startup_s
        self.why = why
        self._resumes = settle(self.record.state, CUT)  # 8.3.2, step 2
        if self.role is Role.SECONDARY and self._resumes is State.CONFLICT_DONE:  # it was the primary then (8.12)
            self._resumes = State.RESOLUTION_INTERRUPTED

    def use(self, relationship: Relationship, now: Moment) -> None:
        """Go on with changed settings."""
        self.relationship = relationship
        self._wait_anew(now)

    def _wait_anew(self, now: Moment) -> None:
        """Begin the wait for auto-partner-down anew: who was heard before a restart is not known after it."""
        if self.record.state is State.COMMUNICATIONS_INTERRUPTED:
            self.record = self._with_waits(replace(self.record, wait_until=0), now)

    @property
    def seen(self) -> State | None:
        """The partner's state as it counts now, None while it cannot be heard."""
        return self.record.partner_state if self.ok else CUT

    @property
    def partner_is_starting(self) -> bool:
        """Whether the partner said that it is in STARTUP."""
        return bool(self.partner_flags & ServerFlags.STARTUP)

    @property
    def needs_everything(self) -> bool:
        """True if the partner knows of leases that this server has forgotten, with its disk or with a part of it.

        It remembers a time together that this server does not (8.5.2), or this server was rolled back.
        """
        if self.record.rolled_back:
            return True
        return not self.record.communicated and bool(self.partner_flags & ServerFlags.COMMUNICATED)

    @property
    def wants_updates(self) -> bool:
        """Whether the partner is to be asked for updates now (8.5, 8.10)."""
        state = self.record.state
        if not self.ok or self.starting or not BEHAVIOUR[state].wants_updates:
            return False
        is_second = state is State.POTENTIAL_CONFLICT and self.role is Role.SECONDARY
        return not is_second or self.seen is State.CONFLICT_DONE

    def rules(
        self, table: LeaseTable, aside: str, withheld: Holes | None, unsynchronized: Unsynchronized | None = None
    ) -> Rules:
        """Return what may be done for clients; `aside` is why this server serves nobody, if it does not."""
        follow = (self.record, self.ok, self.cut_since, self.starting, aside, withheld, unsynchronized)
        if follow != self._rules_follow:
            self._rules_follow = follow
            self._rules = self._make_rules(table, aside, withheld, unsynchronized)
        return self._rules

    def _make_rules(
        self, table: LeaseTable, aside: str, withheld: Holes | None, unsynchronized: Unsynchronized | None
    ) -> Rules:
        state = self.record.state
        alone_since = self.record.partner_down_time if state is State.PARTNER_DOWN else None
        unsent_since = None if self.ok else self.cut_since
        held_back: list[Withheld] = []
        if self.record.untrusted_until and alone_since is None:
            held_back.append(Withheld(EVERYTHING, WithheldReason.ROLLED_BACK))
        if unsynchronized is not None and unsynchronized.ranges and alone_since is None:
            held_back.append(Withheld(unsynchronized.ranges, WithheldReason.NOT_SYNCHRONIZED))
        if withheld is not None:
            held_back.append(Withheld(withheld, WithheldReason.PARTNER_LACKS_POOL))
        is_agreed = unsynchronized is None or not unsynchronized.reservations
        mclt_s = self.record.largest_mclt_s
        share = Share(self.role, table, mclt_s, unsent_since, alone_since, tuple(held_back), is_agreed)
        if self.starting or aside:
            return Rules(Serve.NONE, f"failover-{'STARTUP' if self.starting else 'stepped-aside'}", share)
        limit_s = self.record.mclt_s if BEHAVIOUR[state].holds_to_mclt else None
        return Rules(served(state, self.role), f"failover-{state.words}", share, limit_s)

    # -- what moves it

    def partner_said(self, now: Moment, state: State, flags: ServerFlags, start_time_of_state: int) -> None:
        """Take in the partner's STATE (6.4). With STARTUP it says that communications are OK, and moves nothing."""
        self.partner_flags = flags
        self.record = replace(
            self.record,
            partner_state=state,
            partner_start_time_of_state=start_time_of_state,
            partner_heard=now.utc,
        )
        self.ok = True
        if self.starting:
            self._leave_startup(now)
        self._settle(now, f"the partner is in {state.words}")
        if self.needs_everything and not self.partner_is_starting:
            self.happen(now, Happening.FORGOTTEN)

    def is_older_than(self, told: ToldState, keepalive_s: int) -> bool:
        """True if this server was alive after the last commit on its disk, by what its partner's first STATE says.

        A partner that goes to COMMUNICATIONS-INTERRUPTED heard this server until at most its keepalive time before.
        A partner that was itself down then is mistaken for one that heard; that costs a wait, and no lease.
        """
        if not self.starting or not self.record.communicated or told.state is not State.COMMUNICATIONS_INTERRUPTED:
            return False
        return 0 < self.last_operation < told.since_utc - keepalive_s - OPERATION_MARGIN_S

    def roll_back(self, now: Moment, why: str) -> None:
        """Enter RECOVER as if the disk had been lost, for it is an older copy of what this server knew.

        All is asked of the partner (UPDREQALL), and the MCLT is waited for from now on: what was forgotten may have
        been promised until a moment ago. A server that already served alone stays in PARTNER-DOWN, since what it gave
        there is to be compared (`Happening.FORGOTTEN`).
        """
        self.last_operation = now.utc
        until = now.utc + self.record.largest_mclt_s
        self.record = replace(self.record, rolled_back=True, untrusted_until=until)
        self._resumes = State.RECOVER
        if self.starting or self.record.state is not State.PARTNER_DOWN:
            self._enter(now, State.RECOVER, why)

    def end_precautions(self, now: Moment) -> bool:
        """True if a precaution ended just now: against forgotten leases, or against those of a larger MCLT."""
        before = self.record
        if 0 < before.untrusted_until <= now.lapse_utc:
            self.record = replace(self.record, untrusted_until=0)
        if 0 < before.largest_mclt_until <= now.lapse_utc:
            self.record = replace(self.record, largest_mclt_s=before.mclt_s, largest_mclt_until=0)
        return self.record is not before

    def partner_lost(self, now: Moment, why: str, told_until: int) -> None:
        """Hear that communications are not OK any more; of what began up to `told_until` the partner may know."""
        if self.ok:
            self.ok = False
            self.cut_since = max(now.utc, told_until)
        self._settle(now, why)

    def end_startup(self, now: Moment) -> None:
        """Go on without the partner (8.3.2, step 6)."""
        self._leave_startup(now)
        self._settle(now, "the partner was not heard while this server waited for it")

    def happen(self, now: Moment, what: Happening) -> None:
        """Move on because of something else than the partner's state."""
        state = ON.get((self.record.state, what, self.role))
        if state is not None:
            self._enter(now, state, what.value)
            self._settle(now, what.value)

    # -- inside

    def _leave_startup(self, now: Moment) -> None:
        """RFC 8156 8.3.2, steps 5 and 6."""
        self.starting = False
        state, why = self._resumes, "it was so before the restart"
        if not self._had_record:
            why = "this server has no record of the relationship"
        elif self.record.rolled_back:
            why = "this server runs from an older copy of its disk"
        # A server that was waiting to serve did not operate, whatever the times say.
        if self.seen is State.PARTNER_DOWN and served(state, self.role) not in WAITING:
            later = self.record.partner_start_time_of_state > self.last_operation
            state = State.RECOVER if later else State.POTENTIAL_CONFLICT
            why = "the partner went on alone while this server was down"
        elif not self.ok and not self._had_record and self.relationship.start_alone:
            state, why = State.PARTNER_DOWN, "the file says start-alone, and the partner was never there"
        self._had_record = True
        if state is self.record.state:
            self.why = why
            self._wait_anew(now)
            self.moves.append(Move(state, state, why))
        else:
            self._enter(now, state, why)

    def _settle(self, now: Moment, why: str) -> None:
        """Let the state settle, whenever something that it depends on has changed (8.1)."""
        if not self.starting and not (self.ok and self.partner_is_starting):
            self._enter(now, settle(self.record.state, self.seen), why)

    def _enter(self, now: Moment, state: State, why: str) -> None:
        before = self.record.state
        if state is before:
            return
        self.why = why
        self.record = self._with_waits(self.record.moved(state, now.utc), now)
        self.moves.append(Move(before, state, why))
        if state is State.RECOVER_WAIT and not self.record.wait_until:  # 8.6.2
            self._enter(now, State.RECOVER_DONE, "neither server ever gave out a lease beside a partner")

    def _may_have_served(self, record: Record) -> bool:
        """Say whether this server may have given out leases beside its partner, whatever it remembers.

        A partner that was past recovering before this server began to was let go on by it, and it went on as well.
        `record` is about to take the place of the one that says since when this server recovers.
        """
        was_in_step = (
            record.communicated or bool(record.untrusted_until) or bool(self.partner_flags & ServerFlags.COMMUNICATED)
        )
        is_past = record.partner_state is State.COMMUNICATIONS_INTERRUPTED
        since_utc = record.partner_start_time_of_state
        recovers_since_utc = self.record.start_time_of_state
        return was_in_step or (is_past and since_utc + SKEW_MAX_S < recovers_since_utc)

    def _with_waits(self, record: Record, now: Moment) -> Record:
        match record.state:
            case State.NORMAL:
                return replace(record, communicated=True, rolled_back=False)
            case State.PARTNER_DOWN:
                return replace(record, partner_down_time=now.utc)
            case State.COMMUNICATIONS_INTERRUPTED if self.relationship.auto_partner_down_s is not None:
                return replace(record, wait_until=now.utc + self.relationship.auto_partner_down_s)
            case State.RECOVER_WAIT if self._may_have_served(record):
                # 8.6.2: until nothing can be in use any more that was promised here and forgotten.
                until = (self.last_operation or now.utc) + record.largest_mclt_s
                return replace(record, wait_until=max(until, record.untrusted_until), rolled_back=False)
            case _:
                return record

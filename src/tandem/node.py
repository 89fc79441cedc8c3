"""One whole server, pure: events go in, effects come out. The only place that knows every engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tandem.effects.effects import Answer, Effects
from tandem.effects.events import Command, Datagram, Disk, Event, Interfaces, Reload
from tandem.effects.lapse import LapseClock
from tandem.effects.now import Moment, Now
from tandem.effects.rules import Rules
from tandem.effects.settings import Settings
from tandem.lease.lease import FOREVER
from tandem.lease.table import LeaseTable
from tandem.server.engine import Engine
from tandem.server.expiry import end_leases
from tandem.server.operator import CommandError, Operator

CLOCK_STEP_MAX_S = 5
"""How far UTC may lie behind the newest time on record before serving stops."""


class Identity(NamedTuple):
    """What a server keeps for life: its DUID, and the secret that makes its choices unpredictable."""

    duid: bytes
    secret: bytes


class Node:
    """A server. `handle` is its only door."""

    def __init__(self, settings: Settings, identity: Identity, table: LeaseTable, now: Now) -> None:
        self._lapse = LapseClock(now)
        self._table = table
        self.handling: Datagram | None = None
        """The datagram being answered; if `handle` raises, the one to blame."""
        self._engine = Engine(settings, self._table, identity.duid, identity.secret)
        self._operator = Operator(self._engine)
        self._disk = Disk(True, "")
        self._clock_is_behind = False
        self._longest_promise_s = 0
        self._use_pools(settings)

    def handle(self, now: Now, events: Sequence[Event]) -> Effects:
        """Take in everything that just happened and say what is to be done about it.

        Bounded work; what is left over is done at the `wake` that is asked for.
        """
        effects = Effects()
        moment = self._lapse.moment(now, self._longest_promise_s)
        self._watch_clock(moment, effects)
        rules = self._rules()
        more = rules.may_answer and end_leases(self._table, moment.lapse_utc, effects)
        for event in events:
            match event:
                case Datagram():
                    self.handling = event
                    self._engine.receive(moment, event, rules, effects)
                case Command():
                    self._obey(moment, event, effects)
                case Disk():
                    self._disk = event
                    rules = self._rules()
                case Interfaces():
                    self._engine.use_interfaces(event.by_index)
                case Reload():
                    self._use_pools(event.settings)
                    self._engine.use(event.settings)
        self.handling = None
        effects.wake = self._next_wake(moment, more)
        return effects

    def _obey(self, now: Moment, command: Command, effects: Effects) -> None:
        """Answer an operator: what only looks is answered at once, what changes something once that is durable."""
        committed = len(effects.commit)
        try:
            result = self._operator.obey(now, command.name, command.arguments, effects)
        except CommandError as error:
            effects.at_once.append(Answer(command.ticket, None, str(error)))
        else:
            changed = len(effects.commit) > committed
            (effects.then if changed else effects.at_once).append(Answer(command.ticket, result))

    def _rules(self) -> Rules:
        if not self._disk.accepts:
            return Rules(False, "disk")
        if self._clock_is_behind:
            return Rules(False, "clock")
        return Rules()

    def _watch_clock(self, now: Moment, effects: Effects) -> None:
        """Do not serve while UTC is behind what was promised by it already."""
        behind = now.utc + CLOCK_STEP_MAX_S < self._table.newest_time
        if behind and not self._clock_is_behind:
            effects.note("clock-behind", "error", seconds=self._table.newest_time - now.utc)
        elif self._clock_is_behind and not behind:
            effects.note("clock-right", "warning")
        self._clock_is_behind = behind

    def _next_wake(self, now: Moment, more: bool) -> float | None:
        if more:
            return now.mono
        deadline = self._table.next_deadline()
        if deadline is None:
            return None
        return now.mono + max(1, deadline - now.lapse_utc)

    def _use_pools(self, settings: Settings) -> None:
        """Lay the configured pools over the table, each without what is reserved in it."""
        subnets = [subnet for link in settings.links for subnet in link.subnets]
        finite_s = [each.lifetimes.valid_s for each in subnets if each.lifetimes.valid_s != FOREVER]
        self._longest_promise_s = max(self._longest_promise_s, settings.decline_time_s, *finite_s, 0)
        reserved = [
            (key >> 8, (key >> 8) + (1 << 128 - (key & 0xFF)) - 1)
            for subnet in subnets
            for reservation in subnet.reservations
            for key in reservation.keys
        ]
        ranges = [pool.range for subnet in subnets for pool in subnet.pools]
        self._table.use_pools(
            [
                (
                    range_,
                    tuple(hole for hole in reserved if hole[0] <= range_.last and hole[1] >= range_.first),
                )
                for range_ in ranges
            ]
        )

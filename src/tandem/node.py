"""One whole server, pure: events go in, effects come out. The only place that knows every engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from typing import Final, NamedTuple

from tandem.effects.effects import Answer, Effects
from tandem.effects.events import (
    Command,
    ConnectionFailed,
    Datagram,
    Disk,
    Event,
    Interfaces,
    PartnerGone,
    PartnerOctets,
    PartnerUp,
    Reload,
    Shutdown,
)
from tandem.effects.lapse import LapseClock
from tandem.effects.now import Moment, Now
from tandem.effects.rules import Rules, Serve
from tandem.effects.settings import Settings
from tandem.failover.operator import CannotObey
from tandem.failover.relationships import Relationships
from tandem.lease.lease import FOREVER
from tandem.lease.table import LeaseTable
from tandem.server.engine import Engine
from tandem.server.expiry import end_leases
from tandem.server.operator import CommandError, Operator
from tandem.server.places import Places

UNLIMITED: Final = Rules()
"""What may be done where there is no partner."""
CLOCK_STEP_MAX_S: Final = 5
"""How far UTC may lie behind the newest time on record before serving stops."""


class Identity(NamedTuple):
    """What a server keeps for life: its DUID, and the secret that makes its choices unpredictable."""

    duid: bytes
    secret: bytes


class Node:
    """A server. `handle` is its only door."""

    def __init__(
        self,
        settings: Settings,
        identity: Identity,
        table: LeaseTable,
        now: Now,
        facts: Mapping[str, bytes] | None = None,
    ) -> None:
        self._lapse = LapseClock(now)
        self._table = table
        self.handling: Datagram | None = None
        """The datagram being answered; if `handle` raises, the one to blame."""
        self._engine = Engine(settings, self._table, identity.duid, identity.secret)
        self._operator = Operator(self._engine)
        self._disk = Disk(True, "")
        self._clock_is_behind = False
        self._interfaces: Mapping[int, tuple[str, tuple[int, ...]]] | None = None
        """Those that everything is set up for; None if it is not."""
        self._longest_promise_s = 0
        self._use_pools(settings)
        self._relationships = Relationships(settings.relationships, table, facts or {}, self._lapse.moment(now, 0))

    def handle(self, now: Now, events: Sequence[Event]) -> Effects:
        """Take in everything that just happened and say what is to be done about it.

        Bounded work; what is left over is done at the `wake` that is asked for.
        """
        effects = Effects()
        moment = self._lapse.moment(now, self._longest_promise_s)
        self._watch_clock(moment, effects)
        self._relationships.tick(moment, self._why_not(), effects)
        rules = self._rules()
        more = not self._why_not() and end_leases(self._table, moment.lapse_utc, rules, effects)
        for event in events:
            if isinstance(event, Datagram):
                self.handling = event
                self._engine.receive(moment, event, rules, effects)
            else:
                self._take(moment, event, rules, effects)
                rules = self._rules()
        self.handling = None
        self._relationships.mind_service(moment, self._why_not(), effects)
        more = self._relationships.pump(moment, effects) or more
        effects.wake = self._next_wake(moment, more)
        return effects

    def _take(self, now: Moment, event: Event, rules: Mapping[str | None, Rules], effects: Effects) -> None:
        match event:
            case Command():
                self._obey(now, event, rules, effects)
            case Disk():
                self._disk = event
            case Interfaces() if event.by_index == self._interfaces:
                pass  # one that is missing is looked for each second
            case Interfaces():
                self._interfaces = event.by_index
                self._engine.use_interfaces(event.by_index)
                self._relationships.use_links(self._engine.settings.links, event.by_index)
            case Reload():
                self._use_pools(event.settings)
                self._engine.use(event.settings, Places(event.settings.links))
                self._interfaces = None  # whatever they are, they may be for other links now
                self._relationships.use(event.settings.relationships, now, effects)
            case PartnerUp() | PartnerOctets() | PartnerGone() | ConnectionFailed() | Shutdown():
                self._relationships.take(now, event, effects)

    def _obey(self, now: Moment, command: Command, rules: Mapping[str | None, Rules], effects: Effects) -> None:
        """Answer an operator: what only looks is answered at once, what changes something once that is durable."""
        committed = len(effects.commit)
        try:
            result = self._relationships.obey(now, command.name, command.arguments, effects)
            if result is None:
                result = self._operator.obey(now, command.name, command.arguments, rules, effects)
            if command.name == "status":
                result["relationships"] = self._relationships.describe(now)
        except (CommandError, CannotObey) as error:
            effects.at_once.append(Answer(command.ticket, None, str(error)))
        except Exception as error:
            # A fault of ours, but not one that clients should suffer from, as long as nothing was changed half-way.
            if command.name not in self._operator.names or len(effects.commit) > committed:
                raise
            why = f"{type(error).__name__}: {error}"
            effects.note("command-failed", "error", command=command.name, why=why)
            said = f"The command failed through a fault of the server ({why}); it goes on. Please report it."
            effects.at_once.append(Answer(command.ticket, None, said))
        else:
            changed = len(effects.commit) > committed
            (effects.then if changed else effects.at_once).append(Answer(command.ticket, result))

    def _why_not(self) -> str:
        """Say why nobody can be served, whatever the relationship; empty if everybody can."""
        if not self._disk.accepts:
            return "disk"
        return "clock" if self._clock_is_behind else ""

    def _rules(self) -> Mapping[str | None, Rules]:
        """Give the rules by relationship; None stands for what is in none."""
        why_not = self._why_not()
        rules = self._relationships.rules()
        rules[None] = UNLIMITED
        if why_not:
            return {name: each._replace(serve=Serve.NONE, reason=why_not) for name, each in rules.items()}
        return rules

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
        due = self._relationships.next_wake(now)
        deadline = self._table.next_deadline()
        if deadline is not None:
            due = min(due, now.mono + max(1, deadline - now.lapse_utc))
        return None if due == inf else due

    def _use_pools(self, settings: Settings) -> None:
        """Lay the configured pools over the table, each without what is reserved in it."""
        subnets = [subnet for link in settings.links for subnet in link.subnets]
        finite_s = [each.lifetimes.valid_s for each in subnets if each.lifetimes.valid_s != FOREVER]
        self._longest_promise_s = max(self._longest_promise_s, settings.decline_time_s, *finite_s, 0)
        self._table.use_pools([(pool.range, pool.holes) for subnet in subnets for pool in subnet.pools])
        self._table.use_territories(
            (territory, each.name) for each in settings.relationships for territory in each.territories
        )

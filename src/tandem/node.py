"""One whole server, pure: events go in, effects come out. The only place that knows every engine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from math import inf
from typing import Any, Final, NamedTuple

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
from tandem.effects.lapse import STEP_MAX_S, LapseClock
from tandem.effects.now import Moment, Now
from tandem.effects.problem import Problem, problem
from tandem.effects.rules import Rules, Serve
from tandem.effects.settings import Settings
from tandem.failover.operator import CannotObey
from tandem.failover.relationships import Relationships
from tandem.lease.holes import Holes
from tandem.lease.lease import FOREVER
from tandem.lease.space import Interval, Range
from tandem.lease.table import LeaseTable
from tandem.server.clock_repair import BringBack, ClockRepair, MoveForward
from tandem.server.engine import Engine
from tandem.server.expiry import end_leases
from tandem.server.operator import CommandError, Operator
from tandem.server.places import Places
from tandem.server.pool_watch import PoolWatch

UNLIMITED: Final = Rules()
"""What may be done where there is no partner."""
UNSET_UTC: Final = 1_735_689_600
"""The beginning of 2025: a clock before that is not set."""
FREED_PER_CALL: Final = 128
"""Steps of freeing what a reload replaced."""
RELOAD_STEPS_PER_CALL: Final = 64
"""A step costs some microseconds, or up to a hundred if it is a pool made anew or 64 leases that are counted."""


class Identity(NamedTuple):
    """Who a server is: its DUID, the secret that makes its choices unpredictable, and which start this is."""

    duid: bytes
    secret: bytes
    incarnation: bytes = bytes(8)
    """Eight octets, random at each start: see `failover.history`."""


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
        self._now = now
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
        self._clock_jumped = False
        self._clock_since = 0
        """Since when the clock has been as it is, in UTC seconds."""
        self._repair: ClockRepair | None = None
        self._reloading: Iterator[Settings | None] | None = None
        """The steps that are left until other settings can be gone on with, which the last one gives."""
        self._freeing: Iterator[None] | None = None
        """The steps that are left until what a reload replaced is freed."""
        self._longest_promise_s = 0
        for _ in self._lay_out(settings):
            pass
        self._table.use_layout()
        self._pool_watch = PoolWatch(settings, self._table)
        moment = self._lapse.moment(now, 0)
        self._relationships = Relationships(
            settings.relationships, table, facts or {}, identity.duid, identity.incarnation, moment
        )

        self._relationships.use_ranges(_own_ranges(settings))

    def handle(self, now: Now, events: Sequence[Event]) -> Effects:
        """Take in everything that just happened and say what is to be done about it.

        Bounded work; what is left over is done at the `wake` that is asked for.
        """
        effects = Effects()
        self._now = now
        moment = self._lapse.moment(now, self._longest_promise_s)
        self._watch_clock(now, moment, effects)
        self._relationships.tick(moment, self._why_not(), effects)
        self._go_on_reloading(moment, effects)
        rules = self._rules()
        more = self._step_repair(effects)
        more = (not self._why_not() and end_leases(self._table, moment.lapse_utc, rules, effects)) or more
        for event in events:
            if isinstance(event, Datagram):
                self.handling = event
                self._engine.receive(moment, event, rules, effects)
            else:
                self._take(moment, event, rules, effects)
                rules = self._rules()
        self.handling = None
        self._relationships.mind_service(moment, self._why_not(), effects)
        more = self._relationships.pump(moment, effects) or more or self._repair is not None or self.is_reloading
        more = self._go_on_freeing() or more
        effects.wake = self._next_wake(moment, more)
        return effects

    def problems(self, now: Now, is_thorough: bool = False) -> Iterator[Problem]:
        """Return what is wrong with the server, as far as the core knows; all pools are examined if thoroughly.

        Not for the packet path. Nothing changes by it.
        """
        moment = self._lapse.moment(now, self._longest_promise_s)
        if not self._disk.accepts:
            yield problem("store-full", f"The store cannot write: {self._disk.reason}. No client is promised anything.")
        yield from self._clock_problems(now)
        yield from self._relationships.problems()
        self._pool_watch.look(self._rules(), moment.lapse_utc, is_thorough)
        yield from self._pool_watch.problems()

    @property
    def hears_all_partners(self) -> bool:
        """True if every partner is heard, or there is none."""
        return self._relationships.hear_all

    @property
    def closed_links(self) -> frozenset[str]:
        """Return the links with a pool from which nothing can be given now, as far as it was examined."""
        return self._pool_watch.closed_links

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
                self._reloading = self._reload_steps(event.settings)
                self._go_on_reloading(now, effects)
            case PartnerUp() | PartnerOctets() | PartnerGone() | ConnectionFailed() | Shutdown():
                self._relationships.take(now, event, effects)

    def _obey(self, now: Moment, command: Command, rules: Mapping[str | None, Rules], effects: Effects) -> None:
        """Answer an operator: what only looks is answered at once, what changes something once that is durable."""
        committed = len(effects.commit)
        try:
            result: Any = self._accept_clock(self._now, effects) if command.name == "clock-accept" else None
            if result is None:
                result = self._relationships.obey(now, command.name, command.arguments, effects)
            if result is None:
                result = self._operator.obey(now, command.name, command.arguments, rules, effects)
            if command.name == "status":
                result["relationships"] = self._relationships.describe(now)
        except (CommandError, CannotObey) as error:
            effects.at_once.append(Answer(command.ticket, None, str(error)))
        except Exception as fault:
            # A fault of ours, but not one that clients should suffer from, as long as nothing was changed half-way.
            if command.name not in self._operator.names or len(effects.commit) > committed:
                raise
            why = f"{type(fault).__name__}: {fault}"
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
        return "clock" if self._clock_is_behind and self._relationships.any else ""

    def _rules(self) -> Mapping[str | None, Rules]:
        """Give the rules by relationship; None stands for what is in none."""
        why_not = self._why_not()
        rules = self._relationships.rules()
        rules[None] = UNLIMITED
        if why_not:
            return {name: each._replace(serve=Serve.NONE, reason=why_not) for name, each in rules.items()}
        return rules

    @property
    def _newest_time(self) -> int:
        """Return the newest time on record, 0 if what is on record is known to be wrong."""
        return 0 if self._repair is not None else self._table.newest_time

    def _watch_clock(self, now: Now, moment: Moment, effects: Effects) -> None:
        """Note what happens to the clock.

        While UTC is behind what is on record, either it is wrong or it was. A server with a partner leaves its clients
        to that one. Without a partner there is nobody whom wrong times could mislead: it goes on, and what it recorded
        meanwhile is moved if UTC then jumps ahead.
        """
        behind, jumped_s = moment.utc + STEP_MAX_S < self._newest_time, self._lapse.ahead_s(now)
        was_behind, had_jumped = self._clock_is_behind, self._clock_jumped
        self._clock_is_behind, self._clock_jumped = behind, jumped_s > 0
        if (was_behind, had_jumped) == (behind, jumped_s > 0):
            return
        if was_behind and not behind and jumped_s and self._repair is None:
            steady_utc = self._lapse.steady_utc(now)
            longest_s = self._longest_promise_s
            moved = MoveForward(self._clock_since - longest_s, steady_utc + STEP_MAX_S, jumped_s, longest_s)
            self._repair = ClockRepair(self._table, moved)
        self._clock_since = now.utc
        if behind:
            level = "error" if self._relationships.any else "warning"
            effects.note("clock-behind", level, seconds=self._table.newest_time - now.utc)
        elif jumped_s:
            effects.note("clock-jumped", "warning", seconds=jumped_s)
        else:
            effects.note("clock-right", "warning")

    def _accept_clock(self, now: Now, effects: Effects) -> dict[str, int]:
        """Take the operator's word that UTC is right: what is on record with a later time is brought back to now."""
        behind_s = max(0, self._newest_time - now.utc)
        self._lapse.accept(now)
        self._repair = ClockRepair(self._table, BringBack(now.utc, self._longest_promise_s))
        effects.note("clock-accepted", "warning", seconds=behind_s)
        return {"seconds": behind_s, "leases": len(self._table)}

    def _step_repair(self, effects: Effects) -> bool:
        """Go on bringing times back; return whether there is more to do."""
        repair = self._repair
        if repair is None or not self._disk.accepts:
            return False
        effects.commit += repair.step()
        if not repair.is_done:
            return True
        self._repair = None
        self._table.newest_time = repair.newest
        return False

    def _clock_problems(self, now: Now) -> Iterator[Problem]:
        since, newest = self._clock_since, self._table.newest_time
        if now.utc < UNSET_UTC:
            yield problem("clock-unset", "The clock shows a time before 2025: it was never set, or lost its battery.")
        if self._clock_is_behind:
            what = f"The clock is {newest - now.utc} s behind the newest time on record"
            if self._relationships.any:
                yield problem("clock-behind", f"{what}, and no client is answered.", since=since, until=newest)
            else:
                what += ". Clients are answered; leases recorded by the later time are held for longer."
                yield problem("clock-stepped-back", what, since=since, until=newest)
        elif self._clock_jumped:
            ahead_s = self._lapse.ahead_s(now)
            what = f"The clock jumped ahead by {ahead_s} s. Leases are held as long as without the jump."
            until = now.utc + max(0, int(self._lapse.held_until_mono(self._longest_promise_s) - now.mono))
            yield problem("clock-jumped", what, since=since, until=until)

    def _next_wake(self, now: Moment, more: bool) -> float | None:
        if more:
            return now.mono
        due = self._relationships.next_wake(now)
        deadline = self._table.next_deadline()
        if deadline is not None:
            due = min(due, now.mono + max(1, deadline - now.lapse_utc))
        return None if due == inf else due

    @property
    def is_reloading(self) -> bool:
        """Whether settings that were taken in are not gone on with yet."""
        return self._reloading is not None

    def _go_on_reloading(self, now: Moment, effects: Effects) -> None:
        """Do some steps of a reload; with the last one, go on with the new settings."""
        if self._reloading is None:
            return
        settings = next(filter(None, islice(self._reloading, RELOAD_STEPS_PER_CALL)), None)
        if settings is None:
            return
        self._reloading = None
        before, places = self._engine.settings, self._engine.places
        freeing = self._table.use_layout()
        self._pool_watch = PoolWatch(settings, self._table)
        self._engine.use(settings, self._places)
        self._relationships.use(settings.relationships, now, effects)
        self._relationships.use_ranges(_own_ranges(settings))
        if self._interfaces is not None:
            self._relationships.use_links(settings.links, self._interfaces)
        replaced = [*before.links, *before.relationships, *places.indexed, places]
        self._freeing = chain(self._freeing or (), freeing, _free(replaced))

    def _go_on_freeing(self) -> bool:
        """Free some of what a reload replaced; return whether there is more."""
        if self._freeing is not None and sum(1 for _ in islice(self._freeing, FREED_PER_CALL)) < FREED_PER_CALL:
            self._freeing = None
        return self._freeing is not None

    def _reload_steps(self, settings: Settings) -> Iterator[Settings | None]:
        """Index the links and lay out the pools of settings, a bounded part with each step; give them with the last."""
        self._places = Places(())
        for _ in self._places.index(settings.links):
            yield None
        for _ in self._relationships.prepare_ranges(settings.relationships, _own_ranges(settings)):
            yield None
        for _ in self._lay_out(settings):
            yield None
        yield settings

    def _lay_out(self, settings: Settings) -> Iterator[None]:
        """Lay out the pools of settings in the table, and note the longest lifetime, a bounded part with each step."""
        self._longest_promise_s = max(self._longest_promise_s, settings.decline_time_s)
        for link in settings.links:
            finite_s = {each.lifetimes.valid_s for each in link.subnets} - {FOREVER}
            self._longest_promise_s = max(self._longest_promise_s, *finite_s, 0)
            yield
        yield from self._table.lay_out_territories(
            (territory, each.name) for each in settings.relationships for territory in each.territories
        )
        yield from self._table.lay_out(_pools(settings))


def _free(replaced: list[Any]) -> Iterator[None]:
    """Free what nothing else refers to any more, one after the other from the end."""
    while replaced:
        del replaced[-1]
        yield


def _pools(settings: Settings) -> Iterator[tuple[Range, Holes]]:
    """Yield the pools, each with what is reserved in it."""
    return ((pool.range, pool.holes) for link in settings.links for subnet in link.subnets for pool in subnet.pools)


def _own_ranges(settings: Settings) -> Iterator[Interval]:
    """Return the ranges that a server serves without a partner."""
    for link in settings.links if settings.relationships else ():
        for subnet in link.subnets if link.relationship is None else ():
            yield subnet.first, subnet.last
            for pool in subnet.pools:
                yield pool.range.first, pool.range.last

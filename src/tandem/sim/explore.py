"""All that a pair of endpoints can come to: RFC 8156 section 8, explored to the end over the product's own `Machine`.

A configuration is two endpoints as far as they matter, and what is on its way between them. Each step builds a real
`Machine` out of an abstract endpoint, has it do one thing, and abstracts again. What is left out, and why it may be:

- Times. A `Machine` asks whether its partner went on alone after it last operated, and whether a wait is over. Either
  answer is explored: waits, auto-partner-down and STARTUP may end at any moment. So is `start-alone`, at each start.
- The partner's state and flags while it is not heard: its next STATE replaces them before anything looks.
- CONNECT and CONNECTREPLY: until the first STATE comes nothing depends on the connection, so that what an endpoint
  does meanwhile could as well be done before or after. Both have the connection at once.
- BNDUPDs, and what makes UPDREQALL differ: UPDDONE follows an UPDREQ at any distance.
- A STATE that repeats the one right before it: each step ends settled beside what was heard last, so that to hear it
  again changes nothing and is answered with nothing. This is what bounds the queues.
- Stepping aside: who does is a server that lost its connection and makes no other until it comes back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from itertools import product
from typing import NamedTuple

from tandem.effects.now import Moment
from tandem.effects.rules import Serve
from tandem.effects.settings import Relationship
from tandem.failover.machine import Machine, Move
from tandem.failover.record import Record
from tandem.failover.states import ON, WHEN_PARTNER_IS, Happening, State, served
from tandem.lease.space import Role
from tandem.wire.failover_options import ServerFlags

NOW = Moment(1000.0, 1000, 1000)
ALONE_SINCE = 500

Pair = tuple[State, State]
OnDisk = tuple[State, bool, bool]
Arc = tuple[Role, State, str, State]
"""Whose state changed: from which, why in the words of the `Machine`, and to which."""
TableRow = tuple[State, State | None] | tuple[State, Happening, Role]
S = State
NOTHING = (S.RECOVER, False, False)


class Kind(IntEnum):
    """Whether an event is a message, has to come soon, may come by itself, has to come late, or comes from outside."""

    MESSAGE, SOON, TIMER, LATE, FAULT = range(5)


@dataclass(frozen=True, slots=True, eq=False)
class Event:
    """What an endpoint can meet with. Each is one object, as is each `Side`: so they are compared."""

    words: str
    kind: Kind = Kind.SOON
    happening: Happening | None = None
    state: State | None = None
    flags: int = 0


RESTART = Event("starts")
CONNECT = Event("connects with it")
LOSS_NOTICED = Event("notices that the connection is lost")
STARTUP_OVER = Event("ends STARTUP")
UPDREQ = Event("hears UPDREQ", Kind.MESSAGE)
ANSWERED = Event("has sent all updates", Kind.LATE)
UPDDONE = Event("hears UPDDONE", Kind.MESSAGE, Happening.UPDDONE)
WAIT_OVER = Event("has waited for the MCLT", Kind.LATE, Happening.WAIT_OVER)
AUTO_PARTNER_DOWN = Event("goes on alone by auto-partner-down", Kind.TIMER, Happening.AUTO_PARTNER_DOWN)
PARTNER_DOWN = Event("is told that its partner is down", Kind.FAULT, Happening.PARTNER_IS_DOWN)
LOSS = Event("loses the connection", Kind.FAULT)
CRASH = Event("dies", Kind.FAULT)
DISK_LOST = Event("dies and loses its disk", Kind.FAULT)
COME_BACK = Event("comes back after it stepped aside", Kind.FAULT)
OLD_RECORD = Event("gets an old record back, as may its partner", Kind.FAULT)


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """One endpoint, abstract. Of one that is dead only the record is left."""

    role: Role
    is_alive: bool
    state: State
    has_record: bool
    communicated: bool
    is_starting: bool
    seen: State | None
    partner_flags: ServerFlags
    is_linked: bool
    """Whether it holds a connection, though its partner may have lost it."""
    awaits_updates: bool


class Configuration(NamedTuple):
    """Two endpoints, and what is on its way to each: STATE, UPDREQ and UPDDONE in the order in which they come."""

    primary: Side
    secondary: Side
    to_primary: tuple[Event, ...] = ()
    to_secondary: tuple[Event, ...] = ()

    @property
    def pair(self) -> Pair:
        """The states of both."""
        return self.primary.state, self.secondary.state

    @property
    def is_at_rest(self) -> bool:
        """Whether both hear each other and all is said: what ends it is an update, a wait, or comes from outside."""
        mine, partner, *mail = self
        is_linked = mine.is_linked and partner.is_linked and mine.seen is not None and partner.seen is not None
        return is_linked and not any(mail) and not mine.is_starting and not partner.is_starting


class Outcome(NamedTuple):
    """What an event makes of an endpoint, and what that tells its partner."""

    side: Side
    sent: tuple[Event, ...] = ()
    arcs: tuple[Arc, ...] = ()
    rows: tuple[TableRow, ...] = ()


class Step(NamedTuple):
    """A step out of a configuration: what happens to which endpoint, and what that leads to."""

    role: Role
    event: Event
    after: Configuration


_side = cache(Side)
_state_message = cache(Event)


def _dead(role: Role, state: State, has_record: bool, communicated: bool) -> Side:
    return _side(role, False, state, has_record, communicated, False, None, ServerFlags(0), False, False)


def _machine(side: Side, start_alone: bool, last_operation: int) -> Machine:
    relationship = Relationship("pair", side.role, "partner", 60, 10, 5, 60, start_alone, 50, True, (), (), 0, 0, b"")
    wait_until = NOW.utc + 1 if side.state is S.RECOVER_WAIT else 0  # where there is none, the state is left at once
    record = Record(side.state, None, 0, 60, 60, side.communicated, side.seen, wait_until=wait_until)
    machine = Machine(relationship, record if side.has_record else None, last_operation, NOW)
    if side.is_alive:
        machine.starting = side.is_starting
        machine.ok = side.seen is not None
        machine.partner_flags = side.partner_flags
    return machine


def _meet(machine: Machine, event: Event) -> None:
    if event.state is not None:
        machine.partner_said(NOW, event.state, ServerFlags(event.flags), ALONE_SINCE)
    elif event.happening is not None:
        if event is PARTNER_DOWN and machine.starting:  # as failover/operator does
            machine.end_startup(NOW)
        machine.happen(NOW, event.happening)
    elif event is STARTUP_OVER:
        machine.end_startup(NOW)
    elif event in (LOSS, LOSS_NOTICED):
        machine.partner_lost(NOW, "the partner is lost", 0)
    elif event is COME_BACK:
        machine.start(NOW, event.words)


def _outcome(side: Side, event: Event, machine: Machine) -> Outcome:
    """Abstract from a `Machine` that met with an event, and say what `Endpoint.follow` sends then."""
    record, starting = machine.record, machine.starting
    assert record.wait_until or record.state is not S.RECOVER_WAIT
    is_linked = event is CONNECT or (side.is_linked and event not in (LOSS, LOSS_NOTICED))
    awaits_updates = side.awaits_updates and is_linked and event is not UPDDONE
    sent: tuple[Event, ...] = (UPDDONE,) if event is ANSWERED else ()
    if is_linked and (machine.moves or event is CONNECT):
        flags = ServerFlags.STARTUP * starting | ServerFlags.COMMUNICATED * record.communicated
        words = f"hears {record.state.words}{' in STARTUP' * starting}"
        sent = (_state_message(words, Kind.MESSAGE, None, record.state, flags),)
    if is_linked and machine.wants_updates and not awaits_updates:
        awaits_updates = True
        sent += (UPDREQ,)
    heard = machine.partner_flags if machine.ok else ServerFlags(0)
    known = (record.state, side.has_record or not starting, record.communicated, starting, machine.seen, heard)
    arcs = tuple((side.role, move.before, move.why, move.after) for move in machine.moves)
    # The first move of an endpoint in STARTUP is made by 8.3.2, and by no row.
    rows = tuple(row for move in machine.moves[side.is_starting :] for row in _rows(machine, move))
    return Outcome(_side(side.role, True, *known, is_linked, awaits_updates), sent, arcs, rows)


def _rows(machine: Machine, move: Move) -> list[TableRow]:
    """Give the rows of the tables that made a move."""
    role, state = machine.role, move.before
    for happening in Happening:
        if happening.value == move.why and ON.get((state, happening, role)) is move.after:
            return [(state, happening, role)]
    rows: list[TableRow] = []
    while state is not move.after and (state, machine.seen) in WHEN_PARTNER_IS:
        rows.append((state, machine.seen))
        state = WHEN_PARTNER_IS[state, machine.seen]
    return rows if state is move.after else []


def _outcomes(side: Side, event: Event) -> Iterator[Outcome]:
    """Give all that an event can make of an endpoint."""
    if event is CRASH:
        yield Outcome(_dead(side.role, side.state, side.has_record, side.communicated))
    elif event is DISK_LOST:
        yield Outcome(_dead(side.role, S.RECOVER, False, False))
    else:  # only who is in STARTUP looks at these
        for start_alone in (False, True)[: 1 + side.is_starting]:
            for last_operation in (ALONE_SINCE - 1, ALONE_SINCE)[: 1 + side.is_starting]:
                machine = _machine(side, start_alone, last_operation)
                _meet(machine, event)
                yield _outcome(side, event, machine)


def _events(mine: Side, partner: Side, mail: tuple[Event, ...], sent: tuple[Event, ...]) -> Iterator[Event]:
    """Give what can happen to an endpoint now, beside that it connects."""
    yield DISK_LOST
    if not mine.is_alive:
        yield RESTART
        return
    yield CRASH
    if mail:
        yield mail[0]
    if partner.awaits_updates and mine.is_linked and UPDREQ not in mail and UPDDONE not in sent:
        yield ANSWERED
    if mine.is_linked:  # until it notices that its partner left, what was on its way may come
        yield LOSS if partner.is_linked else LOSS_NOTICED
    else:
        yield COME_BACK
    if mine.state is not S.PARTNER_DOWN:
        yield PARTNER_DOWN
    if mine.is_starting:
        yield STARTUP_OVER
    elif mine.state is S.RECOVER_WAIT:
        yield WAIT_OVER
    elif mine.state is S.COMMUNICATIONS_INTERRUPTED and mine.seen is None:
        yield AUTO_PARTNER_DOWN


class Exploration:
    """All configurations of two servers that are new, and then of two that may get any records back.

    They are numbered by how many steps it takes to reach them. Those from `restored` on need an old record.
    """

    def __init__(self) -> None:
        self._met: dict[tuple[Side, Event], dict[Outcome, None]] = {}
        self.numbers: dict[Configuration, int] = {}
        self.configurations: list[Configuration] = []
        self.came_by: list[tuple[int, Step]] = []
        """For each, the one before it, and the step."""
        self.after: list[dict[int, Kind]] = []
        """For each, those that follow without anything from outside."""
        self._explore([NOTHING])
        self.restored = len(self.configurations)
        self._explore([NOTHING, *product(S, (True,), (False, True))])

    def _explore(self, records: Iterable[OnDisk]) -> None:
        for mine, partner in product(records, repeat=2):
            begin = Configuration(_dead(Role.PRIMARY, *mine), _dead(Role.SECONDARY, *partner))
            self._number(0, Step(Role.PRIMARY, OLD_RECORD, begin))
        while len(self.after) < len(self.configurations):
            number = len(self.after)
            following: dict[int, Kind] = {}
            for step in self.steps(self.configurations[number]):
                after = self._number(number, step)
                if step.event.kind is not Kind.FAULT:
                    following[after] = min(step.event.kind, following.get(after, Kind.FAULT))
            self.after.append(following)

    def _number(self, before: int, step: Step) -> int:
        number = self.numbers.setdefault(step.after, len(self.configurations))
        if number == len(self.configurations):
            self.configurations.append(step.after)
            self.came_by.append((before, step))
        return number

    def steps(self, configuration: Configuration) -> Iterator[Step]:
        """Give each step that can be taken."""
        one, other, to_one, to_other = configuration
        for mine, partner, mail, sent in (configuration, (other, one, to_other, to_one)):
            for event in _events(mine, partner, mail, sent):
                for side, told, _, _ in self._outcomes(mine, event):
                    rest, posted = mail[event in mail[:1] :] if side.is_linked else (), sent
                    for message in told if side.is_linked and partner.is_linked else ():
                        posted = posted if message in posted[-1:] else (*posted, message)
                    after = (side, partner, rest, posted) if mine is one else (partner, side, posted, rest)
                    yield Step(mine.role, event, Configuration(*after))
        if one.is_alive and other.is_alive and not one.is_linked and not other.is_linked:
            (mine, hello, _, _), (partner, answer, _, _) = (
                *self._outcomes(one, CONNECT),
                *self._outcomes(other, CONNECT),
            )
            yield Step(one.role, CONNECT, Configuration(mine, partner, answer, hello))

    def _outcomes(self, side: Side, event: Event) -> dict[Outcome, None]:
        if (side, event) not in self._met:
            self._met[side, event] = dict.fromkeys(_outcomes(side, event))
        return self._met[side, event]

    def arcs(self) -> list[Arc]:
        """Give all transitions that were made."""
        arcs = dict.fromkeys(arc for met in self._met.values() for outcome in met for arc in outcome.arcs)
        return [arc for arc in arcs if arc[1] is not arc[3]]

    def unused_rows(self) -> list[TableRow]:
        """Give the rows of the tables that made no transition."""
        used = {row for met in self._met.values() for outcome in met for row in outcome.rows}
        rows: tuple[TableRow, ...] = (*WHEN_PARTNER_IS, *ON)
        return [row for row in rows if row not in used]

    def way(self, number: int) -> str:
        """Say in words how a configuration is reached in the fewest steps, and in which states the two are there."""
        words = [" and ".join(state.words for state in self.configurations[number].pair)]
        while number:
            number, step = self.came_by[number]
            words.insert(0, f"the {step.role.name.lower()} {step.event.words}")
        return ", ".join(words)

    def followed_by(self, number: int, most: Kind) -> dict[Pair, None]:
        """Give the pairs at rest that a configuration can come to next, by what is at most of a kind."""
        seen, pairs = [number], dict[Pair, None]()
        for here in seen:  # it grows meanwhile
            if self.configurations[here].is_at_rest:
                pairs[self.configurations[here].pair] = None
            else:
                seen += [each for each, kind in self.after[here].items() if kind <= most and each not in seen]
        return pairs


MAY_LAST_BESIDE: dict[State, tuple[State, ...]] = {
    S.NORMAL: (S.NORMAL,),  # 8.8: all is resolved before, and 8.8.2: it is left if the partner is elsewhere
    S.COMMUNICATIONS_INTERRUPTED: (S.RECOVER, S.RECOVER_WAIT),  # 8.9.2: all others end it
    S.PARTNER_DOWN: (S.RECOVER, S.RECOVER_WAIT),  # 8.4.2: all others end it
    S.POTENTIAL_CONFLICT: (S.POTENTIAL_CONFLICT, S.CONFLICT_DONE, S.RECOVER_WAIT),  # 8.10.2; 8.6.2 waits beside any
    S.RECOVER: (S.COMMUNICATIONS_INTERRUPTED, S.PARTNER_DOWN, S.RECOVER, S.RECOVER_WAIT),  # 8.5.2; the others leave
    S.RECOVER_WAIT: tuple({*S} - {S.NORMAL, S.RECOVER_DONE, S.RESOLUTION_INTERRUPTED}),  # 8.6.2; these leave
    S.RECOVER_DONE: (),  # 8.7: it exists for an interlocked transition; one of the two goes on
    S.RESOLUTION_INTERRUPTED: (),  # 8.11.2: any partner that is heard ends it
    S.CONFLICT_DONE: (S.POTENTIAL_CONFLICT, S.RECOVER_WAIT),  # 8.12.2: until the secondary is NORMAL
}
"""Beside which states of its partner an endpoint may stay while all messages are delivered."""


def why_not_beside(primary: State, secondary: State) -> str:
    """Say why two endpoints may not stay so while they hear each other and all is said; empty if they may."""
    if secondary not in MAY_LAST_BESIDE[primary] or primary not in MAY_LAST_BESIDE[secondary]:
        return "one has to leave its state beside the other"
    if secondary is S.CONFLICT_DONE:
        return "only a primary is ever in CONFLICT-DONE"  # 8.12
    if served(primary, Role.PRIMARY) is served(secondary, Role.SECONDARY) is Serve.ALL:
        return "both answer every client"  # 8.8.1: only who is out of touch, or the other unresponsive, does
    return ""


def _why_not(primary: Side, secondary: Side) -> str:
    is_right = primary.seen is secondary.state and secondary.seen is primary.state
    return why_not_beside(primary.state, secondary.state) if is_right else "one takes the other to be elsewhere"


def illegal_pairs(found: Exploration) -> list[str]:
    """Give the pairs at rest that may not be, with the way to each."""
    faults: dict[tuple[Pair, str], str] = {}
    for number, here in enumerate(found.configurations):
        if here.is_at_rest and (why := _why_not(here.primary, here.secondary)):
            faults.setdefault((here.pair, why), f"{why}: {found.way(number)}")
    return list(faults.values())


def dead_ends(found: Exploration) -> list[str]:
    """Give what keeps a pair from NORMAL: where nothing has to come any more, and where it can go round for ever.

    If there is neither, every sequence of steps without faults ends with both in NORMAL and in touch, however unfair.
    """
    faults: list[str] = []
    before: list[list[int]] = [[] for _ in found.after]
    for number, following in enumerate(found.after):
        for each in following:
            before[each].append(number)
        here = found.configurations[number]
        is_over = here.is_at_rest and here.pair == (S.NORMAL, S.NORMAL)
        if not is_over and all(kind is Kind.TIMER for kind in following.values()):
            faults.append(f"nothing has to happen any more: {found.way(number)}")
    left = [len(following) for following in found.after]
    ended = [number for number, count in enumerate(left) if not count]
    for number in ended:  # it grows meanwhile, by those of which all that follows comes to an end
        for each in before[number]:
            left[each] -= 1
            if not left[each]:
                ended.append(each)
    number, passed = next((number for number, count in enumerate(left) if count), -1), set[int]()
    while number >= 0 and number not in passed:
        passed.add(number)
        number = next(each for each in found.after[number] if left[each])
    return [*faults, f"it goes round: {found.way(number)}"] if passed else faults

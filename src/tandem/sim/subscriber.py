"""A client as RFC 9915 has it, with habits of its own. Pure: it says what it sends, and takes in what it hears.

Who carries its messages is up to its user: the simulated world, the load generator and the demo all live with these.
Each identity association holds one lease. What a client can be made to do: `come`, `leave`, `give_up`, `ask`, `move`,
`rename`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from tandem.lease.lease import address_of, ia_code_of, key_of
from tandem.sim.chance import Chance
from tandem.sim.client import ASKED_FOR
from tandem.wire.message import Message, MessageType
from tandem.wire.option import Option
from tandem.wire.options import (
    ClientId,
    ElapsedTime,
    IaAddress,
    IaNa,
    IaPd,
    IaPrefix,
    RapidCommit,
    ServerId,
    Status,
    StatusCode,
)

COLLECTS_S = 1.0
"""How long advertisements are waited for (RFC 9915 18.2.1)."""
SOLICIT_MAX_S = 120.0
REQUESTS_MAX = 10
GIVING_UP_MAX = 4
LAST_MINUTE = 0.1
"""Of its lifetime, how much a lease has left when who waits till the last minute asks to keep it."""
Ia = tuple[int, int]
"""The option code of an IA type, and an IAID."""
EXTENDING = (MessageType.RENEW, MessageType.REBIND)
GIVING_UP = (MessageType.RELEASE, MessageType.DECLINE)
FIRST_S = {
    MessageType.SOLICIT: 1.0,
    MessageType.REQUEST: 1.0,
    MessageType.CONFIRM: 1.0,
    MessageType.RENEW: 10.0,
    MessageType.REBIND: 10.0,
    MessageType.RELEASE: 1.0,
    MessageType.DECLINE: 1.0,
}
"""How long it waits before it says a thing again; then about twice as long each time (RFC 9915 7.6, 15)."""
LAST_S = {MessageType.SOLICIT: SOLICIT_MAX_S, MessageType.REQUEST: 30.0, MessageType.CONFIRM: 4.0}
LONGEST_S = 600.0


class Hold:
    """A lease in a client's hands, until a time by its own clock."""

    __slots__ = ("ia", "is_forgotten", "key", "t1", "t2", "until", "valid_s", "void")

    def __init__(self, key: int, ia: Ia, until: float, valid_s: int) -> None:
        self.key, self.ia, self.until, self.valid_s = key, ia, until, valid_s
        self.t1 = self.t2 = until
        self.void = ""
        """Why no server can be held to it; empty if they can. Only who judges servers sets this, and the next."""
        self.is_forgotten = False
        """Whether no server knows of it any more: it is nobody else's, but cannot be extended."""


class Heard(NamedTuple):
    """What a client made of an answer: what it had asked, what it held before, and what it was told of which lease."""

    asked: MessageType
    before: dict[int, Hold]
    told: dict[int, int]
    """Valid lifetimes by key; 0 is one not to be used any more."""
    unbound: tuple[Ia, ...]
    """What the server knows no binding for."""
    server: bytes
    since: float
    """When the question was first put."""


class Question:
    """What a client said last and is yet to be answered, and when it says so again."""

    __slots__ = ("again", "first", "ias", "message", "tries", "wait_s")

    def __init__(self, message: Message, ias: list[Ia], now: float) -> None:
        self.message = message
        self.ias = ias
        self.first = now
        self.tries = 1
        self.wait_s = FIRST_S[MessageType(message.type)]
        self.again = now


class Subscriber:
    """One client. `due` is when `act` is to be called next."""

    def __init__(
        self, number: int, ias: Iterable[Ia], chance: Chance, style: str = "punctual", rapid_commit: bool = False
    ) -> None:
        self.number = number
        self.duid = _duid(number, 0)
        self.ias = tuple(ias)
        self.style = style
        self.holds: dict[int, Hold] = {}
        self.is_on = False
        self.question: Question | None = None
        self.due = float("inf")
        self._chance = chance
        self._rapid_commit = rapid_commit
        self._names = 0
        self._server: bytes | None = None
        self._offers: list[Message] = []
        self._solicit_at = 0.0
        self._tries = 0

    # -- what it is made to do

    def come(self, now: float) -> None:
        """Be there, look after one's leases, and ask for what is missing without a wait."""
        self.is_on = True
        if self.question is not None and self.question.message.type == MessageType.SOLICIT:
            self.question = None
        self._tries = 0
        self._solicit_at = now + self._chance.between(0.0, 1.0)
        self._plan(now)

    def leave(self) -> None:
        """Be gone without a word. The leases are still in use where it goes on, but nobody extends them."""
        self.is_on = False
        self.question = None
        self.due = float("inf")

    def rename(self) -> None:
        """Be gone, and somebody else with the same identity associations in one's place."""
        self.leave()
        self._names += 1
        self.duid = _duid(self.number, self._names)
        self.holds = {}

    def give_up(self, now: float, type_: MessageType) -> list[int]:
        """Release all leases, or decline the addresses; give the keys of those, which are not used from here on."""
        self.held(now)
        gone = [key for key in self.holds if type_ is MessageType.RELEASE or ia_code_of(key) == IaNa.code]
        if not gone or self._server is None or self.question is not None:
            return []
        self._say(now, type_, self._server, {key: self.holds.pop(key).ia for key in gone})
        self._solicit_at = now if type_ is MessageType.DECLINE else float("inf")
        return gone

    def ask(self, now: float, type_: MessageType) -> None:
        """Renew or rebind before it is time to."""
        if self.is_on and self.held(now) and self.question is None and (self._server or type_ is MessageType.REBIND):
            self._say(now, type_, None if type_ is MessageType.REBIND else self._server, self._named())

    def move(self, now: float) -> None:
        """Come to a link, maybe another one: ask whether the leases fit it (RFC 9915 18.2.12)."""
        held = self.held(now)
        if not self.is_on or not held:
            self.question = None
        elif all(ia_code_of(key) == IaNa.code for key in held):
            self._say(now, MessageType.CONFIRM, None, self._named())
        else:
            self._say(now, MessageType.REBIND, None, self._named())
        self._plan(now)

    # -- what it says

    @property
    def asks(self) -> MessageType | None:
        """What it waits for an answer to, None if to nothing."""
        return None if self.question is None else MessageType(self.question.message.type)

    def act(self, now: float) -> Message | None:
        """Give what is to be sent now, if it is time for anything."""
        message = self._next(now) if self.is_on and now >= self.due else None
        self._plan(now)
        return message

    def held(self, now: float) -> list[int]:
        """Give the keys of the leases that it may use now."""
        if any(hold.until <= now for hold in self.holds.values()):
            self.holds = {key: hold for key, hold in self.holds.items() if hold.until > now}
        return list(self.holds)

    def missing(self, now: float) -> list[Ia]:
        """Give the identity associations that it has no lease for."""
        self.held(now)
        served = {hold.ia for hold in self.holds.values()}
        return [ia for ia in self.ias if ia not in served]

    def _next(self, now: float) -> Message | None:
        question = self.question
        if question is not None and question.message.type == MessageType.SOLICIT and self._offers:
            self._choose(now)
        elif question is None or not self._goes_on(now, question):
            self.question = None
            held = self.held(now)
            if held and now >= self._rebinds_at():
                self._say(now, MessageType.REBIND, None, self._named())
            elif held and now >= self._extends_at():
                self._say(now, MessageType.RENEW, self._server, self._named())
            elif now >= self._solicit_at and self.missing(now):
                self._say(now, MessageType.SOLICIT, None, {}, self.missing(now))
        question = self.question
        return self._put(now, question) if question is not None and now >= question.again else None

    def _goes_on(self, now: float, question: Question) -> bool:
        """Say whether there is still a point in what was asked."""
        match question.message.type:
            case MessageType.RENEW:
                return bool(self.held(now)) and now < self._rebinds_at()
            case MessageType.REBIND:
                return bool(self.held(now))
            case MessageType.REQUEST:
                return question.tries <= REQUESTS_MAX
            case MessageType.SOLICIT:
                return question.ias == self.missing(now) and not (self.holds and now >= self._extends_at())
            case _:
                return question.tries <= GIVING_UP_MAX

    def _rebinds_at(self) -> float:
        """Give when it asks any server to keep what it has."""
        if self.style != "at the last minute":
            return min(hold.t2 for hold in self.holds.values())
        return min(max(hold.t2, hold.until - max(8.0, hold.valid_s * LAST_MINUTE)) for hold in self.holds.values())

    def _extends_at(self) -> float:
        """Give when it first asks to keep what it has."""
        if self.style != "punctual" or self._server is None:
            return self._rebinds_at()
        return min(hold.t1 for hold in self.holds.values())

    def _choose(self, now: float) -> None:
        """Ask for what was advertised; if nothing of use was, go on soliciting."""
        offer = self._chance.pick(self._offers)
        self._offers = []
        told = {key: ia for key, (valid_s, ia) in _told(offer).items() if valid_s}
        if told:
            self._say(now, MessageType.REQUEST, _server(offer), told)

    def _named(self) -> dict[int, Ia]:
        return {key: hold.ia for key, hold in self.holds.items()}

    def _say(
        self, now: float, type_: MessageType, server: bytes | None, named: Mapping[int, Ia], beside: Iterable[Ia] = ()
    ) -> None:
        """Begin an exchange about these leases, and about identity associations without any."""
        options: list[Option] = [ClientId(self.duid), ElapsedTime(0), ASKED_FOR]
        options += [] if server is None else [ServerId(server)]
        options += [RapidCommit()] if type_ is MessageType.SOLICIT and self._rapid_commit else []
        ias = list(dict.fromkeys((*named.values(), *beside)))
        for code, iaid in ias:
            inner = tuple(_option(key) for key, ia in named.items() if ia == (code, iaid))
            options.append((IaNa if code == IaNa.code else IaPd)(iaid, 0, 0, inner))
        self._offers = []
        self.question = Question(Message(type_, self._chance.bits(24), tuple(options)), ias, now)
        self.due = now

    def _put(self, now: float, question: Question) -> Message:
        """Send the question, for the first time or again, and say when it is sent once more."""
        type_ = MessageType(question.message.type)
        elapsed = min(0xFFFF, int((now - question.first) * 100))
        options = (ElapsedTime(elapsed) if isinstance(each, ElapsedTime) else each for each in question.message.options)
        if question.tries > 1:
            question.wait_s = min(question.wait_s * self._chance.between(1.9, 2.1), LAST_S.get(type_, LONGEST_S))
        question.tries += 1
        question.again = now + question.wait_s * self._chance.between(0.9, 1.1)
        return Message(type_, question.message.transaction_id, tuple(options))

    # -- what it hears

    def hear(self, now: float, message: Message) -> Heard | None:
        """Take in a message; give what it means, if it answers what was asked and is not an offer."""
        question = self.question
        if question is None or not self.is_on or message.transaction_id != question.message.transaction_id:
            return None
        if ClientId(self.duid) not in message.options:
            return None
        if message.type == MessageType.ADVERTISE and question.message.type == MessageType.SOLICIT:
            self._offers.append(message)
            self._plan(now)
            return None
        is_rapid = any(isinstance(each, RapidCommit) for each in message.options)
        if message.type != MessageType.REPLY or (question.message.type == MessageType.SOLICIT and not is_rapid):
            return None
        self.question = None
        heard = self._take(now, question, message)
        self._plan(now)
        return heard

    def _take(self, now: float, question: Question, message: Message) -> Heard:
        asked = MessageType(question.message.type)
        before = {key: self.holds[key] for key in self.held(now)}
        told = _told(message)
        unbound = tuple(_unbound(message))
        valid_s_of = {key: valid_s for key, (valid_s, _) in told.items()}
        heard = Heard(asked, before, valid_s_of, unbound, _server(message), question.first)
        if asked in GIVING_UP:
            return heard
        if asked is MessageType.CONFIRM:
            if any(isinstance(each, Status) and each.status == StatusCode.NOT_ON_LINK for each in message.options):
                self.holds = {}
            return heard
        for key, (valid_s, ia) in told.items():
            if valid_s:
                self.holds[key] = Hold(key, ia, now + valid_s, valid_s)
            else:
                self.holds.pop(key, None)
        self._use_times(now, heard, message)
        return heard

    def _use_times(self, now: float, heard: Heard, message: Message) -> None:
        times = {
            (each.code, each.iaid): (each.t1, each.t2)
            for each in message.options
            if isinstance(each, IaNa | IaPd) and each.t2
        }
        if times:
            self._server = heard.server
        for hold in self.holds.values():
            if hold.key in heard.told and hold.ia in times:
                hold.t1, hold.t2 = (now + each for each in times[hold.ia])
        unspoken = [hold for key, hold in self.holds.items() if key not in heard.told]
        if heard.asked in EXTENDING and unspoken:
            # Somebody else may know better.
            for hold in unspoken:
                hold.t1 = hold.t2 = now
            self._say(now, MessageType.REBIND, None, self._named())
            assert self.question is not None
            self.question.again = now + FIRST_S[MessageType.REBIND] * self._chance.between(0.3, 1.0)
        if self.missing(now):
            self._tries = 0 if heard.told else self._tries + 1
            self._solicit_at = now + min(SOLICIT_MAX_S, 2.0**self._tries) * self._chance.between(0.9, 1.1)

    def _plan(self, now: float) -> None:
        """Say when something is to be done next."""
        if not self.is_on:
            self.due = float("inf")
            return
        times = [now + SOLICIT_MAX_S]
        type_ = None
        if self.question is not None:
            type_ = self.question.message.type
            times.append(self.question.first + COLLECTS_S if self._offers else self.question.again)
        elif self.missing(now):
            times.append(self._solicit_at)
        if self.held(now):
            times.append(min(hold.until for hold in self.holds.values()))
            if type_ in (None, MessageType.SOLICIT):
                times.append(self._extends_at())
            elif type_ == MessageType.RENEW:
                times.append(self._rebinds_at())
        self.due = max(now, min(times))


def _duid(number: int, name: int) -> bytes:
    return b"\0\3\0\1\2" + bytes((name,)) + number.to_bytes(4, "big")


def _option(key: int) -> IaAddress | IaPrefix:
    if ia_code_of(key) == IaNa.code:
        return IaAddress(address_of(key))
    return IaPrefix(0, 0, key & 0xFF, address_of(key))


def _server(message: Message) -> bytes:
    return next((each.duid for each in message.options if isinstance(each, ServerId)), b"")


def _told(message: Message) -> dict[int, tuple[int, Ia]]:
    """Give the valid lifetime and the identity association of each lease in a message."""
    found: dict[int, tuple[int, Ia]] = {}
    for ia in message.options:
        if not isinstance(ia, IaNa | IaPd):
            continue
        for each in ia.options:
            if isinstance(each, IaAddress):
                found[key_of(int.from_bytes(each.address, "big"))] = (each.valid, (ia.code, ia.iaid))
            elif isinstance(each, IaPrefix):
                found[key_of(int.from_bytes(each.prefix, "big"), each.length)] = (each.valid, (ia.code, ia.iaid))
    return found


def _unbound(message: Message) -> list[Ia]:
    """Give the identity associations that a message says NoBinding of."""
    return [
        (ia.code, ia.iaid)
        for ia in message.options
        if isinstance(ia, IaNa | IaPd)
        for each in ia.options
        if isinstance(each, Status) and each.status == StatusCode.NO_BINDING
    ]

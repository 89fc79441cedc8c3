"""A client of a stressed pair. It keeps to RFC 9915, as long as it is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tandem.lease.lease import address_of, ia_code_of
from tandem.sim.client import given_in, leases_in
from tandem.wire.message import Message, MessageType
from tandem.wire.option import Option
from tandem.wire.options import ClientId, IaAddress, IaNa, IaPd, IaPrefix, ServerId, Status, StatusCode

if TYPE_CHECKING:
    from pair.stress import World

COLLECTS_S = 0.5
CLOSE_S = 12.0
"""Who gives a lease up and takes it again so soon may be heard in the wrong order by two clocks (RFC 8156 7.5.1)."""


class Hold:
    """A lease in the client's hands, until a true time."""

    def __init__(self, until: float, valid_s: int) -> None:
        self.until = until
        self.valid_s = valid_s
        self.is_void = False
        """Whether nobody can be held to it any more, since a disk was lost."""


class Client:
    """One client with an address, a prefix, or both."""

    def __init__(self, number: int, world: World, codes: tuple[int, ...]) -> None:
        self.number = number
        self.duid = b"\0\3\0\1\2\0\0\0\1" + bytes((number,))
        self.codes = codes
        self.holds: dict[int, Hold] = {}
        self.hears = {"a": True, "b": True}
        self.is_on = False
        self.given_up_at: dict[int, float] = {}
        """When it last said that it has a lease no more."""
        self.declined: set[int] = set()
        """What it once declined: whoever heard so keeps it from being used."""
        self.answered: set[int] = set()
        """The exchanges that were answered, maybe after the client began the next one."""
        self._world = world
        self._server: str | None = None
        self._t1 = self._t2 = 0.0
        self.exchange = 0
        self._question: Message | None = None
        self._offers: list[tuple[str, Message]] = []
        self._turn = 0
        self._tries = 0

    # -- what it does by itself

    def come(self) -> None:
        """Be there, and look after one's leases."""
        self.is_on = True
        self.plan(self._world.chance.random())

    def vanish(self) -> None:
        self.is_on = False
        self._turn += 1

    def plan(self, delay_s: float) -> None:
        """Do the next thing after so many seconds, and nothing before."""
        self._turn += 1
        turn = self._turn
        self._world.at(self._world.now + delay_s, lambda: self._step() if turn == self._turn else None)

    @property
    def waits(self) -> bool:
        """Whether it still may hear the answer to what it asked last."""
        return self._question is not None

    def held(self) -> list[int]:
        """Give the leases in its hands now."""
        now = self._world.now
        self.holds = {key: hold for key, hold in self.holds.items() if hold.until > now}
        return list(self.holds)

    def missing(self) -> tuple[int, ...]:
        """Give the IA types that it has no lease for."""
        return tuple(code for code in self.codes if code not in map(ia_code_of, self.held()))

    def _step(self) -> None:
        if not self.is_on:
            return
        now, chance = self._world.now, self._world.chance
        held = self.held()
        if held and now >= self._t2:
            self.ask(MessageType.REBIND)
            left_s = min(self.holds[key].until for key in held) - now
            self.plan(max(2.5, left_s / 4))
        elif held and now >= self._t1:
            self.ask(MessageType.RENEW)
            self.plan(max(2.5, (self._t2 - now) / 3))
        elif self.missing():
            self._tries += 1
            self.solicit()
            self._sleep(min(70.0, 2.0 * 2 ** min(self._tries, 6)) * chance.uniform(0.9, 1.1))
        else:
            self._sleep()

    def _sleep(self, at_most_s: float = 1e9) -> None:
        """Wait for the next renewal, or less long if something is missing."""
        if not self.missing():
            self._tries = 0
        t1_in_s = max(0.5, self._t1 - self._world.now) + self._world.chance.uniform(0, 0.5)
        self.plan(min(at_most_s, t1_in_s) if self.holds else at_most_s)

    # -- what it says

    def solicit(self) -> None:
        self._offers = []
        self._say(MessageType.SOLICIT, None, self.missing(), {})
        exchange = self.exchange
        self._world.at(self._world.now + COLLECTS_S, lambda: self._choose(exchange))

    def ask(self, type_: MessageType) -> None:
        """Send a message about all that it holds."""
        held = self.held()
        codes = tuple(code for code in self.codes if code in map(ia_code_of, held))
        if not codes or (type_ is not MessageType.REBIND and self._server is None):
            return
        server = None if type_ is MessageType.REBIND else self._server
        self._say(type_, server, codes, self.holds)
        if type_ is not MessageType.REBIND and type_ is not MessageType.RENEW:
            self._world.given_up(self, type_)

    def _choose(self, exchange: int) -> None:
        if exchange != self.exchange or not self._offers or not self.is_on:
            return
        name, offer = self._world.chance.choice(self._offers)
        told = given_in(offer)
        if told:
            self._say(MessageType.REQUEST, name, tuple(sorted({ia_code_of(key) for key in told})), told)

    def _say(self, type_: MessageType, server: str | None, codes: tuple[int, ...], keys: object) -> None:
        assert isinstance(keys, dict)
        self.exchange = self._world.chance.getrandbits(24)
        options: list[Option] = [ClientId(self.duid)]
        if server is not None:
            options.append(ServerId(self._world.hosts[server].duid))
        for code in codes:
            inner = tuple(_option(key) for key in keys if ia_code_of(key) == code)
            options.append((IaNa if code == IaNa.code else IaPd)(1, 0, 0, inner))
        self._question = Message(type_, self.exchange, tuple(options))
        self._world.ask(self, self._question, server)

    # -- what it hears

    def hear(self, name: str, message: Message) -> None:
        """Take in an answer to what it asked last."""
        question = self._question
        if question is None or message.transaction_id != self.exchange or not self.is_on:
            return
        if message.type == MessageType.ADVERTISE:
            self._offers.append((name, message))
        elif message.type == MessageType.REPLY:
            self._question = None
            if question.type in (MessageType.REQUEST, MessageType.RENEW, MessageType.REBIND):
                self._take(name, message, MessageType(question.type))

    def _take(self, name: str, message: Message, asked: MessageType) -> None:
        now = self._world.now
        before = {key: self.holds[key] for key in self.held()}
        self._world.checks.client_hears(self, name, message, asked, before)
        for key, valid_s in leases_in(message):
            if valid_s:
                self.holds[key] = Hold(now + valid_s, valid_s)
                is_close = now - self.given_up_at.get(key, -1e9) < CLOSE_S
                self.holds[key].is_void = is_close or key in self.declined
                self._world.checks.in_hands(self, name, key)
            else:
                self.holds.pop(key, None)
        told = {key for key, _ in leases_in(message)}
        times = [(each.t1, each.t2) for each in message.options if isinstance(each, IaNa | IaPd) and each.t2]
        if times:
            self._server = name
            self._t1, self._t2 = now + min(times)[0], now + min(t2 for _, t2 in times)
        if any(key not in told for key in self.held()):
            self._t1 = self._t2 = now  # something was not answered: somebody else may know better
        elif self.holds:
            self._sleep(70.0 if self.missing() else 1e9)


def _option(key: int) -> IaAddress | IaPrefix:
    if ia_code_of(key) == IaNa.code:
        return IaAddress(address_of(key))
    return IaPrefix(0, 0, key & 0xFF, address_of(key))


def unbound_in(message: Message) -> list[int]:
    """Give the IA types that a message says NoBinding of."""
    return [
        ia.code
        for ia in message.options
        if isinstance(ia, IaNa | IaPd)
        for each in ia.options
        if isinstance(each, Status) and each.status == StatusCode.NO_BINDING
    ]

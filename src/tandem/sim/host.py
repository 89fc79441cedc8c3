"""One server of a simulated world: its clock, its disk, its node, and the outbox between them, as in the product."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple, Protocol

from tandem.effects.effects import Answer, Dial, Effects, Hangup, Out, Send, ToPartner
from tandem.effects.events import Datagram, Disk, Event, Interfaces, PartnerOctets, Reload
from tandem.effects.now import Now
from tandem.effects.outbox import LAZY_S, Outbox
from tandem.effects.settings import Settings
from tandem.failover.record import FACT_PREFIX, Record, read_record
from tandem.failover.states import State
from tandem.lease.change import Change, Put
from tandem.lease.lease import Lease, unpack
from tandem.lease.table import load_table
from tandem.node import Identity, Node
from tandem.sim.agenda import Agenda
from tandem.sim.plan import Server
from tandem.sim.words import START_UTC

START_MONO = 1000.0
RETRY_S = 1.0
ROUNDING_S = 1e-6
CALLS_AT_ONCE_MAX = 3000
SOCKET_EVENTS_MAX = 300
"""How much waits for a server that does not read."""


class Outside(Protocol):
    """What a host asks of the world around it."""

    def decided(self, host: Host, events: tuple[Event, ...], effects: Effects) -> None:
        """Hear of a call of the node, before anything of it leaves or is kept."""

    def kept(self, host: Host, change: Change, before: bytes | None) -> None:
        """Hear of a change that is durable from now on."""

    def reads(self, host: Host, octets: PartnerOctets) -> None:
        """Hear of octets of a partner that the server is about to be given."""

    def answer_leaves(self, host: Host, send: Send) -> None:
        """Carry a datagram."""

    def message_leaves(self, host: Host, message: ToPartner) -> None:
        """Carry a message to a partner."""

    def answered(self, host: Host, answer: Answer) -> None:
        """Hear of an answer to an operator."""

    def runs(self, host: Host, settings: Settings) -> None:
        """Note the settings that the server uses from now on."""

    def obey(self, host: Host, line: Dial | Hangup) -> None:
        """Open or close a stream."""

    def died(self, host: Host, is_heard: bool) -> None:
        """Hear that the server is gone."""


class Clock:
    """A wall clock that is wrong by an offset and a drift, and may be set."""

    def __init__(self, agenda: Agenda, server: Server) -> None:
        self._agenda = agenda
        self._drift = server.drift
        self.offset_s = server.offset_s

    def error_s(self) -> float:
        """Give how far it is ahead of true time."""
        return self._agenda.now * self._drift + self.offset_s

    def discipline(self) -> None:
        """Take out what the drift has come to; in a world that lasts for days it would be too much for partners."""
        self.offset_s -= self._agenda.now * self._drift

    def utc(self) -> int:
        """Give what it says."""
        return int(START_UTC + self._agenda.now + self.error_s())

    def mono(self) -> float:
        """Give what the machine's monotonic clock says, which runs as fast and is never set."""
        return START_MONO + self._agenda.now * (1.0 + self._drift)

    def true(self, mono: float) -> float:
        """Give the true time at which the monotonic clock says that."""
        return (mono - START_MONO) / (1.0 + self._drift)


class DiskCopy(NamedTuple):
    """What is durable on a server: its leases by key, and its facts."""

    leases: dict[int, bytes]
    facts: dict[str, bytes]


class Host:
    """A server. What it holds in memory is lost in a crash; `leases` and `facts` are its disk."""

    def __init__(self, server: Server, number: int, settings: Settings, agenda: Agenda, outside: Outside) -> None:
        self.name = server.name
        self.clock = Clock(agenda, server)
        self.duid = b"\0\3\0\1\2\0\0\0\0" + bytes((0xA0 + number,))
        self.settings = settings
        self.leases: dict[int, bytes] = {}
        self.facts: dict[str, bytes] = {}
        self.node: Node | None = None
        self.interfaces: dict[int, tuple[str, tuple[int, ...]]] = {}
        self.downs = 0
        """How many faults keep it from running."""
        self.pauses = 0
        """How many faults keep it from doing anything."""
        self.fulls = 0
        """How many faults keep its disk from taking anything."""
        self.slow_s = 0.0
        """By how much a fault makes its disk slower."""
        self.trap = ""
        """How its next step ends it: "call", "lost" or "kept" (at the disk); empty if it lives on."""
        self.asides: set[str] = set()
        """The relationships in which an operator had it step aside."""
        self.slowest_s = server.disk_s
        """How long a commit took at most."""
        self.well_since = 0.0
        """Since when it runs, reads, and its disk takes what comes."""
        self._disk_s = server.disk_s
        self._agenda = agenda
        self._outside = outside
        self._outbox: Outbox | None = None
        self._at_disk: list[Change] | None = None
        self._life = 0
        self._wake: float | None = None
        self._woken_mono = 0.0
        self._inbox: list[tuple[float, Event]] = []
        self._connections = 0
        self._calls = (0.0, 0)

    # -- how it is

    @property
    def is_up(self) -> bool:
        """Whether the server runs."""
        return self.node is not None

    @property
    def disk_s(self) -> float:
        """How long a commit takes now."""
        return self._disk_s + self.slow_s

    def slow_down(self, by_s: float) -> None:
        """Make the disk slower, or with less than 0 faster again."""
        self.slow_s += by_s
        self.slowest_s = max(self.slowest_s, self.disk_s)

    @property
    def is_well(self) -> bool:
        """Whether nothing keeps it from answering."""
        return self.is_up and not (self.fulls or self.pauses or self.trap)

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits for its disk, or for itself."""
        return not self._inbox and (self._outbox is None or self._outbox.is_empty)

    def lease(self, key: int) -> Lease | None:
        """Give what its disk says of a lease."""
        record = self.leases.get(key)
        return None if record is None else unpack(key, record)

    def record(self, pair: str) -> Record | None:
        """Give what its disk says of a relationship."""
        fact = self.facts.get(FACT_PREFIX + pair)
        return None if fact is None else _read_record(fact)

    def state(self, pair: str) -> State | None:
        """Give the state on its disk."""
        record = self.record(pair)
        return None if record is None else record.state

    def number_connection(self) -> int:
        """Give a number for a new connection."""
        self._connections += 1
        return self._connections

    # -- living and dying

    def start(self) -> None:
        """Start from what is on disk."""
        table = load_table(Put(key, record) for key, record in sorted(self.leases.items()))
        incarnation = b"life%4d" % self._life
        identity = Identity(self.duid, b"secret of " + self.name.encode(), incarnation)
        self.node = Node(self.settings, identity, table, self._now(), dict(self.facts))
        outbox = self._outbox = Outbox(
            self._commit,
            self._let_out,
            self._refused,
            self._accepted,
            lambda: self._later(LAZY_S, lambda: outbox.flush()),
        )
        self._at_disk = None
        self.well_since = self._agenda.now
        self._outside.runs(self, self.settings)
        self.hand(Interfaces(self.interfaces))

    def die(self, is_kept: bool, is_heard: bool) -> None:
        """End at once. What is at the disk just now is kept, or lost; its messages are in either case."""
        if self.node is None:
            return
        if self._at_disk is not None and is_kept and not self.fulls:
            self._keep(self._at_disk)
        self.node = self._outbox = self._at_disk = self._wake = None
        self.trap = ""
        self.asides.clear()
        self._inbox.clear()
        self._life += 1
        self._outside.died(self, is_heard)

    def copy_disk(self) -> DiskCopy:
        """Return a copy of what is durable now."""
        return DiskCopy(dict(self.leases), dict(self.facts))

    def replace_disk(self, disk: DiskCopy) -> None:
        """Start from that disk the next time."""
        self.leases, self.facts = disk.leases, disk.facts

    def wipe(self) -> None:
        """Lose the disk."""
        self.leases.clear()
        self.facts.clear()

    def reload(self, settings: Settings) -> None:
        """Read another file, now or at the next start."""
        self.settings = settings
        self.hand(Reload(settings))

    def let_go_on(self) -> None:
        """Do what has gathered while it did nothing."""
        self.well_since = self._agenda.now
        inbox, self._inbox = self._inbox, []
        for came_at, event in inbox:
            if isinstance(event, Datagram):
                waited_s = self._agenda.now - came_at
                event = Datagram(event.data, event.peer, event.port, event.interface, event.door, event.local, waited_s)
            self._calls = (self._agenda.now, 0)  # however much has gathered, each of it comes to rest by itself
            self.hand(event)
        if not inbox:
            self._wake_up()

    # -- the node

    def hand(self, event: Event) -> None:
        """Give the server an event, as soon as it reads."""
        if self.node is None:
            return
        if self.pauses:
            if len(self._inbox) < SOCKET_EVENTS_MAX or not isinstance(event, Datagram):
                self._inbox.append((self._agenda.now, event))
            return
        if isinstance(event, PartnerOctets):
            event = event._replace(received_utc=self.clock.utc())
            self._outside.reads(self, event)
        self._handle((event,))

    def _handle(self, events: tuple[Event, ...]) -> None:
        node, outbox = self.node, self._outbox
        if node is None or outbox is None or self.pauses:
            return
        at, calls = self._calls
        self._calls = (self._agenda.now, calls + 1 if at == self._agenda.now else 1)
        assert self._calls[1] < CALLS_AT_ONCE_MAX, f"{self.name} never comes to rest"
        effects = node.handle(self._now(), events)
        for event in events:
            if isinstance(event, Reload):
                self._outside.runs(self, event.settings)
        if self.trap == "call":
            self.die(is_kept=False, is_heard=True)
            return
        self._outside.decided(self, events, effects)
        self._set_wake(effects.wake)
        outbox.put(effects)
        for line in effects.lines:
            self._outside.obey(self, line)

    def _set_wake(self, mono: float | None) -> None:
        self._wake = mono
        if mono is not None:
            self._agenda.at(self.clock.true(mono), lambda: self._wake_up() if self._wake == mono else None)

    def _wake_up(self) -> None:
        if self._wake is not None and self.clock.mono() >= self._wake - ROUNDING_S:
            self._woken_mono = self._wake
            self._handle(())

    def _now(self) -> Now:
        """Read the clocks; who was woken for a time does not see a time before it, however that was rounded."""
        return Now(max(self.clock.mono(), self._woken_mono), self.clock.utc())

    # -- the disk

    def _commit(self, batch: list[Change]) -> None:
        self._at_disk = batch
        is_trapped = self.trap in ("lost", "kept") and batch and not self.fulls
        self._later(0.0 if is_trapped else self.disk_s, self._committed)

    def _committed(self) -> None:
        outbox, batch = self._outbox, self._at_disk
        assert outbox is not None
        assert batch is not None
        if self.trap in ("lost", "kept") and batch and not self.fulls:
            self.die(self.trap == "kept", is_heard=True)
            return
        if self.fulls:
            outbox.full("the disk is full")
            self._later(RETRY_S, outbox.retry)
            return
        self._at_disk = None
        self._keep(batch)
        outbox.done()

    def _keep(self, batch: list[Change]) -> None:
        for change in batch:
            before = self.leases.get(change.key) if isinstance(change, Put) else None
            keep(change, self.leases, self.facts)
            self._outside.kept(self, change, before)

    def _refused(self, reason: str) -> None:
        self._later(0.0, lambda: self.hand(Disk(False, reason)))

    def _accepted(self) -> None:
        self.well_since = self._agenda.now
        self._later(0.0, lambda: self.hand(Disk(True, "")))

    def _let_out(self, out: Out) -> None:
        for each in out:
            match each:
                case Send():
                    self._outside.answer_leaves(self, each)
                case ToPartner():
                    self._outside.message_leaves(self, each)
                case Answer():
                    self._outside.answered(self, each)

    def _later(self, delay_s: float, what: Callable[[], None]) -> None:
        """Do something later, if this life of the server lasts so long."""
        life = self._life
        self._agenda.after(delay_s, lambda: what() if self._life == life and self.node is not None else None)


@lru_cache(maxsize=64)
def _read_record(fact: bytes) -> Record:
    return read_record(fact)


def keep(change: Change, leases: dict[int, bytes], facts: dict[str, bytes]) -> None:
    """Do to a disk what a change says."""
    if not isinstance(change, Put):
        facts[change.name] = change.value
    elif change.record is None:
        leases.pop(change.key, None)
    else:
        leases[change.key] = change.record

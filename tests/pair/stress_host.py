"""One server of a stressed pair: its clock, its disk, its node, and the outbox between them, as in the product."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pair.conversation import keep
from tandem.effects.effects import Dial, Out, Send, ToPartner
from tandem.effects.events import Disk, Event, Interfaces
from tandem.effects.now import Now
from tandem.effects.outbox import Outbox
from tandem.effects.settings import Settings
from tandem.failover.record import FACT_PREFIX, Record, read_record
from tandem.failover.states import State
from tandem.lease.change import Change, Put
from tandem.lease.lease import Lease, unpack
from tandem.lease.space import Role
from tandem.lease.table import load_table
from tandem.node import Identity, Node
from tandem.wire.failover import stamp

if TYPE_CHECKING:
    from pair.stress import World

START_UTC = 1_800_000_000
RETRY_S = 1.0
STEPS_AT_ONCE_MAX = 3000


class Host:
    """A server. What it holds in memory is lost in a crash; `leases` and `facts` are its disk."""

    def __init__(self, name: str, world: World, settings: Settings) -> None:
        self.name = name
        self.role = Role.PRIMARY if name == "a" else Role.SECONDARY
        self.duid = b"\0\3\0\1\2\0\0\0\0" + bytes((0xA0 + (name == "b"),))
        self.leases: dict[int, bytes] = {}
        self.facts: dict[str, bytes] = {}
        self.node: Node | None = None
        self.wake: float | None = None
        self.offset_s = 0.0
        self.drift = 0.0
        self.disk_latency_s = 0.0
        self.is_full = False
        self.dies_at_commit = ""
        """How the next commit ends: "kept" or "lost", with the server dying; empty if it lives on."""
        self.well_since = 0.0
        """Since when it runs and its disk takes what comes."""
        self._world = world
        self._settings = settings
        self._outbox: Outbox | None = None
        self._at_disk: list[Change] | None = None
        self._life = 0
        self._steps = (0.0, 0)

    @property
    def is_up(self) -> bool:
        return self.node is not None

    def utc(self) -> int:
        """Give what its wall clock says."""
        passed_s = self._world.now
        return START_UTC + int(passed_s * (1 + self.drift) + self.offset_s)

    def lease(self, key: int) -> Lease | None:
        """Give what its disk says of a lease."""
        record = self.leases.get(key)
        return None if record is None else unpack(key, record)

    def record(self) -> Record | None:
        """Give what its disk says of the relationship."""
        fact = self.facts.get(FACT_PREFIX + "campus")
        return None if fact is None else read_record(fact)

    @property
    def state(self) -> State | None:
        """The state on its disk."""
        record = self.record()
        return None if record is None else record.state

    # -- living and dying

    def start(self) -> None:
        table = load_table(Put(key, record) for key, record in sorted(self.leases.items()))
        identity = Identity(self.duid, b"secret of " + self.name.encode())
        now = Now(1000.0 + self._world.now, self.utc())
        self.node = Node(self._settings, identity, table, now, dict(self.facts))
        self._outbox = Outbox(self._commit, self._let_out, self._refused, self._accepted)
        self._at_disk = None
        self.well_since = self._world.now
        self.handle(Interfaces({1: ("eth0", ())}))

    def die(self, how: str) -> None:
        """End at once. What is at the disk just now is kept, or lost; its messages are in either case."""
        if self._at_disk is not None and how == "kept" and not self.is_full:
            self._keep(self._at_disk)
        self.node = self._outbox = self._at_disk = self.wake = None
        self.dies_at_commit = ""
        self._life += 1

    def wipe(self) -> None:
        self.leases.clear()
        self.facts.clear()

    def handle(self, *events: Event) -> None:
        """Give the node events, or the time alone."""
        if self.node is None or self._outbox is None:
            return
        at, steps = self._steps
        self._steps = (self._world.now, steps + 1 if at == self._world.now else 1)
        assert self._steps[1] < STEPS_AT_ONCE_MAX, f"{self.name} never comes to rest"
        effects = self.node.handle(Now(1000.0 + self._world.now, self.utc()), events)
        self.wake = None if effects.wake is None else effects.wake - 1000.0
        self._world.heard(self, effects)
        self._outbox.put(effects)
        for line in effects.lines:
            if isinstance(line, Dial):
                self._world.dial(self)
            else:
                self._world.wire.close(self.name, line.connection)

    # -- the disk

    def _commit(self, batch: list[Change]) -> None:
        self._at_disk = batch
        if self.dies_at_commit and batch and not self.is_full:
            how = self.dies_at_commit
            self._later(0.0, lambda: self._world.crash(self, how, is_heard=True))
        else:
            self._later(self.disk_latency_s, self._committed)

    def _committed(self) -> None:
        outbox, batch = self._outbox, self._at_disk
        assert outbox is not None
        assert batch is not None
        if self.is_full:
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
            self._world.kept(self, change, before)

    def _refused(self, reason: str) -> None:
        self._later(0.0, lambda: self.handle(Disk(False, reason)))

    def _accepted(self) -> None:
        self.well_since = self._world.now
        self._later(0.0, lambda: self.handle(Disk(True, "")))

    def _let_out(self, out: Out) -> None:
        for each in out:
            if isinstance(each, Send):
                self._world.reply_leaves(self, each)
            elif isinstance(each, ToPartner):
                self._world.message_leaves(self, each.connection, each.data)
                self._world.wire.send(self.name, each.connection, stamp(each.data, self.utc()))

    def _later(self, delay_s: float, what: Callable[[], None]) -> None:
        life = self._life

        def if_alive() -> None:
            if self._life == life and self.node is not None:
                what()

        self._world.at(self._world.now + delay_s, if_alive)

"""A random world of two servers and their clients, all of it drawn from one number."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from heapq import heappop, heappush
from itertools import count
from pathlib import Path
from random import Random

from pair.conversation import _show_message
from pair.stress_checks import Checks
from pair.stress_client import Client
from pair.stress_config import Drawn, draw, settings_of
from pair.stress_host import Host
from pair.stress_wire import Wire, other
from tandem.effects.effects import Effects, Send
from tandem.effects.events import Command, ConnectionFailed, Datagram
from tandem.failover.states import State
from tandem.lease.change import Change, Put
from tandem.lease.lease import BindingStatus, show_key, unpack
from tandem.sim.client import leases_in
from tandem.wire.failover import FailoverType, read_failover_message
from tandem.wire.message import Message, MessageType, read_message
from tandem.wire.options import ClientId, IaNa, IaPd

MULTICAST = bytes.fromhex("ff020000000000000000000000010002")
DIAL_S = 10.0
PD_FIRST = 0x20010DB9 << 96
STEPS_MAX = 5000


class World:
    """Two servers, their network, their clients, and the time."""

    def __init__(self, seed: int, folder: Path, say: Callable[[str], None] | None = None) -> None:
        self.chance = Random(seed)
        self.drawn: Drawn = draw(self.chance)
        self.now = 0.0
        self.steps = 0
        self._say = say
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        self.checks = Checks(self)
        settings = settings_of(self.drawn, folder)
        self.hosts = {name: Host(name, self, settings[name]) for name in "ab"}
        self.wire = Wire(
            lambda: self.now,
            self.at,
            lambda name: self.hosts[name].utc(),
            lambda name, event: self.hosts[name].handle(event),
            lambda name: self.hosts[name].is_up,
        )
        self.wire.watch = self.checks.message_arrives
        self.clients: list[Client] = []
        self.loss = self.chance.choice((0.0, 0.0, 0.1, 0.3))
        self._died_at = {"a": 0.0, "b": 0.0}
        self._draw_hosts()
        for number in range(1, self.drawn.clients + 1):
            codes = self.chance.choice(((IaNa.code,), (IaPd.code,), (IaNa.code, IaPd.code)))
            self.clients.append(Client(number, self, codes))

    def _draw_hosts(self) -> None:
        self.wire.latency_s = self.chance.choice((0.0, 0.01, 0.2))
        for host in self.hosts.values():
            host.offset_s = self.chance.uniform(-1.8, 1.8)
            host.drift = self.chance.choice((0.0, 0.0, 1e-6, -1e-6))
            host.disk_latency_s = self.chance.choice((0.0, 0.005, 0.3))

    def log(self, text: str) -> None:
        if self._say is not None:
            self._say(f"{self.now:10.2f} {text}")

    def prefixes(self) -> list[int]:
        """Give the keys of all prefixes in the pool."""
        return [(PD_FIRST + (at << 72)) << 8 | 56 for at in range(1 << 56 - self.drawn.pd_length)]

    # -- time

    def at(self, when: float, what: Callable[[], None]) -> None:
        heappush(self._queue, (when, next(self._numbers), what))

    def advance(self, passes_s: float) -> None:
        """Let time pass, with all that happens in it."""
        until = self.now + passes_s
        while True:
            wakes = [host.wake for host in self.hosts.values() if host.wake is not None]
            nearest = min([*wakes, *(each[0] for each in self._queue[:1])], default=until + 1)
            if nearest > until:
                break
            self.now = max(self.now, nearest)
            if self._queue and self._queue[0][0] <= self.now:
                heappop(self._queue)[2]()
                continue
            for host in self.hosts.values():
                if host.wake is not None and host.wake <= self.now:
                    host.handle()
        self.now = until

    # -- what servers do

    def heard(self, host: Host, effects: Effects) -> None:
        """Hear of each call of a node."""
        self.steps += 1
        if self._say is None:
            return
        for note in effects.notes:
            if note.event not in ("answered", "dropped"):
                values = {key: show_key(value) if key == "key" else value for key, value in note.values.items()}
                self.log(f"{host.name} note {note.event} {values}")
            elif note.event == "dropped":
                self.log(f"{host.name} drops: {note.values}")

    def kept(self, host: Host, change: Change, before: bytes | None) -> None:
        if self._say is not None:
            if isinstance(change, Put):
                self.log(f"{host.name} keeps {show_change(change)}")
            elif change.name.startswith("failover."):
                self.log(f"{host.name} keeps state {host.state!r}")
        self.checks.kept(host, change, before)

    def message_leaves(self, host: Host, number: int, data: bytes) -> None:
        message = read_failover_message(data[2:])
        if self._say is not None and message.type is not FailoverType.CONTACT:
            self.log(f"{host.name} -> {other(host.name)}: {_show_message(message)}")
        self.checks.message_leaves(host, number, message)

    def dial(self, host: Host) -> None:
        if self.wire.is_cut or not self.hosts[other(host.name)].is_up:
            delay_s = DIAL_S if self.wire.is_cut else 0.0
            failed = ConnectionFailed("campus", "nobody answers", False)
            self.at(self.now + delay_s, lambda: host.handle(failed))
        else:
            self.wire.open()

    def reply_leaves(self, host: Host, send: Send) -> None:
        message = read_message(send.data)
        assert isinstance(message, Message)
        duid = next(each.duid for each in message.options if isinstance(each, ClientId))
        client = next(each for each in self.clients if each.duid == duid)
        told = " ".join(f"{show_key(key)}={valid}" for key, valid in leases_in(message))
        self.log(f"{host.name} -> c{client.number}: {message.type.name} {told}")
        if message.type == MessageType.REPLY:
            self.checks.reply_leaves(host, client, message)
            client.answered.add(message.transaction_id)
        if client.hears[host.name] and self.chance.random() >= self.loss:
            name = host.name
            self.at(self.now + self.chance.uniform(0, 0.1), lambda: client.hear(name, message))

    # -- what clients do

    def ask(self, client: Client, message: Message, server: str | None) -> None:
        """Bring a client's message to the servers that hear it."""
        told = " ".join(show_key(key) for key, _ in leases_in(message))
        self.log(f"c{client.number} {message.type.name} {told} server={server}")
        data = message.write()
        for host in self.hosts.values():
            if not client.hears[host.name] or self.chance.random() < self.loss:
                continue
            self.at(self.now, partial(host.handle, Datagram(data, "fe80::1", 546, 1, 1, MULTICAST)))
            is_for_it = message.type == MessageType.REBIND or (
                message.type == MessageType.RENEW and server == host.name
            )
            if is_for_it and not self.loss and client.hears[host.name]:
                self.checks.asked_to_extend(client, host, MessageType(message.type))

    def given_up(self, client: Client, type_: MessageType) -> None:
        """A client stops to use its leases before it says so."""
        for key in list(client.holds):
            if type_ is MessageType.RELEASE or key & 0xFF == 128:
                del client.holds[key]
                client.given_up_at[key] = self.now
                client.declined.update([key] if type_ is MessageType.DECLINE else [])

    # -- what happens to servers

    def crash(self, host: Host, how: str, is_heard: bool) -> None:
        if not host.is_up:
            return
        self.log(f"{host.name} crashes, {how}")
        host.die(how)
        self.wire.die(host.name, is_heard)
        self._died_at[host.name] = self.now

    def start(self, host: Host) -> None:
        self.log(f"{host.name} starts")
        host.start()

    def may_start(self, host: Host) -> bool:
        """Say whether it may be started: who was declared down must find its partner, or nothing is promised."""
        partner = self.hosts[other(host.name)]
        return partner.state is not State.PARTNER_DOWN or (partner.is_up and not self.wire.is_cut)

    def declare_down(self, host: Host) -> None:
        """The operator tells a server that its partner is down, which is."""
        partner = self.hosts[other(host.name)]
        if host.is_up and not partner.is_up and self.now - self._died_at[partner.name] > 6:
            self.log(f"{host.name} is told that its partner is down")
            host.handle(Command(1, "failover-partner-down", {}))

    def wipe(self, host: Host) -> None:
        if not self.checks.wiped:
            self.log(f"{host.name} loses its disk")
            self.checks.disk_is_lost(host)
            host.wipe()


def show_change(change: Put) -> str:
    """Show what became of a lease."""
    if change.record is None:
        return f"{show_key(change.key)} forgotten"
    lease = unpack(change.key, change.record)
    client = f" c{lease.duid[-1]}" if lease.duid else ""
    times = (
        f"start={lease.start_time_of_state % 10**6} until={lease.state_expiration_time % 10**6} "
        f"acked={lease.acked_partner_lifetime % 10**6} clt={lease.client_last_transaction_time % 10**6} "
        f"raw={lease.partner_raw_clt_time % 10**6}"
    )
    owes = " owes" if lease.owes_partner else ""
    return f"{show_key(change.key)} {BindingStatus(lease.status).name}{client} {times}{owes}"

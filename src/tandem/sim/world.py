"""A world of one plan: carries what servers, partners and clients say, and shows all of it to the judges."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from tandem.effects.effects import Answer, Dial, Effects, Hangup, Send, ToPartner
from tandem.effects.events import Datagram, Event, PartnerOctets
from tandem.effects.settings import Settings
from tandem.lease.change import Change, Put
from tandem.lease.lease import client_last_transaction_time_of, show_key
from tandem.sim.chance import Chance
from tandem.sim.client import leases_in, unwrap
from tandem.sim.configuration import File, first_file, settings_of, subnet_of
from tandem.sim.holdings import Holdings
from tandem.sim.host import DiskCopy, Host
from tandem.sim.partnership import Partnership
from tandem.sim.plan import IA_CODES, Habitue, Link, Plan
from tandem.sim.promises import Decision, Promises
from tandem.sim.scene import Resident, Scene
from tandem.sim.shares import Shares
from tandem.sim.streams import Streams
from tandem.sim.subnets import Subnets
from tandem.sim.subscriber import Subscriber
from tandem.sim.words import show_between_partners, show_change
from tandem.wire.failover import FailoverType, read_failover_message, stamp
from tandem.wire.message import Message, MessageType, Relayed
from tandem.wire.options import ClientId, InterfaceId

MULTICAST = bytes.fromhex("ff020000000000000000000000010002")
UNICAST = bytes.fromhex("fd000099000000000000000000000001")
CLIENT_PORT, SERVER_PORT = 546, 547
QUIET_NOTES = ("answered", "dropped", "held-to-mclt")


class World:
    """Everything that happens. `say` is told of it, a line at a time."""

    def __init__(self, plan: Plan, say: Callable[[str], None] | None = None) -> None:
        self.scene = scene = Scene(plan, say)
        self.agenda = scene.agenda
        self.calls = 0
        """How often a node was called."""
        self.is_parted = False
        """Whether each client reaches one server of its pair only: those with odd numbers the primary."""
        self.deaf: dict[str, list[int]] = {server.name: [] for server in plan.servers}
        """What keeps a server from hearing clients: 0 all of them, 1 those with odd numbers, 2 those with even ones."""
        self.losses = [plan.loss]
        self.lags_s = [plan.lag_s]
        self.files = [first_file(plan)]
        """All versions of the file so far."""
        self._settings = [settings_of(plan, self.files[0])]
        """What each version says to each server."""
        for number, server in enumerate(plan.servers):
            host = Host(server, number, self._settings[0][server.name], self.agenda, self)
            direct = (link for link in plan.links if not link.hops and self._reaches(link, server.name))
            host.interfaces = {link.number: (f"eth{link.number}", ()) for link in direct}
            scene.hosts[server.name] = host
        for pair in plan.pairs:
            ends = {name: scene.hosts[name] for name in (pair.primary, pair.secondary)}
            scene.streams[pair.name] = Streams(pair, dict(ends), self.agenda, Chance(plan.seed, "stream", pair.name))
        self._airs = {client.number: Chance(plan.seed, "air", client.number) for client in plan.clients}
        scene.residents = [self._resident(client) for client in plan.clients]
        self.subnets = Subnets(scene, self.files[0])
        self.holdings = Holdings(scene, self.subnets)
        self.partnership = Partnership(scene, self.subnets)
        self.promises = Promises(scene, self.partnership, self.holdings, self.subnets)
        self.shares = Shares(scene, self.partnership, self.promises, self.holdings, self.subnets)

    def _reaches(self, link: Link, server: str) -> bool:
        pair = self.scene.pairs[link.pair]
        return server in (pair.primary, pair.secondary)

    def _resident(self, client: Habitue) -> Resident:
        ias = [(IA_CODES[each[:2]], int(each[2:])) for each in client.ias]
        chance = Chance(self.scene.plan.seed, "client", client.number)
        subscriber = Subscriber(client.number, ias, chance, client.style, client.rapid_commit)
        return Resident(subscriber, client.link)

    @property
    def version(self) -> int:
        """The number of the file's latest version, from 0."""
        return len(self.files) - 1

    def edit(self, file: File, *numbers: int) -> None:
        """Write another version of the file, in which the subnets on links of these numbers change."""
        self.files.append(file)
        self._settings.append(settings_of(self.scene.plan, file))
        self.subnets.edited(numbers)

    def reload(self, host: Host) -> None:
        """Let a server read the file."""
        host.reload(self._settings[-1][host.name])

    def version_of(self, host: Host) -> int:
        """Return the version of the file that a server runs, or read for its next start."""
        return next(number for number, each in enumerate(self._settings) if each[host.name] is host.settings)

    def disk_is_lost(self, host: Host) -> None:
        """Let a server lose its disk."""
        self.holdings.disk_is_lost(host)
        self.promises.newest[host.name] = 0
        host.wipe()

    def disk_is_replaced(self, host: Host, disk: DiskCopy) -> None:
        """Let a server go back to an older copy of its disk."""
        self.holdings.disk_is_lost(host, disk.leases)
        host.replace_disk(disk)
        self.partnership.rolled_back(host)
        records = disk.leases.values()
        self.promises.newest[host.name] = max(map(client_last_transaction_time_of, records), default=0)

    # -- clients

    def tend(self, resident: Resident) -> None:
        """Let a client do what it is due to, now and whenever it says."""
        resident.turn += 1
        subscriber = resident.subscriber
        if subscriber.due <= self.agenda.now:
            message = subscriber.act(self.agenda.now)
            if message is not None:
                self._carry_question(resident, message)
        turn = resident.turn
        if subscriber.due < float("inf"):
            self.agenda.at(subscriber.due, lambda: self.tend(resident) if resident.turn == turn else None)

    def _carry_question(self, resident: Resident, message: Message) -> None:
        link = self.scene.links[resident.link]
        if self.scene.is_told:
            named = " ".join(show_key(key) for key, _ in leases_in(message))
            self.scene.log(f"{resident.name} {message.type.name} {named}".rstrip())
        data = self._relayed(link, message)
        for host in self.scene.hosts.values():
            if not link.hops and not self._reaches(link, host.name):
                continue
            local = UNICAST if link.hops else MULTICAST
            port = SERVER_PORT if link.hops else CLIENT_PORT
            datagram = Datagram(data, "fe80::1", port, 9 if link.hops else link.number, 1, local)
            for delay_s in self._arrivals(resident, host):
                self.agenda.after(delay_s, partial(host.hand, datagram))

    @staticmethod
    def _relayed(link: Link, message: Message) -> bytes:
        carried: Message | Relayed = message
        for hop in range(link.hops):
            address = (subnet_of(link) + 1).to_bytes(16, "big") if hop == 0 else bytes(16)
            options = (InterfaceId(b"port 7"),) if hop == 0 else ()
            carried = Relayed(MessageType.RELAY_FORW, hop, address, b"\xfe\x80" + bytes(14), options, carried)
        return carried.write()

    def _arrivals(self, resident: Resident, host: Host) -> list[float]:
        """Say after how long a datagram arrives, for each time that it does."""
        air = self._airs[resident.subscriber.number]
        is_lost = air.happens(max(self.losses))
        copies = 1 + air.happens(self.scene.plan.doubled)
        delays = [air.between(0.1, 1.0) * max(self.lags_s) for _ in range(copies)]
        return [] if is_lost or self.is_deaf(host, resident) else delays

    def is_deaf(self, host: Host, resident: Resident) -> bool:
        """Say whether nothing passes between a server and a client."""
        number = resident.subscriber.number
        if self.is_parted and number % 2 != self.scene.role(
            host, self.scene.pairs[self.scene.links[resident.link].pair]
        ):
            return True
        return any(kind == 0 or number % 2 == kind % 2 for kind in self.deaf[host.name])

    def _hear(self, resident: Resident, host: Host, message: Message, decision: Decision) -> None:
        subscriber = resident.subscriber
        heard = subscriber.hear(self.agenda.now, message)
        if heard is not None:
            self.holdings.heard(resident, host, heard, decision.at, decision.voids)
        self.tend(resident)

    # -- what hosts do

    def decided(self, host: Host, events: tuple[Event, ...], effects: Effects) -> None:
        """Hear of a call of a node."""
        self.calls += 1
        if self.scene.is_told:
            for note in effects.notes:
                if note.event not in QUIET_NOTES:
                    values = {key: show_key(each) if key == "key" else each for key, each in note.values.items()}
                    told = " ".join(f"{key}={each}" for key, each in values.items() if key not in ("duid", "iaid"))
                    self.scene.log(f"{host.name} note {note.event} {told}".rstrip())
        self.promises.decided(host, events, effects)
        self.shares.decided(host, effects)

    def kept(self, host: Host, change: Change, before: bytes | None) -> None:
        """Hear of a change that is durable."""
        if self.scene.is_told:
            if isinstance(change, Put):
                self.scene.log(f"{host.name} keeps {show_change(change)}")
            elif change.name.startswith("failover."):
                pair = change.name.removeprefix("failover.")
                record = host.record(pair)
                partner = record.partner_state.words if record and record.partner_state else "unknown"
                self.scene.log(f"{host.name} keeps {pair}: {record and record.state.words}, partner {partner}")
        self.promises.kept(host, change, before)
        self.shares.kept(host, change, before)
        self.partnership.kept(host, change, before)

    def reads(self, host: Host, octets: PartnerOctets) -> None:
        """Hear of octets that a server is given."""
        self.partnership.reads(host, octets)

    def message_leaves(self, host: Host, message: ToPartner) -> None:
        """Carry a message to a partner."""
        for pair in self.scene.pairs_of(host):
            streams = self.scene.streams[pair.name]
            stream = streams.owner(host.name, message.connection)
            if stream is None:
                continue
            shown = read_failover_message(message.data[2:])
            if self.scene.is_told and shown.type is not FailoverType.CONTACT:
                self.scene.log(f"{host.name} -> {self.scene.partner(host, pair).name}: {show_between_partners(shown)}")
            self.partnership.message_leaves(host, pair, stream, shown)
            streams.send(host.name, stream, stamp(message.data, host.clock.utc()))

    def answer_leaves(self, host: Host, send: Send) -> None:
        """Carry an answer to a client."""
        decision = self.promises.left(host, send)
        message = unwrap(send.data)
        duid = next(each.duid for each in message.options if isinstance(each, ClientId))
        resident = self.scene.resident(duid)
        if self.scene.is_told:
            told = " ".join(f"{show_key(key)}={valid_s}" for key, valid_s in leases_in(message))
            name = resident.name if resident is not None else "somebody gone"
            self.scene.log(f"{host.name} -> {name}: {message.type.name} {told}".rstrip())
        if message.type == MessageType.REPLY:
            self.promises.reply_leaves(host, duid, message, decision)
        if resident is not None:
            for delay_s in self._arrivals(resident, host):
                self.agenda.after(delay_s, partial(self._hear, resident, host, message, decision))

    def answered(self, host: Host, answer: Answer) -> None:
        """Hear of an answer to an operator."""
        self.scene.log(f"{host.name} answers the operator: {answer.error or 'done'}")

    def runs(self, host: Host, settings: Settings) -> None:
        """Note the settings that a server uses from now on."""
        version = next(number for number, each in enumerate(self._settings) if each[host.name] is settings)
        self.subnets.read(host, self.files[version])

    def obey(self, host: Host, line: Dial | Hangup) -> None:
        """Open or close a stream."""
        if isinstance(line, Dial):
            self.scene.streams[line.relationship].dial(host.name)
            return
        for pair in self.scene.pairs_of(host):
            streams = self.scene.streams[pair.name]
            stream = streams.owner(host.name, line.connection)
            if stream is not None:
                streams.close(host.name, stream)

    def died(self, host: Host, is_heard: bool) -> None:
        """Hear that a server is gone."""
        self.scene.log(f"{host.name} dies")
        self.promises.died(host)
        for pair in self.scene.pairs_of(host):
            self.scene.streams[pair.name].die(host.name, is_heard)

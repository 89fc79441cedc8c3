"""Two nodes, their clients, and the wire between them, driven by the words of a script.

serve FILE                        start a and b with FILE.toml; their first connection comes with the next tick
start a | crash a | wipe a        start from what is on disk; die without a word; lose the disk while dead
stop a                            stop in good order
copy a | restore a [marked]       copy a disk; put the copy back while the server is dead; marked: by `tandem restore`
tick 61s                          let time pass, a second at a time
utc a +10s                        step one server's wall clock
cut | heal                        the partners' network: while it is cut, everything between them is lost
break                             end the connection between them so that both see it
hold | pass                       keep messages between them on the wire; deliver them
disk a full|ok                    let a store refuse or accept
c1 solicit na=1 pd=2@::/60        a message from client c1, heard by both servers; at=a or at=b: by that one only;
                                  @ names leases; server=a|b|none; the client remembers what it was given and
                                  names it where `na=1` and nothing behind it; on=2: on the second link
do a NAME key=value               an operator's command
lease ADDRESS                     what both tables hold
states                            the states of both
interface a up|down               the interface to the clients comes or goes
reload FILE [a=FILE]              both read another file, or one of them another one
loud                              show each CONTACT from here on
given a STATE [new] [window=1]    begin anew: a alone, in that state and done with STARTUP, connected to a partner for
                                  which the script speaks; `new` if it never was in step with a partner
starting a STATE [new]            the same, but still in STARTUP
connect [flags=0] [mclt=60] [clone]    that partner connects again, with such connect flags or terms, or with our DUID
says STATE [communicated] [startup] [since=+9s]   that partner tells its state
holds STATUS c1 [clt=+0s] [since=+0s] [until=+60s]    it has this on record for 2001:db8:1::1, of its own client
tells STATUS c1 [clt=+9s] [raw=+0s] [since=+9s] [until=+99s]    that partner says this of it
accepts | rejects CODE            that partner answers the oldest BNDUPD that it has not answered
says UPDDONE|POOLREQ|... [id=0]   that partner sends such a message; UPDDONE answers the last question
says 99                           that partner sends a message of a type that there is none of
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any, NamedTuple

from scripts.world import MULTICAST, UNITS_S, duid_of, seconds, write_question
from tandem.config.load import load, parse
from tandem.effects.effects import Answer, Dial, Effects, Send, ToPartner
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
from tandem.effects.now import Now
from tandem.failover.handshake import Introduction, write_terms
from tandem.failover.history import COMMITS_FACT, HEARD_FACT_PREFIX, HISTORY_FACT
from tandem.failover.membership import DIVISIONS_FACT, TERRITORIES_FACT, UNSYNCHRONIZED_FACT
from tandem.failover.record import FACT_PREFIX, HEARTBEAT_FACT, Record, read_record
from tandem.failover.states import State
from tandem.lease.change import RESTORED_FACT, Change, Put
from tandem.lease.lease import BindingStatus, Lease, key_of, show_key, unpack
from tandem.lease.table import LeaseTable, load_table
from tandem.node import Identity, Node
from tandem.sim.host import START_MONO, keep
from tandem.sim.words import START_UTC, relative, show_between_partners
from tandem.wire import failover_options as fo
from tandem.wire.binding import LeaseUpdate, LeaseVerdict, Update, read_update, write_reply, write_update
from tandem.wire.failover import FailoverMessage, FailoverType, message, read_failover_message, stamp
from tandem.wire.failover_options import FailoverStatus, ServerFlags
from tandem.wire.message import Message, read_message
from tandem.wire.option import Option, read_options, write_options
from tandem.wire.options import ClientId, IaAddress, IaNa, IaPd, IaPrefix, ServerId, Status
from tandem.wire.reader import Reader
from tandem.wire.times import to_wire

HERE = Path(__file__).parent
QUIET_FACTS = (
    *(HEARTBEAT_FACT, COMMITS_FACT, HISTORY_FACT, RESTORED_FACT),
    *(TERRITORIES_FACT, UNSYNCHRONIZED_FACT, DIVISIONS_FACT),
)
QUIET_NOTES = ("answered", "lease-ended", "dropped", "held-to-mclt")
QUIET_MESSAGES = (FailoverType.CONTACT,)
ROUNDS_MAX = 100_000
INTERFACES: dict[int, tuple[str, tuple[int, ...]]] = {1: ("eth0", ()), 2: ("eth1", ())}
TYPE_AT = 2
"""Where the type of a message stands in its frame."""
CONTESTED = key_of(int(IPv6Address("2001:db8:1::1")))
STATES = {state.words: state for state in State}
TERMS: dict[str, Callable[[int], Option]] = {
    "window": fo.MaxUnackedBndupd,
    "flags": fo.Connect,
    "mclt": fo.Mclt,
}


class End(NamedTuple):
    """The other end of a connection; the server is None where the script speaks for it."""

    server: Server | None
    connection: int
    name: str


class Server:
    """One server: its disk, which outlives it, and its node, which does not."""

    def __init__(self, name: str, number: int) -> None:
        self.name = name
        self.duid = b"\0\3\0\1\2\0\0\0\0" + bytes((0xA0 + number,))
        self.leases: dict[int, bytes] = {}
        self.facts: dict[str, bytes] = {}
        self.node: Node | None = None
        self.table: LeaseTable | None = None
        self.utc_step = 0
        self.wake: float | None = None
        self.disk_is_full = False
        self.starts = 0
        self.copy: tuple[dict[int, bytes], dict[str, bytes]] = {}, {}
        self.interfaces = dict(INTERFACES)
        self.ends: dict[int, End] = {}

    def keep(self, changes: list[Change]) -> None:
        for change in changes:
            keep(change, self.leases, self.facts)


class Conversation:
    """The world of one script."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._mono = START_MONO
        self._servers = {name: Server(name, number) for number, name in enumerate("ab", 1)}
        self._file = ""
        self._is_cut = False
        self._is_held = False
        self._wire: deque[tuple[Server, Event]] = deque()
        self._connections = 0
        self._said: list[str] = []
        self._given: dict[str, dict[str, list[str]]] = {}
        self._puppeteer = ""
        self._asked = 0
        self._unanswered: deque[FailoverMessage] = deque()
        self._quiet: tuple[FailoverType, ...] = QUIET_MESSAGES

    def obey(self, command: str) -> str:
        """Do one command of a script and give what it prints."""
        self._said = []
        verb, *words = command.split()
        method = getattr(self, f"_do_{verb}", None)
        if method is not None:
            method(*words)
        else:
            self._client(verb, words[0], words[1:])
        self._deliver()
        return "\n".join(self._said)

    # -- commands

    def _do_serve(self, name: str) -> None:
        self._file = name
        names = load_servers(HERE / f"{name}.toml")
        self._servers = {each: Server(each, number) for number, each in enumerate(names, 1)}
        for each in names:
            self._do_start(each)

    def _do_start(self, name: str) -> None:
        server = self._servers[name]
        server.table = load_table(Put(key, record) for key, record in server.leases.items())
        settings = load(HERE / f"{self._file}.toml", name).settings
        server.starts += 1
        identity = Identity(server.duid, b"secret of a test", b"start%3d" % server.starts)
        server.node = Node(settings, identity, server.table, self._now(server), server.facts)
        self._handle(server, Interfaces(server.interfaces))

    def _do_crash(self, name: str) -> None:
        server = self._servers[name]
        server.node = None
        self._break(server, "the partner's host ended the connection")

    def _do_stop(self, name: str) -> None:
        server = self._servers[name]
        self._handle(server, Shutdown())
        self._deliver()
        server.node = None

    def _do_copy(self, name: str) -> None:
        server = self._servers[name]
        server.copy = dict(server.leases), dict(server.facts)

    def _do_restore(self, name: str, how: str = "unmarked") -> None:
        server = self._servers[name]
        server.leases, server.facts = dict(server.copy[0]), dict(server.copy[1])
        if how == "marked":
            server.facts[RESTORED_FACT] = b"%d" % self._now(server).utc

    def _do_wipe(self, name: str) -> None:
        self._servers[name].leases.clear()
        self._servers[name].facts.clear()

    def _do_interface(self, name: str, how: str) -> None:
        server = self._servers[name]
        server.interfaces = dict(INTERFACES) if how == "up" else {}
        self._handle(server, Interfaces(server.interfaces))

    def _do_reload(self, name: str, *others: str) -> None:
        self._file = name
        own = dict(other.split("=") for other in others)
        for each in self._alive():
            self._handle(each, Reload(load(HERE / f"{own.get(each.name, name)}.toml", each.name).settings))

    def _do_tick(self, text: str) -> None:
        until = self._mono + seconds(text)
        for _ in range(ROUNDS_MAX):
            times = [each.wake for each in self._alive() if each.wake is not None]
            self._mono = min([until, *(max(self._mono, each) for each in times)])
            for each in self._alive():
                if each.wake is not None and each.wake <= self._mono:
                    self._handle(each)
            self._deliver()
            if self._mono >= until and not any((each.wake or until + 1) <= until for each in self._alive()):
                return
        raise AssertionError("the servers never come to rest")

    def _do_utc(self, name: str, text: str) -> None:
        self._servers[name].utc_step += seconds(text)
        self._handle(self._servers[name])

    def _do_cut(self) -> None:
        self._is_cut = True

    def _do_heal(self) -> None:
        self._is_cut = False

    def _do_break(self) -> None:
        for each in self._servers.values():
            self._break(each, "the connection was reset")

    def _do_hold(self) -> None:
        self._is_held = True

    def _do_pass(self) -> None:
        self._is_held = False

    def _do_disk(self, name: str, how: str) -> None:
        server = self._servers[name]
        server.disk_is_full = how != "ok"
        self._handle(server, Disk(how == "ok", how))

    def _do_do(self, name: str, command: str, *words: str) -> None:
        given: dict[str, Any] = {}
        for word in words:
            key, _, value = word.partition("=")
            given[key] = int(value) if value.isdecimal() else value or True
        self._handle(self._servers[name], Command(1, command, given))

    def _do_states(self) -> None:
        for each in self._servers.values():
            self._said.append(f"{each.name}: {self._state(each)}")

    def _do_lease(self, text: str) -> None:
        address, _, length = text.partition("/")
        key = key_of(int(IPv6Address(address)), int(length or 128))
        for each in self._servers.values():
            lease = each.table.get(key) if each.table is not None else None
            self._said.append(f"{each.name}: {self._show_change(Put(key, lease.pack() if lease else None), full=True)}")

    # -- a partner that the script speaks for

    def _do_given(self, name: str, state: str, *words: str) -> None:
        self._do_starting(name, state, *words, ready=True)

    def _do_starting(self, name: str, state: str, *words: str, ready: bool = False) -> None:
        self._begin()
        self._file = "campus"
        self._puppeteer = name
        server = self._servers[name]
        communicated = "new" not in words
        record = Record(STATES[state], None, START_UTC - 100, 3600, 3600, communicated)
        if record.state is State.PARTNER_DOWN:
            record = replace(record, partner_down_time=START_UTC - 100)
        server.facts[FACT_PREFIX + "campus"] = record.as_fact("campus").value
        server.facts[HEARTBEAT_FACT] = b"%d" % (START_UTC - 200)
        self._do_start(name)
        if ready:
            self._do_tick("6s")
        self._connect_puppet(server, *words)
        self._deliver()
        self._said = []

    def _do_connect(self, *words: str) -> None:
        self._connect_puppet(self._servers[self._puppeteer], *words)

    def _connect_puppet(self, server: Server, *words: str) -> None:
        self._connections += 1
        server.ends = {self._connections: End(None, 0, "b" if server.name == "a" else "a")}
        is_primary = server.name == "a"
        type_ = FailoverType.CONNECTREPLY if is_primary else FailoverType.CONNECT
        relationship = load(HERE / f"{self._file}.toml", server.name).settings.relationships[0]
        said = Introduction(b"", server.duid if "clone" in words else b"", None)
        usual = read_options(Reader(write_terms(relationship, type_, relationship.mclt_s, said)))
        others = [
            TERMS[name](int(value)) for name, _, value in (word.partition("=") for word in words) if name in TERMS
        ]
        options = write_options({each.code: each for each in (*usual, *others)}.values())
        self._handle(server, PartnerUp(self._connections, ("campus",), "puppet", is_primary))
        self._puppet_sends(server, FailoverMessage(type_, 1, options))

    def _puppet_sends(self, server: Server, told: FailoverMessage) -> None:
        octets = stamp(told.write(), self._utc(server))
        self._handle(server, PartnerOctets(self._connections, octets, self._utc(server)))

    def _do_says(self, what: str, *words: str) -> None:
        server = self._servers[self._puppeteer]
        if what.isdigit():
            octets = bytearray(FailoverMessage(FailoverType.CONTACT, 77, b"").write())
            octets[TYPE_AT] = int(what)
            self._handle(server, PartnerOctets(self._connections, bytes(octets), self._utc(server)))
            return
        if what not in STATES:
            given_id = next((int(word[3:]) for word in words if word.startswith("id=")), 77)
            id_ = self._asked if what == "UPDDONE" else given_id
            self._puppet_sends(server, FailoverMessage(FailoverType[what], id_, b""))
            return
        flags = sum(ServerFlags[word.upper()] for word in words if word.upper() in ServerFlags.__members__)
        since = next((seconds(word[6:]) for word in words if word.startswith("since=")), -100)
        options = (
            fo.ServerState(STATES[what]),
            fo.ServerFlagsOption(flags),
            fo.StartTimeOfState(to_wire(START_UTC + since)),
        )
        self._puppet_sends(server, message(FailoverType.STATE, 5, options))

    def _do_holds(self, status: str, client: str, *words: str) -> None:
        server = self._servers[self._puppeteer]
        given = _times(words)
        binding = BindingStatus[status.replace("-", "_")]
        times = (given.get("since", 0), given.get("clt", 0), given.get("until", 0))
        lease = Lease(CONTESTED, binding, duid_of(client), 1, *times, 60, 60, 30, 48, b"")
        assert server.table is not None
        server.keep([server.table.put(lease)])

    def _do_accepts(self) -> None:
        told = self._unanswered.popleft()
        update = read_update(told.options)
        options = write_reply(update, [LeaseVerdict(lease.key) for lease in update.leases])
        self._puppet_answers(told, options)

    def _do_rejects(self, code: str) -> None:
        told = self._unanswered.popleft()
        update = read_update(told.options)
        verdicts = [LeaseVerdict(lease.key, FailoverStatus[code], "so it says") for lease in update.leases]
        self._puppet_answers(told, write_reply(update, verdicts))

    def _puppet_answers(self, told: FailoverMessage, options: bytes) -> None:
        reply = FailoverMessage(FailoverType.BNDREPLY, told.transaction_id, options)
        self._puppet_sends(self._servers[self._puppeteer], reply)

    def _do_loud(self) -> None:
        self._quiet = ()

    def _do_tells(self, status: str, client: str, *words: str) -> None:
        given = _times(words)
        binding = BindingStatus[status.replace("-", "_")]
        lease = LeaseUpdate(
            *(CONTESTED, 1, 30, 48, 60, 60, binding, given.get("since", 0)),
            *(given.get("until", 0), given.get("clt", 0), 0, given.get("raw", 0)),
        )
        server = self._servers[self._puppeteer]
        options = write_update(Update(duid_of(client), b"", (lease,)), self._utc(server))
        self._puppet_sends(server, FailoverMessage(FailoverType.BNDUPD, 9, options))

    # -- the world

    def _alive(self) -> list[Server]:
        return [each for each in self._servers.values() if each.node is not None]

    def _now(self, server: Server) -> Now:
        return Now(self._mono, self._utc(server))

    def _utc(self, server: Server) -> int:
        return START_UTC + int(self._mono - START_MONO) + server.utc_step

    def _handle(self, server: Server, *events: Event) -> None:
        if server.node is None:
            return
        effects = server.node.handle(self._now(server), events)
        if server.disk_is_full:  # as the outbox does: what waits for the disk is given up
            effects.then = [each for each in effects.then if isinstance(each, Answer)]
        server.keep(effects.commit)
        server.wake = effects.wake
        self._said += self._show(server, effects)
        for each in (*effects.at_once, *effects.then):
            end = server.ends.get(each.connection) if isinstance(each, ToPartner) else None
            if isinstance(each, ToPartner) and end is not None and end.server is not None:
                octets = stamp(each.data, self._utc(server))
                self._wire.append((end.server, PartnerOctets(end.connection, octets, self._utc(end.server))))
        for line in effects.lines:
            if isinstance(line, Dial):
                self._dial(server, line)
            elif line.connection in server.ends:
                self._hang_up(server, line.connection, "the partner closed the connection")

    def _hang_up(self, server: Server, connection: int, reason: str) -> None:
        end = server.ends.pop(connection)
        if end.server is not None:
            end.server.ends.pop(end.connection, None)
            self._wire.append((end.server, PartnerGone(end.connection, reason)))

    def _dial(self, server: Server, line: Dial) -> None:
        if self._puppeteer:
            return
        path = HERE / f"{self._file}.toml"
        relationships = load(path, server.name).settings.relationships
        partner = next(each.partner for each in relationships if each.name == line.relationship)
        other = self._servers[partner]
        if self._is_cut or other.node is None:
            self._wire.append((server, ConnectionFailed(line.relationship, "nobody answers", False)))
            return
        self._connections += 2
        near, far = self._connections - 1, self._connections
        server.ends[near] = End(other, far, other.name)
        other.ends[far] = End(server, near, server.name)
        self._wire.append((other, PartnerUp(far, (line.relationship,), server.name, False)))
        self._wire.append((server, PartnerUp(near, (line.relationship,), other.name, True)))

    def _break(self, server: Server, reason: str) -> None:
        for connection in list(server.ends):
            self._hang_up(server, connection, reason)
            if server.node is not None:
                self._wire.append((server, PartnerGone(connection, reason)))

    def _deliver(self) -> None:
        for _ in range(ROUNDS_MAX):
            if self._is_held or not self._wire:
                return
            server, event = self._wire.popleft()
            between = isinstance(event, PartnerOctets | PartnerGone)
            if not (self._is_cut and between):
                self._handle(server, event)
        raise AssertionError("the servers never stop talking")

    def _client(self, client: str, kind: str, words: list[str]) -> None:
        given = dict(word.partition("=")[::2] for word in words)
        at = given.pop("at", "".join(self._servers))
        interface = int(given.pop("on", "1"))
        server_name = given.pop("server", self._given.get(client, {}).get("server", ["none"])[0])
        if kind in ("solicit", "rebind", "confirm"):
            server_name = "none"
        for name in [each for each in given if each[:2] in ("na", "pd") and "@" not in given[each]]:
            known = self._given.get(client, {}).get(name)
            if known and kind != "solicit":
                given[name] += "@" + ",".join(known)
        duid = self._servers[server_name].duid if server_name != "none" else None
        data = write_question(client, kind, given, duid)
        for each in self._alive():
            if each.name in at:
                self._handle(each, Datagram(data, "fe80::1", 546, interface, 1, MULTICAST))
        if not self._said:
            self._said.append("no answer")

    # -- how it looks

    def _show(self, server: Server, effects: Effects) -> Iterator[str]:
        name = server.name
        for note in effects.notes:
            if note.event not in QUIET_NOTES:
                values = " ".join(f"{key}={value}" for key, value in _readable(note.values).items())
                yield f"{name} note {note.event} {values}".rstrip()
        for change in effects.commit:
            if isinstance(change, Put):
                yield f"{name} commits {self._show_change(change)}"
            elif change.name.startswith(FACT_PREFIX):
                record = read_record(change.value)
                partner = record.partner_state.words if record.partner_state else "unknown"
                yield f"{name} commits state {record.state.words}, partner {partner}"
            else:
                assert change.name in QUIET_FACTS or change.name.startswith(HEARD_FACT_PREFIX)
        for each in (*effects.at_once, *effects.then):
            match each:
                case ToPartner() if each.connection in server.ends:
                    sent = read_failover_message(each.data[2:])
                    if sent.type in (FailoverType.UPDREQ, FailoverType.UPDREQALL):
                        self._asked = sent.transaction_id
                    if sent.type is FailoverType.BNDUPD:
                        self._unanswered.append(sent)
                    if sent.type not in self._quiet:
                        yield f"{name} -> {server.ends[each.connection].name}: {show_between_partners(sent)}"
                case Send():
                    yield f"{name} -> {self._show_reply(server, each)}"
                case Answer():
                    yield f"{name} answers {each.error or _show_result(each.result)}"

    def _show_change(self, change: Put, full: bool = False) -> str:
        if change.record is None:
            return f"{show_key(change.key)} unknown" if full else f"{show_key(change.key)} forgotten"
        lease = unpack(change.key, change.record)
        parts = [show_key(lease.key), BindingStatus(lease.status).name.replace("_", "-")]
        parts += [f"c{lease.duid[-1]}"] if lease.duid else []
        timed = lease.status in (BindingStatus.ACTIVE, BindingStatus.ABANDONED)
        times = {
            "until": lease.state_expiration_time if timed else 0,
            "acked": lease.acked_partner_lifetime,
            "partner-lifetime": lease.partner_lifetime if full else 0,
            "expiration": lease.expiration_time,
        }
        parts += [f"{key}={relative(value - START_UTC)}" for key, value in times.items() if value]
        return " ".join(parts + (["owes"] if lease.owes_partner else []))

    def _show_reply(self, server: Server, send: Send) -> str:
        message = read_message(send.data)
        assert isinstance(message, Message)
        client = next((f"c{each.duid[-1]}" for each in message.options if isinstance(each, ClientId)), "?")
        known = self._given.setdefault(client, {})
        parts = [f"{client}: {message.type.name}"]
        for each in message.options:
            if isinstance(each, ServerId):
                known["server"] = [server.name]
            elif isinstance(each, IaNa | IaPd):
                parts += _show_ia(each, known)
            elif isinstance(each, Status):
                parts.append(f"status={each.status}")
        return " ".join(parts)

    def _state(self, server: Server) -> str:
        records = {name: read_record(value) for name, value in server.facts.items() if name.startswith(FACT_PREFIX)}
        if len(records) < 2:
            return next((record.state.words for record in records.values()), "nothing on record")
        return ", ".join(f"{name.removeprefix(FACT_PREFIX)} {each.state.words}" for name, each in records.items())


def _times(words: Sequence[str]) -> dict[str, int]:
    """Read `clt=+9s` and the like; times count from the start of the script."""
    return {name: START_UTC + seconds(text) for name, _, text in (word.partition("=") for word in words)}


def load_servers(path: Path) -> list[str]:
    """Name the servers of a file."""
    return list(parse(path.read_text()).server)


def _show_ia(ia: IaNa | IaPd, known: dict[str, list[str]]) -> Iterator[str]:
    name = f"{'na' if isinstance(ia, IaNa) else 'pd'}"
    leases = []
    for each in ia.options:
        if isinstance(each, IaAddress | IaPrefix):
            text = (
                show_key(key_of(int.from_bytes(each.address, "big")))
                if isinstance(each, IaAddress)
                else show_key(key_of(int.from_bytes(each.prefix, "big"), each.length))
            )
            yield f"{text} valid={_seconds_text(each.valid)}"
            leases += [text] if each.valid else []
        elif isinstance(each, Status):
            yield f"{name}={ia.iaid} status={each.status}"
    known[name] = leases


def _readable(values: Any) -> dict[str, Any]:
    return {key: show_key(value) if key == "key" else value for key, value in values.items()}


def _show_result(result: Any) -> str:
    if "holds" in result:
        return "\n".join(f"{each['link']}: {step}" for each in result["links"] for step in each["steps"])
    shown = result["relationships"][0] if "relationships" in result else result
    simple = {key: value for key, value in shown.items() if key == "differences" or not isinstance(value, dict | list)}
    return ", ".join(f"{key}={value}" for key, value in simple.items())


def _seconds_text(value: int) -> str:
    for unit, size in reversed(UNITS_S.items()):
        if value and value % size == 0:
            return f"{value // size}{unit}"
    return f"{value}s"

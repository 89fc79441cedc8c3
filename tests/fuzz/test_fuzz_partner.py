"""Whatever a partner sends: the node goes on, serves its clients, and touches only the leases that they share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import IPv6Address
from pathlib import Path
from random import Random
from typing import Any

import pytest

from fuzz.mutate import INTERESTING
from fuzz.world import in_full
from served import MULTICAST
from tandem.config.load import load
from tandem.effects.effects import Answer, Dial, Effects, Hangup, Send, ToPartner
from tandem.effects.events import Command, Datagram, Event, Interfaces, PartnerGone, PartnerOctets, PartnerUp
from tandem.effects.now import Now
from tandem.lease.change import Put
from tandem.lease.lease import BindingStatus, key_of, show_key, unpack
from tandem.lease.space import Role
from tandem.lease.table import LeaseTable
from tandem.node import Identity, Node
from tandem.stores.batch import read_batch, write_batch
from tandem.wire import failover_options as fo
from tandem.wire.binding import LeaseUpdate, Update, read_update, write_update
from tandem.wire.failover import (
    HEADER_OCTETS,
    MESSAGE_OCTETS_MAX,
    SIZE,
    FailoverMessage,
    FailoverType,
    Frames,
    message,
    read_failover_message,
    stamp,
)
from tandem.wire.message import Message, MessageType
from tandem.wire.octets import index_options, write_option
from tandem.wire.option import Option
from tandem.wire.options import ClientId, IaNa, IaPd, ServerId, Status
from tandem.wire.reader import WireError

SHARDS = in_full(8, 1)
MESSAGES = in_full(6000, 1200)
START = Now(1000.0, 1_800_000_000)
NAMES = ("a", "b")
CLIENTS = 4
EFFECTS_MAX = 2000
TIMES = (0.0, 0.0, 0.001, 0.1, 1.0, 3.0)

FILE = """
[server.a]
interfaces = ["eth0", "eth1", "eth2"]
address = "fd00:99::1"
[server.b]
interfaces = ["eth0", "eth1", "eth2"]
address = "fd00:99::2"
[server.c]
interfaces = ["eth0", "eth1", "eth2"]
address = "fd00:99::3"
[failover.campus]
primary = "a"
secondary = "b"
mclt = "1h"
startup = "5s"
security = "insecure"
[failover.a-c]
primary = "a"
secondary = "c"
security = "insecure"
[failover.b-c]
primary = "b"
secondary = "c"
security = "insecure"
[[subnet]]
prefix = "2001:db8:1::/64"
interface = "eth0"
failover = "campus"
pools = ["2001:db8:1:0:1::/80"]
pd-pools = [{ prefix = "2001:dba::/32", delegated-length = 56 }]
[[subnet]]
prefix = "2001:db8:2::/64"
interface = "eth1"
failover = "a-c"
pools = ["2001:db8:2:0:1::/80"]
pd-pools = [{ prefix = "2001:dbb::/32", delegated-length = 56 }]
[[subnet]]
prefix = "2001:db8:3::/64"
interface = "eth2"
failover = "b-c"
pools = ["2001:db8:3:0:1::/80"]
"""
SHARED = [(int(IPv6Address(first)), int(IPv6Address(last))) for first, last in [
    ("2001:db8:1::", "2001:db8:1:0:ffff:ffff:ffff:ffff"),
    ("2001:dba::", "2001:dba:ffff:ffff:ffff:ffff:ffff:ffff"),
]]  # fmt: skip
ADDRESS = key_of(int(IPv6Address("2001:db8:1:0:1::7")))


class Server:
    """A node, and how it is connected."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.duid = b"\0\3\0\1\2\0\0\0\0" + name.encode()
        self.table = LeaseTable()
        settings = load(path, name).settings
        self.node = Node(settings, Identity(self.duid, b"secret of a test"), self.table, START)
        self.connection = 0
        self.kept: dict[int, bytes] = {}
        """Leases as they are on its disk."""


class World:
    """Two nodes, of which one may be fed anything instead of what the other says."""

    def __init__(self, path: Path) -> None:
        self.mono = START.mono
        self.servers = {name: Server(name, path) for name in NAMES}
        self.connections = 0
        self.said: dict[str, list[bytes]] = {name: [] for name in NAMES}
        """What each server said, frame by frame."""
        for server in self.servers.values():
            self.handle(server, Interfaces({1: ("eth0", ())}))

    @property
    def now(self) -> Now:
        return Now(self.mono, START.utc + int(self.mono - START.mono))

    def handle(self, server: Server, event: Event | None = None) -> Effects:
        """Hand over an event, and check all that must hold whatever it is."""
        effects = server.node.handle(self.now, [event] if event is not None else [])
        assert list(read_batch(write_batch(effects.commit))) == effects.commit
        assert len(effects.commit) + len(effects.then) + len(effects.at_once) + len(effects.lines) <= EFFECTS_MAX
        for change in effects.commit:
            if isinstance(change, Put):
                first, last = change.key >> 8, (change.key >> 8) + (1 << 128 - (change.key & 0xFF)) - 1
                assert any(low <= first and last <= high for low, high in SHARED), (
                    f"{show_key(change.key)} is not shared"
                )
                if change.record is not None:
                    server.kept[change.key] = change.record
        for each in (*effects.at_once, *effects.then):
            if isinstance(each, ToPartner) and each.connection == server.connection:
                self.said[server.name].append(stamp(each.data, self.now.utc))
        for line in effects.lines:
            if isinstance(line, Hangup) and line.connection == server.connection:
                server.connection = 0
        return effects

    def other(self, server: Server) -> Server:
        return self.servers["b" if server.name == "a" else "a"]

    def connect(self) -> None:
        """Let a connection stand that neither has said anything on."""
        for server in self.servers.values():
            if server.connection:
                gone, server.connection = server.connection, 0
                self.handle(server, PartnerGone(gone, "it broke"))
        for server in self.servers.values():
            self.said[server.name] = []
            self.connections += 1
            server.connection = self.connections
            self.handle(server, PartnerUp(server.connection, ("campus",), "partner", server.name == "a"))

    def feed(self, server: Server, octets: bytes) -> Effects:
        return self.handle(server, PartnerOctets(server.connection, octets, self.now.utc))

    def talk(self) -> None:
        """Let both say all they have to each other, honestly."""
        at = dict.fromkeys(NAMES, 0)
        while any(at[name] < len(self.said[name]) for name in NAMES):
            for server in self.servers.values():
                frames = self.said[server.name][at[server.name] :]
                at[server.name] += len(frames)
                if frames and self.other(server).connection:
                    self.feed(self.other(server), b"".join(frames))

    def pass_time(self, seconds: float) -> None:
        """Let time pass for both, each call no later than it asked for."""
        self.mono += seconds
        for server in self.servers.values():
            self.handle(server)

    def in_step(self, clients: int = CLIENTS) -> None:
        """Bring both to NORMAL, with leases."""
        self.connect()
        self.talk()
        for _ in range(3):
            self.pass_time(1)
            self.talk()
        for client in range(clients):
            assert self.ask("a", client, MessageType.REQUEST)
        self.talk()

    def ask(self, name: str, client: int, type_: MessageType) -> list[Send]:
        """Let a client ask for an address and a prefix."""
        server = self.servers[name]
        duid = ClientId(b"\0\3\0\1client" + bytes((client,)))
        named: tuple[Option, ...] = (ServerId(server.duid),) if type_ is MessageType.REQUEST else ()
        asked = Message(type_, 1, (duid, *named, IaNa(1, 0, 0, ()), IaPd(1, 0, 0, ())))
        effects = self.handle(server, Datagram(asked.write(), "fe80::1", 546, 1, 1, MULTICAST))
        return [each for each in (*effects.at_once, *effects.then) if isinstance(each, Send)]

    def state(self, server: Server) -> str:
        effects = self.handle(server, Command(1, "status", {}))
        (answer,) = (each for each in effects.at_once if isinstance(each, Answer))
        found = next(each for each in answer.result["relationships"] if each["name"] == "campus")
        return str(found["state"])


@pytest.fixture
def fresh(tmp_path: Path) -> World:
    """Give two servers that have just started."""
    path = tmp_path / "pair.toml"
    path.write_text(FILE)
    return World(path)


@pytest.fixture
def world(fresh: World) -> World:
    fresh.in_step()
    return fresh


def check_it_serves(world: World, server: Server) -> None:
    """Cut off from its partner it answers a client: whatever it was told, it is not to be talked out of serving.

    Where a partner said that it needs time, such as POTENTIAL-CONFLICT, an operator can always end that.
    """
    if server.connection:
        gone, server.connection = server.connection, 0
        world.handle(server, PartnerGone(gone, "it broke"))
    world.pass_time(10)
    if world.state(server) in ("RECOVER", "RECOVER-WAIT", "RECOVER-DONE", "POTENTIAL-CONFLICT"):
        world.handle(server, Command(1, "failover-partner-down", {"relationship": "campus"}))
    assert world.ask(server.name, 200, MessageType.SOLICIT), f"{world.state(server)} answers nobody"


# -- the honest conversation, that all others are made from


def conversation(world: World, name: str) -> list[bytes]:
    """Give what a server says on a new connection, from CONNECT on, while clients come and go."""
    world.connect()
    world.talk()
    for client in range(CLIENTS):
        world.ask("a", client, MessageType.REBIND)
    world.talk()
    world.pass_time(3)
    world.talk()
    return world.said[name]


def test_the_honest_conversation(world: World) -> None:
    """Both are in NORMAL, and each kind of message that there is in it comes from one side or the other."""
    frames = [*conversation(world, "a"), *conversation(world, "b")]
    types = {read_failover_message(frame[SIZE.size :]).type for frame in frames}
    assert types >= {FailoverType.CONNECT, FailoverType.CONNECTREPLY, FailoverType.STATE, FailoverType.BNDUPD}
    assert types >= {FailoverType.BNDREPLY, FailoverType.POOLREQ, FailoverType.POOLRESP, FailoverType.CONTACT}
    assert {world.state(server) for server in world.servers.values()} == {"NORMAL"}
    assert all(len(server.kept) >= 2 * CLIENTS for server in world.servers.values())
    for server in world.servers.values():
        check_it_serves(world, server)


# -- mutations


class Babble:
    """Makes frames out of those that a partner said. One seed, one sequence."""

    def __init__(self, random: Random, frames: list[bytes]) -> None:
        self._random = random
        self._frames = frames
        self._mutations: tuple[Callable[[bytes], bytes], ...] = (
            self._flip,
            self._flip,
            self._number,
            self._number,
            self._truncate,
            self._type,
            self._transaction_id,
            self._reframe,
            self._drop_option,
            self._repeat_option,
            self._take_option,
            self._lease,
            self._lease,
        )

    def frame(self) -> bytes:
        random = self._random
        if random.random() < 0.02:
            return random.randbytes(random.randrange(80))
        body = random.choice(self._frames)[SIZE.size :]
        for _ in range(random.choice((0, 1, 1, 1, 2, 3))):
            body = random.choice(self._mutations)(body)
        return SIZE.pack(len(body)) + body

    def _place(self, body: bytes) -> int:
        return self._random.randrange(len(body) + 1)

    def _flip(self, body: bytes) -> bytes:
        at = self._place(body)
        return body[:at] + bytes(each ^ 1 << self._random.randrange(8) for each in body[at : at + 1]) + body[at + 1 :]

    def _number(self, body: bytes) -> bytes:
        at, size = self._place(body), self._random.choice((1, 2, 2, 4))
        number = self._random.choice(INTERESTING) & (1 << 8 * size) - 1
        return body[:at] + number.to_bytes(size, "big") + body[at + size :]

    def _truncate(self, body: bytes) -> bytes:
        return body[: self._place(body)]

    def _type(self, body: bytes) -> bytes:
        return bytes((self._random.choice((*FailoverType, 0, 23, 36)),)) + body[1:]

    def _transaction_id(self, body: bytes) -> bytes:
        return body[:1] + self._random.choice((0, 1, 2, 0xFFFFFF)).to_bytes(3, "big") + body[4:]

    def _reframe(self, body: bytes) -> bytes:
        """Let the last octets look like another frame's."""
        other = self._random.choice(self._frames)
        return body[: self._place(body)] + other[self._place(other) :]

    def _drop_option(self, body: bytes) -> bytes:
        options = options_of(body)
        if options:
            del options[self._random.randrange(len(options))]
        return body[:HEADER_OCTETS] + b"".join(options)

    def _repeat_option(self, body: bytes) -> bytes:
        options = options_of(body)
        return body + self._random.choice(options) * self._random.choice((1, 2, 30)) if options else body

    def _take_option(self, body: bytes) -> bytes:
        options = options_of(self._random.choice(self._frames)[SIZE.size :])
        return body + self._random.choice(options) if options else body

    def _lease(self, body: bytes) -> bytes:
        """Say something else of a lease, well formed: another status, another end, another lease."""
        try:
            update = read_update(body[HEADER_OCTETS:])
        except WireError:
            return body
        random = self._random
        change: dict[str, Any] = random.choice(
            (
                {"status": random.randrange(10)},
                {"start_time_of_state": START.utc + random.randrange(-50, 50)},
                {"client_last_transaction_time": START.utc + random.randrange(1, 10)},
                {"partner_raw_clt_time": START.utc + random.randrange(-50, 50)},
                {"state_expiration_time": random.choice((0, 1 << 30, 0xFFFFFFFE))},
                {"partner_lifetime": random.choice((0, 1 << 30, 0xFFFFFFFE))},
                {"key": self._key(update.leases[0].key)},
            )
        )
        leases = tuple(each._replace(**change) for each in update.leases)
        duid = random.choice((update.duid, b"\0\3\0\1other"))
        if not update.duid and leases[0].key & 0xFF == 128:
            return body
        made = Update(duid if update.duid else b"", update.details, leases)
        return body[:HEADER_OCTETS] + write_update(made, START.utc + 20)

    def _key(self, key: int) -> int:
        random = self._random
        length = random.choice((24, 32, 48, 55, 56, 57, 60, 64, 128, key & 0xFF))
        first = random.choice([low for low, _ in SHARED] + [int(IPv6Address("2001:db8:2::")), key >> 8])
        return key_of(first >> 128 - length << 128 - length, length)


def options_of(body: bytes) -> list[bytes]:
    try:
        return [body[start - 4 : end] for _, start, end in index_options(body, HEADER_OCTETS, len(body))]
    except WireError:
        return []


def babble(world: World, server: Server, random: Random) -> Iterator[bytes]:
    """Give what a partner that lost its mind sends, message by message, on connections that it opens anew."""
    said = conversation(world, world.other(server).name)
    made = Babble(random, list(said))
    connects = [frame for frame in said if frame[SIZE.size] in (FailoverType.CONNECT, FailoverType.CONNECTREPLY)]
    states = [frame for frame in said if frame[SIZE.size] == FailoverType.STATE]
    for _ in range(MESSAGES):
        if not server.connection:
            world.connect()
            yield made.frame() if random.random() < 0.2 else connects[0]
            yield states[-1]
        frame = made.frame()
        at = random.randrange(len(frame) + 1)
        if random.random() < 0.2:
            yield frame[:at]
            frame = frame[at:]
        yield frame * random.choice((1, 1, 1, 2))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shard", range(SHARDS))
def test_any_octets_of_a_partner(world: World, name: str, shard: int) -> None:
    random, server = Random(shard), world.servers[name]
    answered = 0
    for number, octets in enumerate(babble(world, server, random)):
        if not server.connection:
            continue
        try:
            effects = world.feed(server, stamped(octets, world.now.utc))
            answered += sum(isinstance(each, ToPartner) for each in (*effects.then, *effects.at_once))
            world.pass_time(random.choice(TIMES))
            if number % 97 == 0:
                world.ask(name, number % CLIENTS, MessageType.REBIND)
        except Exception as error:
            error.add_note(f"shard {shard}, message {number}, of {len(octets)} octets: {octets[:2000].hex()}")
            raise
    assert answered > MESSAGES // 20, "the fuzzer has lost its way in"
    check_it_serves(world, server)


def stamped(octets: bytes, utc_s: int) -> bytes:
    """Give a whole frame the right time, so that not the clock is to blame."""
    is_whole = len(octets) >= SIZE.size + HEADER_OCTETS and len(octets) == SIZE.size + SIZE.unpack_from(octets)[0]
    return stamp(octets, utc_s) if is_whole else octets


def test_the_same_seed_gives_the_same_octets(world: World) -> None:
    frames = list(conversation(world, "a"))
    first, second = (Babble(Random(1), frames) for _ in range(2))
    assert [first.frame() for _ in range(300)] == [second.frame() for _ in range(300)]


# -- what chance does not find soon


def bndupd(world: World, update: Update) -> bytes:
    return FailoverMessage(FailoverType.BNDUPD, 7, write_update(update, world.now.utc), world.now.utc).write()


def lease(world: World, **values: Any) -> LeaseUpdate:
    made = LeaseUpdate(ADDRESS, 1, 2, 3, 4, 5, BindingStatus.ACTIVE, world.now.utc)
    return made._replace(client_last_transaction_time=world.now.utc, state_expiration_time=world.now.utc + 99, **values)


DUID = b"\0\3\0\1of a client"


@pytest.mark.parametrize("size", [131, 255, 256, 300, 60_000])
def test_a_long_client_identifier(world: World, size: int) -> None:
    """RFC 9915 11.1: a DUID has up to 130 octets; nobody can record a longer one."""
    server = world.servers["b"]
    world.feed(server, bndupd(world, Update(bytes(size), b"", (lease(world),))))
    check_it_serves(world, server)


def test_a_rejection_that_does_not_fit(world: World) -> None:
    """An update that says too little, and fills its message with the client's identifier."""
    server = world.servers["b"]
    options = write_option(fo.ClientData.code, write_option(ClientId.code, bytes(65_500)))
    world.feed(server, FailoverMessage(FailoverType.BNDUPD, 7, options, world.now.utc).write())
    check_it_serves(world, server)


def test_many_leases_in_an_update(world: World) -> None:
    """Each is refused with a reason, and so the answer is longer than the question."""
    server = world.servers["b"]
    strange = LeaseUpdate(0, 1, 0, 0, 0, 0, BindingStatus.ACTIVE, world.now.utc)
    leases = tuple(strange._replace(key=key_of((0x3FFF << 112) + number)) for number in range(1000))
    world.feed(server, bndupd(world, Update(DUID, b"", leases)))
    check_it_serves(world, server)


@pytest.mark.parametrize("type_", [FailoverType.CONNECT, FailoverType.DISCONNECT, FailoverType.CONTACT])
@pytest.mark.parametrize("octet", [b"\0", b"x", b"\xff", b"\xc3\xa9"])
def test_the_longest_text(world: World, type_: FailoverType, octet: bytes) -> None:
    """A refusal that quotes what was said must not be longer than a message."""
    server = world.servers["b"]
    world.connect()
    size = (MESSAGE_OCTETS_MAX - HEADER_OCTETS - 4) // len(octet)
    name = write_option(fo.RelationshipName.code, octet * size)
    status = write_option(Status.code, b"\0\x0f" + (octet * size)[2:])
    held = status if type_ is FailoverType.DISCONNECT else name
    world.feed(server, FailoverMessage(type_, 1, held, world.now.utc).write())
    check_it_serves(world, server)


def test_details_that_fill_a_message(world: World) -> None:
    """What is kept of a lease has to fit into the message that tells of it, and beside the client's other leases."""
    server = world.servers["b"]
    for number, size in enumerate((30_000, 65_000, 65_300)):
        filler = write_option(60_000, bytes(size))
        update = Update(DUID, b"", (lease(world, key=ADDRESS + (number << 9), details=filler),))
        world.feed(server, bndupd(world, update))
    gone, server.connection = server.connection, 0
    world.handle(server, PartnerGone(gone, "it broke"))
    world.pass_time(10)
    world.mono += 120  # they end, and the partner is to be told of all three
    for _ in range(3):
        world.pass_time(1)
    world.connect()
    world.talk()
    assert len([frame for frame in world.said["b"] if frame[SIZE.size] == FailoverType.BNDUPD]) <= 3
    check_it_serves(world, server)


@pytest.mark.parametrize(("prefix", "length"), [("2001:dba::", 31), ("2001:db8:1::", 48), ("2001:db8:1::", 63)])
@pytest.mark.parametrize("status", [BindingStatus.FREE_BACKUP, BindingStatus.FREE, BindingStatus.ACTIVE])
def test_a_prefix_beyond_what_is_shared(fresh: World, prefix: str, length: int, status: BindingStatus) -> None:
    """7.5.4: it begins in what both share, and ends in what is another relationship's."""
    fresh.in_step(clients=0)
    key, server = key_of(int(IPv6Address(prefix)), length), fresh.servers["b"]
    nobodys = LeaseUpdate(key, 0, 0, 0, 0, 0, status, fresh.now.utc + 1)
    fresh.feed(server, bndupd(fresh, Update(b"", b"", (nobodys,))))
    assert server.table.get(key) is None
    pools = {pool.range.first: pool for pool in server.table.pools()}
    gifts = pools[int(IPv6Address("2001:dba::"))].gifts
    assert gifts is not None
    assert all(last <= SHARED[1][1] for _, last in gifts.intervals(Role.SECONDARY))


def test_a_lease_of_another_relationship_is_not_touched(world: World) -> None:
    """7.5.4: ConfigurationConflict."""
    server, key = world.servers["b"], key_of(int(IPv6Address("2001:db8:3:0:1::7")))
    world.feed(server, bndupd(world, Update(DUID, b"", (lease(world, key=key), lease(world)))))
    assert server.table.get(key) is None
    assert unpack(ADDRESS, server.kept[ADDRESS]).duid == DUID


@pytest.mark.parametrize("first", [56, 57, 64])
@pytest.mark.parametrize("where", ["2001:dba::", "2001:dba:0:ff::"])
def test_prefixes_of_clients_never_overlap(fresh: World, first: int, where: str) -> None:
    """Whatever lengths a partner tells: those of the pool, and others as from an earlier configuration."""
    fresh.in_step(clients=0)
    server = fresh.servers["b"]
    for length in (first, 48, 52, 55, 56, 57, 60, 64, 72):
        address = int(IPv6Address(where)) >> 128 - length << 128 - length
        told = lease(fresh, key=key_of(address, length))
        fresh.feed(server, bndupd(fresh, Update(b"\0\3\0\1of %d" % length, b"", (told,))))
        assert (server.table.get(told.key) is not None) is (length == first)


def test_a_partner_that_says_everything_at_once(world: World) -> None:
    """A megabyte of requests in one piece: each call does bounded work."""
    server = world.servers["b"]
    asked = message(FailoverType.UPDREQALL, 9)._replace(sent_time=world.now.utc).write()
    world.feed(server, asked * 200)
    contact = message(FailoverType.CONTACT, 9)._replace(sent_time=world.now.utc).write()
    effects = world.feed(server, contact * 100_000)
    assert len(effects.then) < EFFECTS_MAX
    check_it_serves(world, server)


@pytest.mark.parametrize("kind", [*FailoverType], ids=lambda each: each.name)
def test_each_message_before_connect(world: World, kind: FailoverType) -> None:
    """A stranger's first message is a CONNECT or its last (6.1.2)."""
    server = world.servers["b"]
    world.connect()
    effects = world.feed(server, message(kind, 1, (fo.RelationshipName("no-such"),)).write())
    assert effects.lines == [Hangup(world.connections)]
    assert not any(isinstance(line, Dial) for line in effects.lines)
    frames = Frames()
    answers = [frame for each in effects.at_once if isinstance(each, ToPartner) for frame in frames.feed(each.data)]
    assert [read_failover_message(frame).type for frame in answers] == (
        [FailoverType.CONNECTREPLY] if kind is FailoverType.CONNECT else []
    )
    check_it_serves(world, server)

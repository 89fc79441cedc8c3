"""The life of a stressed pair: a time in which anything goes, and one in which all must become well."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pair.stress import STEPS_MAX, World
from pair.stress_checks import Broken, owner
from pair.stress_client import Client
from pair.stress_host import Host
from tandem.failover.states import State
from tandem.lease.lease import BindingStatus, ia_code_of, show_key, unpack
from tandem.lease.space import Role
from tandem.wire.message import MessageType

TIMED = (BindingStatus.ACTIVE, BindingStatus.ABANDONED)
POLL_S = 5.0


def live(seed: int, folder: Path, say: Callable[[str], None] | None = None) -> World:
    """Live a world to its end."""
    world = World(seed, folder, say)
    try:
        Story(world).tell()
    except Broken as broken:
        raise Broken(f"seed {seed}: {broken} ({world.drawn})") from None
    return world


class Story:
    """What happens in a world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._chance = world.chance
        self._events: tuple[tuple[int, Callable[[], None]], ...] = (
            (40, self._time_passes),
            (12, self._client_comes),
            (5, self._client_vanishes),
            (10, self._client_speaks),
            (2, self._client_moves),
            (6, self._net_fails),
            (7, self._net_heals),
            (2, self._net_breaks),
            (6, self._host_dies),
            (9, self._host_starts),
            (2, self._operator),
            (1, self._disk_is_lost),
            (2, self._disk_fills),
            (4, self._disk_has_room),
        )

    def tell(self) -> None:
        """Let anything go, and then see that all becomes well."""
        world, chance = self._world, self._chance
        for host in world.hosts.values():
            world.start(host)
        world.advance(chance.choice((0.5, 30.0, 100.0)))
        weights = [each[0] for each in self._events]
        for _ in range(chance.randint(20, 150)):
            (event,) = chance.choices(self._events, weights)
            event[1]()
            world.checks.shares()
            if world.steps > STEPS_MAX:
                break
        self._become_well()

    # -- anything goes

    def _time_passes(self) -> None:
        drawn = self._world.drawn
        scales = (0.3, 1, 5, drawn.keepalive_s, 30, drawn.valid_s / 2, drawn.mclt_s, 2 * drawn.mclt_s)
        self._world.advance(min(7200.0, self._chance.choice(scales) * self._chance.uniform(0.3, 1.3)))

    def _client(self, is_on: bool) -> Client | None:
        return next((each for each in self._shuffled() if each.is_on == is_on), None)

    def _shuffled(self) -> list[Client]:
        return self._chance.sample(self._world.clients, len(self._world.clients))

    def _client_comes(self) -> None:
        for each in self._shuffled()[: self._chance.randint(1, 4)]:
            if not each.is_on:
                each.come()
        self._world.advance(self._chance.uniform(0, 2))

    def _client_vanishes(self) -> None:
        client = self._client(is_on=True)
        if client is not None:
            client.vanish()

    def _client_speaks(self) -> None:
        client = self._client(is_on=True)
        if client is None or not client.held():
            return
        chosen = (MessageType.RENEW, MessageType.REBIND, MessageType.REBIND, MessageType.RELEASE, MessageType.DECLINE)
        type_ = self._chance.choice(chosen)
        if client.waits and type_ in (MessageType.RELEASE, MessageType.DECLINE):
            return
        client.ask(type_)
        if type_ in (MessageType.RELEASE, MessageType.DECLINE):
            client.plan(self._chance.choice((0.5, 3, 20, 200)))

    def _client_moves(self) -> None:
        client = self._chance.choice(self._world.clients)
        client.hears = self._chance.choice(
            ({"a": True, "b": True}, {"a": True, "b": True}, {"a": True, "b": False}, {"a": False, "b": True})
        )

    def _net_fails(self) -> None:
        self._world.log("the network fails")
        self._world.wire.hold(*self._chance.choice((("a", "b"), ("a", "b"), ("a",), ("b",))))

    def _net_heals(self) -> None:
        self._world.log("the network heals")
        self._world.wire.heal()
        self._world.advance(self._chance.choice((0.0, 1.0, 15.0)))

    def _net_breaks(self) -> None:
        self._world.log("the connection breaks")
        self._world.wire.break_all()

    def _host(self) -> Host:
        return self._world.hosts[self._chance.choice("ab")]

    def _host_dies(self) -> None:
        host, how = self._host(), self._chance.choice(("kept", "lost"))
        if self._chance.random() < 0.5:
            host.dies_at_commit = how if host.is_up else ""
        else:
            self._world.crash(host, how, self._chance.random() < 0.6)

    def _host_starts(self) -> None:
        for host in self._world.hosts.values():
            if not host.is_up and self._world.may_start(host):
                self._world.start(host)
        self._world.advance(self._chance.choice((0.0, 2.0, 20.0)))

    def _operator(self) -> None:
        self._world.declare_down(self._host())

    def _disk_is_lost(self) -> None:
        host = self._host()
        if not host.is_up:
            self._world.wipe(host)

    def _disk_fills(self) -> None:
        host = self._host()
        self._world.log(f"{host.name}'s disk is full")
        host.is_full = True

    def _disk_has_room(self) -> None:
        for host in self._world.hosts.values():
            host.is_full = False

    # -- all becomes well

    def _become_well(self) -> None:
        world, drawn = self._world, self._world.drawn
        world.log("all is well from now on")
        self._heal()
        for client in world.clients:
            client.come()
        recovery_s = 3 * drawn.mclt_s + 4 * drawn.keepalive_s + 2 * drawn.startup_s + 120
        self._wait(recovery_s, self._are_normal, "the servers are not in NORMAL")
        world.log("both are in NORMAL")
        self._wait(1500 + drawn.mclt_s, self._are_equal, self._differences)
        self._everybody_is_served(world.hosts["a"])
        self._each_alone()

    def _heal(self) -> None:
        world = self._world
        world.loss = 0.0
        world.wire.heal()
        for host in world.hosts.values():
            host.is_full = False
            host.dies_at_commit = ""
        for client in world.clients:
            client.hears = {"a": True, "b": True}
        for host in sorted(world.hosts.values(), key=lambda each: each.state is not State.PARTNER_DOWN):
            if not host.is_up:
                world.start(host)

    def _wait(self, at_most_s: float, holds: Callable[[], bool], what: str | Callable[[], str]) -> None:
        until = self._world.now + at_most_s
        while not holds():
            if self._world.now > until:
                said = what if isinstance(what, str) else what()
                states = [host.state and host.state.words for host in self._world.hosts.values()]
                self._world.checks.broken(f"after {at_most_s} s in peace: {said}; {states}")
            self._world.advance(POLL_S)

    def _are_normal(self) -> bool:
        return all(host.state is State.NORMAL for host in self._world.hosts.values())

    def _are_equal(self) -> bool:
        return self._are_normal() and not self._differences()

    def _differences(self) -> str:
        a, b = (self._world.hosts[name] for name in "ab")
        found = []
        for key in sorted({*a.leases, *b.leases}):
            views = [_view(host, key) for host in (a, b)]
            if views[0] != views[1] or any(host.leases.get(key, b"\0")[0] for host in (a, b)):
                found.append(f"{show_key(key)} is {views[0]} here and {views[1]} there")
        return "; ".join(found)

    def _everybody_is_served(self, host: Host) -> None:
        """See that a server whose share has room serves everybody who asks it."""
        world = self._world
        for _ in range(3):
            for client in world.clients:
                client.come()
            world.advance(75.0)
        for client in world.clients:
            for code in client.missing() if client.hears[host.name] else ():
                room = [key for key in self._room(host) if ia_code_of(key) == code]
                if room:
                    leases = f"{len(room)} left, such as {show_key(room[0])}"
                    world.checks.broken(f"{host.name} gives c{client.number} nothing, and has {leases}")

    def _room(self, host: Host) -> list[int]:
        drawn = self._world.drawn
        first = 0x20010DB8000100000001 << 48
        found = []
        for at in range(host.role or 2, min(256, 1 << 128 - drawn.length), 2):
            key = first + at << 8 | 128
            lease = host.lease(key)
            if lease is None or self._is_settled(host, key):
                found.append(key)
        for key in self._world.prefixes():
            lease = host.lease(key)
            if owner(host.leases, key, lease) is host.role and (lease is None or self._is_settled(host, key)):
                found.append(key)
        return found

    @staticmethod
    def _is_settled(host: Host, key: int) -> bool:
        lease = host.lease(key)
        is_free = lease is not None and lease.status in (BindingStatus.FREE, BindingStatus.FREE_BACKUP)
        return is_free and lease is not None and lease.start_time_of_state < host.utc() - 120

    def _each_alone(self) -> None:
        """Part the servers: each serves all from its own share."""
        world = self._world
        world.log("each alone")
        world.wire.hold("a", "b")
        for client in world.clients:
            client.hears = {name: client.number % 2 == Role[("SECONDARY", "PRIMARY")[name == "a"]] for name in "ab"}
        world.advance(3.0 * world.drawn.keepalive_s)
        for host in world.hosts.values():
            self._everybody_is_served(host)


def _view(host: Host, key: int) -> tuple[object, ...] | None:
    record = host.leases.get(key)
    if record is None:
        return None
    lease = unpack(key, record)
    until = lease.state_expiration_time if lease.status in TIMED else 0
    name = BindingStatus(lease.status).name + (" owes" if lease.owes_partner else "")
    return (lease.duid[-1:].hex(), lease.iaid, name, lease.start_time_of_state, until, lease.length)

"""The life of a world: a time in which anything goes, and one in which all must become well."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from tandem.failover.balance import THRESHOLD_PERCENT
from tandem.failover.states import State
from tandem.lease.lease import TIMED, BindingStatus, ia_code_of, show_key, unpack
from tandem.lease.space import Role
from tandem.sim.configuration import addresses, prefixes
from tandem.sim.faults import Faults
from tandem.sim.host import Host
from tandem.sim.ownership import owner
from tandem.sim.plan import Act, Link, Pair, Plan
from tandem.sim.scene import Resident
from tandem.sim.subscriber import Ia
from tandem.sim.world import World
from tandem.wire.message import MessageType

CALLS_MAX = 20_000
"""How often nodes may be called while anything goes: a busier world is healed earlier."""
LOOKS = 40
POLL_S = 5.0
ASKED_WITHIN_S = 225.0
"""For how long everybody may ask before it is seen who has got nothing."""
SETTLED_S = 120
SHARED_S = 630.0
"""Within how long the partners' shares are right: they are looked at each minute, and a few prefixes move each time."""
ROOM_MAX = 256
ENDED = (BindingStatus.EXPIRED, BindingStatus.RELEASED, BindingStatus.RESET)
"""What is nobody's, and not free before the partner agrees."""
ASKING = {"renew": MessageType.RENEW, "rebind": MessageType.REBIND}
GIVING_UP = {"release": MessageType.RELEASE, "decline": MessageType.DECLINE}


class Story:
    """What happens in a world, from its beginning to its end. Broken is raised if something does not hold."""

    def __init__(self, plan: Plan, say: Callable[[str], None] | None = None) -> None:
        self.world = World(plan, say)
        self._scene = self.world.scene
        self._faults = Faults(self.world)
        self._is_healed = False

    def tell(self) -> None:
        """Let anything go, and then see that all becomes well."""
        world, plan = self.world, self._scene.plan
        for host in self._scene.hosts.values():
            host.start()
        self._faults.schedule()
        for resident, client in zip(self._scene.residents, plan.clients, strict=True):
            for act in client.acts:
                world.agenda.at(act.at_s, partial(self._act, resident, act))
        for look in range(1, LOOKS + 1):
            world.agenda.run(plan.lasts_s * look / LOOKS)
            world.shares.look()
            world.partnership.look()
            self._see_what_is_settled()
            if world.calls > CALLS_MAX:
                break
        self._become_well()

    def _act(self, resident: Resident, act: Act) -> None:
        """Let a client do what its plan says."""
        now, subscriber = self.world.agenda.now, resident.subscriber
        if self._is_healed:
            return
        match act.what:
            case "come":
                subscriber.come(now)
            case "vanish":
                subscriber.leave()
            case "rename":
                subscriber.rename()
            case "move":
                resident.link, resident.moved_at = act.link, now
                subscriber.move(now)
            case "renew" | "rebind":
                subscriber.ask(now, ASKING[act.what])
            case "release" | "decline":
                keys = subscriber.give_up(now, GIVING_UP[act.what])
                self.world.holdings.given_up(resident, keys, act.what == "decline")
            case _:
                raise ValueError(f"a client cannot {act.what}")
        self.world.tend(resident)

    def _see_what_is_settled(self) -> None:
        """Void what cannot be asked for, and ask for it again where partners have settled everything."""
        for pair in self._scene.plan.pairs:
            self.world.holdings.void_all(pair)
            if self.world.holdings.tainted[pair.name] and self._is_normal(pair) and not self._owes(pair):
                self.world.holdings.clear(pair)
        self.world.subnets.look()

    def _owes(self, pair: Pair) -> bool:
        return any(
            record[0]
            for host in self._scene.both(pair)
            for key, record in host.leases.items()
            if self._scene.pair_of(key) is pair
        )

    # -- all becomes well

    def _become_well(self) -> None:
        world, scene = self.world, self._scene
        scene.log("all is well from now on")
        self._heal()
        world.agenda.run(world.agenda.now + POLL_S)  # what was just about to happen happens
        numbers = [file.numbers for file in world.files]
        mclt_s = max(each.mclt_s for each in numbers)
        keepalive_s = max(each.keepalive_s for each in numbers)
        wrong_s = max((abs(self._faults.step_s(each)) for each in scene.plan.faults), default=0.0)
        recovery_s = 3 * mclt_s + 4 * keepalive_s + 2 * scene.plan.numbers.startup_s + 120 + 2 * wrong_s
        self._wait(recovery_s, self._are_normal, "not in NORMAL")
        scene.log("all are in NORMAL")
        self._wait(recovery_s, self._are_trusted, "forgotten leases still waited for")
        self._wait(2 * wrong_s + POLL_S, self._are_clocks_right, "clock still behind")
        # An end is not believed before the partner's own record of the lease is over (RFC 8156 7.5.4, time(1)).
        equal_s = 1500 + mclt_s + max(each.valid_s for each in numbers)
        self._wait(equal_s + 2 * wrong_s, self._are_equal, "not equal")
        scene.log("all tables are equal")
        for link in scene.links.values():
            self._everybody_is_served(scene.hosts[scene.pairs[link.pair].primary], link)
        self._what_is_over_has_ended(SETTLED_S + 2 * wrong_s)
        self._wait(SHARED_S, lambda: not self._uneven(), "uneven shares")
        self._each_alone(keepalive_s)
        self._wait(recovery_s, self._are_normal, "not in NORMAL after a split")
        self._wait(equal_s, self._are_equal, "not equal after a split")

    def _uneven(self) -> list[Link]:
        """Return the links where a partner has none of several free prefixes, or far fewer than its share."""
        found = []
        for link in self._scene.links.values():
            hosts = self._scene.both(self._scene.pairs[link.pair])
            owners = [owner(hosts[0].leases, key) for key in prefixes(link)]
            of_secondary, free = owners.count(Role.SECONDARY), len(owners) - owners.count(None)
            wanted = free * self.world.files[-1].numbers.secondary_share // 100
            is_poor = free > 1 and of_secondary in (0, free)
            if is_poor or abs(wanted - of_secondary) > max(1, free * THRESHOLD_PERCENT // 100):
                found.append(link)
        return found

    def _what_is_over_has_ended(self, at_most_s: float) -> None:
        """See that no lease is kept for longer after its end, nor stays what ended for longer without being free."""
        for host in self._scene.hosts.values():
            for key, record in host.leases.items():
                lease = unpack(key, record)
                over_s = host.clock.utc() - lease.state_expiration_time
                if lease.status in TIMED and over_s > at_most_s:
                    self._scene.broken("never ended", f"{host.name} has {show_key(key)} {over_s} s after its end")
                ended_s = host.clock.utc() - lease.start_time_of_state
                if lease.status in ENDED and ended_s > at_most_s:
                    self._scene.broken(
                        "never free", f"{host.name} has {_view(host, key)} of {show_key(key)} for {ended_s} s"
                    )

    def _heal(self) -> None:
        world = self.world
        self._is_healed = True
        self._faults.heal()
        world.losses, world.lags_s = [0.0], [min(0.1, self._scene.plan.lag_s)]
        for host in self._scene.hosts.values():
            if world.version_of(host) != world.version:
                world.reload(host)
            host.well_since = world.agenda.now
            host.clock.discipline()
        self._all_come()

    def _all_come(self) -> None:
        for resident in self._scene.residents:
            resident.subscriber.come(self.world.agenda.now)
            self.world.tend(resident)

    def _wait(self, at_most_s: float, holds: Callable[[], bool], kind: str) -> None:
        until = self.world.agenda.now + at_most_s
        while not holds():
            self._see_what_is_settled()
            if self.world.agenda.now > until:
                states = ", ".join(
                    f"{host.name} {pair.name} {state.words if (state := host.state(pair.name)) else 'nothing'}"
                    for pair in self._scene.plan.pairs
                    for host in self._scene.both(pair)
                )
                self._scene.broken(kind, f"after {at_most_s:.0f} s in peace: {states}; {self._differences()[:500]}")
            self.world.agenda.run(self.world.agenda.now + POLL_S)

    def _is_normal(self, pair: Pair) -> bool:
        return all(host.is_up and host.state(pair.name) is State.NORMAL for host in self._scene.both(pair))

    def _are_normal(self) -> bool:
        return all(map(self._is_normal, self._scene.plan.pairs))

    def _are_trusted(self) -> bool:
        """True if no server waits any more for leases that it gave and forgot: until then it gives none anew."""
        records = (host.record(pair.name) for pair in self._scene.plan.pairs for host in self._scene.both(pair))
        return not any(record is not None and record.untrusted_until for record in records)

    def _are_clocks_right(self) -> bool:
        return not any(map(self.world.promises.is_clock_behind, self._scene.hosts.values()))

    def _are_equal(self) -> bool:
        return self._are_normal() and not self._differences()

    def _differences(self) -> str:
        found = []
        for pair in self._scene.plan.pairs:
            hosts = self._scene.both(pair)
            keys = {key for host in hosts for key in host.leases if self._scene.pair_of(key) is pair}
            for key in sorted(keys):
                views = [_view(host, key) for host in hosts]
                if views[0] != views[1] or any(host.leases.get(key, b"\0")[0] for host in hosts):
                    found.append(f"{show_key(key)} is {views[0]} here and {views[1]} there")
        return "; ".join(found)

    def _everybody_is_served(self, host: Host, link: Link) -> None:
        """See that a server whose share has room serves everybody who asks it."""
        for _ in range(3):
            self._all_come()
            self.world.agenda.run(self.world.agenda.now + ASKED_WITHIN_S / 3)
        lacking = self._lacking(host, link)
        self.world.agenda.run(self.world.agenda.now + 2 * POLL_S)  # who just comes by something is not without it
        for (resident, ia), room in self._lacking(host, link).items():
            if (resident, ia) in lacking:
                what = f"{resident.name} for IA {ia[0]}/{ia[1]}, and has {len(room)} leases such as {show_key(room[0])}"
                self._scene.broken("not served", f"{host.name} gives nothing to {what}")

    def _lacking(self, host: Host, link: Link) -> dict[tuple[Resident, Ia], list[int]]:
        """Give who reaches a server on a link and lacks what that has, with what it has."""
        found: dict[tuple[Resident, Ia], list[int]] = {}
        for resident in self._scene.residents:
            # Who renews at a server that it does not reach asks nobody else before T2; who has rebound for long, and
            # while this server did not answer, may not have asked since.
            question = resident.subscriber.question
            rebinds_seldom = question is not None and question.wait_s > ASKED_WITHIN_S
            is_busy = rebinds_seldom or resident.subscriber.asks is MessageType.RENEW
            if resident.link == link.number and not is_busy and not self.world.is_deaf(host, resident):
                for ia in resident.subscriber.missing(self.world.agenda.now):
                    room = [key for key in self._room(host, link) if ia_code_of(key) == ia[0]]
                    found.update({(resident, ia): room} if room else {})
        return found

    def _room(self, host: Host, link: Link) -> list[int]:
        """Give what a server has to give on a link, by its disk; of a large pool not all."""
        role = self._scene.role(host, self._scene.pairs[link.pair])
        own = [key for key in addresses(link)[:ROOM_MAX] if key >> 8 & 1 == role and key >> 8 & 0xFFFF]
        own += [key for key in prefixes(link) if owner(host.leases, key) is role]
        return [key for key in own if host.lease(key) is None or self._is_settled(host, key)]

    @staticmethod
    def _is_settled(host: Host, key: int) -> bool:
        lease = host.lease(key)
        is_free = lease is not None and lease.status in (BindingStatus.FREE, BindingStatus.FREE_BACKUP)
        return is_free and lease is not None and lease.start_time_of_state < host.clock.utc() - SETTLED_S

    def _each_alone(self, keepalive_s: float) -> None:
        """Part the servers: each serves all from its own share."""
        self._scene.log("each alone")
        world = self.world
        for streams in self._scene.streams.values():
            streams.hold(*streams.held)
        world.is_parted = True
        world.agenda.run(world.agenda.now + 3.0 * keepalive_s)
        for link in self._scene.links.values():
            for host in self._scene.both(self._scene.pairs[link.pair]):
                self._everybody_is_served(host, link)
        world.is_parted = False
        for streams in self._scene.streams.values():
            streams.let_go(*streams.held)


def _view(host: Host, key: int) -> tuple[object, ...] | None:
    """Give what partners must have alike of a lease."""
    record = host.leases.get(key)
    if record is None:
        return None
    lease = unpack(key, record)
    until = lease.state_expiration_time if lease.status in TIMED else 0
    name = BindingStatus(lease.status).name + (" owes" if lease.owes_partner else "")
    return (lease.duid[-1:].hex(), lease.iaid, name, lease.start_time_of_state, until, lease.length)

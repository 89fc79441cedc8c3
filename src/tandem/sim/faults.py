"""What can go wrong in a simulated world: each kind of fault, how it begins and how it ends.

split         nothing passes between the partners of a pair, and nobody is told
one-way       nothing passes towards one of them
stall         nothing passes towards one of them, for a moment: a slow network, or a slow partner
break         their connection is reset, at any octet
crash         a server dies, in one of five ways by `how`, and is started when the fault is over
sync-fails    the same, at its next commit, as a server does whose disk fails to sync
stop          a server is stopped in good order, and started later
wipe          a server dies and loses its disk
rollback      its disk is copied; when the fault is over, the server dies and starts from the copy
pause         a server does nothing for a while, and then goes on
disk-full     its disk takes nothing
disk-slow     its disk takes its time
deaf          some clients or all do not reach it, nor does it reach them
lossy, laggy  datagrams of clients are lost more often, or late
clock         its wall clock is set wrong, and right again
partner-down  its operator says that the partner is down, when it is
premature     its operator says so, whether it is or not
handover      its operator has it step aside, and later serve again
release       its operator releases a lease
reload        a number in the file changes, and it reads the file
pools         pools of a subnet, or the subnet, are taken out of the file and later put back: see `edits`
own           a subnet is one server's own for a while
move          a subnet is taken out, and joins another relationship if nothing in it is leased by then
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from tandem.effects.events import Command, Shutdown
from tandem.failover.history import COMMITS_FACT, HEARD_FACT_PREFIX, read_position
from tandem.lease.change import RESTORED_FACT
from tandem.lease.lease import BindingStatus, show_key
from tandem.sim.edits import Edits
from tandem.sim.host import DiskCopy, Host
from tandem.sim.plan import Fault, Pair
from tandem.sim.world import World

STEPS_S = (-3600.0, -60.0, -7.0, -3.0, 3.0, 7.0, 60.0, 3600.0)
"""By how much a clock is set wrong."""
SLOW_S = (0.5, 2.0, 5.0)
LOSSES = (0.2, 0.5, 0.9)
LAGS_S = (2.0, 9.0, 15.0)
DEAD_S = 6.0
"""How long a server must be dead before an operator says so: longer than clocks may differ."""
TRAPS = ("now", "lost now", "call", "lost", "kept")


class Faults:
    """All faults of a world, as they come and go."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._scene = world.scene
        self._active: dict[int, Fault] = {}
        self._died_at: dict[str, float] = {}
        self._wiped: set[str] = set()
        self._copies: dict[Fault, DiskCopy] = {}
        edits = Edits(world)
        kinds: dict[str, tuple[Callable[[int, Fault], None], Callable[[Fault], None] | None]] = {
            "split": (self._hold, self._let_go),
            "one-way": (self._hold, self._let_go),
            "stall": (self._hold, self._let_go),
            "break": (self._cut, None),
            "crash": (self._crash, self._start),
            "sync-fails": (self._crash, self._start),
            "stop": (self._stop, self._start),
            "wipe": (self._wipe, self._start),
            "rollback": (self._copy, self._roll_back),
            "pause": (self._pause, self._go_on),
            "disk-full": (self._fill, self._make_room),
            "disk-slow": (self._slow_down, self._speed_up),
            "deaf": (self._deafen, self._undeafen),
            "lossy": (self._lose, self._lose_less),
            "laggy": (self._lag, self._lag_less),
            "clock": (self._set_wrong, self._set_right),
            "partner-down": (self._declare_down, None),
            "premature": (self._declare_down, None),
            "handover": (self._hand_over, self._resume),
            "release": (self._release, None),
            "reload": (edits.change_numbers, None),
            "pools": (edits.change_subnet, edits.change_subnet_back),
            "own": (edits.change_subnet, edits.change_subnet_back),
            "move": (edits.change_subnet, edits.change_subnet_back),
        }
        self._kinds = kinds
        self._tickets = 0
        self._is_over = False

    def schedule(self) -> None:
        """Let every fault begin and end at its time."""
        for number, fault in enumerate(self._scene.plan.faults):
            self._world.agenda.at(fault.at_s, partial(self._begin, number, fault))

    def heal(self) -> None:
        """End whatever is wrong, and let nothing go wrong any more."""
        self._is_over = True
        for number in sorted(self._active):
            self._end(number)

    def _begin(self, number: int, fault: Fault) -> None:
        if self._is_over:
            return
        begin, end = self._kinds[fault.what]
        self._scene.log(f"fault: {fault.what} of {fault.who} for {fault.lasts_s:.3f} s")
        begin(number, fault)
        if end is not None:
            self._active[number] = fault
            self._world.agenda.after(fault.lasts_s, lambda: self._end(number))

    def _end(self, number: int) -> None:
        fault = self._active.pop(number, None)
        if fault is None:
            return
        self._scene.log(f"over: {fault.what} of {fault.who}")
        end = self._kinds[fault.what][1]
        assert end is not None
        end(fault)

    @staticmethod
    def step_s(fault: Fault) -> float:
        """Give by how much a fault sets a clock wrong."""
        return _of(STEPS_S, fault) if fault.what == "clock" else 0.0

    # -- the network between partners

    def _towards(self, fault: Fault) -> tuple[str, ...]:
        pair = self._scene.pairs[fault.who]
        if fault.what == "split":
            return pair.primary, pair.secondary
        return (pair.primary,) if fault.how < 0.5 else (pair.secondary,)

    def _hold(self, _: int, fault: Fault) -> None:
        self._scene.streams[fault.who].hold(*self._towards(fault))

    def _let_go(self, fault: Fault) -> None:
        self._scene.streams[fault.who].let_go(*self._towards(fault))

    def _cut(self, _: int, fault: Fault) -> None:
        self._scene.streams[fault.who].cut(fault.how)

    # -- servers

    def _host(self, fault: Fault) -> Host:
        return self._scene.hosts[fault.who]

    def _crash(self, _: int, fault: Fault) -> None:
        host = self._host(fault)
        host.downs += 1
        if not host.is_up:
            return
        trap = TRAPS[int(fault.how * len(TRAPS))]
        if fault.what == "sync-fails":
            trap = "lost" if fault.how < 0.5 else "kept"
        if trap in ("now", "lost now"):
            host.die(trap == "now", is_heard=fault.how * 100 % 1 < 0.6)
        else:
            host.trap = trap
        self._died_at[host.name] = self._world.agenda.now

    def _stop(self, _: int, fault: Fault) -> None:
        host = self._host(fault)
        host.downs += 1
        if host.is_up:
            host.hand(Shutdown())
            host.die(is_kept=True, is_heard=True)
            self._died_at[host.name] = self._world.agenda.now

    def _wipe(self, _: int, fault: Fault) -> None:
        """Lose a disk; that of two partners, or of one twice, would leave nothing to hold anybody to."""
        host = self._host(fault)
        host.downs += 1
        host.die(is_kept=False, is_heard=True)
        partners = {self._scene.partner(host, pair).name for pair in self._scene.pairs_of(host)}
        if not self._wiped & {host.name, *partners}:
            self._wiped.add(host.name)
            self._scene.log(f"{host.name} loses its disk")
            self._world.disk_is_lost(host)
        self._died_at[host.name] = self._world.agenda.now

    def _copy(self, _: int, fault: Fault) -> None:
        self._copies[fault] = self._host(fault).copy_disk()

    def _roll_back(self, fault: Fault) -> None:
        """Put an older copy of its disk into a server; not where it or a partner lost its disk already.

        The copy is marked, as `tandem restore` does, if no partner can know that it is old: it heard nothing since.
        """
        host, disk = self._host(fault), self._copies.pop(fault)
        host.die(is_kept=True, is_heard=fault.how < 0.5)
        partners = [self._scene.partner(host, pair) for pair in self._scene.pairs_of(host)]
        if not self._wiped & {host.name, *(each.name for each in partners)}:
            self._wiped.add(host.name)
            is_known = all(
                self._is_ahead(self._scene.partner(host, pair), pair, disk) for pair in self._scene.pairs_of(host)
            )
            if not is_known:
                disk.facts[RESTORED_FACT] = b"%d" % host.clock.utc()
            self._scene.log(f"{host.name} goes back to a copy of its disk" + ("" if is_known else ", and is told so"))
            self._world.disk_is_replaced(host, disk)
        if not host.downs:
            host.start()

    @staticmethod
    def _is_ahead(partner: Host, pair: Pair, disk: DiskCopy) -> bool:
        """True if a partner heard of a later commit than the last one in a copy."""
        heard = read_position(partner.facts.get(HEARD_FACT_PREFIX + pair.name, b""))
        return heard is not None and heard.commits > int(disk.facts.get(COMMITS_FACT, b"0"))

    def _start(self, fault: Fault) -> None:
        host = self._host(fault)
        host.downs -= 1
        host.trap = ""
        if not host.downs and not host.is_up:
            host.start()

    def _pause(self, _: int, fault: Fault) -> None:
        self._host(fault).pauses += 1

    def _go_on(self, fault: Fault) -> None:
        host = self._host(fault)
        host.pauses -= 1
        if not host.pauses:
            host.let_go_on()

    def _fill(self, _: int, fault: Fault) -> None:
        self._host(fault).fulls += 1

    def _make_room(self, fault: Fault) -> None:
        self._host(fault).fulls -= 1

    def _slow_down(self, _: int, fault: Fault) -> None:
        self._host(fault).slow_down(_of(SLOW_S, fault))

    def _speed_up(self, fault: Fault) -> None:
        self._host(fault).slow_down(-_of(SLOW_S, fault))

    # -- clients

    def _deafen(self, _: int, fault: Fault) -> None:
        self._world.deaf[fault.who].append(self._deafness(fault))

    def _undeafen(self, fault: Fault) -> None:
        self._world.deaf[fault.who].remove(self._deafness(fault))

    @staticmethod
    def _deafness(fault: Fault) -> int:
        return 0 if fault.how < 0.4 else 1 if fault.how < 0.7 else 2

    def _lose(self, _: int, fault: Fault) -> None:
        self._world.losses.append(_of(LOSSES, fault))

    def _lose_less(self, fault: Fault) -> None:
        self._world.losses.remove(_of(LOSSES, fault))

    def _lag(self, _: int, fault: Fault) -> None:
        self._world.lags_s.append(_of(LAGS_S, fault))

    def _lag_less(self, fault: Fault) -> None:
        self._world.lags_s.remove(_of(LAGS_S, fault))

    # -- clocks

    def _set_wrong(self, _: int, fault: Fault) -> None:
        self._set(fault, self.step_s(fault))

    def _set_right(self, fault: Fault) -> None:
        self._set(fault, -self.step_s(fault))

    def _set(self, fault: Fault, by_s: float) -> None:
        host = self._host(fault)
        host.clock.offset_s += by_s
        for pair in self._scene.pairs_of(host):
            self._world.holdings.void_all(pair)

    # -- operators

    def _order(self, host: Host, name: str, pair: Pair | None = None, **arguments: str) -> None:
        self._tickets += 1
        named = {} if pair is None else {"relationship": pair.name}
        host.hand(Command(self._tickets, name, {**named, **arguments}))

    def _pair(self, fault: Fault, host: Host) -> Pair:
        pairs = list(self._scene.pairs_of(host))
        return pairs[int(fault.how * len(pairs))]

    def _declare_down(self, _: int, fault: Fault) -> None:
        host = self._host(fault)
        pair = self._pair(fault, host)
        partner = self._scene.partner(host, pair)
        is_dead = not partner.is_up and self._world.agenda.now - self._died_at.get(partner.name, 0.0) > DEAD_S
        if host.is_up and (is_dead or fault.what == "premature"):
            self._scene.log(f"{host.name} is told that {partner.name} is down")
            self._order(host, "failover-partner-down", pair)

    def _hand_over(self, _: int, fault: Fault) -> None:
        host = self._host(fault)
        pair = self._pair(fault, host)
        if host.is_up:
            host.asides.add(pair.name)
            self._order(host, "failover-handover", pair)

    def _resume(self, fault: Fault) -> None:
        host = self._host(fault)
        pair = self._pair(fault, host)
        if host.is_up:
            host.asides.discard(pair.name)
            host.well_since = self._world.agenda.now
            self._order(host, "failover-resume", pair)

    def _release(self, _: int, fault: Fault) -> None:
        host = self._host(fault)
        active = [key for key in sorted(host.leases) if host.leases[key][5] == BindingStatus.ACTIVE]
        if host.is_up and active:
            key = active[int(fault.how * len(active))]
            self._world.holdings.released_by_operator(key)
            self._order(host, "lease-release", lease=show_key(key))


def _of(choices: tuple[float, ...], fault: Fault) -> float:
    return choices[int(fault.how * len(choices))]

"""Changes of the file in a simulated world: numbers, pools, and subnets that join a relationship, leave it or move.

An operator changes a subnet, and later changes it back; before that nothing else is changed about it. Which server
reads a new file, and which first, is drawn: only one of them, both at once, or one after the other.
"""

from __future__ import annotations

from functools import partial

from tandem.lease.lease import TIMED, unpack
from tandem.sim.configuration import Subnet, changed, link_of
from tandem.sim.plan import Fault, Pair
from tandem.sim.world import World

LATER = 0.25
"""After how much of the time between two changes the partner reads the first of them, if it does so later."""
LATER_MAX_S = 60.0


class Edits:
    """What operators do to the file."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._scene = world.scene
        self._begun: dict[Fault, tuple[Subnet, int]] = {}
        """What the file said of a subnet before, and the version that changed it."""

    def change_numbers(self, _: int, fault: Fault) -> None:
        """Change a number, and have one server read it."""
        file = self._world.files[-1]
        self._world.edit(file._replace(numbers=changed(file.numbers, fault.how)))
        self._read(fault.who)

    def change_subnet(self, _: int, fault: Fault) -> None:
        """Change what the file says of a subnet."""
        subnets = self._world.files[-1].subnets
        busy = {subnet.link.number for subnet, _ in self._begun.values()}
        at, part, order = _digits(fault.how, len(subnets), 4, 3)
        before = [subnets[number] for number in sorted(subnets)][at]
        pair = self._scene.pairs[before.link.pair]
        if before.link.number in busy or fault.who not in (pair.primary, pair.secondary):
            return
        match fault.what:
            case "pools":
                takes_addresses, takes_prefixes, is_in = part in (1, 2), part in (0, 1), part != 3
                after = Subnet(before.link, "", is_in, not takes_addresses, not takes_prefixes)
            case "own" if not self._world.subnets.is_in_step(before.link.number):
                return
            case "own":
                after, order = before._replace(server=fault.who), 1 + order % 2
            case _:
                after, order = before._replace(is_in=False), 1
        self._write(after)
        self._begun[fault] = before, self._world.version
        self._all_read(fault, pair, order, is_partner_first=fault.what == "own")

    def change_subnet_back(self, fault: Fault) -> None:
        """Have the file say of a subnet what it said before, or have it move on if nothing is left in it."""
        if fault not in self._begun:
            return
        before, version = self._begun.pop(fault)
        after, pair = before, self._scene.pairs[before.link.pair]
        if fault.what == "move" and self._may_move(before, version):
            others = [each for each in self._scene.plan.pairs if each is not pair]
            at, order = _digits(fault.how, len(others), 3)
            pair = others[at]
            after = before._replace(link=before.link._replace(pair=pair.name))
            self._scene.log(f"subnet {before.link.number} moves to {pair.name}")
        else:
            *_, order = _digits(fault.how, len(self._scene.links), 4, 3)
        self._write(after)
        if fault.what == "move":
            for name in self._scene.hosts:
                self._read(name)
        else:
            self._all_read(fault, pair, 1 + order % 2, is_partner_first=int(fault.how * 1000) % 2 == 0)

    def _may_move(self, subnet: Subnet, version: int) -> bool:
        """True if a subnet may join another relationship: all servers took it out, and nothing in it is leased."""
        hosts, number = self._scene.hosts.values(), subnet.link.number
        has_others = len(self._scene.plan.pairs) > 1 and subnet.link.hops > 0
        is_out = all(host.is_well and self._world.version_of(host) >= version for host in hosts)
        held = any(
            link_of(hold.key) == number and hold.until > self._world.agenda.now
            for resident in self._scene.residents
            for hold in resident.subscriber.holds.values()
        )
        leased = any(
            link_of(key) == number and unpack(key, record).status in TIMED
            for host in hosts
            for key, record in host.leases.items()
        )
        return has_others and is_out and not held and not leased

    def _write(self, subnet: Subnet) -> None:
        file, number = self._world.files[-1], subnet.link.number
        self._scene.links[number] = subnet.link
        self._world.edit(file._replace(subnets={**file.subnets, number: subnet}), number)

    def _all_read(self, fault: Fault, pair: Pair, order: int, is_partner_first: bool) -> None:
        """Have the server of a fault read the file, and its partner never (0), at once (1) or later (2)."""
        partner = pair.secondary if fault.who == pair.primary else pair.primary
        first, second = (partner, fault.who) if is_partner_first and order else (fault.who, partner)
        self._read(first)
        if order == 1:
            self._read(second)
        elif order == 2:
            self._world.agenda.after(min(fault.lasts_s * LATER, LATER_MAX_S), partial(self._read, second))

    def _read(self, name: str) -> None:
        self._world.reload(self._scene.hosts[name])


def _digits(how: float, *bases: int) -> list[int]:
    """Return whole numbers, each below its base, that a number from 0 to 1 stands for."""
    found = []
    for base in bases:
        digit, how = divmod(how * base, 1.0)
        found.append(min(int(digit), base - 1))
    return found

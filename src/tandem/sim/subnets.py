"""Knows which servers have which subnets while the file changes, and which promises nobody can be held to then."""

from __future__ import annotations

from collections.abc import Iterable

from tandem.failover.membership import UNSYNCHRONIZED_FACT, read_ranges
from tandem.failover.states import State
from tandem.sim.configuration import File, Subnet, link_of
from tandem.sim.host import Host
from tandem.sim.plan import Pair
from tandem.sim.scene import Scene

OWN = ""
"""Stands for a relationship's name with a server that has a subnet to itself."""
QUIET_S = 20.0
"""How long after a server read a file something may still be on its way that it said by the one before."""


class Subnets:
    """What each server's file says of each subnet. A subnet is changing until its partners run one file in step."""

    def __init__(self, scene: Scene, file: File) -> None:
        self._scene = scene
        self._files: dict[str, File] = dict.fromkeys(scene.hosts, file)
        """What each server runs, or ran when it died."""
        self._read_at: dict[str, float] = dict.fromkeys(scene.hosts, -QUIET_S)
        self._changing: set[int] = set()
        self._loose: dict[int, str] = {}
        """Why nobody can be held to what is promised in a subnet, by the number of its link."""

    def edited(self, numbers: Iterable[int]) -> None:
        """Note that the file changes for the subnets on links of these numbers."""
        self._changing.update(numbers)

    def read(self, host: Host, file: File) -> None:
        """Note which version of the file a server runs from now on."""
        before, self._files[host.name] = self._files[host.name], file
        self._read_at[host.name] = self._scene.agenda.now
        for number in file.subnets:
            left, joined = before.subnets[number], file.subnets[number]
            leaves = _relationship(left) and _relationship(left) != _relationship(joined)
            is_given_up = joined.server and joined.server != host.name
            if leaves and is_given_up and not self.is_in_step(number):
                self._loosen(number, "a subnet left its relationship before the partners were in step")
        self._look_for_conflicts()

    def relationship(self, host: Host, key: int) -> str | None:
        """Return the relationship of a lease by a server's file; OWN is none; None if the file has no such subnet."""
        return self._claim(host, link_of(key))

    def is_changing(self, key: int) -> bool:
        """True if the partners may not agree on where a lease belongs."""
        return link_of(key) in self._changing

    def is_settled(self, host: Host, key: int) -> bool:
        """True if a lease is in its relationship by a server's file, and that is not new."""
        if link_of(key) not in self._changing:
            return True
        is_quiet = self._scene.agenda.now - self._read_at[host.name] > QUIET_S + 2 * host.slowest_s
        return is_quiet and self.relationship(host, key) == self._scene.pair_of(key).name

    def why_loose(self, key: int) -> str:
        """Return why the checkers cannot demand that a lease given now is kept; empty if they can."""
        if link_of(key) in self._changing:
            self._look_for_conflicts()
        return self._loose.get(link_of(key), "")

    def look(self) -> None:
        """See which subnets are as they should be again."""
        for number in sorted(self._changing):
            subnets = [file.subnets[number] for file in self._files.values()]
            link = self._scene.links[number]
            if all(each.is_whole and each.link == link for each in subnets) and self.is_in_step(number):
                self._changing.discard(number)
                self._loose.pop(number, None)

    def is_in_step(self, number: int) -> bool:
        """True if both partners know all that was given in the subnet on a link, if only because nothing was."""
        pair = self._scene.pairs[self._scene.links[number].pair]
        hosts = self._scene.both(pair)
        if not self._scene.agenda.now:
            return True
        if not self._scene.streams[pair.name].is_quiet:
            return False
        for host in hosts:
            is_quiet = self._scene.agenda.now - self._read_at[host.name] > QUIET_S
            if not (is_quiet and host.is_well and host.is_idle and host.state(pair.name) is State.NORMAL):
                return False
            if self._is_unsynchronized(host, pair, number):
                return False
            if any(record[0] and link_of(key) == number for key, record in host.leases.items()):
                return False
        return True

    def _claim(self, host: Host, number: int) -> str | None:
        subnet = self._files[host.name].subnets[number]
        pair = self._scene.pairs[subnet.link.pair]
        if not subnet.is_in or (subnet.server and subnet.server != host.name):
            return None
        if subnet.server:
            return OWN
        return pair.name if host.name in (pair.primary, pair.secondary) else None

    @staticmethod
    def _is_unsynchronized(host: Host, pair: Pair, number: int) -> bool:
        ranges = read_ranges(host.facts.get(UNSYNCHRONIZED_FACT, b"{}")).get(pair.name, [])
        return any(number in (link_of(first << 8), link_of(last << 8)) for first, last in ranges)

    def _look_for_conflicts(self) -> None:
        for number in sorted(self._changing - self._loose.keys()):
            claims = {
                name: claim
                for name, host in self._scene.hosts.items()
                if host.is_up and (claim := self._claim(host, number)) is not None
            }
            for name, claim in claims.items():
                if claim == OWN:
                    continue
                host, pair = self._scene.hosts[name], self._scene.pairs[claim]
                waits = self._is_unsynchronized(host, pair, number)
                if len(set(claims.values())) > 1 and not waits:
                    self._loosen(number, "two servers had a subnet by different files")
                elif waits and host.state(pair.name) is State.PARTNER_DOWN:
                    self._loosen(number, "a subnet was used by order of the operator before its leases were known")

    def _loosen(self, number: int, why: str) -> None:
        if number in self._changing and number not in self._loose:
            self._scene.log(f"subnet {number}: nobody can be held to what is promised there: {why}")
            self._loose[number] = why


def _relationship(subnet: Subnet) -> str:
    return subnet.link.pair if subnet.is_in and not subnet.server else ""

"""What there is in a simulated world: its time, its servers, its clients, the streams between partners."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tandem.failover.states import State
from tandem.lease.space import Role
from tandem.sim.agenda import Agenda
from tandem.sim.configuration import link_of
from tandem.sim.host import Host
from tandem.sim.plan import Link, Pair, Plan
from tandem.sim.streams import Streams
from tandem.sim.subscriber import Subscriber

SERVING = (
    State.NORMAL,
    State.COMMUNICATIONS_INTERRUPTED,
    State.PARTNER_DOWN,
    State.RESOLUTION_INTERRUPTED,
    State.CONFLICT_DONE,
)
"""States in which a server may give out leases."""


class Broken(AssertionError):
    """Something that must hold does not. `kind` names what."""

    def __init__(self, kind: str, what: str) -> None:
        super().__init__(f"{kind}: {what}")
        self.kind = kind


class Resident:
    """A client and where it is."""

    def __init__(self, subscriber: Subscriber, link: int) -> None:
        self.subscriber = subscriber
        self.link = link
        self.moved_at = 0.0
        self.turn = 0
        """Counts what it planned to do, so that only the latest plan is done."""

    @property
    def name(self) -> str:
        """How it is called."""
        return f"c{self.subscriber.number}"


class Scene:
    """The parts of a world, for whoever moves them and whoever judges them."""

    def __init__(self, plan: Plan, say: Callable[[str], None] | None) -> None:
        self.plan = plan
        self.agenda = Agenda()
        self.hosts: dict[str, Host] = {}
        self.streams: dict[str, Streams] = {}
        self.residents: list[Resident] = []
        self.links: dict[int, Link] = {link.number: link for link in plan.links}
        self.pairs: dict[str, Pair] = {pair.name: pair for pair in plan.pairs}
        self.voids: dict[str, int] = {}
        """For how often nothing could be asked of the servers, by why."""
        self._say = say

    @property
    def is_told(self) -> bool:
        """Whether somebody listens to what happens."""
        return self._say is not None

    def log(self, text: str) -> None:
        """Tell what happens."""
        if self._say is not None:
            self._say(f"{self.agenda.now:10.3f} {text}")

    def broken(self, kind: str, what: str) -> None:
        """Say that something does not hold."""
        raise Broken(kind, f"at {self.agenda.now:.3f} {what}")

    def void(self, why: str) -> None:
        """Count that something cannot be asked of the servers."""
        self.voids[why] = self.voids.get(why, 0) + 1

    def pair_of(self, key: int) -> Pair:
        """Give the relationship that a lease belongs to."""
        return self.pairs[self.links[link_of(key)].pair]

    def partner(self, host: Host, pair: Pair) -> Host:
        """Give the other server of a pair."""
        return self.hosts[pair.secondary if host.name == pair.primary else pair.primary]

    def role(self, host: Host, pair: Pair) -> Role:
        """Give a server's role in a pair."""
        return Role.PRIMARY if host.name == pair.primary else Role.SECONDARY

    def both(self, pair: Pair) -> tuple[Host, Host]:
        """Give the servers of a pair, the primary first."""
        return self.hosts[pair.primary], self.hosts[pair.secondary]

    def pairs_of(self, host: Host) -> Iterator[Pair]:
        """Give the relationships of a server."""
        return (pair for pair in self.plan.pairs if host.name in (pair.primary, pair.secondary))

    def resident(self, duid: bytes) -> Resident | None:
        """Give the client of that DUID, None if it calls itself otherwise now."""
        return next((each for each in self.residents if each.subscriber.duid == duid), None)

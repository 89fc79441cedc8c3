"""What a simulated world is made of, as one value: its servers, links, clients, and all that goes wrong in it.

A plan says everything: the same plan is the same world, octet for octet. Whatever is left to chance while the world
lives is drawn from the plan's seed under a name of its own, so that leaving a client or a fault out of the plan
changes nothing about the others; that is what makes it possible to shrink a plan. Times are true seconds from the
world's beginning, `_s` are seconds.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from tandem.wire.options import IaNa, IaPd

IA_CODES = {"na": IaNa.code, "pd": IaPd.code}


class Numbers(NamedTuple):
    """What the file says. A reload changes some of them; see `Fault`."""

    mclt_s: int
    valid_s: int
    preferred_s: int
    keepalive_s: int
    startup_s: int
    auto_s: int
    """auto-partner-down; 0 is off."""
    decline_s: int
    grace_s: int
    secondary_share: int
    rapid_commit: bool


class Server(NamedTuple):
    """A machine: how wrong its clock is, and how slow its disk."""

    name: str
    offset_s: float
    drift: float
    disk_s: float


class Pair(NamedTuple):
    """A failover relationship, and how long octets are on their way between its partners."""

    name: str
    primary: str
    secondary: str
    latency_s: float
    """In tenths of it by chance; octets never overtake each other."""


class Link(NamedTuple):
    """Where clients are. Behind a relay, or in sight of the servers if `hops` is 0."""

    number: int
    pair: str
    hops: int
    pool_length: int
    """The prefix length of the pool of addresses: 128 is one address."""
    pd_length: int
    """That of the pool of prefixes, which are of 56 bits."""


class Act(NamedTuple):
    """What a client does of its own at a time: see `subscriber`, where each word is explained."""

    at_s: float
    what: str
    link: int = 0


class Habitue(NamedTuple):
    """A client: what it asks for, how it looks after its leases, and what else it does."""

    number: int
    link: int
    ias: tuple[str, ...]
    """Its identity associations, as "na1", "pd2"."""
    style: str
    rapid_commit: bool
    is_reserved: bool
    """Whether the file reserves an address for it."""
    acts: tuple[Act, ...]


class Fault(NamedTuple):
    """Something that goes wrong, or that an operator does, for a while. `faults` explains each word."""

    at_s: float
    lasts_s: float
    what: str
    who: str
    how: float = 0.0

    @property
    def ends_s(self) -> float:
        """When it is over."""
        return self.at_s + self.lasts_s


class Plan(NamedTuple):
    """One world."""

    seed: int
    lasts_s: float
    """How long anything goes; after that, all is healed."""
    numbers: Numbers
    servers: tuple[Server, ...]
    pairs: tuple[Pair, ...]
    links: tuple[Link, ...]
    clients: tuple[Habitue, ...]
    faults: tuple[Fault, ...]
    loss: float
    """How often a datagram of a client, or to one, is lost."""
    doubled: float
    lag_s: float
    """How long a datagram is on its way at most; later ones may overtake it."""

    def write(self) -> str:
        """Give the plan as JSON, one line for each of its parts."""
        lines = [f"{json.dumps(name)}: {json.dumps(_plain(part))}" for name, part in self._asdict().items()]
        return "{\n" + ",\n".join(lines) + "\n}\n"

    def describe(self) -> str:
        """Say in one line what kind of world this is."""
        pairs = ", ".join(f"{each.primary}-{each.secondary}" for each in self.pairs)
        numbers = " ".join(f"{key}={value}" for key, value in self.numbers._asdict().items())
        return (
            f"pairs {pairs}; {len(self.clients)} clients on {len(self.links)} links; {len(self.faults)} faults in "
            f"{self.lasts_s:.0f} s; loss={self.loss:g} doubled={self.doubled:g} lag={self.lag_s:g}; {numbers}"
        )


def read_plan(text: str) -> Plan:
    """Read what `Plan.write` gave. ValueError if it is no plan."""
    try:
        raw: dict[str, Any] = json.loads(text)
        return Plan(
            seed=raw["seed"],
            lasts_s=raw["lasts_s"],
            numbers=Numbers(**raw["numbers"]),
            servers=tuple(Server(**each) for each in raw["servers"]),
            pairs=tuple(Pair(**each) for each in raw["pairs"]),
            links=tuple(Link(**each) for each in raw["links"]),
            clients=tuple(_read_client(each) for each in raw["clients"]),
            faults=tuple(Fault(**each) for each in raw["faults"]),
            loss=raw["loss"],
            doubled=raw["doubled"],
            lag_s=raw["lag_s"],
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"this is no plan of a world: {error}") from error


def _read_client(raw: dict[str, Any]) -> Habitue:
    acts = tuple(Act(**each) for each in raw["acts"])
    return Habitue(**{**raw, "ias": tuple(raw["ias"]), "acts": acts})


def _plain(value: Any) -> Any:
    """Give named tuples as objects, so that a plan can be read and changed by hand."""
    if hasattr(value, "_asdict"):
        return {key: _plain(part) for key, part in value._asdict().items()}
    return [_plain(each) for each in value] if isinstance(value, tuple) else value

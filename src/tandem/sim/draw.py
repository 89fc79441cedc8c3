"""Draws a world from one number: small pools, short times, and trouble that comes in rows."""

from __future__ import annotations

from tandem.sim.chance import Chance
from tandem.sim.plan import Act, Fault, Habitue, Link, Numbers, Pair, Plan, Server

HORIZON_MAX_S = 72 * 3600.0
KEEPALIVES_S = (5, 10, 30, 60, 120, 300)
KEEPALIVES_MAX = 1500
"""How many keepalive times a world lasts at most: longer ones have longer ones, since nothing new happens meanwhile."""
STYLES = ((6, "punctual"), (2, "late"), (2, "at the last minute"))
TOPOLOGIES: tuple[tuple[int, tuple[tuple[str, str], ...]], ...] = (
    (14, (("a", "b"),)),
    (2, (("a", "b"), ("a", "c"))),
    (2, (("b", "a"), ("c", "a"))),
    (1, (("a", "b"), ("b", "c"), ("c", "a"))),
)
"""Primaries and secondaries. Beside one pair, hubs that are primary or secondary to all, and a ring."""
IAS = (
    (4, ("na1",)),
    (3, ("pd1",)),
    (4, ("na1", "pd1")),
    (1, ("na1", "na2")),
    (1, ("na1", "pd1", "pd7")),
    (1, ("na1", "na2", "pd1", "pd2")),
)
FAULTS = (
    (10, "split"),
    (4, "one-way"),
    (4, "break"),
    (3, "stall"),
    (12, "crash"),
    (3, "stop"),
    (2, "wipe"),
    (3, "rollback"),
    (2, "sync-fails"),
    (4, "pause"),
    (4, "disk-full"),
    (2, "disk-slow"),
    (5, "deaf"),
    (2, "lossy"),
    (2, "laggy"),
    (3, "clock"),
    (5, "partner-down"),
    (1, "premature"),
    (3, "handover"),
    (1, "release"),
    (2, "reload"),
    (2, "pools"),
    (2, "own"),
    (1, "move"),
)
ACTS = ((4, "vanish"), (3, "release"), (2, "decline"), (3, "renew"), (4, "rebind"), (3, "move"), (1, "rename"))


def draw(seed: int) -> Plan:
    """Give the plan of a seed."""
    chance = Chance(seed, "plan")
    numbers = _numbers(chance)
    pairs = tuple(
        Pair(f"p{number}", primary, secondary, chance.pick((0.0, 0.01, 0.2)))
        for number, (primary, secondary) in enumerate(chance.weighted(TOPOLOGIES), 1)
    )
    servers = tuple(
        Server(
            name,
            offset_s=chance.between(-1.8, 1.8),
            drift=chance.pick((0.0, 0.0, 2e-5, -2e-5)),
            disk_s=chance.pick((0.0, 0.005, 0.3)),
        )
        for name in sorted({name for pair in pairs for name in pair[1:3]})
    )
    links = tuple(_links(chance, pairs))
    scales = (60.0, 300.0, 900.0, 3.0 * numbers.mclt_s, 3.0 * numbers.valid_s)
    lasts_s = min(HORIZON_MAX_S, chance.pick(scales) * chance.between(0.5, 2.0))
    if numbers.keepalive_s * KEEPALIVES_MAX < lasts_s:
        numbers = numbers._replace(
            keepalive_s=chance.pick([each for each in KEEPALIVES_S if each * KEEPALIVES_MAX >= lasts_s])
        )
    faults = _faults(chance, pairs, servers, numbers, lasts_s)
    clients = _clients(chance, links, lasts_s)
    return Plan(
        seed=seed,
        lasts_s=lasts_s,
        numbers=numbers,
        servers=servers,
        pairs=pairs,
        links=links,
        clients=(*clients, *_newcomers(chance, links, faults, lasts_s, len(clients))),
        faults=tuple(faults),
        loss=chance.pick((0.0, 0.0, 0.0, 0.1, 0.3)),
        doubled=chance.pick((0.0, 0.0, 0.1)),
        lag_s=chance.pick((0.01, 0.1, 0.1, 1.0 if numbers.grace_s else 0.2)),
    )


def _numbers(chance: Chance) -> Numbers:
    """Draw a configuration; short times more often than long ones, since more happens in them."""
    valid_s = chance.pick((30, 60, 120, 300, 600, 1800, 3600, 4 * 3600, 24 * 3600))
    return Numbers(
        mclt_s=chance.pick((30, 40, 60, 60, 120, 300, 900, 3600)),
        valid_s=valid_s,
        preferred_s=max(1, valid_s * chance.pick((50, 75, 100)) // 100),
        keepalive_s=chance.pick(KEEPALIVES_S),
        startup_s=chance.pick((1, 5, 15)),
        auto_s=chance.pick((60, 300)) if chance.happens(0.1) else 0,
        decline_s=chance.pick((120, 600)),
        grace_s=chance.pick((0, 10, 10, 10, 10, 10)),
        secondary_share=chance.pick((50, 50, 50, 10, 90)),
        rapid_commit=chance.happens(0.15),
    )


def _links(chance: Chance, pairs: tuple[Pair, ...]) -> list[Link]:
    found: list[Link] = []
    for pair in pairs:
        for hops in chance.pick(((0,), (0,), (1,), (0, 1), (0, 2))):
            pool_length = chance.pick((128, 127, 126, 125, 125, 124, 123, 120, 112))
            pd_length = chance.pick((48, 49, 50, 51, 52, 52, 53, 54, 55, 56))
            found.append(Link(len(found) + 1, pair.name, hops, pool_length, pd_length))
    return found


def _clients(chance: Chance, links: tuple[Link, ...], lasts_s: float) -> list[Habitue]:
    found = []
    for number in range(1, chance.pick((1, 2, 3, 4, 6, 8, 12, 20, 30)) + 1):
        early = lasts_s * chance.pick((0.0, 0.01, 0.1, 0.5, 1.0))
        acts = [Act(chance.between(0.0, early), "come")]
        for _ in range(chance.weighted(((4, 0), (3, 1), (3, 3), (2, 8)))):
            at_s = min(acts[-1].at_s + lasts_s * chance.pick((0.002, 0.02, 0.2)) * chance.between(0, 2), lasts_s)
            what = chance.weighted(ACTS)
            acts.append(Act(at_s, what, chance.pick(links).number if what == "move" else 0))
            if what in ("vanish", "release", "decline", "rename"):
                acts.append(Act(at_s + chance.pick((0.5, 3.0, 20.0, 200.0)) * chance.between(0.5, 1.5), "come"))
        found.append(
            Habitue(
                number,
                link=chance.pick(links).number,
                ias=chance.weighted(IAS),
                style=chance.weighted(STYLES),
                rapid_commit=chance.happens(0.3),
                is_reserved=chance.happens(0.08),
                acts=tuple(each for each in acts if each.at_s < lasts_s),
            )
        )
    return found


def _newcomers(
    chance: Chance, links: tuple[Link, ...], faults: list[Fault], lasts_s: float, number: int
) -> list[Habitue]:
    """Draw clients that come when a server may not know what others have: it lost a part of that, or is yet to hear."""
    found: list[Habitue] = []
    for fault in faults:
        for _ in range(chance.pick((0, 3, 6)) if fault.what in ("rollback", "own") else 0):
            at_s = min(fault.ends_s + chance.pick((5.0, 30.0, 120.0)) * chance.between(0.0, 1.0), lasts_s)
            link = chance.pick(links).number
            ias, style = chance.weighted(IAS), chance.weighted(STYLES)
            number += 1
            found.append(Habitue(number, link, ias, style, False, False, (Act(at_s, "come"),)))
    return found


def _faults(
    chance: Chance, pairs: tuple[Pair, ...], servers: tuple[Server, ...], numbers: Numbers, lasts_s: float
) -> list[Fault]:
    """Draw what goes wrong. Half of it soon after something else went wrong, or just before that is over."""
    scales = (0.5, 3.0, 15.0, 30.0, numbers.keepalive_s, numbers.startup_s, numbers.valid_s / 2, numbers.mclt_s)
    found: list[Fault] = []
    for _ in range(chance.weighted(((1, 0), (2, 2), (4, 6), (3, 15), (1, 30)))):
        at_s = chance.between(0.0, lasts_s)
        if found and chance.happens(0.5):
            before = chance.pick(found)
            later_s = chance.pick(scales[:6]) * chance.between(-0.5, 2.0)
            at_s = max(0.0, chance.pick((before.at_s, before.ends_s)) + later_s)
        lasts = min(chance.pick((*scales, 2.0 * numbers.mclt_s)) * chance.between(0.3, 1.5), lasts_s)
        what = chance.weighted(FAULTS)
        if what == "rollback":  # a copy that is too young has forgotten nothing
            at_s, lasts = chance.between(0.0, 0.6) * lasts_s, chance.between(0.05, 0.5) * lasts_s
        if what == "own" and chance.happens(0.5):
            at_s, lasts = 0.0, max(lasts, chance.between(0.1, 0.7) * lasts_s)
        of_pair = what in ("split", "one-way", "break", "stall")
        who = chance.pick(pairs).name if of_pair else chance.pick(servers).name
        found.append(Fault(min(at_s, lasts_s), lasts, what, who, chance.between(0.0, 1.0)))
    return sorted(found)

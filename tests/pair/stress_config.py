"""What a stressed pair is configured with, drawn from its seed."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import NamedTuple

from tandem.config.load import load
from tandem.effects.settings import Settings

TEMPLATE = """
decline-time = {decline_s}
reuse-grace = {grace_s}

[server.a]
interfaces = ["eth0"]
address = "fd00:99::1"

[server.b]
interfaces = ["eth0"]
address = "fd00:99::2"

[lifetimes]
preferred-lifetime = {preferred_s}
valid-lifetime = {valid_s}

[failover.campus]
primary = "a"
secondary = "b"
mclt = {mclt_s}
keepalive = {keepalive_s}
startup = {startup_s}
{auto}
security = "insecure"

[[subnet]]
prefix = "2001:db8:1::/64"
interface = "eth0"
failover = "campus"
pools = ["2001:db8:1:0:1::/{length}"]
pd-pools = [{{ prefix = "2001:db9::/{pd_length}", delegated-length = 56 }}]
"""


class Drawn(NamedTuple):
    """The numbers of one pair. Durations are seconds."""

    mclt_s: int
    valid_s: int
    preferred_s: int
    keepalive_s: int
    startup_s: int
    auto_s: int | None
    decline_s: int
    grace_s: int
    length: int
    pd_length: int
    clients: int


def draw(chance: Random) -> Drawn:
    """Draw a configuration; short times more often than long ones, since they cost less."""
    mclt_s = chance.choice((30, 40, 60, 60, 120, 300, 900, 3600))
    valid_s = chance.choice((30, 60, 120, 300, 600, 1800, 3600, 4 * 3600, 24 * 3600))
    return Drawn(
        mclt_s=mclt_s,
        valid_s=valid_s,
        preferred_s=max(1, valid_s * chance.choice((50, 75, 100)) // 100),
        keepalive_s=chance.choice((5, 10, 30, 60)),
        startup_s=chance.choice((1, 5, 15)),
        auto_s=chance.choice((60, 300)) if chance.random() < 0.1 else None,
        decline_s=chance.choice((120, 600)),
        grace_s=chance.choice((0, 10, 10)),
        length=chance.choice((125, 125, 124, 123, 120, 112)),
        pd_length=chance.choice((48, 49, 50, 51, 52, 52, 53, 54, 55, 56)),
        clients=chance.choice((3, 4, 6, 8, 12, 20, 30)),
    )


def settings_of(drawn: Drawn, folder: Path) -> dict[str, Settings]:
    """Give what each of the servers is configured with."""
    auto = "" if drawn.auto_s is None else f"auto-partner-down = {drawn.auto_s}"
    file = folder / "pair.toml"
    file.write_text(TEMPLATE.format(auto=auto, **drawn._asdict()))
    return {name: load(file, name).settings for name in "ab"}

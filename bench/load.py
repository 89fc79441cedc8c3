"""Load on a real pair by the clients of the simulated world: `python -m bench.load [CLIENTS] [SECONDS]`.

They get leases, renew them (lifetimes are short), release some, and come back. In the end both servers must hold the
same, and no lease may be in two hands.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from rich.progress import Progress

from tandem.admin.crowd import Crowd
from tandem.admin.demo_pair import LINK_ADDRESS, Pair, until
from tandem.sim.chance import Chance
from tandem.sim.subscriber import Subscriber
from tandem.wire.message import MessageType
from tandem.wire.options import IaNa, IaPd

CLIENTS = 2000
SECONDS = 60.0
STEP_S = 1.0
LEAVING_PER_STEP = 0.01
"""Which part of the clients releases its leases in each step, to come back in the next."""
IAS = ((IaNa.code, 1), (IaPd.code, 2))
LIFETIMES = "[lifetimes]\npreferred-lifetime = 40\nvalid-lifetime = 60\n"


def run(clients: int, seconds: float, folder: Path) -> dict[str, object]:
    """Put a pair under load, and give what was measured."""
    pair = Pair(folder)
    for server in pair.servers:
        server.file.write_text(server.file.read_text() + LIFETIMES)
        server.start()
    crowd = Crowd(LINK_ADDRESS, [server.address for server in pair.servers])
    try:
        until(pair.is_in_step, 20, "both are in NORMAL")
        crowd.join(Subscriber(number, IAS, Chance(number, "load")) for number in range(clients))
        crowd.come(crowd.subscribers.values())
        _live(crowd, seconds)
        crowd.live(lambda: crowd.is_content, 30)
        until(pair.is_in_step, 30, "both know the same")
        held = [key for keys in crowd.leases.values() for key in keys]
        here, there = (server.leases() for server in pair.servers)
        return {
            "clients": clients,
            "seconds": seconds,
            "answers_per_s": round(len(crowd.answered) / seconds, 1),
            "median_ms": {type_.name: _median_ms(crowd, type_) for type_ in (MessageType.REQUEST, MessageType.RENEW)},
            "leases_held": len(held),
            "in_two_hands": len(held) - len(set(held)),
            "tables_equal": here == there,
        }
    finally:
        crowd.close()
        pair.close()


def _live(crowd: Crowd, seconds: float) -> None:
    chance = Chance(0, "leaving")
    everybody = list(crowd.subscribers.values())
    away: list[Subscriber] = []
    ends = time.monotonic() + seconds
    with Progress() as progress:
        task = progress.add_task("load", total=seconds)
        while (left_s := ends - time.monotonic()) > 0:
            crowd.live(lambda: False, min(STEP_S, left_s))
            crowd.come(away)
            away = chance.some(everybody, int(len(everybody) * LEAVING_PER_STEP))
            crowd.give_up(away)
            progress.update(task, completed=seconds - left_s)
    crowd.come(away)


def _median_ms(crowd: Crowd, type_: MessageType) -> float:
    times = [each.seconds for each in crowd.answered if each.type is type_]
    return round(statistics.median(times) * 1000, 2) if times else 0.0


def main() -> None:
    """Print what was measured as JSON. Exit 1 if a promise was broken."""
    clients = int(sys.argv[1]) if sys.argv[1:] else CLIENTS
    seconds = float(sys.argv[2]) if sys.argv[2:] else SECONDS
    with tempfile.TemporaryDirectory(prefix="tandem-load-") as folder:
        found = run(clients, seconds, Path(folder))
    print(json.dumps(found))
    sys.exit(not (found["tables_equal"] and found["in_two_hands"] == 0))


if __name__ == "__main__":
    main()

"""How long each step of a reload takes, with many subnets and leases: what an answer may have to wait for.

    python -m bench.reload [--subnets N --reservations N --leases N --pair]

The steps are those of the server: a frame of what the other process read, one call of the node, and what the runtime
does around them, in the order in which it does it. Seconds are of the processor, so that other work on the machine
changes little.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable, Iterator
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TypeVar

from bench.large import tandem_file
from tandem.config.load import Loaded, load_text
from tandem.config.partners import what_moved
from tandem.config.transfer import read_loaded, write_loaded
from tandem.effects.events import Reload
from tandem.effects.now import Now
from tandem.effects.settings import Settings
from tandem.lease.change import Put
from tandem.lease.lease import BindingStatus, Lease, key_of
from tandem.lease.table import load_table
from tandem.node import Identity, Node
from tandem.runtime.unserved import Unserved

NOW = Now(0.0, 1_800_000_000)
VALID_S = 86_400
PARTNERS = """\
address = "2001:db8:ffff::a"
[server.b]
listen = ["[::1]:547"]
address = "2001:db8:ffff::b"
[failover.campus]
primary = "a"
secondary = "b"
security = "insecure"
"""
CHANGES: dict[str, Callable[[str], str]] = {
    "nothing": lambda text: text,
    "a reservation in each pool": lambda text: text.replace(':0:10"\n', ':0:ffff"\n').replace('::10"\n', ':0:1::99"\n'),
    "all pools of addresses": lambda text: text.replace(":0:1::/80", ":0:1::/81"),
    "every other subnet taken out": lambda text: without_every_other(text),
}
Result = TypeVar("Result")


def without_every_other(text: str) -> str:
    """Take every other subnet out of the file."""
    head, *subnets = text.split("\n[[subnet]]\n")
    return "\n[[subnet]]\n".join((head, *subnets[::2]))


def file_of(subnets: int, reservations: int, is_pair: bool) -> str:
    """Return the text of the file."""
    text = "".join(tandem_file(subnets, reservations, 547, Path("/nowhere")))
    if not is_pair:
        return text
    return text.replace("[log]", PARTNERS + "[log]", 1).replace("[[subnet]]\n", '[[subnet]]\nfailover = "campus"\n')


def leases(settings: Settings, count: int) -> Iterator[Put]:
    """Yield so many leases, alike in each pool of addresses."""
    pools = [pool for link in settings.links for subnet in link.subnets for pool in subnet.pools]
    firsts = [pool.range.first for pool in pools if not pool.is_of_prefixes]
    held = (NOW.utc, NOW.utc, NOW.utc + VALID_S, VALID_S, VALID_S, VALID_S // 2, VALID_S * 8 // 10)
    for number in range(count):
        duid = b"\0\1\0\1\x2d\0\0\0\0\x0c" + number.to_bytes(4, "big")
        key = key_of(firsts[number % len(firsts)] + 0x10000 + number // len(firsts))
        yield Put(key, Lease(key, BindingStatus.ACTIVE, duid, 1, *held, b"").pack())


class Steps:
    """How long the steps of a reload took, in milliseconds, by what they are of."""

    def __init__(self) -> None:
        self._longest: dict[str, float] = {}
        self._count: dict[str, int] = {}

    def take(self, of: str, step: Callable[[], Result]) -> Result:
        """Take one step."""
        began = time.process_time()
        done = step()
        took = (time.process_time() - began) * 1000
        self._longest[of] = max(took, self._longest.get(of, 0.0))
        self._count[of] = self._count.get(of, 0) + 1
        return done

    def __str__(self) -> str:
        shown = [f"{of} {self._longest[of]:.1f} ({self._count[of]})" for of in self._longest]
        return ", ".join(shown)


class Server:
    """What of a server takes part in a reload."""

    def __init__(self, loaded: Loaded, count: int) -> None:
        self._loaded = loaded
        self._unserved = Unserved()
        table = load_table(leases(loaded.settings, count))
        self._node = Node(loaded.settings, Identity(b"\0\4" + bytes(16), b"secret of a bench"), table, NOW)
        self._settle(Steps())

    def reload(self, text: str) -> Steps:
        """Take over a file; return what the steps took."""
        written = BytesIO()
        write_loaded(load_text(text, "a"), written)
        steps = Steps()
        frames = read_loaded(memoryview(written.getvalue()))
        found: Loaded | None = None
        while found is None:
            found = steps.take("a frame", lambda: next(frames))
        steps.take("the first one", partial(self._take_over, found))
        del found
        while self._node.is_reloading:
            steps.take("the node", lambda: self._node.handle(NOW, ()))
        self._settle(steps)
        return steps

    def _take_over(self, found: Loaded) -> None:
        what_moved(self._loaded.settings, found.settings)
        self._unserved.use(found.settings)
        self._loaded = found
        self._node.handle(NOW, (Reload(found.settings),))

    def _settle(self, steps: Steps) -> None:
        while True:
            effects = steps.take("after it", lambda: self._node.handle(NOW, ()))
            if effects.wake != NOW.mono:
                break


def main() -> None:
    """Print the longest step of each kind for each kind of change."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subnets", type=int, default=10_000)
    parser.add_argument("--reservations", type=int, default=200_000)
    parser.add_argument("--leases", type=int, default=1_000_000)
    parser.add_argument("--pair", action="store_true")
    arguments = parser.parse_args()
    gc.disable()  # as the server does while it reloads
    text = file_of(arguments.subnets, arguments.reservations, arguments.pair)
    server = Server(load_text(text, "a"), arguments.leases)
    for what, change in CHANGES.items():
        print(f"{what}: longest steps in ms (and how many): {server.reload(change(text))}", flush=True)


if __name__ == "__main__":
    main()

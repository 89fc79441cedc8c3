"""What one message costs in the pure path: index, decide, build. `python -m bench.pure` (`make bench`)."""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from tandem.config.load import load
from tandem.effects.effects import Send
from tandem.effects.events import Datagram, Interfaces
from tandem.effects.now import Now
from tandem.lease.table import LeaseTable
from tandem.node import Identity, Node
from tandem.sim.client import SimClient
from tandem.wire.message import Message, read_message

CLIENTS = 4000
ROUNDS = 5
PER_CALL = 32
NOW = Now(0.0, 1_800_000_000)
MULTICAST = b"\xff" + bytes(15)
CONFIGURATION = """\
[server.a]
interfaces = ["eth0"]
[options]
dns-servers = ["2001:db8::53"]
[[subnet]]
prefix = "2001:db8:1::/64"
interface = "eth0"
pools = ["2001:db8:1:0:1::/80"]
"""


def make_node() -> Node:
    """Give a node as `tandem serve` would make it, without leases."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tandem.toml"
        path.write_text(CONFIGURATION)
        settings = load(path, None).settings
    node = Node(settings, Identity(b"\0\4" + bytes(16), b"secret of a bench"), LeaseTable(), NOW)
    node.handle(NOW, [Interfaces({1: ("eth0", ())})])
    return node


def handle(node: Node, questions: list[Message]) -> tuple[list[bytes], float]:
    """Give the node's answers, and the microseconds of processor time that each took."""
    datagrams = [Datagram(each.write(), "fe80::1", 546, 1, 1, MULTICAST) for each in questions]
    answers: list[bytes] = []
    started = time.process_time()
    for at in range(0, len(datagrams), PER_CALL):
        effects = node.handle(NOW, datagrams[at : at + PER_CALL])
        answers += [each.data for each in (*effects.at_once, *effects.then) if isinstance(each, Send)]
    return answers, (time.process_time() - started) / len(datagrams) * 1e6


def run_round() -> dict[str, float]:
    """Let clients solicit, request and renew; give the microseconds of each."""
    node = make_node()
    clients = [SimClient(number, with_prefix=False) for number in range(CLIENTS)]
    took: dict[str, float] = {}
    for name in ("solicit", "request", "renew"):
        answers, took[name] = handle(node, [getattr(client, name)() for client in clients])
        for client, answer in zip(clients, answers, strict=True):
            message = read_message(answer)
            if not isinstance(message, Message) or not client.take(message):
                sys.exit(f"A {name} was not answered well.")
    return took


def main() -> None:
    """Print medians of some rounds, for people, and as one JSON object on the last line."""
    rounds = [run_round() for _ in range(ROUNDS)]
    medians = {name: round(statistics.median(each[name] for each in rounds), 1) for name in rounds[0]}
    for name, us in medians.items():
        print(f"{name:8} {us:6.1f} microseconds")
    print(json.dumps({"us_per_message": medians, "rounds": ROUNDS, "python": sys.version.split()[0]}))


if __name__ == "__main__":
    main()

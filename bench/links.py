"""What a message costs in the pure path with one subnet and with many: `python -m bench.links [SUBNETS [CLIENTS]]`.

Each client is behind a relay on a link of its own choice, out of all there are. Rounds are taken in turns, and the
least of each counts, so that other work on the machine changes neither.
"""

from __future__ import annotations

import sys
import time
from ipaddress import IPv6Address
from pathlib import Path

from bench.large import tandem_file
from tandem.config.load import load_text
from tandem.effects.effects import Send
from tandem.effects.events import Datagram
from tandem.effects.now import Now
from tandem.lease.table import LeaseTable
from tandem.node import Identity, Node
from tandem.sim.client import SimClient, SimRelay

NOW = Now(0.0, 1_800_000_000)
LOCAL = IPv6Address("2001:db8:ffff::1").packed
PER_CALL = 32
ROUNDS = 7
NAMES = ("solicit", "request", "renew")


class Crowd:
    """Clients of one node, spread over its links."""

    def __init__(self, subnets: int, clients: int) -> None:
        text = "".join(tandem_file(subnets, 0, 547, Path("/nowhere")))
        identity = Identity(b"\0\4" + bytes(16), b"secret of a bench")
        self._node = Node(load_text(text, None).settings, identity, LeaseTable(), NOW)
        self._clients = [SimClient(number, with_prefix=False) for number in range(clients)]
        addresses = [(0x20010DB8 << 96) + (number * 7919 % subnets << 80) + 1 for number in range(clients)]
        self._relays = [SimRelay(address.to_bytes(16, "big")) for address in addresses]
        for name in NAMES:  # every link is indexed, every client has its lease
            self.round(name)

    def round(self, name: str) -> float:
        """Let each client send one message; give the microseconds of processor time for each."""
        datagrams = [
            Datagram(relay.forward(getattr(client, name)(), client.duid), "2001:db8::1", 547, 0, 1, LOCAL)
            for client, relay in zip(self._clients, self._relays, strict=True)
        ]
        answers: list[bytes] = []
        began = time.process_time()
        for at in range(0, len(datagrams), PER_CALL):
            effects = self._node.handle(NOW, datagrams[at : at + PER_CALL])
            answers += [each.data for each in (*effects.at_once, *effects.then) if isinstance(each, Send)]
        took = time.process_time() - began
        for client, relay, answer in zip(self._clients, self._relays, answers, strict=True):
            message = relay.unwrap(answer)
            assert message is not None
            assert client.take(message)
        return took / len(datagrams) * 1e6


def main() -> None:
    """Print what each message takes with one subnet and with many."""
    subnets = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    clients = int(sys.argv[2]) if len(sys.argv) > 2 else 4_000
    crowds = Crowd(1, clients), Crowd(subnets, clients)
    least = [dict.fromkeys(NAMES, 1e9), dict.fromkeys(NAMES, 1e9)]
    for _ in range(ROUNDS):
        for name in NAMES:
            for crowd, took in zip(crowds, least, strict=True):
                took[name] = min(took[name], crowd.round(name))
    for name in NAMES:
        one, many = (took[name] for took in least)
        print(f"{name:8} {one:6.1f} microseconds with 1 subnet, {many:6.1f} with {subnets:,}: {many / one:.2f} times")


if __name__ == "__main__":
    main()

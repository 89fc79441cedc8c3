"""What a message costs after 100,000 hostile ones, of one client or of many. `python -m bench.hostile`.

The cost is counted in calls of functions, which no other process disturbs, and timed beside that: of messages of
innocent clients, and of the attacker's own. Each attack has a node of its own, and time passes so that no rate limit
helps the server.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

from tandem.config.load import load
from tandem.effects.effects import Send
from tandem.effects.events import Datagram, Interfaces
from tandem.effects.now import Now
from tandem.lease.table import LeaseTable
from tandem.node import Identity, Node
from tandem.wire.message import RELAY_HEADER, Message, MessageType, read_message
from tandem.wire.octets import write_option
from tandem.wire.options import ClientId, IaNa, IaPd, OptionRequest, RelayMessage, ServerId

MESSAGES = 100_000
RATIO_MAX = 1.5
ROUNDS = 100
OWN_AFTER = 200
"""Messages of the attacker before the first that are counted: it then holds all that it may."""
OWN_MESSAGES = 10_000
INNOCENTS = 50
IAS = 32
LINKS = 64
MULTICAST = b"\xff" + bytes(15)
START_UTC = 1_800_000_000
SERVER = ServerId(b"\0\4" + bytes(16))
EVERY_S = 0.11
"""Between two messages of one client: as many as it may send."""
CONFIGURATION = """\
[server.a]
interfaces = ["eth0"]
[options]
dns-servers = ["2001:db8::53"]
[[subnet]]
prefix = "2001:db8:1::/64"
interface = "eth0"
pools = ["2001:db8:1::1:0-2001:db8:1::1:ffff", "2001:db8:1::2:0-2001:db8:1::2:ff"]
pd-pools = [{ prefix = "2001:db9::/40", delegated-length = 56 }]
"""
MORE_LINKS = """\
[[subnet]]
prefix = "2001:db8:{0:x}::/64"
pools = ["2001:db8:{0:x}:0:1::/80"]
"""


class Host:
    """A node and its time. Answers are what it sends."""

    def __init__(self) -> None:
        text = CONFIGURATION + "".join(MORE_LINKS.format(0x100 + number) for number in range(LINKS))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "tandem.toml"
            path.write_text(text)
            settings = load(path, None).settings
        self._mono = 0.0
        self._node = Node(settings, Identity(SERVER.duid, b"secret of a bench"), LeaseTable(), self.now)
        self._node.handle(self.now, [Interfaces({1: ("eth0", ())})])

    @property
    def now(self) -> Now:
        """Both clocks, which run alike here."""
        return Now(self._mono, START_UTC + int(self._mono))

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self._mono += seconds

    def ask(self, data: bytes) -> bytes | None:
        """Hand over one datagram and return the answer."""
        effects = self._node.handle(self.now, [Datagram(data, "fe80::1", 546, 1, 1, MULTICAST)])
        return next((each.data for each in (*effects.at_once, *effects.then) if isinstance(each, Send)), None)


def message(type_: MessageType, duid: bytes, *ias: Any) -> bytes:
    """Write a client's message."""
    named = () if type_ in (MessageType.SOLICIT, MessageType.REBIND) else (SERVER,)
    return Message(type_, 7, (ClientId(duid), *named, OptionRequest((23,)), *ias)).write()


def duid_of(number: int) -> bytes:
    """Return the DUID of a client by its number."""
    return b"\0\3\0\1" + number.to_bytes(6, "big")


def declines(host: Host) -> Iterator[None]:
    """One client asks for all that it may have, and declines it, each time for other identity associations."""
    duid, number = duid_of(1), 0
    while True:
        answer = host.ask(message(MessageType.REQUEST, duid, *(IaNa(number * IAS + each) for each in range(IAS))))
        yield
        if answer is not None:
            given = read_message(answer)
            assert isinstance(given, Message)
            host.ask(message(MessageType.DECLINE, duid, *(each for each in given.options if isinstance(each, IaNa))))
            yield
        number += 1


def releases(host: Host) -> Iterator[None]:
    """One client asks for all that it may have, and releases it, each time for other identity associations."""
    duid, number = duid_of(1), 0
    while True:
        answer = host.ask(message(MessageType.REQUEST, duid, *(IaNa(number * IAS + each) for each in range(IAS))))
        yield
        if answer is not None:
            given = read_message(answer)
            assert isinstance(given, Message)
            host.ask(message(MessageType.RELEASE, duid, *(each for each in given.options if isinstance(each, IaNa))))
            yield
        number += 1


def solicits(host: Host) -> Iterator[None]:
    """One client wants to be offered everything."""
    number = 0
    while True:
        host.ask(message(MessageType.SOLICIT, duid_of(1), *(IaNa(number * IAS + each) for each in range(IAS))))
        yield
        number += 1


def made_up_solicits(host: Host) -> Iterator[None]:
    """Each message comes from another client and wants to be offered all that one may have."""
    number = 1
    while True:
        host.ask(message(MessageType.SOLICIT, duid_of(number), *(IaNa(each) for each in range(IAS))))
        yield
        number += 1


def made_up_requests(host: Host) -> Iterator[None]:
    """Each message comes from another client and takes an address and a prefix."""
    number = 1
    while True:
        host.ask(message(MessageType.REQUEST, duid_of(number), IaNa(1), IaPd(1)))
        yield
        number += 1


def one_duid_everywhere(host: Host) -> Iterator[None]:
    """One DUID takes all that it may have on each of many links."""
    number = 0
    while True:
        link = IPv6Address(f"2001:db8:{0x100 + number % LINKS:x}::1").packed
        first = number // LINKS * IAS
        inside = message(MessageType.REQUEST, duid_of(1), *(IaNa(first + each) for each in range(IAS)))
        header = RELAY_HEADER.pack(MessageType.RELAY_FORW, 0, link, bytes(16))
        host.ask(header + write_option(RelayMessage.code, inside))
        yield
        number += 1


ATTACKS: dict[str, Callable[[Host], Iterator[None]]] = {
    "declines": declines,
    "releases": releases,
    "solicits": solicits,
    "made-up solicits": made_up_solicits,
    "made-up requests": made_up_requests,
    "one duid everywhere": one_duid_everywhere,
}


def questions(round_: int, duid: bytes) -> dict[str, bytes]:
    """Return what is measured: a client gets its first leases, and extends them."""
    return {
        "solicit": message(MessageType.SOLICIT, duid, IaNa(1 + round_)),
        "request": message(MessageType.REQUEST, duid, IaNa(1 + round_)),
        "renew": message(MessageType.RENEW, duid, IaNa(1 + round_)),
        "rebind": message(MessageType.REBIND, duid, IaNa(1 + round_)),
    }


def calls(work: Callable[[], object]) -> int:
    """Count the calls of functions while something is done."""
    count = 0

    def called(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(called)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def measure(host: Host, first_client: int) -> dict[str, tuple[float, float]]:
    """Return for each kind of message what it costs innocents: calls, and microseconds."""
    counted: dict[str, list[int]] = {}
    took: dict[str, list[float]] = {}
    for client in range(first_client, first_client + INNOCENTS):
        for name, data in questions(0, duid_of(client)).items():
            host.sleep(EVERY_S)
            host.ask(data)  # the first of its kind may fill a cache
            counted.setdefault(name, []).append(calls(partial(host.ask, data)))
            began = time.process_time()
            answer = host.ask(data)
            took.setdefault(name, []).append((time.process_time() - began) * 1e6)
            if answer is None:
                raise RuntimeError(f"a {name} of an innocent client is not answered")
    return {name: (statistics.median(counted[name]), statistics.median(took[name])) for name in counted}


def attack(name: str, messages: int) -> Host:
    """Return a host that took so many hostile messages."""
    host = Host()
    attacker = ATTACKS[name](host)
    for _ in range(messages):
        host.sleep(EVERY_S)
        next(attacker)
    return host


def own_cost(name: str, messages: int) -> float:
    """Return by what factor the attacker's own messages cost more after so many than at first, in calls."""
    host = Host()
    attacker = ATTACKS[name](host)
    costs: list[int] = []
    for number in range(messages):
        host.sleep(EVERY_S)
        if OWN_AFTER <= number < OWN_AFTER + ROUNDS or number >= messages - ROUNDS:
            costs.append(calls(partial(next, attacker)))
        else:
            next(attacker)
    return statistics.fmean(costs[ROUNDS:]) / statistics.fmean(costs[:ROUNDS])


def ratios(messages: int, name: str, fresh: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    """Return by what factors messages of innocents cost more after an attack: in calls, and in time."""
    after = measure(attack(name, messages), 1 << 40)
    return {kind: (after[kind][0] / fresh[kind][0], after[kind][1] / fresh[kind][1]) for kind in after}


def main() -> None:
    """Print the factors of each attack; exit 1 if a message costs more than it may."""
    messages = int(sys.argv[1]) if len(sys.argv) > 1 else MESSAGES
    fresh = measure(Host(), 1 << 40)
    worst = 0.0
    for name in ATTACKS:
        began = time.monotonic()
        found = ratios(messages, name, fresh)
        rate = messages / (time.monotonic() - began)
        own = own_cost(name, min(messages, OWN_MESSAGES))
        shown = ", ".join(f"{kind} {count:.2f} (time {took:.2f})" for kind, (count, took) in found.items())
        print(f"{name}: {shown}, its own {own:.2f}; {rate:,.0f} hostile messages a second", flush=True)
        worst = max(worst, own, *(count for count, _ in found.values()))
    print(json.dumps({"messages": messages, "worst": round(worst, 2), "python": sys.version.split()[0]}))
    sys.exit(worst > RATIO_MAX)


if __name__ == "__main__":
    main()

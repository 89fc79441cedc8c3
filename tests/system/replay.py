"""Sends the same packets to two servers, and puts what clients are told into a form that can be compared.

Which address of a pool a client is given is each server's own choice: in its place stands the pool. All else is octets.
"""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

from limits import limit
from system.net import Lab, Process, until
from tandem.effects.settings import Settings
from tandem.lease.lease import key_of
from tandem.wire.message import Message, MessageType, Relayed, read_message
from tandem.wire.option import Option, Unknown, write_options
from tandem.wire.options import (
    ClientId,
    IaAddress,
    IaNa,
    IaPd,
    IaPrefix,
    OptionRequest,
    RapidCommit,
    ServerId,
    Status,
)

LINKS = ("eth0", "eth1")
LISTENS_WITHIN_S = limit(60.0)
SERVERS_AND_RELAYS = "ff02::1:2"
SILENT_AFTER_S = 1.0
"""How long an answer may take that nobody expects, once the server does nothing any more."""
BUSY_TICKS = 3
"""Of the processor's time in SILENT_AFTER_S: so much is not used by a server that only waits."""
IDLE_PERIODS_MAX = 10
"""For so many SILENT_AFTER_S a server may do nothing before an answer that the other one gave is given up."""
ANSWERED_WITHIN_S = limit(20.0)
ASKED = (
    *range(21, 25),
    *range(27, 36),
    *(38, 39, 40, 41, 42, 51, 52, 56, 57, 58, 59, 60, 64, 65, 67, 74, 82, 83, 88, 94, 95, 96, 103, 143, 144, 148),
    *(200, 201, 202, 203, 250, 300),
)
OF_THE_EXCHANGE = {ClientId.code, ServerId.code, IaNa.code, IaPd.code, Status.code}


@dataclass(frozen=True)
class Hop:
    """A relay, with what it says of the client."""

    link_address: str
    options: tuple[Option, ...] = ()


@dataclass(frozen=True)
class Client:
    """A client, what it says of itself, and the way that its messages take: on a link, or through relays."""

    name: str
    duid: bytes
    options: tuple[Option, ...] = ()
    link: str = LINKS[0]
    relays: tuple[Hop, ...] = ()
    """The one next to the server first."""
    asked: tuple[int, ...] = ASKED

    def wrapped(self, message: Message) -> bytes:
        """Return the message in the relays' messages."""
        inside: Message | Relayed = message
        peer = IPv6Address("fe80::c").packed
        for hops, relay in enumerate(reversed(self.relays)):
            link = IPv6Address(relay.link_address).packed
            inside = Relayed(MessageType.RELAY_FORW, hops, link, peer, relay.options, inside)
            peer = link
        return inside.write()


@dataclass
class State:
    """What a client was told in its conversation with one server."""

    server: ServerId | None = None
    ias: tuple[Option, ...] = ()
    told: dict[str, Any] = field(default_factory=dict)


class Site:
    """A server with two links, and a host with clients and relays on both."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.folder = folder
        self.server = lab.host("server")
        self._clients = lab.host("clients")
        for number, link in enumerate(LINKS):
            lab.link(link)
            lab.plug(self.server, link, link, f"2001:db8:ffff:{number}::1/64")
            lab.plug(self._clients, link, link, f"2001:db8:ffff:{number}::2/64")

    @contextlib.contextmanager
    def running(self, argv: list[str], name: str) -> Iterator[Process]:
        """Run a server until it is not needed any more."""
        process = self._running = self.server.start(argv, self.folder / f"{name}.log")
        try:
            until(lambda: process.listens(547), LISTENS_WITHIN_S, f"listening, see {process.log}")
            yield process
        finally:
            self.server.kill_all()

    def ask(
        self, questions: Sequence[tuple[Client, Message]], expected: Sequence[bool] | None
    ) -> list[tuple[Message | Relayed, Message] | None]:
        """Send all questions, and give the answers, each with what its relays put around it.

        `expected` says which are waited for; None if nobody knows.
        """
        answers: dict[int, tuple[Message | Relayed, Message]] = {}
        wanted = {message.transaction_id for _, message in questions}
        awaited = {m.transaction_id for (_, m), is_due in zip(questions, expected or (), strict=False) if is_due}
        with contextlib.ExitStack() as stack:
            direct, relayed = (stack.enter_context(self._socket(port)) for port in (546, 547))
            with self._clients.inside():
                indexes = {link: socket.if_nametoindex(link) for link in LINKS}
            for client, message in questions:
                door = relayed if client.relays else direct
                door.sendto(client.wrapped(message), (SERVERS_AND_RELAYS, 547, 0, indexes[client.link]))
            deadline = time.monotonic() + ANSWERED_WITHIN_S
            ticks = self._running.processor_ticks()
            idle = 0
            while wanted - answers.keys() and time.monotonic() < deadline:
                ready = select.select([direct, relayed], [], [], SILENT_AFTER_S)[0]
                if not ready:
                    ticks_before, ticks = ticks, self._running.processor_ticks()
                    idle = idle + 1 if ticks - ticks_before < BUSY_TICKS else 0
                    if idle >= (IDLE_PERIODS_MAX if awaited - answers.keys() else 1):
                        break
                for door in ready:
                    whole = inside = read_message(door.recv(65_535))
                    while isinstance(inside, Relayed):
                        assert inside.message is not None
                        inside = inside.message
                    answers[inside.transaction_id] = whole, inside
        return [answers.get(message.transaction_id) for _, message in questions]

    def _socket(self, port: int) -> socket.socket:
        with self._clients.inside():
            door = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        door.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        door.bind(("::", port))
        return door


def conversations(
    site: Site, clients: Sequence[Client], settings: Settings, theirs: Mapping[str, Any] | None = None
) -> dict[str, dict[str, Any]]:
    """Let all clients go through the life of a lease, and give what each is told at each step.

    `theirs` is what another server told them: its answers are waited for.
    """
    states = {client.name: State() for client in clients}
    assert len(states) == len(clients), "two clients have one name"
    for number, step in enumerate(STEPS):
        asking = [(client, message) for client in clients if (message := _message(client, states[client.name], step))]
        numbered = [
            (client, Message(message.type, (number + 1) << 16 | at, message.options))
            for at, (client, message) in enumerate(asking)
        ]
        expected = [bool((theirs or {}).get(client.name, {}).get(step)) for client, _ in numbered]
        answers = site.ask(numbered, expected if theirs is not None else None)
        for (client, _), answer in zip(numbered, answers, strict=True):
            _note(states[client.name], step, answer, settings)
    return {name: state.told for name, state in states.items()}


STEPS = (
    "solicit",
    "request",
    "renew",
    "rebind",
    "confirm",
    "information",
    "bare solicit",
    "bare information",
    "release",
)


def _message(client: Client, state: State, step: str) -> Message | None:
    """Return what the client sends at a step, None if it has nothing to say."""
    own = (ClientId(client.duid), *client.options)
    asked = (OptionRequest(client.asked),)
    ias = state.ias
    server = () if state.server is None else (state.server,)
    match step:
        case "solicit":
            return Message(MessageType.SOLICIT, 0, (*own, *asked, IaNa(1), IaPd(2)))
        case "bare solicit":
            return Message(MessageType.SOLICIT, 0, (*own, IaNa(1), IaPd(2)))
        case "information" | "bare information":
            return Message(MessageType.INFORMATION_REQUEST, 0, (*own, *(asked if step == "information" else ())))
    if not server or not ias:
        return None
    match step:
        case "request":
            return Message(MessageType.REQUEST, 0, (*own, *server, *asked, *ias))
        case "renew":
            return Message(MessageType.RENEW, 0, (*own, *server, *asked, *ias))
        case "rebind":
            return Message(MessageType.REBIND, 0, (*own, *asked, *ias))
        case "confirm":
            addresses = tuple(each for each in ias if isinstance(each, IaNa))
            return Message(MessageType.CONFIRM, 0, (*own, *asked, *addresses)) if addresses else None
    return Message(MessageType.RELEASE, 0, (*own, *server, *ias))


def _note(state: State, step: str, answer: tuple[Message | Relayed, Message] | None, settings: Settings) -> None:
    state.told[step] = told(answer, settings)
    if answer is None:
        return
    _, inside = answer
    state.server = next((each for each in inside.options if isinstance(each, ServerId)), state.server)
    if step in ("solicit", "request", "renew", "rebind"):
        state.ias = tuple(each for each in inside.options if isinstance(each, IaNa | IaPd) and _live(each))


def _live(ia: IaNa | IaPd) -> list[IaAddress | IaPrefix]:
    return [each for each in ia.options if isinstance(each, IaAddress | IaPrefix) and each.valid]


def told(answer: tuple[Message | Relayed, Message] | None, settings: Settings) -> dict[str, Any] | None:
    """Give what a client is told, with the pool in the place of an address that is of one; None without an answer."""
    if answer is None:
        return None
    whole, inside = answer
    found: dict[str, Any] = {"type": inside.type.name}
    if isinstance(whole, Relayed):
        found["echoed"] = [[write_options((each,)).hex() for each in hop.options] for hop in _hops(whole)]
    for each in inside.options:
        if isinstance(each, IaNa | IaPd):
            found[type(each).__name__] = _of_ia(each, settings)
        elif each.code not in OF_THE_EXCHANGE:
            found.setdefault(f"option {each.code}", []).append(write_options((each,)).hex())
    if inside.type is MessageType.REPLY and not any(isinstance(each, IaNa | IaPd) for each in inside.options):
        statuses = [each.status for each in inside.options if isinstance(each, Status)]
        found["status"] = statuses[0] if statuses else 0
    return {name: sorted(each) if name.startswith("option") else each for name, each in found.items()}


def _hops(whole: Message | Relayed) -> Iterator[Relayed]:
    while isinstance(whole, Relayed):
        yield whole
        assert whole.message is not None
        whole = whole.message


def _of_ia(ia: IaNa | IaPd, settings: Settings) -> dict[str, Any]:
    live = _live(ia)
    if not live:
        return {"refused": True}
    inside = [
        {
            "from": place_of(each, settings),
            "preferred": each.preferred,
            "valid": each.valid,
            "options": write_options(tuple(one for one in each.options if not isinstance(one, Status))).hex(),
        }
        for each in live
    ]
    return {"t1": ia.t1, "t2": ia.t2, "leases": sorted(inside, key=lambda each: str(each["from"]))}


def place_of(lease: IaAddress | IaPrefix, settings: Settings) -> str:
    """Say which pool a lease is of, or which lease it is if it is reserved."""
    length = lease.length if isinstance(lease, IaPrefix) else 128
    packed = lease.prefix if isinstance(lease, IaPrefix) else lease.address
    key = key_of(int.from_bytes(packed, "big"), length)
    if any(key in set(link.reservations.leases()) for link in settings.links):
        return f"{IPv6Address(packed)}/{length}"
    for link in settings.links:
        for subnet in link.subnets:
            for pool in subnet.pools:
                if pool.range.first <= key >> 8 <= pool.range.last and pool.range.length == length:
                    return pool.where
    return f"{IPv6Address(packed)}/{length}"


def unknown(code: int, octets: str) -> Option:
    """Return an option by its code and its octets in hexadecimal."""
    return Unknown(code, bytes.fromhex(octets.replace(":", "")))


RAPID = RapidCommit()

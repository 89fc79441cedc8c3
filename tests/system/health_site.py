"""A server in a network of its own, and the six places where its health is shown."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import select
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

from monitoring import alerts
from prometheus_client import CollectorRegistry, generate_latest

from limits import limit
from system.net import Host, Lab, Process
from system.servers import Tandem
from tandem.admin.client import CommandFailed, ControlClient
from tandem.admin.web.link import Link
from tandem.admin.web.live import Live
from tandem.admin.web.metrics import StatusCollector
from tandem.effects.problem import Problem
from tandem.sim.client import SimClient, SimRelay
from tandem.wire.message import Message, read_message

WITHIN_S = limit(20.0)
ASK_AGAIN_S = 0.3
SERVERS_AND_RELAYS = "ff02::1:2"
SUBNET = """
[[subnet]]
prefix = "2001:db8:{number}::/64"
interface = "{interface}"
pools = ["2001:db8:{number}:0:1::/80"]
"""
LINKS = {"one": 1, "two": 2}


def until(condition: Callable[[], Any], what: Callable[[], str]) -> Any:
    """Return the condition's value once it is true; AssertionError if it is not in time."""
    deadline = time.monotonic() + WITHIN_S
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {WITHIN_S:g} s: {what()}"
        select.select([], [], [], 0.05)
    return value


class Site:
    """A server's host, and a host of clients on the links `one` and `two`. The server is on `one`."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self._lab = lab
        self.folder = folder
        self.file = folder / "tandem.toml"
        self.host: Host = lab.host("server")
        self.clients: Host = lab.host("clients")
        for link in LINKS:
            lab.link(link)
        self.plug("one")
        for link, number in LINKS.items():
            lab.plug(self.clients, link, link, f"2001:db8:{number}::2/64")

    def plug(self, link: str) -> None:
        """Give the server an interface on a link."""
        self._lab.plug(self.host, link, link, f"2001:db8:{LINKS[link]}::1/64")

    def configure(self, *interfaces: str, more: str = "", server: str = "", subnets: str | None = None) -> None:
        """Write the server's file: these interfaces with a subnet each, unless `subnets` are given."""
        quoted = ", ".join(f'"{each}"' for each in interfaces)
        if subnets is None:
            subnets = "".join(SUBNET.format(number=LINKS.get(each, 9), interface=each) for each in interfaces)
        self.file.write_text(
            f'[server.a]\ninterfaces = [{quoted}]\nstate-dir = "{self.folder}/state"\n{server}\n'
            f'[log]\nformat = "json"\n{more}\n{subnets}'
        )

    def start(self, *wrapper: str) -> Server:
        """Start the server of the file, and return it once its control socket answers."""
        return Server(self.host, self.file, self.folder / "state", self.folder / "log", wrapper)

    def ask(self, link: str, message: Message) -> Message | None:
        """Send a client's message on a link, and return the answer if one comes soon."""
        with self.clients.inside(), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as asking:
            asking.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, link.encode())
            asking.bind(("::", 546))
            asking.settimeout(ASK_AGAIN_S)
            octets = message.write()
            try:
                asking.sendto(octets, (SERVERS_AND_RELAYS, 547, 0, socket.if_nametoindex(link)))
                answer = read_message(asking.recv(65_535))
            except (TimeoutError, OSError):
                return None
        return answer if isinstance(answer, Message) else None

    def send_through_relay(self, link: str, link_address: str, client: SimClient, source: str = "") -> None:
        """Send a Solicit as a relay for another link does; no answer is waited for."""
        relay = SimRelay(IPv6Address(link_address).packed)
        with self.clients.inside(), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as asking:
            asking.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, link.encode())
            asking.bind((source or "::", 547))
            octets = relay.forward(client.solicit(), client.duid)
            asking.sendto(octets, (SERVERS_AND_RELAYS, 547, 0, socket.if_nametoindex(link)))

    def is_served(self, link: str) -> bool:
        """True if a new client on the link is offered something."""
        client = SimClient(1, with_prefix=False)
        answer = self.ask(link, client.solicit())
        return answer is not None and client.take(answer) and bool(client.offered_keys)

    def lease(self, link: str, number: int) -> bool:
        """True if a client on the link got a lease."""
        client = SimClient(number, with_prefix=False)
        for make in (client.solicit, client.request):
            answer = self.ask(link, make())
            if answer is None:
                return False
            client.take(answer)
            if make == client.solicit and not client.offered_keys:
                return False
        return bool(client.leases)


class Server:
    """A running server, and what each of the six places says of it."""

    def __init__(
        self, host: Host, file: Path, state: Path, log: Path, wrapper: tuple[str, ...] = (), name: str = "a"
    ) -> None:
        self._state = state
        self._log = log
        command = [*wrapper, Tandem.program, "serve", str(file), "--server", name]
        self.process: Process = host.start(command, log)
        self._host = host
        until(self._answers, lambda: log.read_text())

    def _answers(self) -> bool:
        assert self.process.alive(), self._log.read_text()
        with contextlib.suppress(CommandFailed):
            return bool(self.status())
        return False

    def status(self) -> dict[str, Any]:
        """Ask for the status."""
        with ControlClient(self._state / "control.sock") as control:
            found: dict[str, Any] = control.ask("status")
            return found

    def problems(self) -> dict[tuple[str, str], Problem]:
        """Return the problems that the server has now."""
        return {each.key: each for each in map(Problem.from_json, self.status()["problems"])}

    def find(self, id_: str, about: str | None = None) -> Problem | None:
        """Return the problem of that kind, if there is one."""
        return next((each for each in self.problems().values() if each.id == id_ and about in (None, each.about)), None)

    def cli(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command against it."""
        command = [Tandem.program, *words, "--state-dir", str(self._state)]
        return subprocess.run(command, capture_output=True, text=True, timeout=WITHIN_S, check=False)

    def events(self) -> list[dict[str, Any]]:
        """Return what it has logged."""
        return [json.loads(line) for line in self._log.read_text().splitlines() if line.startswith("{")]

    def says(self, id_: str, *words: str, about: str | None = None) -> Problem:
        """Wait for a problem, and return it once all six places have said it, with these words in it."""

        def said() -> Problem | None:
            found = self.find(id_, about)
            whole = " ".join((found.what, *found.examples)) if found is not None else ""
            return found if all(word in whole for word in words) else None

        found: Problem = until(said, lambda: f"{id_} with {words}: {self.problems()}")
        assert found.since is not None
        assert found.ends_when
        until(lambda: self._is_shown(found), lambda: f"{found} in the command line, page and metrics")
        logged = [(each["event"], each.get("id"), each.get("about", "")) for each in self.events()]
        assert ("problem", id_, found.about) in logged
        assert f'tandem_problem{{id="{id_}"}} == 1' in alerts.FILE.read_text()
        return found

    def is_over(self, id_: str, about: str | None = None) -> None:
        """Wait until a problem has ended, and is logged to have."""
        until(lambda: self.find(id_, about) is None, lambda: f"the end of {id_}: {self.problems()}")
        ended = [each for each in self.events() if each["event"] == "problem-ended" and each["id"] == id_]
        assert ended, "it is logged"

    def is_well(self) -> None:
        """Wait until all six places say that all is well."""
        until(lambda: not self.problems(), lambda: f"no problem, but {self.problems()}")
        shown = self.cli("status", "--check")
        assert "All is well" in shown.stdout, shown.stdout
        assert shown.returncode == 0
        assert asyncio.run(_page(self._state))["problems"] == []
        assert not re.search(r"(?m)^tandem_problem{", self._metrics())

    def _is_shown(self, found: Problem) -> bool:
        shown = self.cli("status", "--check")
        assert shown.returncode == 1
        assert "All is well" not in shown.stdout
        assert f"({found.id})" in shown.stdout, shown.stdout
        listed = json.loads(self.cli("status", "--json").stdout)["problems"]
        assert found.key in {Problem.from_json(each).key for each in listed}
        page = asyncio.run(_page(self._state))["problems"]
        assert found.key in {Problem.from_json(each).key for each in page}
        about = found.about.replace("\\", "\\\\").replace('"', '\\"')
        labels = f'about="{about}",id="{found.id}",severity="{found.severity.value}"'
        return f"tandem_problem{{{labels}}} 1.0" in self._metrics()

    def _metrics(self) -> str:
        registry = CollectorRegistry()
        registry.register(StatusCollector(self.status()))
        return generate_latest(registry).decode()


async def _page(state: Path) -> dict[str, Any]:
    """Return what a page is told first."""
    link = Link(state / "control.sock")
    live = Live(link)
    try:
        await live.look()
        told = live.listen("::1")
        found: dict[str, Any] = json.loads(await anext(told))
        await told.aclose()
        return found
    finally:
        await link.close()


@contextlib.contextmanager
def occupied(host: Host, kind: socket.SocketKind, address: str, port: int) -> Iterator[None]:
    """Have another program use a port."""
    with host.inside():
        other = socket.socket(socket.AF_INET6, kind)
    with contextlib.closing(other):
        other.bind((address, port))
        if kind is socket.SOCK_STREAM:
            other.listen()
        yield

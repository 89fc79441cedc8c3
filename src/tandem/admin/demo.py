"""`tandem demo`: a server, clients that come through a relay, and a `kill -9` in the middle.

Everything is real but the clients: the server is the one that `tandem serve` runs, on loopback, and Relay-forward
over unicast is the protocol that relays speak, which needs no privilege.
"""

from __future__ import annotations

import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from ipaddress import IPv6Address
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from tandem.admin.client import CommandFailed, ControlClient
from tandem.lease.lease import show_key
from tandem.sim.client import SimClient, SimRelay
from tandem.wire.message import Message
from tandem.wire.reader import WireError

CLIENTS = 60
SHOWN = 8
ANSWER_WITHIN_S = 1.0
TRIES = 5
START_WITHIN_S = 15.0
LINK_ADDRESS = IPv6Address("2001:db8:1::1").packed

CONFIGURATION = """\
[server.demo]
listen = ["[::1]:{port}"]
state-dir = "{folder}"

[lifetimes]
preferred-lifetime = "45m"
valid-lifetime = "1h"

[options]
dns-servers = ["2001:db8::53"]
domain-search = ["example.net"]

[[subnet]]
prefix = "2001:db8:1::/64"
pools = ["2001:db8:1:0:1::/80"]
pd-pools = [{{ prefix = "2001:db9::/32", delegated-length = 56 }}]
"""


class DemoFailed(Exception):
    """Something was not as promised; the message says what."""


class Server:
    """The server's process, started and killed as often as it takes."""

    def __init__(self, folder: Path) -> None:
        self.address = ("::1", _free_port())
        self._folder = folder
        self._file = folder / "tandem.toml"
        self._file.write_text(CONFIGURATION.format(port=self.address[1], folder=folder))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Start it and give the seconds until it answers. DemoFailed if it does not."""
        started = time.monotonic()
        log = (self._folder / "server.log").open("ab")
        command = [sys.executable, "-m", "tandem", "serve", str(self._file)]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        log.close()
        while time.monotonic() - started < START_WITHIN_S and self._process.poll() is None:
            try:
                with self.control() as control:
                    control.ask("status")
                return time.monotonic() - started
            except CommandFailed:
                select.select([], [], [], 0.02)
        raise DemoFailed(f"The server did not start:\n{(self._folder / 'server.log').read_text()}")

    def control(self) -> ControlClient:
        """Give a connection to its control socket."""
        return ControlClient(self._folder / "control.sock")

    def kill(self, how: signal.Signals) -> int:
        """End it with a signal, wait, and give its process id."""
        if self._process is None:
            return 0
        self._process.send_signal(how)
        self._process.wait(10)
        return self._process.pid


class Link:
    """The clients' link: a relay with one socket, asking and waiting."""

    def __init__(self, server: tuple[str, int]) -> None:
        self._server = server
        self._relay = SimRelay(LINK_ADDRESS)
        self._socket = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self._socket.bind(("::1", 0))

    def exchange(self, client: SimClient, question: Message) -> float:
        """Send a question until it is answered; give the seconds it took. DemoFailed if nobody answers."""
        started = time.monotonic()
        for _ in range(TRIES):
            self.send(client, question)
            if self._answered(client):
                return time.monotonic() - started
        raise DemoFailed("A client was not answered.")

    def send(self, client: SimClient, question: Message) -> None:
        """Send a question once, and wait for nothing."""
        self._socket.sendto(self._relay.forward(question, client), self._server)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _answered(self, client: SimClient) -> bool:
        deadline = time.monotonic() + ANSWER_WITHIN_S
        while (left_s := deadline - time.monotonic()) > 0:
            self._socket.settimeout(left_s)
            try:
                answer = self._relay.unwrap(self._socket.recv(65_535))
            except (TimeoutError, ConnectionRefusedError, WireError):
                continue
            if answer is not None and client.take(answer):
                return True
        return False


def run(out: Console | None = None) -> int:
    """Run the demo and give its exit code: 0 if all was as promised."""
    console = out or Console()
    with tempfile.TemporaryDirectory(prefix="tandem-demo-") as folder:
        server = Server(Path(folder))
        link = Link(server.address)
        try:
            _play(console, server, link)
        except DemoFailed as failure:
            console.print(f"[bold red]{failure}[/]")
            return 1
        finally:
            link.close()
            server.kill(signal.SIGTERM)
    console.print("Nothing is left behind: the server has ended and its folder is gone.")
    return 0


def _play(console: Console, server: Server, link: Link) -> None:
    clients = [SimClient(number) for number in range(1, CLIENTS + 1)]
    half = CLIENTS // 2
    console.rule("A server starts, and clients come through a relay")
    console.print(f"It answers after {server.start():.1f} s, on [::1] port {server.address[1]}.")
    took = _each(console, "Solicit, Request", clients[:half], lambda client: _get(link, client))
    before = {client.duid: client.leases for client in clients}

    console.rule("kill -9")
    pid = server.kill(signal.SIGKILL)
    console.print(f"Process {pid} is gone, with nothing but its disk left behind. It is started again.")
    console.print(f"It answers after {server.start():.1f} s.")
    took += _each(console, "Renew", clients[:half], lambda client: link.exchange(client, client.renew()))
    took += _each(console, "Solicit, Request", clients[half:], lambda client: _get(link, client))

    with server.control() as control:
        held = {lease["lease"]: lease["duid"] for lease in control.leases(status="ACTIVE")}
    kept = [client for client in clients[:half] if client.leases and client.leases == before[client.duid]]
    known = [client for client in clients if _is_known(client, held)]
    console.rule("What was promised, and what was seen")
    table = Table(box=None, header_style="bold")
    for column in ("promised", "seen"):
        table.add_column(column)
    table.add_row("every client gets an address and a prefix", f"{len(known)} of {CLIENTS}")
    table.add_row("kill -9 loses nothing that was promised", f"{len(kept)} of {half} have the same as before")
    everything = [key for client in clients for key in client.leases]
    table.add_row("no lease is in two hands", f"{len(set(everything))} leases, {len(everything)} held")
    table.add_row("an answer is durable before it is sent", f"median {sorted(took)[len(took) // 2] * 1000:.1f} ms")
    console.print(table)
    if len(known) < CLIENTS or len(kept) < half or len(set(everything)) < len(everything):
        raise DemoFailed("Not all was as promised.")


def _get(link: Link, client: SimClient) -> float:
    """Let a client get its leases; give how long its Request took."""
    link.exchange(client, client.solicit())
    return link.exchange(client, client.request())


def _each(console: Console, title: str, clients: Iterable[SimClient], act: Callable[[SimClient], float]) -> list[float]:
    """Let each client act; show the first ones as it happens. Give how long each took."""
    took: list[float] = []
    console.print(f"{title}:")
    with Progress(console=console, transient=True) as progress:
        for client in progress.track(list(clients), description=title):
            took.append(act(client))
            if len(took) <= SHOWN:
                got = "  ".join(show_key(key) for key in client.leases)
                console.print(f"  client {client.duid[-2:].hex()}  {got}", highlight=False)
    console.print(f"  ... {len(took)} clients in all", highlight=False)
    return took


def _is_known(client: SimClient, held: dict[str, str]) -> bool:
    return len(client.leases) == 2 and all(held.get(show_key(key)) == client.duid.hex(":") for key in client.leases)


def _free_port() -> int:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        probe.bind(("::1", 0))
        port: int = probe.getsockname()[1]
        return port

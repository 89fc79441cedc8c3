"""What the demo is played with: two real servers on loopback, the wire between them, and the clients' link."""

from __future__ import annotations

import contextlib
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

from tandem.admin.client import CommandFailed, ControlClient
from tandem.admin.pki import write_certificates
from tandem.sim.client import SimClient, SimRelay
from tandem.wire.message import Message
from tandem.wire.reader import WireError

LOOPBACK = "::1"
ANSWER_WITHIN_S = 1.0
TRIES = 5
START_WITHIN_S = 120.0
POLL_S = 0.02
KEEPALIVE_S = 2
LINK_ADDRESS = IPv6Address("2001:db8:1::1").packed

CONFIGURATION = """\
[server.a]
listen = ["[::1]:{port_a}"]
address = "::1"
state-dir = "{folder}/a"

[server.b]
listen = ["[::1]:{port_b}"]
address = "::1"
state-dir = "{folder}/b"

[failover.demo]
primary = "a"
secondary = "b"
port = {port}
keepalive = {keepalive}
startup = 2

[options]
dns-servers = ["2001:db8::53"]
domain-search = ["example.net"]

[[subnet]]
prefix = "2001:db8:1::/64"
failover = "demo"
pools = ["2001:db8:1:0:1::/80"]
pd-pools = [{{ prefix = "2001:db9::/32", delegated-length = 56 }}]
"""


class DemoFailed(Exception):
    """Something was not as promised; the message says what."""


class Server:
    """One server's process, started and killed as often as it takes."""

    def __init__(self, name: str, port: int, folder: Path) -> None:
        self.name = name
        self.address = (LOOPBACK, port)
        self.folder = folder
        self.state_dir = folder / name
        self.file = folder / f"{name}.toml"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Start it and give the seconds until it answers. DemoFailed if it does not."""
        started = time.monotonic()
        with (self.folder / f"{self.name}.log").open("ab") as log:
            command = [sys.executable, "-m", "tandem", "serve", str(self.file), "--server", self.name]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        while time.monotonic() - started < START_WITHIN_S and self._process.poll() is None:
            if self.status() is not None:
                return time.monotonic() - started
            select.select([], [], [], POLL_S)
        raise DemoFailed(f"Server {self.name} did not start:\n{(self.folder / f'{self.name}.log').read_text()}")

    def status(self) -> dict[str, Any] | None:
        """Give what `tandem status` says, None if it cannot be asked."""
        try:
            with self.control() as control:
                found: dict[str, Any] = control.ask("status")
                return found
        except (CommandFailed, OSError):
            return None

    def relationship(self) -> dict[str, Any] | None:
        """Give what its status says of the pair, None if it cannot be asked."""
        found = self.status()
        return None if found is None else found["relationships"][0]

    def control(self) -> ControlClient:
        """Give a connection to its control socket."""
        return ControlClient(self.state_dir / "control.sock")

    def leases(self) -> dict[str, tuple[Any, ...]]:
        """Give what must be alike on both servers of each lease that it holds."""
        names = ("duid", "iaid", "status", "start-time-of-state", "state-expiration-time")
        with self.control() as control:
            return {lease["lease"]: tuple(lease[name] for name in names) for lease in control.leases()}

    def tell(self, number: signal.Signals) -> None:
        """Send it a signal."""
        if self._process is not None:
            self._process.send_signal(number)

    def kill(self, how: signal.Signals) -> int:
        """End it with a signal, wait, and give its process id."""
        if self._process is None:
            return 0
        self._process.send_signal(how)
        self._process.wait(START_WITHIN_S)
        return self._process.pid


class Cable:
    """The network between the partners: what the primary dials, and passes on to the secondary unless it is cut."""

    def __init__(self, to_port: int) -> None:
        self._to_port = to_port
        self._listening = socket.create_server((LOOPBACK, 0), family=socket.AF_INET6)
        self.port: int = self._listening.getsockname()[1]
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._is_cut = False
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """From now on nothing passes, and nobody is told."""
        self._is_cut = True

    def heal(self) -> None:
        """Let everything pass that begins from now on."""
        self._is_cut = False

    def close(self) -> None:
        """End it, and all that passes through it."""
        self._is_closed = True
        self._thread.join()
        for each in (self._listening, *self._pairs):
            each.close()

    def _run(self) -> None:
        while not self._is_closed:
            waiting = [] if self._is_cut else [self._listening, *self._pairs]
            readable, _, _ = select.select(waiting, [], [], POLL_S)
            for each in readable:
                if each is self._listening:
                    self._accept()
                elif each in self._pairs:
                    self._pass_on(each)

    def _accept(self) -> None:
        near, _ = self._listening.accept()
        try:
            far = socket.create_connection((LOOPBACK, self._to_port))
        except OSError:
            near.close()
            return
        self._pairs.update({near: far, far: near})

    def _pass_on(self, near: socket.socket) -> None:
        far = self._pairs[near]
        try:
            octets = near.recv(65_536)
            if octets:
                far.sendall(octets)
                return
        except OSError:
            pass
        for each in (near, far):
            self._pairs.pop(each, None)
            each.close()


class Pair:
    """Two servers that hold the same leases, with certificates of their own, and the cable between them."""

    def __init__(self, folder: Path) -> None:
        port_a, port_b, port = free_port(), free_port(), free_port(socket.SOCK_STREAM)
        self.cable = Cable(port)
        self.a, self.b = Server("a", port_a, folder), Server("b", port_b, folder)
        write_certificates(folder / "pki", ["a", "b"])
        for server in (self.a, self.b):
            server.state_dir.mkdir()
            for name in ("ca.crt", f"{server.name}.crt", f"{server.name}.key"):
                shutil.copy(folder / "pki" / name, server.state_dir)  # with its mode: a key is for its owner alone
            # The files differ in the port alone, so that the primary's connection passes through the cable.
            dialed = self.cable.port if server is self.a else port
            text = CONFIGURATION.format(port_a=port_a, port_b=port_b, folder=folder, port=dialed, keepalive=KEEPALIVE_S)
            server.file.write_text(text)

    @property
    def servers(self) -> tuple[Server, Server]:
        """Both, the primary first."""
        return self.a, self.b

    def is_in_step(self) -> bool:
        """Whether both are in NORMAL, and know the same."""
        found = [server.relationship() for server in self.servers]
        return all(each is not None and each["state"] == "NORMAL" and not each["updates"]["unacked"] for each in found)

    def close(self) -> None:
        """End both servers and the cable."""
        for server in self.servers:
            with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
                server.kill(signal.SIGTERM)
        self.cable.close()


class Link:
    """The clients' link: a relay that asks the given servers, and waits for the first answer."""

    def __init__(self, *servers: tuple[str, int]) -> None:
        self._servers = servers
        self._relay = SimRelay(LINK_ADDRESS)
        self._socket = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self._socket.bind((LOOPBACK, 0))

    def exchange(self, client: SimClient, question: Message) -> float:
        """Send a question until it is answered; give the seconds it took. DemoFailed if nobody answers."""
        started = time.monotonic()
        for _ in range(TRIES):
            if self.try_once(client, question, ANSWER_WITHIN_S):
                return time.monotonic() - started
        raise DemoFailed("A client was not answered.")

    def try_once(self, client: SimClient, question: Message, within_s: float) -> bool:
        """Send a question once, and say whether it is answered in time."""
        self.send(client, question)
        deadline = time.monotonic() + within_s
        while (left_s := deadline - time.monotonic()) > 0:
            self._socket.settimeout(left_s)
            try:
                answer = self._relay.unwrap(self._socket.recv(65_535))
            except (TimeoutError, ConnectionRefusedError, WireError):
                continue
            if answer is not None and client.take(answer):
                return True
        return False

    def send(self, client: SimClient, question: Message) -> None:
        """Send a question once, and wait for nothing."""
        for server in self._servers:
            with contextlib.suppress(ConnectionRefusedError):
                self._socket.sendto(self._relay.forward(question, client.duid), server)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def until(condition: Callable[[], bool], within_s: float, what: str) -> float:
    """Wait until something is so; give the seconds it took. DemoFailed if it is not in time."""
    started = time.monotonic()
    while time.monotonic() - started < within_s:
        if condition():
            return time.monotonic() - started
        select.select([], [], [], POLL_S)
    raise DemoFailed(f"Not within {within_s:g} s: {what}.")


def free_port(kind: socket.SocketKind = socket.SOCK_DGRAM) -> int:
    """Give a port of the loopback address that nobody uses."""
    with socket.socket(socket.AF_INET6, kind) as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port

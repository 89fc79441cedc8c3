"""A real `tandem serve` on loopback, and clients that reach it through a relay. No root needed."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

from limits import limit
from tandem.admin.client import CommandFailed, ControlClient
from tandem.admin.demo_pair import Link
from tandem.sim.client import SimClient

LINK_ADDRESS = IPv6Address("2001:db8:1::1").packed
WITHIN_S = limit(15.0)

CONFIGURATION = """\
[server.a]
listen = ["[::1]:{port}"]
state-dir = "{folder}"

[options]
dns-servers = ["2001:db8::53"]

[[subnet]]
prefix = "2001:db8:1::/64"
pools = ["2001:db8:1:0:1::/80"]
pd-pools = [{{ prefix = "2001:db9::/32", delegated-length = 56 }}]
"""


def until(condition: Callable[[], Any], what: str) -> Any:
    """Give the condition's value once it is true; AssertionError if it is not within WITHIN_S."""
    deadline = time.monotonic() + WITHIN_S
    while time.monotonic() < deadline:
        if value := condition():
            return value
        select.select([], [], [], 0.02)
    raise AssertionError(f"not within {WITHIN_S} s: {what}")


class Server:
    """One server process with its own folder. Use it as a context manager."""

    def __init__(self, folder: Path, configuration: str = CONFIGURATION) -> None:
        self.folder = folder
        self.file = folder / "tandem.toml"
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
            self.address: tuple[str, int] = ("::1", probe.getsockname()[1])
        self.file.write_text(configuration.format(port=self.address[1], folder=folder))
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop(signal.SIGKILL)

    def start(self, **environment: str) -> None:
        """Start it, and return once its control socket answers."""
        with (self.folder / "log").open("ab") as log:
            command = [sys.executable, "-m", "tandem", "serve", str(self.file)]
            given = {**os.environ, **environment}
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=given)
        try:
            until(self.answers, "the server answers")
        except BaseException:
            self.stop(signal.SIGKILL)
            raise

    def answers(self) -> bool:
        """Say whether it runs and answers."""
        assert self.process is not None
        assert self.process.poll() is None, self.log
        try:
            return bool(self.ask("status"))
        except CommandFailed:
            return False

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """End it and give its exit code."""
        if self.process is None:
            return 0
        self.process.send_signal(how)
        return self.process.wait(WITHIN_S)

    def ask(self, command: str, **arguments: Any) -> Any:
        """Ask through the control socket."""
        with ControlClient(self.folder / "control.sock") as control:
            return control.ask(command, **arguments)

    def leases(self) -> dict[str, dict[str, Any]]:
        """Give all leases by their text."""
        with ControlClient(self.folder / "control.sock") as control:
            return {lease["lease"]: lease for lease in control.leases()}

    @property
    def log(self) -> str:
        """All it has logged."""
        return (self.folder / "log").read_text()

    def events(self) -> list[dict[str, Any]]:
        """Give what it logged as JSON."""
        return [json.loads(line) for line in self.log.splitlines()]

    def cli(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a `tandem` command against it."""
        command = [sys.executable, "-m", "tandem", *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=WITHIN_S, check=False)


def get_leases(server: Server, *numbers: int) -> list[SimClient]:
    """Let clients get an address and a prefix each."""
    link = Link(server.address)
    clients = [SimClient(number) for number in numbers]
    for client in clients:
        link.exchange(client, client.solicit())
        link.exchange(client, client.request())
    link.close()
    return clients

"""Throw-away networks for real programs: hosts, the links between them, the processes on them.

Every host is a network namespace and every link a bridge in one more namespace, so nothing here touches the
network of the machine that runs the tests, and whatever a `Lab` made is gone once it is closed.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import itertools
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from typing import Any, TypeVar

from limits import limit

T = TypeVar("T")

GLOBAL = "2000::/3"
NAMESPACES = Path("/run/netns")
CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
_serial = itertools.count(1)


def until(condition: Callable[[], T], within_s: float, what: str) -> T:
    """Return the first true value of `condition`. Raise AssertionError that names `what` if there is none in time.

    `within_s` is enough for an idle machine.
    """
    within_s = limit(within_s)
    deadline = time.monotonic() + within_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what}"
        time.sleep(0.05)
    return value


def _run(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(argv)}: {done.stderr.strip()}"
    return done.stdout


def _enter(namespace: int) -> None:
    if _libc.setns(namespace, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def _kill_all(namespace: str) -> None:
    for pid in _run("ip", "netns", "pids", namespace).split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)


@functools.cache
def _remove_leftovers() -> None:
    """Remove the labs of test processes that were killed before they could do so."""
    for namespace in sorted(path.name for path in NAMESPACES.glob("tandem-*")):
        owner = re.match(r"tandem-(\d+)-", namespace)
        if owner and not Path("/proc", owner[1]).exists():
            with contextlib.suppress(AssertionError):  # another test process was faster
                _kill_all(namespace)
                _run("ip", "netns", "delete", namespace)


class Process:
    """A program started on a host. What it prints is added to `log`."""

    def __init__(self, argv: Sequence[str], log: Path) -> None:
        self.log = log
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )

    @property
    def pid(self) -> int:
        """The program's process id."""
        return self._popen.pid

    def alive(self) -> bool:
        """Whether the program still runs."""
        return self._popen.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens if the program has ended already."""
        if self.alive():
            self._popen.send_signal(number)

    def ended(self, within_s: float) -> None:
        """Return once the program has ended; an AssertionError if it does not in time."""
        until(lambda: not self.alive(), within_s, f"the end of {self._popen.args!r}, see {self.log}")

    def listens(self, port: int) -> bool:
        """Whether an IPv6 UDP socket on this program's host is bound to `port`; the program must still run."""
        assert self.alive(), f"{self._popen.args!r} ended:\n{self.log.read_text(errors='replace')}"
        rows = Path(f"/proc/{self._popen.pid}/net/udp6").read_text().splitlines()[1:]
        return any(int(row.split()[1].rpartition(":")[2], 16) == port for row in rows)

    def processor_ticks(self) -> int:
        """Return the processor time that all its threads have used, in ticks of the system's clock."""
        fields = Path(f"/proc/{self._popen.pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])


class Host:
    """One machine of a lab: a network namespace, and the processes in it."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self._started: list[Process] = []
        _run("ip", "netns", "add", namespace)

    def boot(self) -> None:
        """Bring up loopback, and make new addresses usable at once, without duplicate address detection."""
        with self.inside():
            for scope in ("all", "default"):
                for name in ("accept_dad", "dad_transmits", "accept_ra"):
                    Path(f"/proc/sys/net/ipv6/conf/{scope}/{name}").write_text("0")
        self.ip("link", "set", "lo", "up")

    def remove(self) -> None:
        """End everything on this host, and the host."""
        try:
            self.kill_all()
        finally:
            _run("ip", "netns", "delete", self.namespace)

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """The calling thread is on this host; a socket made here belongs to it for ever."""
        with open("/proc/thread-self/ns/net", "rb") as home, open(NAMESPACES / self.namespace, "rb") as there:
            _enter(there.fileno())
            try:
                yield
            finally:
                _enter(home.fileno())

    def ip(self, *words: str) -> str:
        """What `ip` prints on this host."""
        return _run("ip", "-n", self.namespace, *words)

    def _rows(self, *words: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = json.loads(self.ip("-json", "-6", *words) or "[]")
        return rows

    def addresses(self, interface: str) -> set[IPv6Address]:
        """The global addresses of an interface."""
        rows = self._rows("address", "show", "dev", interface, "scope", "global")
        # `ip -json` leaves an empty object in the place of everything that was not asked for.
        return {IPv6Address(each["local"]) for row in rows for each in row.get("addr_info", []) if each}

    def routes(self, *selection: str) -> set[IPv6Network]:
        """Where those of the global routes lead that `ip -6 route show` selects."""
        return {IPv6Network(row["dst"]) for row in self._rows("route", "show", "root", GLOBAL, *selection)}

    def forget(self, *interfaces: str) -> None:
        """Lose these interfaces' global addresses and all global routes, as in a power cut."""
        for interface in interfaces:
            self.ip("-6", "address", "flush", "dev", interface, "scope", "global")
        self.ip("-6", "route", "flush", "root", GLOBAL)

    def start(self, argv: Sequence[str], log: Path, instead: Mapping[str, Path] | None = None) -> Process:
        """Start a program here; in the place of each directory named in `instead` it sees the one given there."""
        # `ip netns exec` gives it a mount namespace of its own, and everything here execs, so the pid stays the same.
        mounts = [f"mount --bind '{theirs}' '{place}' && " for place, theirs in (instead or {}).items()]
        program = ["sh", "-c", "".join(mounts) + 'exec "$@"', "sh", *argv]
        process = Process(["ip", "netns", "exec", self.namespace, *program], log)
        self._started.append(process)
        return process

    def kill_all(self) -> None:
        """End every process on this host at once, without asking it."""
        _kill_all(self.namespace)
        for process in self._started:
            process.signal(signal.SIGKILL)  # for one that has not entered the namespace yet
            process.ended(within_s=10)
        self._started.clear()


class Lab:
    """Hosts and links. Leaving it ends every process on them and removes them all."""

    def __init__(self) -> None:
        # The pid keeps test processes apart that run side by side, the number the labs of one process.
        self._prefix = f"tandem-{os.getpid()}-{next(_serial)}"
        self._cleanup = contextlib.ExitStack()

    def __enter__(self) -> Lab:
        _remove_leftovers()
        with self._cleanup:
            self._switch = self.host("switch")
            self._cleanup = self._cleanup.pop_all()  # it went well, so nothing is to be removed yet
        return self

    def __exit__(self, *_: object) -> None:
        self._cleanup.close()

    def host(self, name: str) -> Host:
        """Make a host."""
        host = Host(f"{self._prefix}-{name}")
        self._cleanup.callback(host.remove)
        host.boot()
        return host

    def link(self, name: str) -> None:
        """Make a link that hosts can be plugged into."""
        self._switch.ip("link", "add", name, "type", "bridge", "stp_state", "0", "mcast_snooping", "0")
        self._switch.ip("link", "set", name, "up")

    def plug(self, host: Host, interface: str, link: str, *addresses: str) -> None:
        """Give a host an interface on a link, up and with these addresses."""
        port = f"port{next(_serial)}"
        host.ip("link", "add", interface, "type", "veth", "peer", "name", port, "netns", self._switch.namespace)
        self._switch.ip("link", "set", port, "master", link, "up")
        host.ip("link", "set", interface, "up")
        for address in addresses:
            host.ip("address", "add", address, "dev", interface, "nodad")

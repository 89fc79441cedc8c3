"""A failover pair on a network that can be cut anywhere: two real servers, their partners' link, their clients' links.

The clients' link is two halves with a trunk between them, so that it can be split: server a and the host `near` are on
one, server b and the host `far` on the other.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from limits import limit
from system.net import Host, Lab, Process, until
from system.servers import (
    ADDRESS_POOL,
    DELEGATED_LENGTH,
    INTERFACE,
    PORT,
    PREFIX_POOL,
    READY_WITHIN_S,
    SUBNET,
    Tandem,
    duid,
)
from tandem.admin.client import CommandFailed, ControlClient
from tandem.admin.pki import write_certificates

SYNC = "sync0"
PARTNER_ADDRESS = {"a": "fd00:99::1", "b": "fd00:99::2"}
PARTNER_PORT = 647
CLIENTS_INTERFACE = "wan0"
KEEPALIVE_S = 2
MCLT_S = 300
PAIR_LIFETIME_S = 600
"""Longer than any test takes on a busy machine, so that no lease ends that a test does not end."""
PAIR_WITHIN_S = 40.0  # longer than any way back to NORMAL that has no wait of the MCLT in it
LOG_SHOWN = 6000  # characters of the end of each log
COMPARED = ("duid", "iaid", "status", "start-time-of-state", "state-expiration-time")

Table = Mapping[str, tuple[Any, ...]]


class SplitLab(Lab):
    """A lab whose ports can be pulled so that nobody notices, and whose links can be joined by trunks."""

    def __enter__(self) -> SplitLab:
        super().__enter__()
        return self

    def trunk(self, one: str, other: str) -> None:
        """Make one link of two. There is one trunk in a lab."""
        self._switch.ip("link", "add", "trunk0", "type", "veth", "peer", "name", "trunk1")
        for end, link in (("trunk0", one), ("trunk1", other)):
            self._switch.ip("link", "set", end, "master", link, "up")

    def split(self) -> None:
        """Cut the trunk."""
        self._switch.ip("link", "set", "trunk0", "down")

    def join(self) -> None:
        """Mend the trunk."""
        self._switch.ip("link", "set", "trunk0", "up")

    def pull(self, host: Host, interface: str) -> None:
        """Let nothing more pass to or from an interface. Its host sees no difference."""
        self._switch.ip("link", "set", self._port(host, interface), "nomaster")

    def push(self, host: Host, interface: str, link: str) -> None:
        """Undo `pull`."""
        self._switch.ip("link", "set", self._port(host, interface), "master", link)

    def _port(self, host: Host, interface: str) -> str:
        (mine,) = json.loads(host.ip("-json", "link", "show", "dev", interface))
        ports = json.loads(self._switch.ip("-json", "link", "show"))
        found: str = next(port["ifname"] for port in ports if port["ifindex"] == mine["link_index"])
        return found


class Member:
    """One server of the pair, with files that outlive its restarts."""

    def __init__(self, name: str, host: Host, scratch: Path, text: str) -> None:
        self.name = name
        self.host = host
        self.state_dir = scratch / name
        self.state_dir.mkdir()
        self.file = scratch / f"{name}.toml"
        self.file.write_text(text)
        self.log = scratch / f"{name}.log"
        self.duid = bytes.fromhex(_DUIDS[name].replace(":", ""))
        self._process: Process | None = None

    @property
    def process(self) -> Process:
        """The running server."""
        assert self._process is not None
        return self._process

    def launch(self, **environment: str) -> None:
        """Start the server, and wait for nothing."""
        command = [Tandem.program, "serve", str(self.file), "--server", self.name]
        variables = ["env", *(f"{name}={value}" for name, value in environment.items())] if environment else []
        self._process = self.host.start([*variables, *command], self.log)

    def start(self, **environment: str) -> None:
        """Start the server, and return once it listens and answers."""
        self.launch(**environment)
        self.wait_ready()

    def wait_ready(self) -> None:
        """Return once the server listens and answers."""
        until(lambda: self.process.listens(PORT), READY_WITHIN_S, f"listening, see {self.log}")
        until(self._answers, READY_WITHIN_S, f"answering, see {self.log}")

    def _answers(self) -> bool:
        assert self.process.alive(), self.log.read_text()[-LOG_SHOWN:]
        try:
            return bool(self.ask("status"))
        except CommandFailed:
            return False

    def kill(self) -> None:
        """End the server in the middle of whatever it does."""
        self.process.signal(signal.SIGKILL)
        self.process.ended(within_s=10)

    def stop(self) -> None:
        """End the server in good order."""
        self.process.signal(signal.SIGTERM)
        self.process.ended(within_s=15)

    def reload(self, text: str) -> None:
        """Have the server read another file."""
        self.file.write_text(text)
        self.process.signal(signal.SIGHUP)

    def lose_disk(self) -> None:
        """Remove all that the server has kept, but what it proves with who it is."""
        for path in self.state_dir.iterdir():
            if path.suffix not in (".crt", ".key"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def ask(self, command: str, **arguments: Any) -> Any:
        """What the server answers through its control socket."""
        with ControlClient(self.state_dir / "control.sock") as control:
            return control.ask(command, **arguments)

    def relationship(self) -> dict[str, Any]:
        """What the server says of its only relationship."""
        (found,) = self.ask("status")["relationships"]
        assert isinstance(found, dict)
        return found

    def state(self) -> str:
        """The failover state that the server is in."""
        return str(self.relationship()["state"])

    def refusal(self) -> str:
        """Why the server's last attempt to be with its partner came to nothing, as its status says."""
        return self.relationship()["last-refusal"] or ""

    def events(self, name: str) -> list[dict[str, Any]]:
        """The events of that name in its log, over all its lives."""
        lines = self.log.read_text(errors="replace").splitlines()
        events = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
        return [event for event in events if event.get("event") == name]

    def leases(self) -> Table:
        """All leases on record, each with what both partners must have alike."""
        with ControlClient(self.state_dir / "control.sock") as control:
            return {lease["lease"]: _compared(lease) for lease in control.leases()}

    def exported(self) -> Table:
        """The same, as `tandem lease export` prints it."""
        printed = self.tandem("lease", "export", "--format", "json")
        return {lease["lease"]: _compared(lease) for lease in map(json.loads, printed.splitlines())}

    def tandem(self, *words: str) -> str:
        """What a command of `tandem` prints about this server."""
        command = [Tandem.program, *words, "--state-dir", str(self.state_dir)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit(30), check=False)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
        return done.stdout


class Pair:
    """Servers a, the primary, and b, and all that is around them."""

    def __init__(self, lab: SplitLab, scratch: Path, settings: Settings) -> None:
        self.lab = lab
        self.near, self.far = lab.host("near"), lab.host("far")
        for link in ("lan", "lan2", "sync"):
            lab.link(link)
        lab.trunk("lan", "lan2")
        lab.plug(self.near, CLIENTS_INTERFACE, "lan")
        lab.plug(self.far, CLIENTS_INTERFACE, "lan2")
        self.a = self._member("a", "lan", scratch, settings)
        self.b = self._member("b", "lan2", scratch, settings)
        self.authority = scratch / "pki"
        if not settings.insecure:
            write_certificates(self.authority, ["a", "b"])
            for member in self.members:
                shutil.copy(self.authority / "ca.crt", member.state_dir)
                self.certify(member)

    @property
    def members(self) -> tuple[Member, Member]:
        """Both servers."""
        return self.a, self.b

    def _member(self, name: str, link: str, scratch: Path, settings: Settings) -> Member:
        host = self.lab.host(name)
        self.lab.plug(host, INTERFACE, link)
        self.lab.plug(host, SYNC, "sync", f"{PARTNER_ADDRESS[name]}/64")
        return Member(name, host, scratch, settings.text(scratch))

    def certify(self, member: Member, folder: Path | None = None, shown: str | None = None) -> None:
        """Give a server a certificate with its key: those in a folder, by default the pair's; by default its own."""
        for suffix in ("crt", "key"):
            draft = member.state_dir / "draft"
            shutil.copy((folder or self.authority) / f"{shown or member.name}.{suffix}", draft)
            draft.replace(member.state_dir / f"{member.name}.{suffix}")

    def start(self) -> None:
        """Start both, and return once they are in step."""
        for member in self.members:
            member.launch()
        for member in self.members:
            member.wait_ready()
        self.wait_normal()

    def states(self) -> tuple[str, str]:
        """The states of both."""
        return self.a.state(), self.b.state()

    def wait(self, condition: Callable[[], object], what: str, within_s: float = PAIR_WITHIN_S) -> None:
        """Return once the condition holds; an AssertionError that shows what both say of each other if it does not."""
        try:
            until(condition, within_s, what)
        except AssertionError as error:
            said = "\n".join(json.dumps(member.relationship()) for member in self.members if member.process.alive())
            raise AssertionError(f"{error}\n{said}\nonly on one of them:\n{self._differences()}") from error

    def wait_states(self, a: str, b: str, within_s: float = PAIR_WITHIN_S) -> None:
        """Return once the servers are in these states."""
        self.wait(lambda: self.states() == (a, b), f"states {a} and {b}", within_s)

    def wait_normal(self, within_s: float = PAIR_WITHIN_S) -> None:
        """Return once both are in NORMAL."""
        self.wait_states("NORMAL", "NORMAL", within_s)

    def wait_alone(self, member: Member) -> None:
        """Return once a server serves without its partner."""
        self.wait(lambda: member.state() == "COMMUNICATIONS-INTERRUPTED", f"{member.name} on its own")

    def settle(self, within_s: float = PAIR_WITHIN_S) -> Table:
        """Return once both are in NORMAL and hold the same leases, and give these."""
        self.wait(self._is_settled, "both in NORMAL with the same leases", within_s)
        return self.a.leases()

    def _is_settled(self) -> bool:
        for member in self.members:
            found = member.relationship()
            if found["state"] != "NORMAL" or found["updates"]["unacked"] or found["updates"]["in-flight"]:
                return False
        return self.a.leases() == self.b.leases()

    def _differences(self) -> str:
        if not all(member.process.alive() for member in self.members):
            return "one of them is down"
        a, b = (set(member.leases().items()) for member in self.members)
        lines = [f"  {name} {each}" for name, those in (("a", a - b), ("b", b - a)) for each in those]
        return "\n".join(sorted(lines, key=lambda line: line[4:])[:40])


class Settings:
    """What a test may want otherwise in the servers' file."""

    def __init__(
        self,
        insecure: bool = False,
        mclt_s: int = MCLT_S,
        renew_timer_s: int = 20,
        rebind_timer_s: int = 30,
        pool_bits: int = 8,
        lifetime_s: int = PAIR_LIFETIME_S,
    ) -> None:
        self.insecure = insecure
        self._mclt_s = mclt_s
        self._lifetime_s = lifetime_s
        self._timers = renew_timer_s, rebind_timer_s
        # Small, so that servers that gave from each other's share would soon give the same.
        self._addresses = f"{ADDRESS_POOL.network_address}/{128 - pool_bits}"
        self._prefixes = f"{PREFIX_POOL.network_address}/{DELEGATED_LENGTH - pool_bits}"

    def text(self, scratch: Path) -> str:
        """The file."""
        servers = "".join(
            f"""
[server.{name}]
interfaces = ["{INTERFACE}"]
address = "{PARTNER_ADDRESS[name]}"
state-dir = "{scratch / name}"
duid = "{_DUIDS[name]}"
"""
            for name in PARTNER_ADDRESS
        )
        return f"""\
{servers}
[lifetimes]
preferred-lifetime = {self._lifetime_s}
valid-lifetime = {self._lifetime_s}
renew-timer = {self._timers[0]}
rebind-timer = {self._timers[1]}

[options]
dns-servers = ["2001:db8::53"]

[failover.campus]
primary = "a"
secondary = "b"
mclt = "{self._mclt_s}s"
keepalive = "{KEEPALIVE_S}s"
startup = "2s"
{'security = "insecure"' if self.insecure else ""}

[[subnet]]
prefix = "{SUBNET}"
interface = "{INTERFACE}"
failover = "campus"
pools = ["{self._addresses}"]
pd-pools = [{{ prefix = "{self._prefixes}", delegated-length = {DELEGATED_LENGTH} }}]
"""


_DUIDS = {"a": duid(1), "b": duid(2)}


@contextmanager
def pair_of(scratch: Path, settings: Settings | None = None) -> Iterator[Pair]:
    """Build a pair that is not yet started, and leave nothing of it but its logs. They are shown if the test fails."""
    with SplitLab() as lab:
        pair = Pair(lab, scratch, settings or Settings())
        try:
            yield pair
        except BaseException:
            for log in sorted(scratch.glob("*.log")):
                lines = log.read_text(errors="replace").splitlines()
                print(f"--- {log.name}", *(line for line in lines if '"answered"' not in line), sep="\n")
            raise


def _compared(lease: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(lease[name] for name in COMPARED)

"""The servers that are measured: Tandem as installed and compiled, and Kea; each alone and as a pair."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from bench.field import LAN, Field
from system.net import Process, until
from tandem.admin.client import CommandFailed, ControlClient

READY_WITHIN_S = 120.0
VALID_S = 4000
SUBNET, POOL, PREFIXES, DELEGATED_LENGTH = "2001:db8:1::/64", "2001:db8:1:0:1::/80", "2001:db9::/32", 56
DNS_SERVERS = ("2001:db8:2::45", "2001:db8:2::100")
KEA_HOOKS = Path("/usr/lib/x86_64-linux-gnu/kea/hooks")
KEA_HA_PORT = 8000
STRAIGHT = "fd00:99::2"
"""The secondary's own address."""


class Contestant(NamedTuple):
    """A server program in one of its settings. `program` is the path of a `tandem`; without one it is Kea."""

    name: str
    program: str = ""
    log: str = "INFO"
    threads: int = 0
    """Kea only: 0 is single-threaded, as it is shipped."""


class Running:
    """A server, or two, that answer. `processes` begin with the primary."""

    def __init__(self, processes: list[Process], folders: tuple[Path, Path]) -> None:
        self.processes = processes
        self.folders = folders

    @property
    def primary(self) -> Process:
        """The one that answers."""
        return self.processes[0]

    def check(self) -> None:
        """See that none has ended. AssertionError names the log of one that has."""
        for process in self.processes:
            assert process.alive(), f"a server ended, see {process.log}"


@contextlib.contextmanager
def running(
    field: Field,
    contestant: Contestant,
    pair: bool,
    folders: tuple[Path, Path],
    partner: str = STRAIGHT,
    valid_s: int = VALID_S,
) -> Iterator[Running]:
    """Start a contestant on leases that may lie in its folders already, and end it."""
    server = Running([], folders)
    try:
        if contestant.program:
            _start_tandem(field, contestant, pair, server, partner, valid_s)
        else:
            _start_kea(field, contestant, pair, server)
        yield server
    finally:
        for host in field.servers:
            host.kill_all()


def _ready(field: Field, server: Running) -> None:
    def answers() -> bool:
        server.check()
        return field.advertisement(0.3) is not None

    until(answers, READY_WITHIN_S, "an answer")


# -- Tandem


def tandem_file(pair: bool, folders: tuple[Path, Path], partner: str, valid_s: int) -> str:
    """Give the file that a user would write for one server, or for a pair."""
    servers = [("a", "fd00:99::1", folders[0]), ("b", partner, folders[1])][: 1 + pair]
    lines = [
        f'[server.{name}]\ninterfaces = ["{LAN}"]\naddress = "{address}"\nstate-dir = "{folder}/state"\n'
        for name, address, folder in servers
    ]
    lines.append(
        f"[lifetimes]\npreferred-lifetime = {valid_s * 3 // 4}\nvalid-lifetime = {valid_s}\n"
        f"renew-timer = {valid_s // 4}\nrebind-timer = {valid_s // 2}\n\n"
        f"[options]\ndns-servers = {json.dumps(DNS_SERVERS)}\n"
    )
    if pair:
        lines.append('[failover.bench]\nprimary = "a"\nsecondary = "b"\nsecurity = "insecure"\nmclt = "1h"\n')
    lines.append(
        f'[[subnet]]\nprefix = "{SUBNET}"\ninterface = "{LAN}"\npools = ["{POOL}"]\n'
        f'pd-pools = [{{ prefix = "{PREFIXES}", delegated-length = {DELEGATED_LENGTH} }}]\n'
        + ('failover = "bench"\n' if pair else "")
    )
    return "\n".join(lines)


def _start_tandem(
    field: Field, contestant: Contestant, pair: bool, server: Running, partner: str, valid_s: int
) -> None:
    for number, folder in enumerate(server.folders[: 1 + pair]):
        file = folder / "tandem.toml"
        # Who dials may have to go another way than straight to its partner.
        file.write_text(tandem_file(pair, server.folders, partner if number == 0 else STRAIGHT, valid_s))
        argv = [contestant.program, "serve", str(file), "--server", "ab"[number]]
        server.processes.append(field.start(field.servers[number], argv, folder / "server.log"))
    if pair:
        until(lambda: _is_normal(server), READY_WITHIN_S, "both in NORMAL")
    _ready(field, server)


def status(folder: Path) -> dict[str, Any] | None:
    """Ask a Tandem how it is; None if it does not answer."""
    try:
        with ControlClient(folder / "state" / "control.sock") as control:
            answer: dict[str, Any] = control.ask("status")
            return answer
    except (OSError, CommandFailed):
        return None


def _is_normal(server: Running) -> bool:
    server.check()
    found = [status(folder) for folder in server.folders]
    return all(each is not None and each["relationships"][0]["state"] == "NORMAL" for each in found)


# -- Kea


def _kea_file(contestant: Contestant, pair: bool, number: int, folder: Path) -> Mapping[str, Any]:
    settings: dict[str, Any] = {
        "interfaces-config": {"interfaces": [LAN]},
        "data-directory": str(folder),
        "control-socket": {"socket-type": "unix", "socket-name": f"{folder}/control"},
        "lease-database": {"type": "memfile", "lfc-interval": 3600, "name": f"{folder}/leases6.csv"},
        "preferred-lifetime": VALID_S * 3 // 4,
        "valid-lifetime": VALID_S,
        "renew-timer": VALID_S // 4,
        "rebind-timer": VALID_S // 2,
        "option-data": [{"name": "dns-servers", "data": ", ".join(DNS_SERVERS)}],
        "subnet6": [_kea_subnet()],
        "loggers": [
            {
                "name": "kea-dhcp6",
                "severity": contestant.log,
                "output_options": [{"output": "stdout", "pattern": "%d %-5p %m\n"}],
            }
        ],
    }
    if contestant.threads:
        settings["multi-threading"] = {"enable-multi-threading": True, "thread-pool-size": contestant.threads}
    if pair:
        settings["hooks-libraries"] = [
            {"library": str(KEA_HOOKS / "libdhcp_lease_cmds.so")},
            {
                "library": str(KEA_HOOKS / "libdhcp_ha.so"),
                "parameters": {"high-availability": [_kea_ha(contestant, number)]},
            },
        ]
    return {"Dhcp6": settings}


def _kea_subnet() -> dict[str, Any]:
    address, _, length = PREFIXES.partition("/")
    prefixes = {"prefix": address, "prefix-len": int(length), "delegated-len": DELEGATED_LENGTH}
    return {"id": 1, "subnet": SUBNET, "interface": LAN, "pools": [{"pool": POOL}], "pd-pools": [prefixes]}


def _kea_ha(contestant: Contestant, number: int) -> dict[str, Any]:
    peers = [
        {"name": f"server{each}", "url": f"http://10.99.0.{each}:{KEA_HA_PORT}/", "role": role}
        for each, role in ((1, "primary"), (2, "standby"))
    ]
    # The shortest heartbeat only makes the pair form sooner; it is rare beside the load.
    ha: dict[str, Any] = {"this-server-name": f"server{number}", "mode": "hot-standby", "peers": peers}
    ha["heartbeat-delay"] = 1000
    if contestant.threads:
        own = {"http-listener-threads": contestant.threads, "http-client-threads": contestant.threads}
        ha["multi-threading"] = {"enable-multi-threading": True, "http-dedicated-listener": True, **own}
    return ha


def _start_kea(field: Field, contestant: Contestant, pair: bool, server: Running) -> None:
    agents = []
    for number, folder in enumerate(server.folders[: 1 + pair], 1):
        host, places = field.servers[number - 1], {"KEA_PIDFILE_DIR": folder, "KEA_LOCKFILE_DIR": folder}
        file = folder / "kea.json"
        file.write_text(json.dumps(_kea_file(contestant, pair, number, folder)))
        server.processes.append(field.start(host, ["kea-dhcp6", "-c", str(file)], folder / "server.log", **places))
        if pair and not contestant.threads:
            agent = folder / "agent.json"
            agent.write_text(json.dumps(_kea_agent(number, folder)))
            agents.append(field.start(host, ["kea-ctrl-agent", "-c", str(agent)], folder / "agent.log", **places))
    server.processes += agents
    if pair:
        until(lambda: all(_kea_state(folder) == "hot-standby" for folder in server.folders), READY_WITHIN_S, "the pair")
    _ready(field, server)


def _kea_agent(number: int, folder: Path) -> Mapping[str, Any]:
    to_server = {"dhcp6": {"socket-type": "unix", "socket-name": f"{folder}/control"}}
    return {"Control-agent": {"http-host": f"10.99.0.{number}", "http-port": KEA_HA_PORT, "control-sockets": to_server}}


def _kea_state(folder: Path) -> str:
    try:
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as asking:
            asking.settimeout(2)
            asking.connect(f"{folder}/control")
            asking.sendall(b'{"command": "status-get"}')
            answer = b""
            while octets := asking.recv(65_536):
                answer += octets
        state: str = json.loads(answer)["arguments"]["high-availability"][0]["ha-servers"]["local"]["state"]
    except (OSError, ValueError, KeyError, IndexError):
        time.sleep(0.1)
        return ""
    return state

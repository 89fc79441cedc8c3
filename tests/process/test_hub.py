"""One process in two relationships: primary in one, secondary in the other (RFC 7031 section 7, 3)."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from limits import limit
from tandem.admin.demo_pair import Link, Server, until
from tandem.admin.pki import write_certificates
from tandem.sim.client import SimClient

WITHIN_S = limit(30.0)
CONFIGURATION = """\
[server.a]
listen = ["[::1]:{a}"]
address = "::1"
state-dir = "{folder}/a"
[server.b]
listen = ["[::1]:{b}"]
address = "::1"
state-dir = "{folder}/b"
[server.hub]
listen = ["[::1]:{hub}"]
address = "::1"
state-dir = "{folder}/hub"
[failover.north]
primary = "a"
secondary = "hub"
port = {north}
startup = 2
[failover.south]
primary = "hub"
secondary = "b"
port = {south}
startup = 2
[[subnet]]
prefix = "2001:db8:1::/64"
failover = "north"
pools = ["2001:db8:1:0:1::/80"]
[[subnet]]
prefix = "2001:db8:2::/64"
failover = "south"
pools = ["2001:db8:2:0:1::/80"]
"""


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[dict[str, Server]]:
    """Three servers that run, each with a certificate of its own."""
    names = ("a", "b", "hub")
    ports = dict(zip((*names, "north", "south"), _free_ports(5), strict=True))
    write_certificates(tmp_path / "pki", list(names))
    found = {name: Server(name, ports[name], tmp_path) for name in names}
    try:
        for name, server in found.items():
            server.state_dir.mkdir()
            for file in ("ca.crt", f"{name}.crt", f"{name}.key"):
                (server.state_dir / file).write_bytes((tmp_path / "pki" / file).read_bytes())
            server.file.write_text(CONFIGURATION.format(folder=tmp_path, **ports))
            server.start()
        yield found
    finally:
        for server in found.values():
            server.kill(signal.SIGKILL)


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket(socket.AF_INET6, socket.SOCK_STREAM) for _ in range(count)]
    for probe in probes:
        probe.bind(("::1", 0))
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def states(server: Server) -> dict[str, tuple[Any, Any]]:
    """Give role and state of each relationship."""
    found = server.status()
    return {each["name"]: (each["role"], each["state"]) for each in found["relationships"]} if found else {}


def test_each_relationship_has_a_state_of_its_own(servers: dict[str, Server]) -> None:
    hub = servers["hub"]
    both = {"north": ("secondary", "NORMAL"), "south": ("primary", "NORMAL")}
    until(lambda: states(hub) == both, WITHIN_S, "the hub is in step with both partners")
    servers["a"].kill(signal.SIGKILL)
    alone = {"north": ("secondary", "COMMUNICATIONS-INTERRUPTED"), "south": ("primary", "NORMAL")}
    until(lambda: states(hub) == alone, WITHIN_S, "the hub has lost one of them")
    link = Link(hub.address)
    client = SimClient(1, with_prefix=False)
    link.exchange(client, client.solicit())
    link.exchange(client, client.request())
    link.close()
    assert not client.leases[0] >> 8 & 1  # the secondary's share
    servers["a"].start()
    until(lambda: states(hub) == both, WITHIN_S, "the hub is in step with both again")
    until(lambda: servers["a"].leases() == hub.leases() != {}, WITHIN_S, "a has what the hub gave out")
    assert servers["b"].leases() == {}

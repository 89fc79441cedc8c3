"""Interfaces that appear, go away and change with the file, served by a process with only the right to bind ports."""

from __future__ import annotations

import signal
import socket
import tempfile
from collections.abc import Iterator
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path

import pytest

from system.needs import need_namespaces, need_program
from system.net import Host, Lab, Process, until
from system.servers import Tandem
from tandem.sim.client import SimClient
from tandem.wire.message import Message, read_message

WITHIN_S = 15.0
ASK_AGAIN_S = 1.0
SERVERS_AND_RELAYS = "ff02::1:2"
NOBODY = 65534
# The second capability is for the test's sake: the tree that it runs from may be readable by its owner only.
CAPABILITIES = "-all,+net_bind_service,+dac_read_search"
CAPABILITIES_MASK = 1 << 10 | 1 << 2

CONFIGURATION = """\
[server.a]
interfaces = [{interfaces}]
state-dir = "{state}"
"""
SUBNET = """
[[subnet]]
prefix = "{subnet}::/64"
interface = "{interface}"
pools = ["{subnet}:0:1::/80"]
"""
SUBNETS = {"one": "2001:db8:1", "two": "2001:db8:2"}


class Site:
    """A server with links `one` and `two`, and a host of clients that is on both from the beginning."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self._lab = lab
        self.folder = folder
        self.log = folder / "log"
        self.server: Host = lab.host("server")
        self._clients = lab.host("clients")
        for link in ("one", "two"):
            lab.link(link)
            lab.plug(self._clients, link, link)

    def plug_server(self, link: str) -> None:
        """Give the server an interface on the link."""
        self._lab.plug(self.server, link, link)

    def configure(self, *interfaces: str) -> Path:
        """Write the server's file."""
        file = self.folder / "tandem.toml"
        quoted = ", ".join(f'"{each}"' for each in interfaces)
        subnets = [SUBNET.format(subnet=SUBNETS[each], interface=each) for each in interfaces]
        file.write_text(CONFIGURATION.format(interfaces=quoted, state=self.folder / "state") + "".join(subnets))
        return file

    def start(self, *interfaces: str) -> Process:
        """Start the server as nobody in particular, and return once it says that it serves."""
        rights = (f"--inh-caps={CAPABILITIES}", f"--ambient-caps={CAPABILITIES}", f"--bounding-set={CAPABILITIES}")
        user = (f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
        command = [Tandem.program, "serve", str(self.configure(*interfaces))]
        process = self.server.start(["setpriv", *user, *rights, *command], self.log)
        until(lambda: self._serves(process), WITHIN_S, "serving")
        return process

    def _serves(self, process: Process) -> bool:
        said = self.log.read_text()
        assert process.alive(), said
        return '"serving"' in said

    def advertised(self, link: str) -> int | None:
        """Solicit on the link once, and give the advertised address if an answer comes soon."""
        client = SimClient(1, with_prefix=False)
        with self._clients.inside(), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as asking:
            asking.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, link.encode())
            asking.bind(("::", 546))
            asking.settimeout(ASK_AGAIN_S)
            try:
                asking.sendto(client.solicit().write(), (SERVERS_AND_RELAYS, 547, 0, socket.if_nametoindex(link)))
                message = read_message(asking.recv(65_535))
            except (TimeoutError, OSError):
                return None
        assert isinstance(message, Message)
        assert client.take(message)
        return client.offered_keys[0] >> 8

    def is_served(self, link: str) -> bool:
        """Say whether a client on the link is offered an address of that link's subnet."""
        address = self.advertised(link)
        assert address is None or IPv6Address(address) in IPv6Network(f"{SUBNETS[link]}::/64")
        return address is not None


@pytest.fixture
def site() -> Iterator[Site]:
    need_namespaces()
    need_program("ip")
    need_program("setpriv")
    with tempfile.TemporaryDirectory() as name, Lab() as lab:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "state").mkdir()
        (folder / "log").touch()
        for each in (folder / "state", folder / "log"):
            each.chmod(0o777)
        yield Site(lab, folder)


@pytest.mark.system
def test_an_interface_that_comes_and_goes_is_served_while_it_is_there(site: Site) -> None:
    site.plug_server("one")
    process = site.start("one", "two")
    until(lambda: site.is_served("one"), WITHIN_S, "an answer on the interface that is there")
    for _ in range(2):
        site.plug_server("two")
        until(lambda: site.is_served("two"), WITHIN_S, "an answer on the interface that came")
        site.server.ip("link", "delete", "two")
        assert not site.is_served("two")
        until(lambda: site.is_served("one"), WITHIN_S, "an answer on the interface that stayed")
    assert process.alive()


@pytest.mark.system
def test_the_file_can_change_which_interfaces_are_served(site: Site) -> None:
    site.plug_server("one")
    site.plug_server("two")
    process = site.start("one")
    until(lambda: site.is_served("one"), WITHIN_S, "an answer on the interface of the first file")
    assert not site.is_served("two")
    site.configure("one", "two")
    process.signal(signal.SIGHUP)
    until(lambda: site.is_served("two"), WITHIN_S, "an answer on the interface of the second file")
    until(lambda: site.is_served("one"), WITHIN_S, "an answer on the interface of both files")


@pytest.mark.system
def test_only_the_right_to_bind_ports_is_needed(site: Site) -> None:
    site.plug_server("one")
    process = site.start("one")
    until(lambda: site.is_served("one"), WITHIN_S, "an answer")
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{process.pid}/status").read_text().splitlines())
    assert status["Uid"].split() == [str(NOBODY)] * 4
    assert int(status["CapEff"], 16) == CAPABILITIES_MASK

"""`tandem explain` as an operator runs it: a client, a lease, and messages that were captured."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from scapy.layers.inet import TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw
from scapy.utils import wrpcap, wrpcapng

from process.server import Server, get_leases
from served import through_relay
from tandem.admin.client import CommandFailed
from tandem.sim.client import SimClient


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server")) as running:
        get_leases(running, 1)
        yield running


def captured(folder: Path, name: str = "asked.pcap") -> Path:
    """Write a capture: something else, a Solicit, one through a relay, and an answer, which is not explained."""
    client = SimClient(7)
    direct = client.solicit().write()
    wrapped = through_relay(client.solicit()).write()
    frames: list[Packet] = [
        Ether() / IPv6(src="fe80::1", dst="fe80::2") / TCP(dport=80),
        Ether() / IPv6(src="fe80::1", dst="ff02::1:2") / UDP(sport=546, dport=547) / Raw(direct),
        Ether() / IPv6(src="2001:db8:1::1", dst="::1") / UDP(sport=547, dport=547) / Raw(wrapped),
        Ether() / IPv6(src="fe80::2", dst="fe80::1") / UDP(sport=547, dport=546) / Raw(direct),
    ]
    path = folder / name
    (wrpcapng if name.endswith("ng") else wrpcap)(str(path), frames)
    return path


def test_a_message_to_the_server_alone_is_explained_as_it_is_taken(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "alone.pcap"
    asked = SimClient(7).solicit().write()
    wrpcap(str(path), [Ether() / IPv6(src="fe80::1", dst="fe80::2") / UDP(sport=546, dport=547) / Raw(asked)])
    assert "It is discarded: a client has to send to the servers' multicast address" in explain(
        server, "--pcap", str(path)
    )
    with pytest.raises(CommandFailed, match="'here' is not an IPv6 address, such as ff02::1:2"):
        server.ask("explain", packet=asked.hex(), to="here")


def explain(server: Server, *words: str) -> str:
    done = server.cli("explain", *words, "--state-dir", str(server.folder))
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", ["asked.pcap", "asked.pcapng"])
def test_each_captured_message_is_explained(server: Server, tmp_path: Path, name: str) -> None:
    said = explain(server, "--pcap", str(captured(tmp_path, name)))
    assert "Packet 2, from fe80::1:" in said
    assert "It gets no answer." in said  # this server serves relays only
    assert "Packet 3, from 2001:db8:1::1:" in said
    assert "IA_NA 1 would be given 2001:db8:1:0:1:" in said
    assert "because it is free in subnet[1].pools[1] (line 10)" in said
    assert "Option 23 is that of options (line 5)." in said
    assert "The answer is an ADVERTISE." in said
    assert "Packet 1" not in said
    assert "Packet 4" not in said


def test_one_of_them_as_json_and_nothing_is_changed_by_asking(server: Server, tmp_path: Path) -> None:
    before = server.leases()
    said = explain(server, "--pcap", str(captured(tmp_path)), "--packet", "3", "--json")
    found = json.loads(said)
    assert (found["packet"], found["peer"]) == (3, "2001:db8:1::1")
    assert found["links"][0]["steps"][-1] == "The answer is an ADVERTISE."
    assert server.leases() == before


def test_a_client_and_a_lease(server: Server) -> None:
    duid = SimClient(1).duid.hex(":")
    said = explain(server, "--duid", duid)
    assert "It holds 2001:db8:1:" in said
    assert "because it is held by the client, of subnet[1].pools[1] (line 10)" in said
    lease = next(iter(server.leases()))
    assert "belongs to subnet[1]." in explain(server, "--lease", lease)
    assert "2001:db8:1::/64 holds subnet[1] (line 8), 2001:db8:1::/64." in explain(server, "--lease", "2001:db8:1::/64")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "Give one of --duid, --lease and --pcap."),
        (("--pcap", "/nowhere"), "There is no file /nowhere."),
        (("--pcap", __file__), "is not a capture that can be read"),
        (("--duid", "xx"), "'xx' is not a DUID"),
    ],
)
def test_mistakes_get_a_sentence(server: Server, words: tuple[str, ...], sentence: str) -> None:
    done = server.cli("explain", *words, "--state-dir", str(server.folder))
    assert done.returncode in (1, 2)
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_what_is_not_there_is_said(server: Server, tmp_path: Path) -> None:
    path = captured(tmp_path)
    done = server.cli("explain", "--pcap", str(path), "--packet", "4", "--state-dir", str(server.folder))
    assert (done.returncode, done.stderr) == (1, f"{path} has no such message to servers.\n")
    done = server.cli("explain", "--pcap", str(path), "--interface", "eth9", "--state-dir", str(server.folder))
    assert done.stderr == "No interface 'eth9' is served; there are none.\n"

"""`tandem import` as an operator runs it: the file, the report, the leases; and a server that goes on with them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from imports.test_leases import HEAD
from process.server import WITHIN_S, Server
from tandem.sim.client import SimClient

HERE = Path(__file__).parent.parent / "imports"
KEA = {
    "valid-lifetime": 4000,
    "preferred-lifetime": 3000,
    "subnet6": [
        {
            "subnet": "2001:db8:1::/64",
            "pools": [{"pool": "2001:db8:1:0:1::/80"}],
            "pd-pools": [{"prefix": "2001:db9::", "prefix-len": 32, "delegated-len": 56}],
        }
    ],
    "some-day": 1,
}


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tandem", "import", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=WITHIN_S, check=False)


def kea_file(folder: Path) -> Path:
    path = folder / "kea.json"
    path.write_text(json.dumps({"Dhcp6": KEA}))
    return path


def test_the_file_is_printed_and_the_report_stands_beside_it(tmp_path: Path) -> None:
    done = run("kea", str(kea_file(tmp_path)), "--interface", "eth0")
    assert done.returncode == 0
    assert '[server.a]\ninterfaces = [\n    "eth0",\n]' in done.stdout
    assert "Not carried over: 1\n  Nothing like it is known here.\n    Dhcp6.some-day\n" in done.stderr
    assert "(--all names them)" in done.stderr
    assert done.stderr.endswith("The file can be served.\n")
    assert "Dhcp6.subnet6[1].pools[1].pool" in run("kea", str(kea_file(tmp_path)), "--all").stderr


def test_what_keeps_the_file_from_being_served_is_said_and_it_is_written_all_the_same(tmp_path: Path) -> None:
    output = tmp_path / "tandem.toml"
    done = run("kea", str(kea_file(tmp_path)), "--output", str(output), "--server", "left")
    assert done.returncode == 1
    assert "The file cannot be served yet:" in done.stderr
    assert "server.left: name the interfaces to serve" in done.stderr
    assert "[server.left]" in output.read_text()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("kea", "/nowhere"), "/nowhere cannot be read: No such file or directory."),
        (("dhcpd", "/nowhere"), "/nowhere cannot be read: No such file or directory."),
        (("kea", str(HERE / "everything.json"), "--leases", "x"), "give both --leases and --state-dir, or neither"),
        (("kea", str(HERE / "everything.json"), "--output", "/nowhere/x"), "/nowhere/x cannot be written: No such"),
        (("dhcpd", str(HERE / "everything.json")), "Line 3: a statement does not end."),
    ],
)
def test_mistakes_get_a_sentence(words: tuple[str, ...], sentence: str) -> None:
    done = run(*words)
    assert done.returncode in (1, 2)
    assert sentence in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr


def test_a_server_goes_on_with_keas_leases(tmp_path: Path) -> None:
    client, other = SimClient(1), SimClient(2)
    address, prefix = "2001:db8:1:0:1::77", "2001:db9:0:100::"
    expire = int(time.time()) + 2000
    rows = [
        f"{address},{client.duid.hex(':')},4000,{expire},1,3000,0,1,128,0,0,,,0,,,\n",
        f"{prefix},{client.duid.hex(':')},4000,{expire},1,3000,2,2,56,0,0,,,0,,,\n",
        f"2001:db8:9::1,{other.duid.hex(':')},4000,{expire},1,3000,0,1,128,0,0,,,0,,,\n",
    ]
    leases = tmp_path / "leases6.csv"
    leases.write_text(HEAD + "".join(rows))
    server = Server(tmp_path)
    output = tmp_path / "imported.toml"
    done = run(
        "kea",
        *(str(kea_file(tmp_path)), "--interface", "eth0", "--output", str(output)),
        *("--leases", str(leases), "--state-dir", str(tmp_path)),
    )
    assert done.returncode == 0, done.stderr
    assert f"2 leases are in {tmp_path}." in done.stderr
    assert "1 leases belong to no subnet of the file, and were left out." in done.stderr
    with server:  # by a file of its own, which has the same subnet
        held = server.leases()
        assert {address, f"{prefix}/56"} == held.keys()
        assert held[address]["duid"] == client.duid.hex(":")
        assert held[address]["state-expiration-time"] == expire
        assert held[address]["client-last-transaction-time"] == expire - 4000

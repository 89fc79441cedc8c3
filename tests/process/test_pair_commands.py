"""A real pair on loopback, over TLS, and what an operator can see of it and do."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from process.pair import WITHIN_S, in_step
from tandem.admin.client import CommandFailed
from tandem.admin.demo_pair import Link, Pair, Server, until
from tandem.sim.client import SimClient


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with in_step(tmp_path_factory.mktemp("pair")) as running:
        yield running


def cli(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tandem", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=WITHIN_S, check=False)


def in_state(server: Server, state: str) -> bool:
    found = server.relationship()
    return found is not None and found["state"] == state


def test_status_of_both(pair: Pair) -> None:
    found: list[dict[str, Any]] = []
    for server in pair.servers:
        printed = cli("status", "--json", "--state-dir", str(server.state_dir)).stdout
        found.append(json.loads(printed)["relationships"][0])
    assert [each["role"] for each in found] == ["primary", "secondary"]
    for each in found:
        assert (each["name"], each["state"], each["partner"]["state"]) == ("demo", "NORMAL", "NORMAL")
        assert each["tls"]
        assert each["certificate-days-left"] > 1000
        assert each["partner"]["in-touch"]
        assert each["clock-skew"] in (-1, 0, 1)
        assert [share["primary"] == share["secondary"] for share in each["shares"]] == [True, True]
        assert [share["primary"] for share in each["shares"]] == [1 << 47, 1 << 23]
    shown = cli("status", "--state-dir", str(pair.a.state_dir)).stdout
    assert "primary, NORMAL since" in shown
    assert "partner b: NORMAL" in shown


def test_handover_and_back(pair: Pair) -> None:
    at = ("--state-dir", str(pair.a.state_dir))
    link = Link(pair.a.address, pair.b.address)
    client = SimClient(1)
    link.exchange(client, client.solicit())
    link.exchange(client, client.request())
    held = client.leases
    done = cli("failover", "handover", "--yes", *at)
    assert (done.returncode, "Handed over" in done.stdout) == (0, True), done.stderr
    until(lambda: in_state(pair.b, "COMMUNICATIONS-INTERRUPTED"), WITHIN_S, "b serves alone")
    link.exchange(client, client.rebind())
    assert client.leases == held
    link.close()
    again = cli("failover", "handover", "--yes", *at)
    assert (again.returncode, again.stderr) == (1, "This server has stepped aside already.\n")
    assert cli("failover", "resume", *at).returncode == 0
    until(pair.is_in_step, WITHIN_S, "both are in NORMAL again")
    assert pair.a.leases() == pair.b.leases()
    assert cli("failover", "resume", *at).stderr == "This server has not stepped aside.\n"


def test_partner_down_says_what_it_risks_and_asks(pair: Pair) -> None:
    at = ("--state-dir", str(pair.a.state_dir))
    dry = cli("failover", "partner-down", "--dry-run", *at)
    assert dry.returncode == 0
    assert "The partner is connected right now!" in dry.stdout
    assert "leases are in use in its pools" in dry.stdout
    asked = cli("failover", "partner-down", *at)  # nobody answers the question
    assert asked.returncode == 1
    assert in_state(pair.a, "NORMAL")
    wrong = cli("failover", "partner-down", "--yes", "--last-alive", "2001-01-01 00:00", *at)
    assert "last-alive must be from then up to now" in wrong.stderr
    unreadable = cli("failover", "partner-down", "--yes", "--last-alive", "yesterday", *at)
    assert "is not a time such as" in unreadable.stderr


def test_which_relationship(pair: Pair) -> None:
    with pair.a.control() as control, pytest.raises(CommandFailed, match="Name a relationship; there are: demo"):
        control.ask("failover-resume", relationship="other")


def test_certificates_are_not_overwritten_by_mistake(tmp_path: Path) -> None:
    assert cli("pki", "new", str(tmp_path / "pki"), "a", "b").returncode == 0
    again = cli("pki", "new", str(tmp_path / "pki"), "b", "c")
    assert (again.returncode, "has certificates of b already" in again.stderr) == (1, True)
    authority = (tmp_path / "pki" / "ca.crt").read_bytes()
    assert cli("pki", "new", str(tmp_path / "pki"), "b", "c", "--renew").returncode == 0
    assert (tmp_path / "pki" / "ca.crt").read_bytes() == authority
    assert (tmp_path / "pki" / "c.key").stat().st_mode & 0o777 == 0o600
    assert "No server can be called 'ca'" in cli("pki", "new", str(tmp_path / "pki"), "ca").stderr
    assert "cannot be written" in cli("pki", "new", "/proc/pki", "a").stderr

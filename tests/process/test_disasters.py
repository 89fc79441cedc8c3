"""Every command in docs/disasters.md is run, on a pair that the disaster of its section has happened to."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from scapy.layers.inet import UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw
from scapy.utils import wrpcap

from limits import limit
from process.pair import in_step
from process.server import Server as Alone
from process.server import get_leases
from served import through_relay
from tandem.admin.demo_pair import DemoFailed, Link, Pair, Server, until
from tandem.admin.manual import commands
from tandem.sim.client import SimClient
from tandem.stores.backup import verify
from tandem.stores.journal import SECTOR

pytestmark = pytest.mark.thorough

PAGE = Path(__file__).parents[2] / "docs" / "disasters.md"
WITHIN_S = limit(30.0)
WITH_STATE_DIR = {
    words[1:] for words, command in commands() if any("--state-dir" in each.opts for each in command.params)
}
WITHOUT_PARTNER = "without a partner"


class Block(NamedTuple):
    """Commands that stand together in the document."""

    where: str
    """The comment that they begin with."""
    commands: list[str]


def blocks(section: str) -> list[Block]:
    """Return the commands of a section."""
    (text,) = re.findall(rf"^## {re.escape(section)}\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    found = []
    for code in re.findall(r"^ *```sh\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL):
        where, *lines = (line.strip() for line in code.splitlines())
        assert where.startswith("# on "), f"{section}: say where the commands are given"
        found.append(Block(where, lines))
    return found


class Operator:
    """Gives the commands of the document to the servers of a test."""

    def __init__(self, folder: Path, pair: Pair) -> None:
        self.folder = folder
        self.pair = pair
        self.backups = folder / "backups"
        self._programs = folder / "bin"
        self._programs.mkdir()
        tandem = self._programs / "tandem"
        tandem.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tandem "$@"\n')
        tandem.chmod(0o755)

    def server(self, where: str) -> Server:
        return self.pair.a if where.startswith("# on a") else self.pair.b

    def follow(self, section: str) -> None:
        """Give all commands of a section that are for a pair."""
        for block in blocks(section):
            if WITHOUT_PARTNER not in block.where:
                server = self.server(block.where)
                for command in block.commands:
                    self.give(command, server, server.state_dir)

    def give(self, command: str, server: Server | Alone, state_dir: Path) -> None:
        """Give one command. It has to succeed."""
        words = command.partition(" #")[0].split()
        if words[0] == "systemctl":
            control(server, words[1])
        elif words[0] == "journalctl":
            log = state_dir.parent / f"{state_dir.name}.log"
            assert words[-1] in log.read_text(), f"nothing in the log for: {command}"
        elif words[0] == "tcpdump":
            self._capture(self.folder / words[words.index("-w") + 1])
        else:
            self._run(command, state_dir)

    def _run(self, command: str, state_dir: Path) -> None:
        command = command.partition(" #")[0].rstrip()
        words = tuple(command.split()[1:3])
        if command.startswith("tandem ") and (words in WITH_STATE_DIR or words[:1] in WITH_STATE_DIR):
            command += " --state-dir /var/lib/tandem"
        for said, meant in (
            ("/var/lib/tandem", state_dir),
            ("/var/backups/tandem", self.backups),
            ("/etc/tandem/pki", self.folder / "pki"),
            ("-o tandem -g tandem ", ""),
            (" --interface eth0", ""),  # these servers are reached through a relay alone
        ):
            command = command.replace(said, str(meant))
        path = f"{self._programs}:{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-euc", command],
            input="y\n",
            cwd=self.folder,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            timeout=WITHIN_S,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"

    def _capture(self, path: Path) -> None:
        asked = through_relay(SimClient(7).solicit()).write()
        wrpcap(str(path), [Ether() / IPv6(src="2001:db8:1::1", dst="::1") / UDP(sport=547, dport=547) / Raw(asked)])


def control(server: Server | Alone, verb: str) -> None:
    """Do what `systemctl` would do."""
    if verb == "start":
        server.start()
    elif isinstance(server, Alone):
        server.stop(signal.SIGTERM)
    else:
        server.kill(signal.SIGTERM)


@pytest.fixture
def operator(tmp_path: Path) -> Iterator[Operator]:
    with in_step(tmp_path) as pair:
        operator = Operator(tmp_path, pair)
        give_leases(pair, 1, 2, 3)
        yield operator


def give_leases(pair: Pair, *numbers: int) -> None:
    """Let clients have leases, of which both servers know."""
    link = Link(pair.a.address, pair.b.address)
    for number in numbers:
        client = SimClient(number)
        link.exchange(client, client.solicit())
        link.exchange(client, client.request())
    link.close()
    until(lambda: pair.is_in_step() and alike(pair), WITHIN_S, "both know of all leases")


def alike(pair: Pair) -> bool:
    """True if both hold the same leases, and some."""
    held = [
        {lease for lease, (_, _, status, *_) in each.leases().items() if status == "ACTIVE"} for each in pair.servers
    ]
    return held[0] == held[1] != set()


def state(server: Server) -> str:
    found = server.relationship()
    return "" if found is None else found["state"]


def wait_for(server: Server, *states: str) -> None:
    until(lambda: state(server) in states, WITHIN_S, f"{server.name} is in {states}")


def lose_disk(server: Server) -> None:
    server.kill(signal.SIGKILL)
    shutil.rmtree(server.state_dir)


def starts(server: Server) -> bool:
    try:
        server.start()
    except DemoFailed:
        return False
    return True


def logged(server: Server, event: str) -> Callable[[], bool]:
    return lambda: event in (server.folder / f"{server.name}.log").read_text()


def test_backups(operator: Operator) -> None:
    operator.follow("Backups")
    (made,) = operator.backups.iterdir()
    with operator.pair.a.control() as control:
        assert verify(made).leases == control.ask("status")["leases-known"]


def test_one_server_is_dead(operator: Operator) -> None:
    operator.pair.a.kill(signal.SIGKILL)
    wait_for(operator.pair.b, "COMMUNICATIONS-INTERRUPTED")
    operator.follow("One server is dead")
    assert state(operator.pair.b) == "PARTNER-DOWN"


def test_its_disk_is_lost(operator: Operator) -> None:
    lose_disk(operator.pair.a)
    operator.follow("Its disk is lost")
    until(lambda: alike(operator.pair), WITHIN_S, "a knows all again")
    wait_for(operator.pair.a, "RECOVER-WAIT")


def test_an_older_copy_was_put_back(operator: Operator, tmp_path: Path) -> None:
    a = operator.pair.a
    a.kill(signal.SIGTERM)
    snapshot = shutil.copytree(a.state_dir, tmp_path / "snapshot")
    a.start()
    until(operator.pair.is_in_step, WITHIN_S, "both are in NORMAL")
    give_leases(operator.pair, 4, 5, 6)
    lose_disk(a)
    snapshot.rename(a.state_dir)
    a.start()
    until(logged(a, "rollback-detected"), WITHIN_S, "it is noticed")
    operator.follow("An older copy was put back")
    until(lambda: alike(operator.pair), WITHIN_S, "a knows all again")
    wait_for(a, "RECOVER-WAIT")


def test_commits_are_missing(operator: Operator) -> None:
    a = operator.pair.a
    a.kill(signal.SIGKILL)
    os.truncate(max(a.state_dir.glob("leases.db-changes-*")), 6 * SECTOR)
    a.start()
    operator.follow("Commits are missing")
    until(lambda: alike(operator.pair), WITHIN_S, "a knows all again")
    wait_for(a, "RECOVER-WAIT")


def damage(state_dir: Path) -> None:
    path = state_dir / "leases.db"
    data = bytearray(path.read_bytes())
    data[len(data) // 2 :] = os.urandom(len(data) - len(data) // 2)
    path.write_bytes(data)


def test_the_leases_are_damaged(operator: Operator) -> None:
    a = operator.pair.a
    a.kill(signal.SIGKILL)
    damage(a.state_dir)
    assert not starts(a)
    operator.follow("The leases are damaged")
    until(lambda: alike(operator.pair), WITHIN_S, "a knows all again")


def test_the_leases_of_a_server_without_a_partner_are_damaged(operator: Operator, tmp_path: Path) -> None:
    (tmp_path / "alone").mkdir()
    with Alone(tmp_path / "alone") as server:
        get_leases(server, 1, 2)
        held = server.leases()
        operator.backups.mkdir()
        assert server.cli("backup", str(operator.backups), "--state-dir", str(server.folder)).returncode == 0
        server.stop(signal.SIGKILL)
        damage(server.folder)
        (block,) = (each for each in blocks("The leases are damaged") if WITHOUT_PARTNER in each.where)
        for command in block.commands:
            operator.give(command, server, server.folder)
        assert server.leases() == held


def test_a_machine_was_cloned(operator: Operator) -> None:
    a, b = operator.pair.servers
    for each in (a, b):
        each.kill(signal.SIGTERM)
    for path in b.state_dir.glob("leases.db*"):
        path.unlink()
    for path in a.state_dir.glob("leases.db*"):
        shutil.copy(path, b.state_dir / path.name)
    a.start()
    b.start()
    until(lambda: bool((a.relationship() or {}).get("last-refusal")), WITHIN_S, "they refuse each other")
    operator.follow("A machine was cloned")
    until(lambda: alike(operator.pair), WITHIN_S, "b knows all again")
    found = [each.status() or {} for each in (a, b)]
    assert found[0]["duid"] != found[1]["duid"]


def test_the_disk_is_full(operator: Operator) -> None:
    operator.follow("The disk is full, or fails")


def test_both_servers_are_dead(operator: Operator) -> None:
    for each in operator.pair.servers:
        each.kill(signal.SIGKILL)
    operator.follow("Both servers are dead")
    assert state(operator.pair.a) == "PARTNER-DOWN"


def test_both_disks_are_lost(operator: Operator) -> None:
    a, b = operator.pair.servers
    operator.follow("Backups")
    held = a.leases()
    for each in (a, b):
        lose_disk(each)
    operator.follow("Both disks are lost")
    assert state(a) in ("PARTNER-DOWN", "NORMAL")
    until(lambda: alike(operator.pair), WITHIN_S, "b knows all again")
    assert a.leases().keys() == held.keys()


def test_partner_down_was_a_mistake(operator: Operator) -> None:
    a, b = operator.pair.servers
    operator.pair.cable.cut()
    for each in (a, b):
        wait_for(each, "COMMUNICATIONS-INTERRUPTED")
        with each.control() as server:
            server.ask("failover-partner-down")
    sides = [Link(each.address) for each in (a, b)]
    for link in sides:
        client = SimClient(50)
        link.exchange(client, client.solicit())
        link.exchange(client, client.request())
        link.close()
    operator.pair.cable.heal()
    until(operator.pair.is_in_step, WITHIN_S, "both are in NORMAL")
    operator.follow("`partner-down` was a mistake")


def test_a_clock_is_wrong(operator: Operator) -> None:
    operator.follow("A clock is wrong")


def test_a_certificate_expired(operator: Operator) -> None:
    before = (operator.pair.a.state_dir / "a.crt").read_bytes()
    operator.follow("A certificate expired, or was stolen")
    assert (operator.pair.a.state_dir / "a.crt").read_bytes() != before
    assert (operator.pair.a.state_dir / "a.key").stat().st_mode & 0o777 == 0o600
    until(operator.pair.is_in_step, WITHIN_S, "both are in NORMAL")


def test_a_client_gets_nothing(operator: Operator) -> None:
    operator.follow("A client gets nothing")


def test_every_section_with_commands_is_tried() -> None:
    text = PAGE.read_text()
    sections = re.findall(r"^## (.*)$", text, re.MULTILINE)
    with_commands = [each for each in sections if blocks(each)]
    tried: dict[str, Any] = dict.fromkeys(re.findall(r'"([^"\n]+)"', Path(__file__).read_text()))
    assert [each for each in with_commands if each not in tried] == []
    assert sum(len(blocks(each)) for each in sections) == text.count("```sh\n")

"""Whatever a server answers: no command reads a part of it as markup, and no part of it steers the terminal."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw
from scapy.utils import wrpcap

from process.pair import WITHIN_S, in_step
from tandem.admin.cli import main
from tandem.admin.client import ControlClient
from tandem.admin.demo_pair import Link
from tandem.admin.manual import commands
from tandem.sim.client import SimClient

HOSTILE = "[/x][bold] :cd: \x1b[2J\r\u202e"
SHOWN = "[/x][bold] :cd: \\x1b[2J\\x0d\\u202e"
LEASE = "2001:db8:cd:ab:100::1"
AS_THEY_ARE = frozenset(("lease", "severity"))
"""What is read again by the program that shows it."""
ASKING = {
    ("status",): [],
    ("explain",): ["--duid", "00:03:00:01:00:cd:ab:10:00:ab"],
    ("lease", "list"): [],
    ("lease", "export"): ["--format", "csv"],
    ("lease", "show"): [LEASE],
    ("lease", "release"): [LEASE],
    ("failover", "partner-down"): ["--dry-run"],
    ("failover", "handover"): ["--yes"],
    ("failover", "resume"): [],
    ("clock", "accept"): ["--yes"],
}
NOT_ASKING = {"serve", "web", "check", "schema", "backup", "restore", "demo", "sim", "import", "pki", "token"}
"""Commands that print nothing of what a server answers, but for refusals."""


def made_hostile(value: Any) -> Any:
    """Give an answer with something hostile in front of every text."""
    if isinstance(value, Mapping):
        return {name: each if name in AS_THEY_ARE else made_hostile(each) for name, each in value.items()}
    if isinstance(value, list):
        return [made_hostile(each) for each in value]
    return HOSTILE + value if isinstance(value, str) else value


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Give what a real server answers to each command."""
    with in_step(tmp_path_factory.mktemp("pair")) as pair:
        link, client = Link(pair.a.address, pair.b.address), SimClient(1)
        link.exchange(client, client.solicit())
        link.exchange(client, client.request())
        link.close()
        with ControlClient(pair.a.state_dir / "control.sock") as control:
            found = {each: control.ask(each) for each in ("status", "lease-list")}
            lease = next(each for each in found["lease-list"]["leases"] if each["duid"])
            found["lease-list"]["next"] = None
            found["explain"] = control.ask("explain", duid=lease["duid"])
            found["lease-show"] = found["lease-release"] = control.ask("lease-show", lease=lease["lease"])
            found["failover-partner-down"] = control.ask("failover-partner-down", **{"dry-run": True})
            found["failover-handover"] = found["failover-resume"] = {"done": True, "relationship": "demo"}
    return found


@contextmanager
def server_that_says(answers: Mapping[str, Any], folder: Path) -> Iterator[Path]:
    """Answer on a control socket, one connection after the other; give its path. None as an answer is an error."""
    path = folder / "control.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection, connection.makefile("rwb") as lines:
                    for line in lines:
                        found = answers.get(json.loads(line)["command"])
                        answer = {"error": f"{HOSTILE} No."} if found is None else {"result": found}
                        lines.write(json.dumps(answer).encode() + b"\n")
                        lines.flush()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield path
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(WITHIN_S)


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """Run a command as its program does; give its exit code and all that it wrote."""
    monkeypatch.setattr("sys.argv", ["tandem", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.out + captured.err


def test_every_command_that_asks_a_server_is_here() -> None:
    assert {words[1:] for words, _ in commands() if words[1] not in NOT_ASKING} == set(ASKING)


@pytest.mark.parametrize("words", ASKING, ids=" ".join)
def test_answers_are_shown_as_they_are(
    words: tuple[str, ...],
    answers: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with server_that_says(made_hostile(answers), tmp_path) as path:
        code, shown = run(monkeypatch, capsys, *words, *ASKING[words], "--socket", str(path))
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    if words not in (("lease", "release"), ("failover", "handover"), ("failover", "resume"), ("clock", "accept")):
        assert SHOWN in shown
        assert code == 0
    if words[0] == "lease":
        assert "2001:db8:" in shown


@pytest.mark.parametrize("words", ASKING, ids=" ".join)
def test_refusals_are_shown_as_they_are(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with server_that_says({}, tmp_path) as path:
        code, shown = run(monkeypatch, capsys, *words, *ASKING[words], "--socket", str(path))
    assert code == 1
    assert shown.endswith(f"{SHOWN} No.\n")
    assert "\x1b" not in shown


def test_an_explained_capture_is_shown_as_it_is(
    answers: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    capture = tmp_path / "[x] :cd:.pcap"
    asked = (
        Ether() / IPv6(src="fe80::cd:ab:100:1", dst="ff02::1:2") / UDP(dport=547) / Raw(SimClient(1).solicit().write())
    )
    wrpcap(str(capture), [asked])
    with server_that_says(made_hostile(answers), tmp_path) as path:
        code, shown = run(monkeypatch, capsys, "explain", "--pcap", str(capture), "--socket", str(path))
    assert code == 0
    assert "from fe80::cd:ab:100:1:" in shown
    assert SHOWN in shown
    assert "\x1b" not in shown

"""A running server: its commands, its signals, and what it says of itself."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from limits import limit
from process.server import CONFIGURATION, Server, get_leases, until
from tandem.admin.client import CommandFailed
from tandem.admin.demo_pair import Link
from tandem.lease.lease import show_key


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server")) as running:
        yield running


def test_leases_through_every_command(server: Server) -> None:
    (client,) = get_leases(server, 1)
    address, prefix = (show_key(key) for key in client.leases)
    at = ("--state-dir", str(server.folder))

    listed = server.cli("lease", "list", "--format", "json", "--duid", client.duid.hex(":"), *at)
    assert [json.loads(line)["lease"] for line in listed.stdout.splitlines()] == [address, prefix]
    words = ("--client", client.duid.hex(":")[-11:], "--sort", "expires", "--reverse", "--limit", "1")
    last = server.cli("lease", "list", "--format", "json", *words, *at)
    assert [json.loads(line)["lease"] for line in last.stdout.splitlines()] == [prefix]
    assert server.cli("lease", "list", "--format", "json", "--client", "ff:ff:ff:ff:ff", *at).stdout == ""
    as_csv = server.cli("lease", "list", "--format", "csv", "--within", "2001:db9::/32", *at)
    assert as_csv.stdout.splitlines()[0].startswith("lease,type,status")
    assert prefix in as_csv.stdout
    assert address in server.cli("lease", "list", *at).stdout
    assert address in server.cli("lease", "export", *at).stdout
    assert json.loads(server.cli("lease", "show", address, "--json", *at).stdout)["status"] == "ACTIVE"
    explained = server.cli("explain", "--duid", client.duid.hex(), *at).stdout
    assert "held by the client" in " ".join(explained.split())
    assert "subnet[1].pools[1]" in server.cli("explain", "--lease", address, *at).stdout

    assert "is released" in server.cli("lease", "release", address, "--yes", *at).stdout
    assert server.ask("lease-show", lease=address)["status"] == "RELEASED"
    again = server.cli("lease", "release", address, "--yes", *at)
    assert (again.returncode, again.stderr) == (1, f"{address} is not held: it is RELEASED.\n")


def test_status(server: Server) -> None:
    get_leases(server, 2)
    found = json.loads(server.cli("status", "--json", "--state-dir", str(server.folder)).stdout)
    assert found["server"] == "a"
    assert found["relationships"] == []
    assert found["counters"]["answered"]["REQUEST"] >= 1
    assert sum(found["times"]["reply"]["counts"]) == found["counters"]["answered"]["REQUEST"]
    assert min(found["times"][what]["sum-s"] for what in ("advertise", "reply", "commit")) > 0
    assert found["links"][0]["pools"][0]["in-use"] >= 1
    shown = server.cli("status", "--state-dir", str(server.folder)).stdout
    assert "tandem" in shown
    assert "reply: half within " in shown


@pytest.mark.parametrize(
    "request_line",
    [b"nonsense", b"[]", b'{"command": 7}', b'{"command": "lease-show", "arguments": []}', b"[" * 50_000],
)
def test_bad_requests_are_answered(server: Server, request_line: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as control:
        control.connect(str(server.folder / "control.sock"))
        control.sendall(request_line + b"\n")
        assert "error" in json.loads(control.makefile().readline())


def test_a_request_that_is_too_long(server: Server) -> None:
    with socket.socket(socket.AF_UNIX) as control:
        control.connect(str(server.folder / "control.sock"))
        control.sendall(b"x" * 200_000)
        assert "longer" in json.loads(control.makefile().readline())["error"]


@pytest.mark.parametrize(
    ("command", "arguments", "sentence"),
    [
        ("dance", {}, "There is no command 'dance'"),
        ("lease-show", {}, "None is not an IPv6 address or prefix"),
        ("lease-show", {"lease": "2001:db8:77::1"}, "Nothing is known of a lease 2001:db8:77::1"),
        ("lease-list", {"status": "HAPPY"}, "'HAPPY' is not a binding status"),
        ("lease-list", {"from": 99}, "no longer open"),
        ("explain", {"duid": "xyz"}, "'xyz' is not a DUID"),
    ],
)
def test_commands_that_cannot_be_obeyed(
    server: Server, command: str, arguments: dict[str, object], sentence: str
) -> None:
    with pytest.raises(CommandFailed, match=sentence):
        server.ask(command, **arguments)


def test_no_server(tmp_path: Path, server: Server) -> None:
    found = server.cli("status", "--state-dir", str(tmp_path))
    assert found.returncode == 1
    assert "Is it running?" in found.stderr


def test_kill_and_restart_keep_everything(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        clients = get_leases(server, *range(20))
        before = server.leases()
        assert server.stop(signal.SIGKILL) == -signal.SIGKILL
        server.start()
        assert server.leases() == before
        link = Link(server.address)
        for client in clients:
            held = client.leases
            link.exchange(client, client.renew())
            assert client.leases == held
        link.close()
        assert server.stop() == 0
        assert not (tmp_path / "control.sock").exists()
        assert server.events()[-1]["event"] == "stopped"


def test_reload(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        (client,) = get_leases(server, 1)
        assert server.process is not None
        good = server.file.read_text()
        server.file.write_text(good + "nonsense = 3\n")
        server.process.send_signal(signal.SIGHUP)
        until(lambda: "reload-refused" in server.log, "the bad file is refused")
        server.file.write_text(good.replace("2001:db8:1:0:1::/80", "2001:db8:1:0:2::/80"))
        server.process.send_signal(signal.SIGHUP)
        until(lambda: '"reloaded"' in server.log, "the good file is taken")
        held = client.leases
        link = Link(server.address)
        link.exchange(client, client.renew())
        link.close()
        # A new address, the old one running out beside it, and the prefix as before.
        assert show_key(client.leases[0]).startswith("2001:db8:1:0:2:")
        assert client.leases[1:] == held


def test_ready_and_stopping_are_told_to_systemd(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(limit(10))
        server = Server(tmp_path)
        try:
            server.start(NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="200000")
            told = [systemd.recv(100) for _ in range(4)]
            assert b"READY=1" in told
            assert told.count(b"WATCHDOG=1") >= 2
            assert server.stop() == 0
            while systemd.recv(100) != b"STOPPING=1":
                pass
        finally:
            server.stop(signal.SIGKILL)


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("serve", "/nowhere.toml"), 1, "cannot be read"),
        (("check", "/nowhere.toml"), 1, "cannot be read"),
        (("explain",), 2, "Give one of --duid, --lease and --pcap"),
        (("fly",), 2, "No such command"),
    ],
)
def test_exit_codes(server: Server, words: tuple[str, ...], code: int, sentence: str) -> None:
    found = server.cli(*words)
    assert found.returncode == code
    assert sentence in found.stderr


def test_check_and_schema(tmp_path: Path, server: Server) -> None:
    good = server.cli("check", str(server.file))
    assert (good.returncode, "is good. Servers: a." in good.stdout) == (0, True)
    bad = tmp_path / "bad.toml"
    bad.write_text(CONFIGURATION.format(port=1, folder=tmp_path).replace("dns-servers", "dns") + "x = 1\n")
    found = server.cli("check", str(bad))
    assert found.returncode == 1
    assert len(found.stderr.splitlines()) == 2
    schema = json.loads(server.cli("schema").stdout)
    assert set(schema["properties"]) >= {"server", "subnet", "options", "failover", "lifetimes"}


def test_another_server_on_the_same_state(server: Server) -> None:
    found = server.cli("serve", str(server.file))
    assert found.returncode == 1
    assert "is in use by another server" in found.stderr


@pytest.mark.parametrize("name", ["x" * 120, "missing/control.sock"])
def test_a_control_socket_that_cannot_be_made(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    configuration = CONFIGURATION.replace("[server.a]", f'[server.a]\ncontrol = "{path}"')
    found = Server(tmp_path, configuration).cli("serve", str(tmp_path / "tandem.toml"))
    assert found.returncode == 1
    assert f"no control socket can be made at {path} (" in " ".join(found.stderr.split())
    assert "names another place" in found.stderr

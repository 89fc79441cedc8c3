"""The commands of docs/first-hour.md, as they stand there, on two bare Debian machines with systemd and a real client.

Each machine is a root of its own above one bare Debian, booted in a container with the network of a lab.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from limits import limit
from system.needs import need_namespaces, need_program, need_system_python
from system.net import Host, Lab, until
from system.test_packages import built

pytestmark = pytest.mark.system

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "first-hour.md"
PART = re.compile(r"<!-- (file )?on (a|b|both) -->\n```(?:sh|toml)\n(.*?)```", re.DOTALL)
FILE = "etc/tandem/tandem.toml"
BOOTED_WITHIN_S = 60.0
WITHIN_S = 60.0
SIZE = "1500m"


def run(*words: str, within_s: float = 120.0) -> str:
    done = subprocess.run(words, capture_output=True, text=True, timeout=limit(within_s), check=False)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


class Machine:
    """A Debian with systemd in it, on a host of a lab; `root` is its file system."""

    def __init__(self, name: str, bare: Path, scratch: Path, host: Host) -> None:
        self.name = name
        self.root = scratch / "root"
        self._layer = scratch / "layer"
        self._bare = bare
        self._host = host
        self._log = scratch / "boot.log"

    def __enter__(self) -> Machine:
        with contextlib.ExitStack() as undo:
            self._boot(undo)
            self._undo = undo.pop_all()
        return self

    def _boot(self, undo: contextlib.ExitStack) -> None:
        for folder in (self.root, self._layer):
            folder.mkdir(parents=True)
        run("mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(self._layer))
        undo.callback(run, "umount", "-l", str(self._layer))
        for name in ("upper", "work"):
            (self._layer / name).mkdir()
        places = f"lowerdir={self._bare},upperdir={self._layer}/upper,workdir={self._layer}/work"
        run("mount", "-t", "overlay", "-o", places, "overlay", str(self.root))
        undo.callback(run, "umount", "-R", "-l", str(self.root))
        command = ["systemd-nspawn", "--boot", "--quiet", "--register=no", "--keep-unit", f"--directory={self.root}"]
        network = f"--network-namespace-path=/run/netns/{self._host.namespace}"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, network, f"--machine=tandem-{self.name}"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        undo.callback(self._end)
        self._leader = until(self._find_leader, BOOTED_WITHIN_S, f"the start of {self.name}, see {self._log}")
        until(self._is_up, BOOTED_WITHIN_S, f"the boot of {self.name}, see {self._log}")

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    def _end(self) -> None:
        leader = self._find_leader() if self._process.poll() is None else None
        if leader is not None:
            os.kill(leader, signal.SIGKILL)  # and with the first process all others, and nspawn after them
        else:
            self._process.kill()
        self._process.wait(20)

    def do(self, script: str) -> str:
        """Run a script as root in /root, and give what it prints."""
        whole = f"cd /root\nset -eu\n{script}"
        inside = ["nsenter", "--target", str(self._leader), "--all", "env", "-i", "HOME=/root", "LC_ALL=C.UTF-8"]
        path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return run(*inside, path, "bash", "-c", whole)

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.do("tandem status --json"))
        return found

    def _find_leader(self) -> int | None:
        assert self._process.poll() is None, self._log.read_text(errors="replace")
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        for child in children:
            # The first child of nspawn prepares the place; what it starts there is the system's first process.
            for each in (child, *Path(f"/proc/{child}/task/{child}/children").read_text().split()):
                if Path(f"/proc/{each}/comm").read_text().strip() == "systemd":
                    return int(each)
        return None

    def _is_up(self) -> bool:
        try:
            return self.do("systemctl is-system-running || true").strip() in ("running", "degraded")
        except AssertionError:  # it cannot be asked yet
            return False


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give a Debian with nothing but what a server's first installation has."""
    need_namespaces()
    need_system_python()
    need_program("mmdebstrap")
    need_program("systemd-nspawn")
    folder = tmp_path_factory.mktemp("bare")
    run("mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder))
    root = folder / "root"
    packages = "systemd,systemd-sysv,dbus,iproute2,python3"
    try:
        retries = '--aptopt=Acquire::Retries "5"'
        run("mmdebstrap", "--variant=minbase", retries, f"--include={packages}", "bookworm", str(root), within_s=300)
        yield root
    finally:
        run("umount", "-l", str(folder))


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab() as running:
        yield running


def host_on(lab: Lab, name: str, number: int) -> Host:
    host = lab.host(name)
    lab.plug(host, "eth0", "lan", f"2001:db8:1::{number}/64")
    lab.plug(host, "sync0", "private", f"fd00:99::{number}/64")
    return host


def parts() -> list[tuple[bool, str, str]]:
    """Give what the document says to do: whether it is a file, on which machine, and the text."""
    return [(bool(found[1]), found[2], found[3]) for found in PART.finditer(DOCUMENT.read_text())]


def test_the_first_hour_as_the_document_has_it(bare: Path, lab: Lab, tmp_path: Path) -> None:
    package = built("deb", tmp_path)
    lab.link("lan")
    lab.link("private")
    client = lab.host("client")
    lab.plug(client, "eth0", "lan")
    with (
        Machine("a", bare, tmp_path / "a", host_on(lab, "a", 1)) as a,
        Machine("b", bare, tmp_path / "b", host_on(lab, "b", 2)) as b,
    ):
        machines = {"a": a, "b": b}
        for machine in machines.values():
            shutil.copy(package, machine.root / "root")
        was_served = False
        for is_file, where, text in parts():
            for machine in machines.values() if where == "both" else (machines[where],):
                if is_file:
                    (machine.root / FILE).write_text(text)
                elif "kill -9" in text:
                    kill_and_watch(a, b, text)
                else:
                    machine.do(text)
            if not is_file and "enable --now tandem@a" in text:
                address = lease_of(client, tmp_path)
                was_served = address in a.do("tandem lease list --status ACTIVE --format csv")
            if "pki new" in text:  # with scp, as the document says
                shutil.copytree(a.root / "root/pki", b.root / "root/pki")
        assert was_served
        assert not [each for each in ("a", "b") if "Traceback" in machines[each].do("journalctl --no-pager")]
        assert address in a.do("tandem lease list --status ACTIVE --format csv")
        assert address in b.do("tandem lease list --status ACTIVE --format csv")


def lease_of(client: Host, scratch: Path) -> str:
    """Have a real client get an address, which changes nothing on this machine, and give it."""
    leases = scratch / "client.leases"
    leases.touch()
    files = ["-lf", str(leases), "-pf", str(scratch / "client.pid"), "-sf", "/bin/true"]
    client.start(["dhclient", "-6", "-1", "-v", *files, "eth0"], scratch / "client.log")
    found = until(lambda: re.search(r"iaaddr (\S+)", leases.read_text()), WITHIN_S, "the client's address")
    assert found is not None
    return found[1]


def kill_and_watch(a: Machine, b: Machine, command: str) -> None:
    """Wait until both are in step, kill one as the document does, and see that they are in step again."""
    until(lambda: states(a, b) == ["NORMAL", "NORMAL"], WITHIN_S, "both are in NORMAL")
    before = a.do("systemctl show --property MainPID --value tandem@a")
    began = time.time()
    a.do(command)
    until(lambda: b.status()["relationships"][0]["since"] >= int(began), WITHIN_S, "b has noticed")
    until(
        lambda: a.do("systemctl show --property MainPID --value tandem@a") not in (before, "0\n"), WITHIN_S, "a again"
    )
    until(lambda: states(a, b) == ["NORMAL", "NORMAL"], WITHIN_S, "both are in NORMAL again")


def states(*machines: Machine) -> list[str]:
    try:
        return [each.status()["relationships"][0]["state"] for each in machines]
    except AssertionError:  # one of them does not answer yet
        return []

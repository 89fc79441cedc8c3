"""The Debian and the RPM package as they are built here: installed, served with, upgraded and removed; leases stay."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from scapy.layers.inet import UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw
from scapy.utils import wrpcap

from limits import limit
from process.server import until
from system.needs import need_namespaces, need_program, need_system_python
from tandem.admin.client import CommandFailed, ControlClient
from tandem.admin.demo_pair import Link
from tandem.sim.client import SimClient

pytestmark = pytest.mark.system

TREE = Path(__file__).parent.parent.parent
EXPOSURE_MAX = 2.0
PORT, WEB_PORT = 29547, 29548
FILE = f"""\
[web]
listen = "[::1]:{WEB_PORT}"

[server.a]
listen = ["[::1]:{PORT}"]

[[subnet]]
prefix = "2001:db8:1::/64"
pools = ["2001:db8:1:0:1::/80"]
"""
AS_THE_UNIT = "setpriv --reuid tandem --regid tandem --init-groups --inh-caps=-all --no-new-privs -- "
AS_THE_WEB_UNIT = AS_THE_UNIT.replace("id tandem", "id tandem-web")


class Machine:
    """This system as it would be if what is done to it here were done: a layer above it that is thrown away."""

    def __init__(self, scratch: Path) -> None:
        self.root = scratch / "root"
        self._scratch = scratch
        self._started: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Machine:
        layer = self._scratch / "layer"
        for folder in (self.root, layer):
            folder.mkdir()
        run("mount", "-t", "tmpfs", "tmpfs", str(layer))
        for name in ("upper", "work"):
            (layer / name).mkdir()
        run(
            "mount",
            "-t",
            "overlay",
            "-o",
            f"lowerdir=/,upperdir={layer}/upper,workdir={layer}/work",
            "overlay",
            str(self.root),
        )
        shutil.rmtree(self.root / "var/lib/tandem", ignore_errors=True)  # of a server on this machine
        run("mount", "--rbind", "/dev", str(self.root / "dev"))
        run("mount", "-t", "proc", "proc", str(self.root / "proc"))
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._started:
            process.kill()
            process.wait(limit(15))
        for place in (self.root / "proc", self.root / "dev", self.root, self._scratch / "layer"):
            run("umount", "-R", "-l", str(place))

    def do(self, command: str) -> str:
        """Run a command inside, and give what it prints."""
        return run("chroot", str(self.root), *shlex.split(command))

    def start(self, command: str) -> subprocess.Popen[bytes]:
        """Start a command inside; it is ended with the machine."""
        with (self._scratch / "log").open("ab") as log:
            inside = ["chroot", str(self.root), *shlex.split(command)]
            self._started.append(subprocess.Popen(inside, stdin=subprocess.DEVNULL, stdout=log, stderr=log))
        return self._started[-1]

    @property
    def log(self) -> str:
        return (self._scratch / "log").read_text()


def run(*words: str) -> str:
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(words, capture_output=True, text=True, timeout=limit(120), check=False, env=environment)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


def built(kind: str, folder: Path, how: str = "--pure") -> Path:
    """Build a package, without compiling: that takes minutes, and is tested where wheels are."""
    command = [sys.executable, str(TREE / "packaging" / "build.py"), kind, "--into", str(folder), "--here", how]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3600, check=False)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def deb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need_program("dpkg-deb")
    need_system_python()
    return built("deb", tmp_path_factory.mktemp("deb"))


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    need_namespaces()
    with Machine(tmp_path) as running:
        yield running


def assert_is_complete(machine: Machine) -> None:
    """See that the manual, the documents and completion are there, and that captures are read."""
    documents = machine.root / "usr/share/doc/tandem"
    for name in ("README.md", "CHANGELOG.md", "copyright", "docs/first-hour.md", "docs/pictures/page-light.png"):
        assert (documents / name).exists(), name
    assert (machine.root / "usr/share/man/man1/tandem.1.gz").exists()
    script = "/usr/share/bash-completion/completions/tandem"
    typed = (
        f"source {script}; COMP_WORDS=(tandem fail); COMP_CWORD=1; _tandem_completion tandem; echo ${{COMPREPLY[@]}}"
    )
    assert machine.do(f"bash -c {shlex.quote(typed)}").split() == ["failover"]
    for place in ("zsh/vendor-completions/_tandem", "zsh/site-functions/_tandem"):
        assert (machine.root / "usr/share" / place).read_text().startswith("#compdef tandem")
    assert "complete" in (machine.root / "usr/share/fish/vendor_completions.d/tandem.fish").read_text()
    assert not list((machine.root / "usr/lib/tandem").glob("scapy*"))
    read = "import sys; sys.path.insert(0, '/usr/lib/tandem'); from pathlib import Path; "
    read += "from tandem.admin.capture import read_capture; print(len(list(read_capture(Path('/tmp/asked.pcap')))))"
    wrpcap(str(machine.root / "tmp/asked.pcap"), [Ether() / IPv6() / UDP(dport=547) / Raw(b"\x01abc")])
    assert machine.do(f"python3 -I -c {shlex.quote(read)}").strip() == "1"


def command_of(machine: Machine, unit: str) -> str:
    """Give the command of an installed unit, for the server `a`."""
    return setting(machine, unit, "ExecStart")


def setting(machine: Machine, unit: str, name: str) -> str:
    """Give a setting of an installed unit, for the server `a`."""
    found = re.search(rf"(?m)^{name}=(.*)$", (machine.root / "usr/lib/systemd/system" / unit).read_text())
    assert found is not None
    return found[1].replace("%i", "a")


@contextlib.contextmanager
def serving(machine: Machine) -> Iterator[ControlClient]:
    """Run the server by the unit's own command, as its user, and give a way to ask it."""
    machine.do("install -d -m 0750 -o tandem -g tandem /run/tandem/a")
    process = machine.start(
        AS_THE_UNIT + "env RUNTIME_DIRECTORY=/run/tandem/a " + command_of(machine, "tandem@.service")
    )
    socket = machine.root / "run/tandem/a/control.sock"

    def answers() -> bool:
        assert process.poll() is None, machine.log
        with contextlib.suppress(CommandFailed), ControlClient(socket) as control:
            return bool(control.ask("status"))
        return False

    until(answers, "the packaged server answers")
    with ControlClient(socket) as control:
        yield control
    process.terminate()
    assert process.wait(limit(15)) == 0, machine.log


def test_the_debian_package_is_installed_upgraded_and_removed_and_leases_stay(
    deb: Path, machine: Machine, tmp_path: Path
) -> None:
    inside = machine.root / "tmp"
    (inside / "tandem.deb").write_bytes(deb.read_bytes())
    machine.do("dpkg --install /tmp/tandem.deb")
    assert "(compiled: " in machine.do("tandem --version")
    assert_is_complete(machine)
    assert "tandem" in machine.do("id -Gn tandem-web").split()
    (machine.root / "etc/tandem/tandem.toml").write_text(FILE)
    assert "is good" in machine.do("tandem check /etc/tandem/tandem.toml")
    assert "is good" in machine.do("tandem check /usr/share/doc/tandem/examples/tandem.toml")

    link, client = Link(("::1", PORT)), SimClient(1, with_prefix=False)
    with serving(machine):
        assert machine.do("tandem status").startswith("a, tandem ")  # root, by the state-dir
        assert machine.do(f"{AS_THE_WEB_UNIT}tandem status").startswith("a, tandem ")  # its group, without it
        assert machine.do("stat --format=%a /var/lib/tandem").strip() == "700"
        link.exchange(client, client.solicit())
        link.exchange(client, client.request())
        assert 'tandem_messages_answered_total{type="REQUEST"} 1.0' in metrics(machine)
    held = client.leases
    assert held

    (inside / "newer.deb").write_bytes(newer(deb, tmp_path).read_bytes())
    machine.do("dpkg --install /tmp/newer.deb")
    assert machine.do("dpkg-query --show --showformat=${Version} tandem").endswith("+newer")
    with serving(machine) as control:
        assert [lease["status"] for lease in control.leases()] == ["ACTIVE"]
        link.exchange(client, client.renew())
        assert client.leases == held
    link.close()

    machine.do("dpkg --remove tandem")
    assert not (machine.root / "usr/bin/tandem").exists()
    assert not (machine.root / "usr/lib/tandem").exists()
    assert (machine.root / "var/lib/tandem/leases.db").exists()
    assert (machine.root / "etc/tandem/tandem.toml").exists()
    machine.do("dpkg --purge tandem")
    assert not (machine.root / "var/lib/tandem").exists()


def metrics(machine: Machine) -> str:
    """Run the web process by its unit's command, as its user, who can read the tokens; give what it says."""
    token = machine.do("tandem token new me").strip()
    unit = "tandem-web@.service"
    assert setting(machine, unit, "Environment") == "RUNTIME_DIRECTORY=/run/tandem/a"
    process = machine.start(f"{AS_THE_WEB_UNIT}env {setting(machine, unit, 'Environment')} {command_of(machine, unit)}")

    def asked(path: str) -> str:
        assert process.poll() is None, machine.log
        request = urllib.request.Request(f"http://[::1]:{WEB_PORT}{path}", headers={"Authorization": f"Bearer {token}"})
        with contextlib.suppress(OSError), urllib.request.urlopen(request, timeout=5) as answer:
            return str(answer.read().decode())
        return ""

    found: str = until(lambda: asked("/metrics"), "the packaged web process answers")
    assert '"status":"ACTIVE"' in asked("/api/v1/leases")
    process.terminate()
    process.wait(limit(15))
    return found


def newer(deb: Path, folder: Path) -> Path:
    """Give the same package under a higher version."""
    tree = folder / "newer"
    run("dpkg-deb", "--raw-extract", str(deb), str(tree))
    control = tree / "DEBIAN/control"
    control.write_text(re.sub(r"(?m)^Version: (.*)$", r"Version: \1+newer", control.read_text()))
    run("dpkg-deb", "--build", "--root-owner-group", "-Znone", str(tree), str(folder / "newer.deb"))
    return folder / "newer.deb"


def test_the_rpm_package_is_installed_and_removed(tmp_path: Path) -> None:
    need_program("rpmbuild")
    package, root = built("rpm", tmp_path / "built"), tmp_path / "root"
    root.mkdir()
    rpm = ("rpm", "--root", str(root), "--nodeps", "--noscripts")
    run(*rpm, "--install", str(package))
    program = [
        sys.executable,
        "-I",
        "-c",
        f"import sys; sys.path.insert(0, {str(root / 'usr/lib/tandem')!r})\n"
        "from tandem.admin.cli import main; sys.argv = ['tandem', '--version']; main()",
    ]
    assert subprocess.run(program, capture_output=True, text=True, check=True).stdout.startswith("tandem ")
    assert (root / "usr/lib/systemd/system/tandem-web@.service").exists()
    run(*rpm, "--erase", "tandem")
    assert not (root / "usr/bin/tandem").exists()
    assert not (root / "usr/lib/tandem/tandem/node.py").exists()


@pytest.mark.parametrize("unit", ["tandem@.service", "tandem-web@.service"])
def test_units_are_hardened(unit: str) -> None:
    need_program("systemd-analyze")
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(TREE / "packaging" / unit)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=limit(60), check=False, env={**os.environ, "LC_ALL": "C.UTF-8"}
    )
    found = re.search(r"Overall exposure level for .*: ([\d.]+)", done.stdout)
    assert found is not None, done.stdout + done.stderr
    assert float(found[1]) < EXPOSURE_MAX

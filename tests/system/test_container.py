"""The container file, built by podman from its first line to its last over a bare Debian, and what it says to run.

What it says to run is run in the image's own files, without a container's walls: those need rights that a machine for
tests may not give.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from system.needs import need_namespaces, need_program
from system.net import Lab, until
from system.test_first_hour import WITHIN_S, lease_of, run

pytestmark = pytest.mark.system

SOURCE = Path(__file__).parent.parent.parent
BASE, IMAGE = "localhost/bare", "localhost/tandem"
AUTHORITY = "/run/authority.crt"
BUILT_WITHIN_S = 900.0
FILE = """\
[server.a]
interfaces = ["eth0"]
[[subnet]]
prefix = "2001:db8:1::/64"
interface = "eth0"
pools = ["2001:db8:1:0:1::/80"]
"""


class Podman:
    """podman with a store of its own, in a folder whose name has to be short."""

    def __init__(self, folder: Path) -> None:
        self._words = ["podman", "--root", str(folder / "store"), "--runroot", str(folder / "run")]

    def do(self, *words: str, within_s: float = 120.0) -> str:
        return run(*self._words, *words, within_s=within_s).strip()


@pytest.fixture
def podman(tmp_path: Path) -> Iterator[Podman]:
    """Give a podman that knows one image, a bare Debian."""
    need_namespaces()
    need_program("podman")
    need_program("mmdebstrap")
    base = tmp_path / "base.tar"
    retries = '--aptopt=Acquire::Retries "5"'
    run("mmdebstrap", "--variant=minbase", retries, "bookworm", str(base), within_s=300)
    with tempfile.TemporaryDirectory(prefix="podman-") as folder:
        found = Podman(Path(folder))
        try:
            found.do("import", str(base), BASE)
            base.unlink()
            yield found
        finally:
            found.do("system", "reset", "--force")


def its_own_authority() -> list[str]:
    """Have pip trust in the build whom it is told to trust on this machine."""
    ask_pip = [sys.executable, "-m", "pip", "config", "get", "global.cert"]
    in_file = subprocess.run(ask_pip, capture_output=True, text=True, check=False).stdout.strip()
    told = os.environ.get("PIP_CERT") or in_file
    return ["--volume", f"{told}:{AUTHORITY}:ro", "--env", f"PIP_CERT={AUTHORITY}"] if told else []


def test_the_image_is_built_and_what_it_runs_serves_a_client(podman: Podman, tmp_path: Path) -> None:
    build = ["build", "--isolation", "chroot", "--network", "host", "--build-arg", f"BASE={BASE}", "--quiet"]
    build += ["--build-arg", "BUILD=--pure"]  # compiling takes minutes, and is tested where wheels are
    file = ["--file", str(SOURCE / "packaging" / "Containerfile"), "--tag", IMAGE, str(SOURCE)]
    podman.do(*build, *its_own_authority(), *file, within_s=BUILT_WITHIN_S)
    config = json.loads(podman.do("image", "inspect", IMAGE))[0]["Config"]
    root = Path(podman.do("mount", podman.do("create", IMAGE)))
    (root / "etc/tandem/tandem.toml").write_text(FILE)
    with Lab() as lab:
        lab.link("lan")
        server, client = lab.host("server"), lab.host("client")
        lab.plug(server, "eth0", "lan", "2001:db8:1::1/64")
        lab.plug(client, "eth0", "lan")
        process = server.start(["chroot", str(root), *config["Entrypoint"], *config["Cmd"]], tmp_path / "server.log")
        until(lambda: "serving" in (tmp_path / "server.log").read_text(), WITHIN_S, "the server in the image")
        assert lease_of(client, tmp_path).startswith("2001:db8:1:0:1:")
        status = Path(f"/proc/{process.pid}/status").read_text()
        rights = {line.split(":")[0]: line.split()[1:] for line in status.splitlines()}
        user = subprocess.run(
            ["chroot", str(root), "id", "--user", "tandem"], capture_output=True, text=True, check=True
        ).stdout.strip()
        assert set(rights["Uid"]) == {user}
        assert int(rights["CapEff"][0], 16) == int(rights["CapBnd"][0], 16) == 1 << 10  # CAP_NET_BIND_SERVICE

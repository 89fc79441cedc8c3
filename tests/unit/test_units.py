"""The packaged units: what they do when a server does not start, and who may read what."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from limits import limit

PACKAGING = Path(__file__).parent.parent.parent / "packaging"
SERVER, WEB = "tandem@.service", "tandem-web@.service"


def settings(unit: str) -> dict[str, str]:
    text = (PACKAGING / unit).read_text()
    return dict(re.findall(r"(?m)^(\w+)=(.*)$", text))


@pytest.mark.parametrize("unit", [SERVER, WEB])
def test_a_unit_never_gives_up(unit: str) -> None:
    found = settings(unit)
    assert (found["StartLimitIntervalSec"], found["Restart"]) == ("0", "always")
    assert {"RestartSec", "RestartSteps", "RestartMaxDelaySec"} <= found.keys()


def test_reloading_needs_nothing_but_the_shell() -> None:
    words = shlex.split(settings(SERVER)["ExecReload"].replace("$$", "$"))
    assert words[0] == "/bin/sh"
    told = "import signal; signal.sigwait([signal.SIGHUP]); print('told')"
    with subprocess.Popen(
        [sys.executable, "-c", told], stdout=subprocess.PIPE, preexec_fn=lambda: _block(signal.SIGHUP)
    ) as process:
        nothing = {"PATH": "/nowhere", "MAINPID": str(process.pid)}
        assert subprocess.run(words, env=nothing, timeout=limit(30), check=False).returncode == 0
        assert process.communicate(timeout=limit(30))[0] == b"told\n"


def _block(number: signal.Signals) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, [number])


def test_memory_is_bounded() -> None:
    found = settings(SERVER)
    assert int(found["MemoryHigh"].rstrip("%")) < int(found["MemoryMax"].rstrip("%")) < 100
    assert "MemoryMax" in settings(WEB)


def test_only_the_servers_user_may_look_into_the_state_dir_and_its_group_may_use_the_socket() -> None:
    server, web = settings(SERVER), settings(WEB)
    assert (server["StateDirectoryMode"], server["UMask"]) == ("0700", "0077")
    assert (server["RuntimeDirectory"], server["RuntimeDirectoryMode"]) == ("tandem/%i", "0750")
    assert web["Environment"] == f"RUNTIME_DIRECTORY=/run/{server['RuntimeDirectory']}"
    assert web["SupplementaryGroups"] == server["Group"]
    assert web["InaccessiblePaths"] == "-/var/lib/" + server["StateDirectory"]


def test_partners_may_have_ipv4_addresses() -> None:
    assert {"AF_INET", "AF_INET6"} <= set(settings(SERVER)["RestrictAddressFamilies"].split())

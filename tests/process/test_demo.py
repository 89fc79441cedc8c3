"""`tandem demo` as whoever tries Tandem first runs it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from limits import limit

pytestmark = pytest.mark.thorough

WITHIN_S = limit(120.0)


def test_demo() -> None:
    command = [sys.executable, "-m", "tandem", "demo"]
    found = subprocess.run(command, capture_output=True, text=True, timeout=WITHIN_S, check=False)
    assert found.returncode == 0, found.stdout
    assert "60 of 60" in found.stdout
    assert found.stdout.count("alike") == 3


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of its own with a short name, for control sockets in it."""
    with tempfile.TemporaryDirectory(prefix="t-") as name:
        yield Path(name)


def test_a_demo_that_is_told_to_end_leaves_nothing(folder: Path) -> None:
    command = [sys.executable, "-m", "tandem", "demo"]
    environment = os.environ | {"TMPDIR": str(folder)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as demo:
        assert demo.stdout is not None
        while "kill -9" not in (line := demo.stdout.readline()):
            assert line, "the demo ended before it had servers to kill"
        assert _servers_below(folder)
        demo.terminate()
        demo.communicate(timeout=WITHIN_S)
    assert demo.returncode == 128 + signal.SIGTERM
    assert not _servers_below(folder)
    assert not list(folder.iterdir())


def _servers_below(folder: Path) -> list[bytes]:
    """Find the processes that were started with a file in that folder."""
    found = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = each.read_bytes()
            found += [words] if bytes(folder) in words else []
    return found

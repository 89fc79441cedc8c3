"""`tandem demo` as whoever tries Tandem first runs it."""

from __future__ import annotations

import subprocess
import sys

WITHIN_S = 120.0


def test_demo() -> None:
    command = [sys.executable, "-m", "tandem", "demo"]
    found = subprocess.run(command, capture_output=True, text=True, timeout=WITHIN_S, check=False)
    assert found.returncode == 0, found.stdout
    assert "60 of 60" in found.stdout
    assert found.stdout.count("alike") == 3

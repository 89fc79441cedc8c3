"""Memory of tables that were laid out anew goes back to the system."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from limits import limit

LARGE = 30 << 20
"""Octets; under the 32 MiB above which glibc maps by itself whatever it has learnt."""
CHURN = f"""
import sys
from tandem.runtime.memory import give_back_large_pieces

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

if sys.argv[1] == "told":
    give_back_large_pieces()
table = bytearray({LARGE})
del table
before = resident()
table = bytearray({LARGE})
small = [bytes(1000) for _ in range(1000)]
del table
print(resident() - before)
"""


def growth_octets(argument: str) -> int:
    """Give by how much a process grew that laid out a large table once more."""
    argv = [sys.executable, "-c", CHURN, argument]
    return int(subprocess.run(argv, capture_output=True, text=True, check=True, timeout=limit(60)).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps what was freed")
def test_a_table_that_was_laid_out_anew_leaves_nothing_behind() -> None:
    assert growth_octets("told") < LARGE // 4
    assert growth_octets("left alone") > LARGE // 2

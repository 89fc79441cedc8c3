"""Runs a script: steps of a command, `----`, and the lines that it must print.

Steps are separated by blank lines; lines that begin with # are for the reader. REWRITE=1 writes what was printed
into the script instead of comparing: read the difference before keeping it.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from pathlib import Path


def run(path: Path, obey: Callable[[str], str]) -> None:
    """Play the script against `obey`, which takes a command and gives what it prints."""
    wanted = path.read_text()
    played = []
    for block in wanted.strip("\n").split("\n\n"):
        lines = block.split("\n")
        notes = [line for line in lines if line.startswith("#")]
        step = lines[len(notes) :]
        if step:
            assert step[1:2] == ["----"], f"{path}: {step[0]!r} is not followed by ----"
            step = [step[0], "----", *(obey(step[0]) or "nothing").splitlines()]
        played.append("\n".join(notes + step))
    got = "\n\n".join(played) + "\n"
    if got != wanted and os.environ.get("REWRITE"):
        path.write_text(got)
    else:
        diff = difflib.unified_diff(wanted.splitlines(), got.splitlines(), "wanted", "got", lineterm="")
        assert got == wanted, "\n".join(diff)

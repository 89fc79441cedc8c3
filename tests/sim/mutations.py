"""Breaks the product on purpose, one line at a time, and says which simulated world finds it.

`python tests/sim/mutations.py [--jobs N] [--seeds N] [NUMBER ...]`: each fault is put into a copy of the source, so
that there is nothing to undo. Exit 1 if one is not found.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

SOURCE = Path(__file__).parents[2] / "src" / "tandem"
LIST = Path(__file__).with_name("mutations.toml")


class Mutation(NamedTuple):
    """One line of one file, as it is and as it should not be."""

    what: str
    file: str
    right: str
    wrong: str
    seed: int | None = None
    """Of the world that finds it, where that is known."""

    def source(self) -> str:
        """Return the file as it is."""
        return (SOURCE / self.file).read_text()


def load() -> list[Mutation]:
    """Give all that are known."""
    return [Mutation(**each) for each in tomllib.loads(LIST.read_text())["mutation"]]


class Found(NamedTuple):
    """Which world found it, what went wrong there, and how long it took."""

    seed: int | None
    kind: str
    seconds: float


def find(mutation: Mutation, seeds: int) -> Found:
    """Put a fault into a copy of the product and live worlds until one finds it, from the one that is known to on."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "tandem"
        shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("__pycache__"))
        file = copy / mutation.file
        text = mutation.source()
        if text.count(mutation.right) != 1:
            return Found(None, f"{mutation.right!r} is not just once in {mutation.file}", 0.0)
        file.write_text(text.replace(mutation.right, mutation.wrong))
        started = time.monotonic()
        first = ["--first", str(mutation.seed or 0)]
        command = [sys.executable, "-m", "tandem", "sim", *first, "--seeds", str(seeds), "--stop", "--json"]
        environment = {**os.environ, "PYTHONPATH": folder}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        took_s = time.monotonic() - started
    if not done.stdout:
        return Found(None, done.stderr.strip().splitlines()[-1][:200], took_s)
    failed = json.loads(done.stdout)["failed"]
    return Found(failed[0]["seed"], failed[0]["kind"], took_s) if failed else Found(None, "", took_s)


def main() -> int:
    """Try all, print a table as Markdown, and say whether all were found."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    arguments.add_argument("--seeds", type=int, default=500)
    arguments.add_argument("numbers", type=int, nargs="*", help="only these, from 1")
    wanted = arguments.parse_args()
    known = load()
    chosen = [known[number - 1] for number in wanted.numbers] or known
    print("| | fault | in | found by seed | as | seconds |\n|---|---|---|---|---|---|", flush=True)
    missed = 0
    with ThreadPoolExecutor(wanted.jobs) as pool:
        found = pool.map(lambda each: find(each, wanted.seeds), chosen)
        for mutation, result in zip(chosen, found, strict=True):
            missed += result.seed is None
            seed = "**none**" if result.seed is None else str(result.seed)
            row = (known.index(mutation) + 1, mutation.what, f"`{mutation.file}`", seed, result.kind)
            print(f"| {' | '.join(map(str, row))} | {result.seconds:.0f} |", flush=True)
    print(f"\n{len(chosen) - missed} of {len(chosen)} found within {wanted.seeds} worlds.")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())

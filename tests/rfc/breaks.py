"""Break the product on purpose, one rule of the RFCs at a time, and run the test that the requirement names.

`python tests/rfc/breaks.py [--jobs N] [--seconds N] [--sample N] [SECTION ...]` makes each change of `breaks.toml` in a
scratch copy of the tree. SECTION selects by the beginning of a requirement's name, such as "8156 8.4" or "9915"; a
sample is another one each day. It prints what came of each, and exits with 1 if a break survives without a written
reason.
"""

from __future__ import annotations

import argparse
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
LIST = Path(__file__).with_name("breaks.toml")
COPIED = ("src", "tests", "docs", "packaging", "monitoring", "bench")
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pcap", "*.png", "*.svg")
TESTS_FAILED = 1
"""The exit code of pytest if a test failed, and not the collection of tests."""
SCRIPTED = {
    "tests/pair": "tests/pair/test_conversations.py::test_conversation",
    "tests/scripts": "tests/scripts/test_scripts.py::test_script",
}
SECONDS_PER_DAY = 86_400
WHOLE_S = 1800.0
"""How long all tests may take together, while nothing is broken."""
FIRST_FAILURE = """
import sys
import pytest
from hypothesis import Phase, settings
settings.register_profile("first failure", phases=[Phase.explicit, Phase.generate])
settings.load_profile("first failure")
sys.exit(pytest.main(sys.argv[1:]))
"""
"""Run pytest without looking for the smallest example that fails, which takes long."""


class Break(NamedTuple):
    """One change to the product that breaks the rules named, and no other."""

    rules: tuple[str, ...]
    """The requirements that it breaks, as "8156 8.4.1-5"."""
    file: str
    """Below src/tandem."""
    now: str
    """The text to change, which occurs once."""
    broken: str
    test: str
    """The test that fails with it, one of those that each of the requirements names."""
    survives: str = ""
    """Why no test notices it; empty if one does."""


class Without(NamedTuple):
    """Requirements that no change to the product breaks, and why."""

    rules: tuple[str, ...]
    why: str


class Outcome(NamedTuple):
    """What a break came to: whether the test noticed it, what is wrong with the entry if something is, the seconds."""

    is_noticed: bool
    fault: str
    seconds: float


def load() -> tuple[list[Break], list[Without]]:
    """Return all breaks, and the requirements without one. Raise TypeError for a key that does not exist."""
    entries = tomllib.loads(LIST.read_text())
    breaks = [Break(**{**each, "rules": tuple(each["rules"])}) for each in entries["break"]]
    return breaks, [Without(tuple(each["rules"]), each["why"]) for each in entries.get("without", [])]


def node_of(test: str) -> str:
    """Return what pytest calls the test; a script is the parameter of the test that plays it."""
    path = Path(test)
    return f"{SCRIPTED[str(path.parent)]}[{path.stem}]" if path.suffix == ".txt" else test


def copy_tree(into: Path) -> None:
    """Copy all that a test needs."""
    for each in COPIED:
        shutil.copytree(ROOT / each, into / each, ignore=LEFT_OUT)
    for file in ROOT.iterdir():
        if file.is_file():
            shutil.copy(file, into)


def run_tests(tree: Path, tests: Iterable[str], seconds: float) -> subprocess.CompletedProcess[str]:
    """Run tests in a copy of the tree. Raise TimeoutExpired if they take longer."""
    nodes = [node_of(each) for each in tests]
    options = ["-x", "-W", "ignore::pytest.PytestAssertRewriteWarning", "-p", "no:cacheprovider", "-p", "no:xdist"]
    command = [sys.executable, "-B", "-c", FIRST_FAILURE, *options, *nodes]
    environment = {**os.environ, "PYTHONPATH": str(tree / "src"), "REWRITE": ""}
    return subprocess.run(
        command, cwd=tree, env=environment, capture_output=True, text=True, check=False, timeout=seconds
    )


def try_break(each: Break, tree: Path, seconds: float) -> Outcome:
    """Make the change in a copy of the tree, run the test, and undo the change."""
    file = tree / "src" / "tandem" / each.file
    text = file.read_text()
    if text.count(each.now) != 1:
        return Outcome(False, f"{each.now!r} occurs {text.count(each.now)} times in {each.file}", 0.0)
    started = time.monotonic()
    file.write_text(text.replace(each.now, each.broken))
    try:
        done = run_tests(tree, [each.test], seconds)
    except subprocess.TimeoutExpired:
        return Outcome(False, f"it takes longer than {seconds:.0f} s", time.monotonic() - started)
    finally:
        file.write_text(text)
    took_s = time.monotonic() - started
    is_noticed = done.returncode == TESTS_FAILED and "1 failed" in done.stdout
    is_run = done.returncode == 0 or is_noticed
    return Outcome(is_noticed, "" if is_run else f"it cannot be run: {_end_of(done)}", took_s)


def _end_of(done: subprocess.CompletedProcess[str]) -> str:
    return (done.stdout + done.stderr)[-800:]


def sample(breaks: list[Break], size: int, day: int) -> list[Break]:
    """Return so many of the breaks, the next ones each day."""
    first = day * size
    return [breaks[(first + at) % len(breaks)] for at in range(min(size, len(breaks)))]


def try_all(chosen: list[Break], jobs: int, seconds: float) -> int:
    """Try the breaks and print what comes of them; return how many are not noticed without a written reason."""
    trees: queue.SimpleQueue[Path] = queue.SimpleQueue()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(jobs):
            tree = Path(folder) / str(number)
            copy_tree(tree)
            trees.put(tree)
        whole = run_tests(Path(folder) / "0", sorted({each.test for each in chosen}), WHOLE_S)
        if whole.returncode:
            print(f"The tests fail without any break: {_end_of(whole)}")
            return len(chosen)

        def try_one(each: Break) -> Outcome:
            tree = trees.get()
            try:
                return try_break(each, tree, seconds)
            finally:
                trees.put(tree)

        bad = 0
        with ThreadPoolExecutor(jobs) as pool:
            for each, outcome in zip(chosen, pool.map(try_one, chosen), strict=True):
                result = outcome.fault or ("noticed" if outcome.is_noticed else "SURVIVES")
                if each.survives and not outcome.fault:
                    result = f"survives: {each.survives}" if not outcome.is_noticed else "noticed, against its reason"
                is_good = not outcome.fault and outcome.is_noticed is not bool(each.survives)
                bad += not is_good
                print(f"{outcome.seconds:5.1f} s  {', '.join(each.rules)}  {each.file}: {result}", flush=True)
    return bad


def main() -> int:
    """Try what is selected, and return 1 if a break survives without a reason."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    arguments.add_argument("--seconds", type=float, default=300.0, help="that one test may take, at most")
    arguments.add_argument("--sample", type=int, default=0, help="only so many, other ones each day")
    arguments.add_argument("sections", nargs="*", help='such as "8156 8.4"; all if none is given')
    wanted = arguments.parse_args()
    breaks, _ = load()
    chosen = [each for each in breaks if not wanted.sections or _is_in(each, wanted.sections)]
    if wanted.sample:
        chosen = sample(chosen, wanted.sample, int(time.time()) // SECONDS_PER_DAY)
    bad = try_all(chosen, wanted.jobs, wanted.seconds)
    print(f"{len(chosen) - bad} of {len(chosen)} breaks come to what they should.")
    return int(bool(bad) or not chosen)


def _is_in(each: Break, sections: Iterable[str]) -> bool:
    """True if one of the rules is in one of the sections: "8156 8.4" has 8.4 and 8.4.1, and not 8.41."""
    return any(
        rule == section or rule.startswith((f"{section}.", f"{section}-", f"{section} "))
        for rule in each.rules
        for section in sections
    )


if __name__ == "__main__":
    sys.exit(main())

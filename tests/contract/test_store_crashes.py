"""What any store keeps through crashes, full disks, failed syncs and damage."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies

from contract import commit_until_it_fails
from contract.test_store import BACK_ENDS, apply, changes, kept, tidy_up
from limits import limit
from system.needs import need_program
from tandem.lease.change import RESTORED_FACT, Change, Fact, Put
from tandem.stores.store import StoreError

SEED = 6015
FLIPS = 400
CUTS = 60
LIFE_STEPS = 200
GROWTH_MAX = 24 << 20
"""Octets that a store with a few small leases may take, with all that waits for housekeeping."""

pytestmark = [pytest.mark.thorough, pytest.mark.parametrize("name", sorted(BACK_ENDS))]
histories = strategies.lists(
    strategies.one_of(strategies.lists(changes, min_size=1, max_size=6), strategies.sampled_from(["tidy", "crash"])),
    max_size=12,
)


@settings(max_examples=40, deadline=None)
@given(history=histories)
def test_a_crash_at_any_time_keeps_what_was_committed(
    tmp_path_factory: pytest.TempPathFactory, name: str, history: list[list[Change] | str]
) -> None:
    """A crash: the files as they are while the store is open, opened again."""
    folder = tmp_path_factory.mktemp("store")
    store = BACK_ENDS[name](folder)
    model: dict[object, bytes] = {}
    for step in history:
        if step == "tidy":
            store.tidy()
        elif step == "crash":
            copy = tmp_path_factory.mktemp("crashed")
            shutil.copytree(folder, copy, dirs_exist_ok=True)
            store.close()
            folder, store = copy, BACK_ENDS[name](copy)
        else:
            assert not isinstance(step, str)
            store.commit(step)
            for change in step:
                apply(model, change)
        assert kept(store) == model
    store.close()


@pytest.mark.parametrize("seed", range(3))
def test_housekeeping_between_commits_keeps_what_was_committed(name: str, seed: int, tmp_path: Path) -> None:
    """Whenever it crashes: leases come and go, some of them over and over."""
    chance = random.Random(seed)
    (tmp_path / "open").mkdir()
    store = BACK_ENDS[name](tmp_path / "open")
    model: dict[object, bytes] = {}
    lowest = 300
    for number in range(LIFE_STEPS):
        batch: list[Change] = [Fact("state", b"%d" % number)] if chance.random() < 0.1 else []
        given = 0.8 if number < LIFE_STEPS / 2 else 0.2  # at the end few are left
        for _ in range(chance.randrange(1, 6)):
            is_given = chance.random() < given
            batch.append(Put(chance.randrange(lowest, 360), b"lease %d" % number if is_given else None))
        store.commit(batch)
        for change in batch:
            apply(model, change)
        for _ in range(chance.randrange(3)):
            store.tidy()
        if number % 40 == 39:
            store.close()
            store = BACK_ENDS[name](tmp_path / "open")
            lowest -= 60  # from now on also leases before all that are there
        if number % 5 == 0:
            shutil.copytree(tmp_path / "open", tmp_path / f"crashed{number}")
            assert open_and_read(name, tmp_path / f"crashed{number}") == model
            shutil.rmtree(tmp_path / f"crashed{number}")
    store.close()


def test_housekeeping_bounds_what_a_store_takes(name: str, tmp_path: Path) -> None:
    """A server at its ease commits one change, tidies up while nothing is to do, and so on for months."""
    store = BACK_ENDS[name](tmp_path)
    for number in range(3000):
        store.commit([Put(number % 50, b"%d" % number * 20)])
        tidy_up(store)
    taken = sum(file.stat().st_size for file in tmp_path.iterdir())
    store.close()
    assert taken < GROWTH_MAX


# -- damage


def test_a_torn_end_loses_whole_batches_and_only_the_last_ones(name: str, tmp_path: Path) -> None:
    """As a power cut leaves it: the end of what was appended is missing."""
    chance = random.Random(SEED)
    crashed = crashed_store(name, tmp_path)
    appended = max(crashed.glob("*-changes-*"))
    data = appended.read_bytes()
    states = list(states_of_crashed_store())
    sizes = sorted(chance.sample(range(len(data)), CUTS))
    found = []
    for number, size in enumerate(sizes):
        copy = shutil.copytree(crashed, tmp_path / f"cut{number}")
        (copy / appended.name).write_bytes(data[:size])
        store = BACK_ENDS[name](copy)
        held = kept(store)
        assert held.pop(RESTORED_FACT, b"") or held == states[-1]
        found.append(states.index(held))
        store.close()
    assert found == sorted(found)
    assert len(set(found)) > 3


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "crashed"])
def test_a_flipped_bit_is_refused_and_not_touched_or_does_no_harm(name: str, closed: bool, tmp_path: Path) -> None:
    chance = random.Random(SEED)
    folder = crashed_store(name, tmp_path)
    if closed:
        open_and_read(name, folder)
    *_, expected = states_of_crashed_store()
    refused = 0
    lost = []
    for number in range(FLIPS):
        copy = shutil.copytree(folder, tmp_path / f"flip{number}")
        where = flip_a_bit(copy, chance)
        before = digests(copy)
        try:
            found = open_and_read(name, copy)
        except StoreError:
            refused += 1
            if digests(copy) != before:
                lost.append(f"{where}: refused, but touched")
        else:
            if found != expected and RESTORED_FACT not in found:
                lost.append(f"{where}: {len(expected) - len(found)} leases are gone and nothing was said")
        shutil.rmtree(copy)
    assert lost == []
    assert refused > 0


def crashed_store(name: str, folder: Path) -> Path:
    """Make the files of a store that held the last of `states_of_crashed_store` when it crashed."""
    (folder / "open").mkdir()
    store = BACK_ENDS[name](folder / "open")
    for number in range(400):
        store.commit([batch_change(number)])
        if number == 199:
            tidy_up(store)
            # What comes now lies behind what is safely put away.
            store.close()
            store = BACK_ENDS[name](folder / "open")
            list(store.load())
    shutil.copytree(folder / "open", folder / "crashed")
    store.close()
    return folder / "crashed"


def batch_change(number: int) -> Put:
    return Put(number, b"lease %d " % number * 8)


def states_of_crashed_store() -> Iterator[dict[object, bytes]]:
    """Give what the store held after each batch."""
    model: dict[object, bytes] = {}
    for number in range(400):
        apply(model, batch_change(number))
        yield dict(model)


def flip_a_bit(folder: Path, chance: random.Random) -> str:
    file = chance.choice(sorted(kept_files(folder)))
    data = bytearray(file.read_bytes())
    at = chance.randrange(len(data)) if chance.random() < 0.8 else chance.randrange(100)
    data[at] ^= 1 << chance.randrange(8)
    file.write_bytes(data)
    return f"{file.name}, octet {at}"


def open_and_read(name: str, folder: Path) -> dict[object, bytes]:
    store = BACK_ENDS[name](folder)
    try:
        return kept(store)
    finally:
        store.close()


def kept_files(folder: Path) -> list[Path]:
    """Give the files that hold something: not empty ones, nor SQLite's index of its log, which it makes anew."""
    return [path for path in folder.iterdir() if path.stat().st_size and not path.name.endswith("-shm")]


def digests(folder: Path) -> dict[str, str]:
    """Give what tells one content from another."""
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in kept_files(folder)}


# -- no room, and a sync that fails


def test_full_is_said_and_the_same_batch_can_be_committed_later(name: str, tmp_path: Path) -> None:
    said = commit_in_a_child(name, tmp_path, octets_max=200_000)
    assert said[:2] == ["opened", "committed"]
    assert said[-2:] == ["full", "committed"]
    assert keys_in(name, tmp_path) == set(range(said.count("committed")))


@pytest.mark.parametrize("which", [1, 4, 10, 20, 25, 30, 60, 120])
def test_a_failed_sync_is_final(name: str, which: int, tmp_path: Path) -> None:
    """Nothing is said to be committed from there on, and what was committed before is kept.

    While the store is opened nothing is promised yet; what fails then may be made good again.
    """
    need_program("strace")
    folder, trace = tmp_path / "store", tmp_path / "trace"
    folder.mkdir()
    inject = f"inject=fsync,fdatasync:error=EIO:when={which}"
    strace = ("strace", "-f", "-y", "-e", "trace=write,fsync,fdatasync", "-e", inject, "-o", str(trace), "--")
    said = commit_in_a_child(name, folder, 0, *strace)
    calls = trace.read_text().splitlines()
    failed = next(at for at, call in enumerate(calls) if call.endswith("(INJECTED)"))
    is_open = any('"opened' in call for call in calls[:failed])
    is_of_names = f"<{folder}>" in calls[failed]  # they were made durable when it was opened
    if is_open and not is_of_names:
        assert said[-1] == "StoreBroken"
    if "opened" in said:
        # What the failed batch left behind may be there as well.
        assert keys_in(name, folder) >= set(range(said.count("committed")))


def commit_in_a_child(name: str, folder: Path, octets_max: int, *wrapper: str) -> list[str]:
    """Run `commit_until_it_fails` and give what it said."""
    program = (sys.executable, "-m", commit_until_it_fails.__name__, name, str(folder), str(octets_max))
    given = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [*wrapper, *program], env=given, capture_output=True, text=True, timeout=limit(30), check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def keys_in(name: str, folder: Path) -> set[object]:
    return set(open_and_read(name, folder))

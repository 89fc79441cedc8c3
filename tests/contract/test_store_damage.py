"""Files of a store that were cut, deleted, exchanged or put back from an older copy: nothing is lost without a word."""

from __future__ import annotations

import os
import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from contract.test_store import BACK_ENDS, apply, kept, tidy_up
from contract.test_store_crashes import digests, kept_files
from tandem.lease.change import RESTORED_FACT, Change, Fact, Put
from tandem.stores import mark as mark_module
from tandem.stores.journal import SECTOR
from tandem.stores.sqlite import SqliteStore
from tandem.stores.store import StoreError

SEED = 20261129
DAMAGES = 120
"""For each way to end, and for each pace of housekeeping: more than a thousand in all."""
AGES = 12
"""How many times in its life a store was copied."""
ENDINGS = ["closed", "killed", "power-cut"]
Model = dict[object, bytes]
Damage = Callable[[Path, Path, random.Random], str]
"""What is done to the files in a folder, given an older copy of it; it says what it did."""

pytestmark = [pytest.mark.thorough, pytest.mark.parametrize("name", sorted(BACK_ENDS))]


class Life:
    """A store that has lived, and copies of it from before."""

    def __init__(self, name: str, folder: Path, ending: str) -> None:
        chance = random.Random(SEED)
        self.expected: Model = {}
        self.older: list[Path] = []
        self.folder = folder / "store"
        self.folder.mkdir(parents=True)
        store = BACK_ENDS[name](self.folder)
        list(store.load())
        for age in range(AGES):
            for number in range(chance.randrange(1, 30)):
                batch: list[Change] = [
                    Put(chance.randrange(300), None if chance.random() < 0.1 else os.urandom(chance.randrange(1, 900)))
                    for _ in range(chance.choice((1, 1, 1, 5)))
                ]
                batch += [Fact("state", b"%d %d" % (age, number))] if chance.random() < 0.2 else []
                store.commit(batch)
                for change in batch:
                    apply(self.expected, change)
                if chance.random() < 0.3:
                    store.tidy()
            if chance.random() < 0.3:
                tidy_up(store)
            if age == AGES // 2:  # somewhere in its life it was started anew
                store.close()
                store = BACK_ENDS[name](self.folder)
                list(store.load())
            if age < AGES - 1:
                self.older.append(shutil.copytree(self.folder, folder / f"older{age}"))
        if ending == "closed":
            store.close()
            self.end = self.folder
        else:
            self.end = shutil.copytree(self.folder, folder / "end")
            store.close()


def opened(name: str, folder: Path) -> tuple[Model, bool]:
    """Return what the store in a folder holds, and whether it says that something may be missing."""
    store = BACK_ENDS[name](folder)
    assert isinstance(store, SqliteStore)
    try:
        found = kept(store)
        is_lost = any(finding.is_lost for finding in store.findings)
        assert (RESTORED_FACT in found) == is_lost, "the fact and the finding go together"
        found.pop(RESTORED_FACT, None)
        return found, is_lost
    finally:
        store.close()


def delete(folder: Path, _older: Path, chance: random.Random) -> str:
    path = chance.choice(kept_files(folder))
    path.unlink()
    return f"{path.name} deleted"


def delete_newest_journal(folder: Path, _older: Path, _chance: random.Random) -> str:
    path = max(folder.glob("*-changes-*"))
    path.unlink()
    return f"{path.name} deleted"


def cut_at_a_sector(folder: Path, _older: Path, chance: random.Random) -> str:
    path = chance.choice(kept_files(folder))
    sector = chance.randrange(-(-path.stat().st_size // SECTOR))
    os.truncate(path, sector * SECTOR)
    return f"{path.name} cut at sector {sector}"


def cut_journal_where_it_is_written(folder: Path, _older: Path, chance: random.Random) -> str:
    path = max(folder.glob("*-changes-*"))
    written = -(-len(path.read_bytes().rstrip(b"\0")) // SECTOR)
    sector = chance.randrange(written + 2)
    os.truncate(path, sector * SECTOR)
    return f"{path.name} cut at sector {sector}"


def zero_the_end(folder: Path, _older: Path, chance: random.Random) -> str:
    """As a disk leaves it that said that it had written."""
    path = max(folder.glob("*-changes-*"))
    data = path.read_bytes()
    at = chance.randrange(-(-len(data.rstrip(b"\0")) // SECTOR)) * SECTOR
    path.write_bytes(data[:at] + bytes(len(data) - at))
    return f"{path.name} zeros from sector {at // SECTOR} on"


def cut_anywhere(folder: Path, _older: Path, chance: random.Random) -> str:
    path = chance.choice(kept_files(folder))
    size = chance.randrange(path.stat().st_size)
    os.truncate(path, size)
    return f"{path.name} cut at octet {size}"


def put_back_an_older_one(folder: Path, older: Path, chance: random.Random) -> str:
    path = chance.choice(kept_files(older))
    shutil.copyfile(path, folder / path.name)
    return f"{path.name} as in {older.name}"


def exchange(folder: Path, _older: Path, chance: random.Random) -> str:
    one, other = chance.sample(sorted(kept_files(folder)), 2)
    first = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(first)
    return f"{one.name} and {other.name} exchanged"


def damage_the_last_frame(folder: Path, _older: Path, chance: random.Random) -> str:
    path = max(folder.glob("*-changes-*"))
    data = bytearray(path.read_bytes())
    end = len(data.rstrip(b"\0"))
    at = max(SECTOR, end - chance.randrange(1, 60))
    data[at] ^= 1 << chance.randrange(8)
    path.write_bytes(data)
    return f"{path.name} octet {at} flipped, of {end}"


def write_over_a_sector(folder: Path, _older: Path, chance: random.Random) -> str:
    path = chance.choice(kept_files(folder))
    data = bytearray(path.read_bytes())
    at = chance.randrange(-(-len(data) // SECTOR)) * SECTOR
    data[at : at + SECTOR] = chance.choice((bytes(SECTOR), chance.randbytes(SECTOR)))[: len(data) - at]
    path.write_bytes(data)
    return f"{path.name} sector {at // SECTOR} overwritten"


DAMAGE: list[Damage] = [
    delete,
    delete_newest_journal,
    cut_at_a_sector,
    cut_journal_where_it_is_written,
    zero_the_end,
    cut_anywhere,
    put_back_an_older_one,
    put_back_an_older_one,
    exchange,
    damage_the_last_frame,
    write_over_a_sector,
]


def lose_power(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not synced may be lost from here on; files are opened by another run of the kernel."""
    monkeypatch.setattr(mark_module, "read_boot_id", lambda: b"another")


@pytest.mark.parametrize("ending", ENDINGS)
def test_nothing_is_lost_without_a_word(
    name: str, ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = Life(name, tmp_path, ending)
    if ending == "power-cut":
        lose_power(monkeypatch)
    chance = random.Random(f"{SEED} {name} {ending}")
    outcomes: Counter[str] = Counter()
    silent = []
    for number in range(DAMAGES):
        folder = shutil.copytree(life.end, tmp_path / f"damaged{number}")
        what = DAMAGE[number % len(DAMAGE)](folder, chance.choice(life.older), chance)
        before = digests(folder)
        try:
            found, is_lost = opened(name, folder)
        except StoreError:
            outcomes["refused"] += 1
            if digests(folder) != before:
                silent.append(f"{what}: refused, but touched")
        else:
            outcomes["said" if is_lost else "whole"] += 1
            if not is_lost and found != life.expected:
                silent.append(f"{what}: nothing was said")
            if is_lost and not says_so_at_the_next_start_too(name, folder):
                silent.append(f"{what}: forgotten at the next start")
        shutil.rmtree(folder)
    assert silent == []
    assert min(outcomes[each] for each in ("refused", "said", "whole")) > 0, outcomes


def says_so_at_the_next_start_too(name: str, folder: Path) -> bool:
    """True if `restored` is kept until somebody takes it out, and nothing else is found any more."""
    store = BACK_ENDS[name](folder)
    assert isinstance(store, SqliteStore)
    found = kept(store)
    store.commit([Put(1, b"later")])
    store.close()
    return RESTORED_FACT in found and store.findings == []


@pytest.mark.parametrize("ending", ENDINGS)
def test_without_damage_nothing_is_said(
    name: str, ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = Life(name, tmp_path, ending)
    if ending == "power-cut":
        lose_power(monkeypatch)
    store = BACK_ENDS[name](life.end)
    assert isinstance(store, SqliteStore)
    assert kept(store) == life.expected
    assert store.findings == []
    store.close()


def test_after_a_power_cut_the_mark_may_be_older(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Since it was turned last, that is: at any such time nothing is missing, and nothing is said."""
    folder = tmp_path / "store"
    folder.mkdir()
    store = BACK_ENDS[name](folder)
    list(store.load())
    mark = (folder / "leases.db-mark").read_bytes()
    for number in range(30):
        store.commit([Put(number, b"lease")])
    copy = shutil.copytree(folder, tmp_path / "copy")
    store.close()
    (copy / "leases.db-mark").write_bytes(mark)
    lose_power(monkeypatch)
    assert opened(name, copy) == (dict.fromkeys(range(30), b"lease"), False)

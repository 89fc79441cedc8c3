"""The journal: nothing appended is lost, what a power cut tore is passed over, and damage is told from that."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from zlib import crc32

import pytest

from contract.test_store import refuse
from tandem.lease.change import Fact
from tandem.stores.batch import BatchDamagedError, write_batch
from tandem.stores.journal import AHEAD_OCTETS, BATCH_AT, FRAME, HEAD, SECTOR, Journal
from tandem.stores.store import StoreBroken

BATCHES = [write_batch([Fact("batch", record)]) for record in (b"first", b"s" * 700, b"third", b"f" * 2000, b"fifth")]
STORE_ID = b"the same"
SIXTH, SEVENTH = write_batch([Fact("batch", b"sixth")]), write_batch([Fact("batch", b"seventh")])


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """The name of a journal that holds `BATCHES`, as a server leaves it that was killed."""
    base = tmp_path / "changes"
    journal = Journal(base)
    journal.begin(STORE_ID)
    opened(journal)
    for batch in BATCHES:
        journal.append(batch)
    return base


def opened(journal: Journal, merged_to: int = 0) -> list[bytes]:
    found = list(journal.read(merged_to))
    journal.open()
    return found


def found(base: Path, merged_to: int = 0) -> list[bytes]:
    return list(Journal(base).read(merged_to))


def files(base: Path) -> list[str]:
    return sorted(path.name for path in base.parent.iterdir())


def frame_at(number: int) -> int:
    """Give where the frame of one of `BATCHES` begins."""
    return SECTOR + sum(-(-(BATCH_AT + len(batch)) // SECTOR) * SECTOR for batch in BATCHES[:number])


def test_what_was_appended_is_read_in_its_order(base: Path) -> None:
    assert found(base) == BATCHES
    assert found(base, 3) == BATCHES[3:]
    assert Journal(base).count(0) == 5
    assert Journal(base).count(3) == 2


def test_it_goes_on_behind_what_was_read(base: Path) -> None:
    journal = Journal(base)
    assert opened(journal) == BATCHES
    journal.append(SIXTH)
    journal.close()
    assert found(base) == [*BATCHES, SIXTH]


def test_what_a_killed_server_wrote_and_did_not_sync_is_synced_before_it_counts(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = []
    monkeypatch.setattr(os, "fdatasync", lambda file: synced.append(os.readlink(f"/proc/self/fd/{file}")))
    opened(Journal(base))
    assert synced == [f"{base}-0000000000000001"]


def test_the_last_frame_is_written_once_more_for_a_sync_that_failed_may_be_taken_for_done(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = base.with_name("changes-0000000000000001").read_bytes()
    written = []
    pwrite = os.pwrite

    def write(file: int, data: bytes, at: int) -> int:
        written.append((data, at))
        return pwrite(file, data, at)

    monkeypatch.setattr(os, "pwrite", write)
    opened(Journal(base))
    assert written == [(whole[frame_at(4) : frame_at(5)], frame_at(4))]


def assert_takes_nothing(journal: Journal) -> None:
    for step in (lambda: journal.append(SEVENTH), journal.prepare, lambda: journal.turn(os.dup(0))):
        with pytest.raises(StoreBroken, match="could not be synced before"):
            step()


def test_after_a_sync_that_failed_nothing_is_written(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(base)
    opened(journal)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", refuse(errno.EIO))
        with pytest.raises(StoreBroken, match="the journal cannot be synced"):
            journal.append(SIXTH)
    assert_takes_nothing(journal)


@pytest.mark.parametrize(("call", "error"), [("fsync", errno.EIO), ("open", errno.EMFILE)])
def test_after_a_turn_that_may_not_be_durable_nothing_is_written(
    base: Path, monkeypatch: pytest.MonkeyPatch, call: str, error: int
) -> None:
    """In the file before, the next frame would have the number that the new one begins with."""
    journal = Journal(base)
    opened(journal)
    prepared = journal.prepare()
    with monkeypatch.context() as patch:
        patch.setattr(os, call, refuse(error))
        with pytest.raises(StoreBroken, match="cannot be synced"):
            journal.turn(prepared)
    assert_takes_nothing(journal)
    assert found(base) == BATCHES


def test_each_frame_begins_at_a_sector_of_its_own(base: Path) -> None:
    data = base.with_name("changes-0000000000000001").read_bytes()
    assert [FRAME.unpack_from(data, frame_at(number))[1] for number in range(5)] == [1, 2, 3, 4, 5]


def test_it_turns_to_a_new_file_and_drops_those_that_are_merged(base: Path) -> None:
    journal = Journal(base)
    opened(journal)
    for batch in (SIXTH, SEVENTH):
        journal.turn(journal.prepare())
        journal.append(batch)
    assert files(base) == [f"changes-{number:016d}" for number in (1, 6, 7)]
    assert found(base) == [*BATCHES, SIXTH, SEVENTH]
    journal.drop(4)
    assert found(base, 4) == [BATCHES[4], SIXTH, SEVENTH]
    journal.drop(5)
    assert files(base) == [f"changes-{number:016d}" for number in (6, 7)]
    journal.drop(7)
    assert files(base) == ["changes-0000000000000007"]
    assert found(base, 7) == []
    assert Journal(base).count(7) == 0


def test_a_file_that_was_prepared_and_not_turned_to_is_nothing(base: Path) -> None:
    journal = Journal(base)
    opened(journal)
    os.close(journal.prepare())
    assert found(base) == BATCHES
    opened(Journal(base))
    assert files(base) == ["changes-0000000000000001"]


def test_room_is_made_ahead_and_nothing_is_written_over_without_it(base: Path) -> None:
    journal = Journal(base)
    opened(journal)
    path = base.with_name("changes-0000000000000001")
    assert path.stat().st_size == AHEAD_OCTETS
    assert not journal.make_room()
    while journal.newest < 2 * AHEAD_OCTETS // SECTOR:
        journal.append(SIXTH)
    assert path.stat().st_size > AHEAD_OCTETS  # without room it grows
    assert journal.make_room()
    assert path.stat().st_size > 2 * AHEAD_OCTETS
    journal.append(SEVENTH)
    assert found(base)[-2:] == [SIXTH, SEVENTH]


@pytest.mark.parametrize("size", [0, 1, FRAME.size, BATCH_AT, BATCH_AT + 3])
def test_a_torn_end_is_passed_over_and_written_over(base: Path, size: int) -> None:
    path = base.with_name("changes-0000000000000001")
    whole = path.read_bytes()
    end = frame_at(4)
    path.write_bytes(whole[: end + size] + bytes(len(whole) - end - size))
    journal = Journal(base)
    assert opened(journal) == BATCHES[:4]
    journal.append(SIXTH)
    assert found(base) == [*BATCHES[:4], SIXTH]


def test_what_is_in_a_torn_frame_is_not_taken_for_one_behind_it(base: Path) -> None:
    """Where a sector begins within it, there may be anything: also what a client made to look like a frame's front."""
    path = base.with_name("changes-0000000000000001")
    whole = bytearray(path.read_bytes())
    whole[frame_at(3)] ^= 1
    whole[frame_at(3) + SECTOR :] = bytes(len(whole) - frame_at(3) - SECTOR)
    front = FRAME.pack(100, 1 << 63, 0, 0)
    whole[frame_at(3) + SECTOR : frame_at(3) + SECTOR + BATCH_AT] = front + crc32(front).to_bytes(4, "big")
    path.write_bytes(whole)
    assert found(base) == BATCHES[:3]


def test_what_a_front_has_to_look_like_is_different_in_each_file(base: Path) -> None:
    journal = Journal(base)
    opened(journal)
    journal.turn(journal.prepare())
    assert len({path.read_bytes()[HEAD.size - 4 : HEAD.size] for path in base.parent.iterdir()}) == 2


def cut_before_the_end(path: Path) -> None:
    os.truncate(path, frame_at(4) + 2)


def test_a_file_may_end_within_its_last_frame(base: Path) -> None:
    cut_before_the_end(base.with_name("changes-0000000000000001"))
    assert found(base) == BATCHES[:4]
    assert Journal(base).count(0) == 4


def flip(at: int) -> Callable[[Path], None]:
    def flip_there(path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[at] ^= 1
        path.write_bytes(data)

    return flip_there


def flip_each_frame(path: Path) -> None:
    for number in range(5):
        flip(frame_at(number) + BATCH_AT)(path)


def write_to_another_place(path: Path) -> None:
    """As a disk does that mistakes its sectors: the first frame stands where the third belongs."""
    data = bytearray(path.read_bytes())
    data[frame_at(2) : frame_at(3)] = data[frame_at(0) : frame_at(1)]
    path.write_bytes(data)


def rename(path: Path) -> None:
    path.rename(path.with_name("changes-0000000000000002"))


def claim_another_number(path: Path) -> None:
    path.rename(path.with_name("changes-0000000000000000"))


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        (flip(0), "does not begin as it should"),
        (flip(15), "does not begin as it should"),
        (flip(17), "does not begin as it should"),
        (flip(frame_at(0)), "cannot be read, and others follow it"),
        (flip(frame_at(1) + 9), "cannot be read, and others follow it"),
        (flip(frame_at(3) + BATCH_AT + 1000), "cannot be read, and others follow it"),
        (flip_each_frame, "cannot be read, and others follow it"),
        (write_to_another_place, "cannot be read, and others follow it"),
        (rename, "its journal is missing"),
        (claim_another_number, "does not begin as it should"),
        (Path.unlink, "its journal is missing"),
        (lambda path: os.truncate(path, 10), "does not begin as it should"),
    ],
)
def test_damage_is_told_from_what_a_power_cut_leaves(base: Path, harm: Callable[[Path], object], sentence: str) -> None:
    harm(base.with_name("changes-0000000000000001"))
    with pytest.raises(BatchDamagedError, match=sentence):
        found(base)


def test_a_file_that_ends_before_the_next_one_begins_is_damaged(base: Path) -> None:
    journal = Journal(base)
    opened(journal)
    journal.turn(journal.prepare())
    cut_before_the_end(base.with_name("changes-0000000000000001"))
    with pytest.raises(BatchDamagedError, match="commits before changes-0000000000000006 are missing"):
        found(base)


def test_a_journal_that_ends_before_what_was_merged_is_damaged(base: Path) -> None:
    with pytest.raises(BatchDamagedError, match="commits at the end of its journal are missing"):
        found(base, 6)


def test_one_that_was_begun_and_holds_nothing_is_begun_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "changes")
    assert not journal.is_there
    journal.begin(STORE_ID)
    assert not journal.is_there
    journal.begin(STORE_ID)
    opened(journal)
    journal.append(SIXTH)
    assert journal.is_there

"""Nothing leaves the machine until what it promises is on disk: shown by the calls that a real server made.

A server is watched by strace while it starts, serves, is killed, starts again and is stopped. From that recording
the disk is built as it would be found after a power cut at any moment.
"""

from __future__ import annotations

import functools
import random
import re
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from process.server import until
from system.crowd import Crowd, Promise, broken, on_disk
from system.disk import Disk
from system.needs import need_program
from system.trace import Call, read_trace, wrapper
from system.wrapped import WrappedServer
from tandem.lease.lease import KEY_OCTETS, STATUS_AT, BindingStatus
from tandem.stores import mark
from tandem.stores.sqlite import SqliteStore
from tandem.wire.message import MessageType

pytestmark = pytest.mark.system

SEED = 8156
SEATS = 4
SIZE_OCTETS = 2  # a change on disk is its key, the record's size, the record
RUNS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM)
BURSTS = 3
BURST_ANSWERS = 40
WITHIN_S = 5.0
QUIET_S = 0.6
"""So long without a call, the server has done its housekeeping."""
RANDOM_CUTS = 400
IMPATIENT = (
    "import tandem.runtime.state as state; from tandem.stores.sqlite import Pace, SqliteStore as Store\n"
    "pace = Pace(leases_min=20, block_octets_max=400, block_changes_max=8, log_octets_max=32_000)\n"
    "state.SqliteStore = lambda path: Store(path, pace)\n"
    "from tandem.admin.cli import main; main()"
)
"""`tandem`, but its housekeeping is done after a few changes and not after thousands, in more and smaller pieces."""
LOG_HEADER_OCTETS = 32
TORN = "ends in something that cannot be read"
SENDS = ("sendto", "sendmsg", "sendmmsg")


class Recording(NamedTuple):
    """What a server did, and what its clients asked."""

    calls: list[Call]
    crowd: Crowd
    state: Path

    def replies(self) -> dict[int, Promise]:
        """Give what each REPLY promised, by the place of the call that sent it."""
        found = {}
        for at, call in enumerate(self.calls):
            if call.name in SENDS and call.result is None:
                for promise in map(self.crowd.read, filter(_is_relayed, call.strings)):
                    if promise is not None:
                        found[at] = promise
        return found

    def touches_state(self, call: Call) -> bool:
        """Say whether the call is about the state-dir or a file in it."""
        names = (call.file, *(name.decode(errors="replace") for name in call.strings))
        return any(name.startswith(str(self.state)) for name in names)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recording]:
    need_program("strace")
    folder = tmp_path_factory.mktemp("cut")
    server = WrappedServer(folder, tandem=(sys.executable, "-c", IMPATIENT))
    crowd = Crowd(server.address, SEATS, SEED)
    calls: list[Call] = []
    try:
        for run, end in enumerate(RUNS):
            trace = folder / f"trace{run}"
            server.wrapper = wrapper(trace)
            server.start()
            for _ in range(BURSTS):
                crowd.work(WITHIN_S, BURST_ANSWERS)
                # Housekeeping waits for a pause, and is to be recorded as well.
                until(functools.partial(is_quiet, trace), "the server comes to rest")
            crowd.work(WITHIN_S, SEATS)
            server.stop(end)
            calls += read_trace(trace)
        yield Recording(calls, crowd, server.state)
    finally:
        server.stop(signal.SIGKILL)
        crowd.close()


def is_quiet(trace: Path) -> bool:
    return time.time() - trace.stat().st_mtime > QUIET_S


def test_the_recording_shows_all_that_a_store_does(recording: Recording) -> None:
    """Without this, the others could pass for want of anything to look at."""
    assert len(recording.replies()) > len(RUNS) * BURSTS * BURST_ANSWERS / 2
    written = [call for call in recording.calls if call.name == "pwrite64" and call.result is not None]
    emptied = [call for call in written if call.file.endswith("-wal") and len(call.strings[0]) == LOG_HEADER_OCTETS]
    assert any(call.file.endswith("leases.db") for call in written), (
        "the write-ahead log was never brought into the file"
    )
    assert len(emptied) > len(RUNS), "the write-ahead log was never begun anew while serving"
    store = SqliteStore(recording.state / "leases.db")
    assert store.count() > 0, "nothing was merged into blocks"
    store.close()


def test_no_reply_leaves_before_the_sync_of_the_write_that_its_lease_is_in(recording: Recording) -> None:
    replies = recording.replies()
    written: list[bytes] = []
    syncing = 0
    safe: list[bytes] = []
    for at, call in enumerate(recording.calls):
        if at in replies:
            for needle in _needles(replies[at]):
                assert any(needle.search(data) for data in reversed(safe)), f"sent too early: {replies[at]}"
        if Path(call.file).parent != recording.state:
            continue
        if call.name == "pwrite64" and call.result is not None:
            written += call.strings
        elif call.name in ("fsync", "fdatasync"):
            if call.result is None:
                syncing = len(written)
            elif call.result == 0:
                safe += written[:syncing]
                del written[:syncing]


def test_the_state_dir_itself_is_safe_before_the_first_reply(recording: Recording) -> None:
    """A folder that was made is there after a power cut only once the folder around it was synced."""
    parent = str(recording.state.parent)
    before = recording.calls[: min(recording.replies())]
    made = [str(recording.state).encode() in call.strings and call.result == 0 for call in before]
    synced = [call.file == parent and "sync" in call.name and call.result == 0 for call in before]
    assert any(synced[made.index(True) :])


def test_a_power_cut_loses_nothing_that_was_promised(recording: Recording, tmp_path: Path) -> None:
    """At every REPLY: with all lost that was not synced, and with chance deciding. Chance picks more moments.

    While the state is made, at each call: a server that cannot start again is no better than one that forgets.
    """
    chance = random.Random(SEED)
    replies = recording.replies()
    made = [at for at in range(min(replies)) if recording.touches_state(recording.calls[at])]
    cuts = {*replies, *made, *chance.sample(range(len(recording.calls)), RANDOM_CUTS)}
    disk = Disk(str(recording.state))
    promises: dict[bytes, Promise] = {}
    for at, call in enumerate(recording.calls):
        disk.take(call)
        if at in replies:
            promises[replies[at].question.duid] = replies[at]
            check(recording.crowd, disk.at_least(), promises, tmp_path)
        if at in cuts:
            check(recording.crowd, disk.as_found(chance), promises, tmp_path)


def check(crowd: Crowd, files: Mapping[str, bytes], promises: Mapping[bytes, Promise], folder: Path) -> None:
    """Open what a power cut left behind: that must be possible, and every promise must be kept.

    Only of a frame that is torn nobody can say whether it was one that was acknowledged and damaged since.
    """
    state = folder / "state"
    state.mkdir()
    for name, data in files.items():
        (state / name).write_bytes(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mark, "read_boot_id", lambda: b"the kernel that was started afterwards")
        store = SqliteStore(state / "leases.db")
        found = on_disk(store.load())
        store.close()
    shutil.rmtree(state)
    assert [each.sentence for each in store.findings if TORN not in each.sentence] == []
    assert [line for each in promises.values() for line in broken(each, found, crowd.following(each.question))] == []


def _needles(promise: Promise) -> list[re.Pattern[bytes]]:
    """Give what the octets on disk must have in them: the name of the question, or the key with its new status."""
    if promise.question.type is MessageType.RELEASE:
        status = bytes((BindingStatus.RELEASED,))
        keys = [key.to_bytes(KEY_OCTETS, "big") for key in promise.leases]
        between = b".{%d}" % (SIZE_OCTETS + STATUS_AT)
        return [re.compile(re.escape(key) + between + re.escape(status), re.DOTALL) for key in keys]
    label = promise.question.name.partition(".")[0]
    return [re.compile(label.encode())] if promise.leases else []


def _is_relayed(data: bytes) -> bool:
    return data[:1] == bytes((MessageType.RELAY_REPL,))

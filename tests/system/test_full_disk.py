"""A disk that takes nothing: no promise leaves, the operator is told, and it goes on by itself once there is room."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from limits import limit
from process.server import until
from system.crowd import Crowd, broken, exported
from system.needs import need_namespaces, need_program
from system.wrapped import WrappedServer
from tandem.runtime.writer import QUICK_S

pytestmark = pytest.mark.system

SEED = 7031
SEATS = 6
NEWCOMER = 1_000_000
"""The number of the first client that had asked nothing before."""
DISK_OCTETS = 2 << 20
WITHIN_S = 8.0
GOES_ON_WITHIN_S = 5.0
SILENT_S = 1.5
"""How long clients ask a server that must not answer; it tries its disk again every second."""
SLOW_SYNC_US = round(2e6 * QUICK_S)


class SmallDisk:
    """A disk of its own at `place`, which only the processes started with `wrapper` see. It ends with `close`."""

    def __init__(self, place: Path) -> None:
        place.mkdir()
        script = f"mount -t tmpfs -o size={DISK_OCTETS} none '{place}' && echo mounted && exec cat"
        # It waits for its input to end, so that nothing stays behind even if the tests are killed.
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"mounted\n"
        self.wrapper = ("nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt", f"--wd={place.parent}", "--")
        self._ballast = Path(f"/proc/{self._holder.pid}/root{place}/ballast")

    def fill(self) -> None:
        """Leave no room."""
        with contextlib.suppress(OSError), self._ballast.open("ab", buffering=0) as file:
            while file.write(bytes(4096)):
                pass

    def make_room(self) -> None:
        """Take away what fills it."""
        self._ballast.unlink()

    def close(self) -> None:
        """End the last process that sees it, and so the disk."""
        self._holder.communicate(b"", timeout=limit(10))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    need_namespaces()
    small = SmallDisk(tmp_path / "state")
    yield small
    small.close()


@contextlib.contextmanager
def served(folder: Path, wrapper: tuple[str, ...]) -> Iterator[tuple[WrappedServer, Crowd]]:
    """Run a server and give it clients; end both."""
    server = WrappedServer(folder, wrapper)
    crowd = Crowd(server.address, SEATS, SEED)
    try:
        server.start()
        yield server, crowd
    finally:
        server.stop(signal.SIGKILL)
        crowd.close()


def test_full_disk(tmp_path: Path, disk: SmallDisk) -> None:
    with served(tmp_path, disk.wrapper) as (server, crowd):
        assert crowd.work(WITHIN_S, 10 * SEATS) == 10 * SEATS
        disk.fill()
        is_silent(server, crowd)
        disk.make_room()
        goes_on(server, crowd)
        server.stop(signal.SIGKILL)
        server.start()
        keeps_its_promises(server, crowd)


def test_killed_while_the_disk_is_full(tmp_path: Path, disk: SmallDisk) -> None:
    """What was withheld was promised to nobody; what was promised does not need the batch that waits."""
    with served(tmp_path, disk.wrapper) as (server, crowd):
        assert crowd.work(WITHIN_S, 10 * SEATS) == 10 * SEATS
        disk.fill()
        until(lambda: crowd.work(0.1) == 0 and "disk-full" in server.log, "the disk is full")
        server.stop(signal.SIGKILL)
        crowd.drain()
        disk.make_room()
        server.start()
        keeps_its_promises(server, crowd)


def test_status_says_that_the_disk_is_full(tmp_path: Path, disk: SmallDisk) -> None:
    with served(tmp_path, disk.wrapper) as (server, crowd):
        assert disk_by_status(server) == "ok"
        disk.fill()
        until(lambda: crowd.work(0.1) == 0 and "disk-full" in server.log, "the disk is full")
        assert disk_by_status(server) == "full"
        disk.make_room()
        assert crowd.work(GOES_ON_WITHIN_S, SEATS) == SEATS
        assert disk_by_status(server) == "ok"


@pytest.mark.parametrize("reason", ["EROFS", "EDQUOT"])
def test_disk_that_refuses_to_be_written(tmp_path: Path, reason: str) -> None:
    """As a file system does that the kernel made read-only: a few times, in the middle of serving.

    strace counts calls by thread, so syncs are slow: then one thread makes them all. It is refused for ten seconds, of
    which a busy machine may need some to notice.
    """
    need_program("strace")
    refused_writes = f"pwrite64:error={reason}:when=60..69"
    slow_syncs = f"fdatasync:delay_enter={SLOW_SYNC_US}"
    log = tmp_path / "state" / "leases.db-changes-0000000000000001"
    injected = ("-e", f"inject={refused_writes}", "-e", f"inject={slow_syncs}")
    wrapper = ("strace", "-f", "-P", str(log), *injected, "-o", "/dev/null", "--")
    with served(tmp_path, wrapper) as (server, crowd):
        is_silent(server, crowd)
        goes_on(server, crowd)
        server.wrapper = ()
        server.stop(signal.SIGKILL)
        server.start()
        keeps_its_promises(server, crowd)


def test_a_sync_that_failed_ends_the_server(tmp_path: Path) -> None:
    """What the disk holds is not known any more: nothing is sent, tried again or written after it."""
    need_program("strace")
    trace = tmp_path / "trace"
    log = tmp_path / "state" / "leases.db-changes-0000000000000001"
    calls = ("-e", "trace=fdatasync,fsync,pwrite64,ftruncate,unlink", "-e", "inject=fdatasync:error=EIO:when=20")
    with served(tmp_path, ("strace", "-f", "-P", str(log), *calls, "-o", str(trace), "--")) as (server, crowd):
        until(lambda: crowd.work(0.1) == 0 and has_ended(server), "the server ends")
        assert server.stop() == 1
        logged = server.log
        server.wrapper = ()
        server.start()
        keeps_its_promises(server, crowd)
    after = trace.read_text().partition("(INJECTED)\n")[2].splitlines()
    assert [line for line in after if "+++" not in line] == []
    assert "Traceback" not in logged


def has_ended(server: WrappedServer) -> bool:
    return server.process is not None and server.process.poll() is not None


def is_silent(server: WrappedServer, crowd: Crowd) -> None:
    """Check that it says it can promise nothing, and that neither REPLY nor ADVERTISE leaves from then on."""
    until(lambda: crowd.work(0.1) == 0 and "disk-full" in server.log, "the disk takes nothing")
    newcomers = Crowd(server.address, SEATS, SEED, NEWCOMER)
    before = crowd.datagrams
    newcomers.work(SILENT_S / 2)
    crowd.work(SILENT_S / 2)
    newcomers.close()
    assert (newcomers.datagrams, crowd.datagrams - before) == (0, 0)


def goes_on(server: WrappedServer, crowd: Crowd) -> None:
    """Check that clients are answered again, soon, and that this is said, once."""
    assert crowd.work(GOES_ON_WITHIN_S, 5 * SEATS) == 5 * SEATS
    said = [event["event"] for event in server.events() if event["event"].startswith("disk")]
    assert said == ["disk-full", "disk-accepts"]


def disk_by_status(server: WrappedServer) -> str:
    """Give what `tandem status` says of the disk."""
    said = server.cli("status", "--json", "--socket", str(server.folder / "control.sock"))
    assert said.returncode == 0, said.stderr
    found: str = json.loads(said.stdout)["disk"]
    return found


def keeps_its_promises(server: WrappedServer, crowd: Crowd) -> None:
    """Check that all that clients were told is there."""
    found = exported(server.leases().values())
    promises = crowd.promises.values()
    assert len(promises) >= SEATS
    assert [line for each in promises for line in broken(each, found, crowd.following(each.question))] == []

"""`tandem backup` and `tandem restore`: all that a server holds, as one file."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import Progress

from tandem.admin.client import CommandFailed, ControlClient, ServerUnreachable
from tandem.admin.console import confirm, console_for_people, echo, echo_json
from tandem.admin.target import DEFAULT_STATE_DIR, AsJson, Socket, StateDir, connect

if TYPE_CHECKING:  # what it imports takes a while, and most commands do without
    from tandem.stores.backup import Contents
    from tandem.stores.copy import StoreCopy

RENEW_S = 5.0
"""How often the server is told that its files are still being read."""
NICE = 10
"""By how much reading makes way for a server on the same processors."""
STORE_NAME = "leases.db"

To = Annotated[Path, typer.Argument(metavar="TO", help="The file to write, or a directory for it.", show_default=False)]
From = Annotated[Path, typer.Argument(metavar="FROM", help="A file that `tandem backup` made.", show_default=False)]
Into = Annotated[Path, typer.Option("--state-dir", metavar="DIR", help="The state-dir to put it into.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def backup(
    to: To,
    state_dir: StateDir = DEFAULT_STATE_DIR,
    socket: Socket = None,
    as_json: AsJson = False,
) -> None:
    """Write all leases, the DUID and failover states into one file, while the server serves or when it is stopped.

    The file is read back and counted. It holds the server's secrets, and only you may read it.
    """
    began = time.monotonic()
    with _explained(to):
        path, contents, findings = _make(to, state_dir, socket, as_json)
    echo(*(f"{each}." for each in findings), err=True)
    if as_json:
        seconds = round(time.monotonic() - began, 3)
        echo_json({"file": str(path), **_as_json(contents), "octets": contents.octets, "seconds": seconds})
    else:
        echo(f"{path} holds {_describe(contents)}, in {contents.octets:,} octets. It was read back and is complete.")


def restore(source: From, state_dir: Into = DEFAULT_STATE_DIR, yes: Yes = False, as_json: AsJson = False) -> None:
    """Put a backup into the state-dir of a stopped server. What is there is kept aside.

    The server knows afterwards that it was restored: in a pair, it asks its partner for all that happened since.
    """
    # Imported here, so that the other commands start quickly.
    from tandem.stores.backup import verify
    from tandem.stores.restore import Restore

    with _explained(state_dir):
        contents = verify(source)
        with Restore(source, contents, state_dir, STORE_NAME) as restoring:
            if restoring.objection and not yes:
                echo(restoring.objection, f"The backup holds {_describe(contents)}.", err=True)
                confirm("Put the backup in its place? What is there is kept aside.")
            with _progress("restoring", as_json) as advance:
                aside = restoring.write(advance)
    if as_json:
        kept = None if aside is None else str(aside)
        echo_json({"state-dir": str(state_dir), **_as_json(contents), "kept-aside": kept})
        return
    echo(f"{state_dir} holds {_describe(contents)}.")
    if aside is not None:
        echo(f"What was there before is in {aside}.")
    echo("Start the server. In a pair it recovers from its partner and waits the MCLT; alone it serves at once.")


def _make(to: Path, state_dir: Path, socket: Path | None, as_json: bool) -> tuple[Path, Contents, list[str]]:
    """Make a backup of a server that serves, or of its files if none does."""
    try:
        with connect(state_dir, socket) as server:
            os.nice(NICE)
            return _make_while_serving(server, to, as_json)
    except ServerUnreachable:
        if socket is not None:
            raise
    return _make_of_stopped(state_dir, to, as_json)


def _make_while_serving(server: ControlClient, to: Path, as_json: bool) -> tuple[Path, Contents, list[str]]:
    from tandem.stores.copy import StoreCopy

    held = server.ask("backup-begin")
    ended = False

    def batches(copy: StoreCopy) -> Iterator[bytes]:
        """Give what the server holds, telling it now and then, and at the end that it need not any longer."""
        nonlocal ended
        renewed = time.monotonic()
        for batch in copy.batches():
            yield batch
            if time.monotonic() - renewed > RENEW_S:
                server.ask("backup-continue", backup=held["backup"])
                renewed = time.monotonic()
        server.ask("backup-end", backup=held["backup"])
        ended = True

    try:
        copy = StoreCopy(Path(held["folder"]) / STORE_NAME, held["position"])
        try:
            return *_write(to, held["server"], copy, batches(copy), as_json), [each.sentence for each in copy.findings]
        finally:
            copy.close()
    finally:
        if not ended:
            with contextlib.suppress(CommandFailed):
                server.ask("backup-end", backup=held["backup"])


def _make_of_stopped(state_dir: Path, to: Path, as_json: bool) -> tuple[Path, Contents, list[str]]:
    from tandem.stores.claim import take_alone
    from tandem.stores.copy import StoreCopy

    path = state_dir / STORE_NAME
    if not path.exists():
        raise CommandFailed(f"{state_dir} holds no leases, and no server has its control socket there.")
    try:
        lock = take_alone(path)
    except BlockingIOError as error:
        raise CommandFailed(
            f"A server uses {path}, but its control socket is elsewhere: name it by --socket."
        ) from error
    try:
        copy = StoreCopy(path)
        try:
            return *_write(to, "", copy, copy.batches(), as_json), [each.sentence for each in copy.findings]
        finally:
            copy.close()
    finally:
        os.close(lock)


def _write(to: Path, server: str, copy: StoreCopy, batches: Iterable[bytes], as_json: bool) -> tuple[Path, Contents]:
    """Write a backup, read it back, and only then give it its name."""
    from tandem.stores.backup import BackupWriter, Origin, verify

    now = int(time.time())
    if to.is_dir():
        to = to / f"tandem{'-' if server else ''}{server}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(now))}.backup"
    if to.exists():
        raise CommandFailed(f"{to} exists already, and was not changed. Name another file, or a directory.")
    writer = BackupWriter(to)
    total = copy.octets()
    try:
        with _progress("writing", as_json) as advance:
            counted = _counted(batches, lambda done: advance(done, max(done, total)))
            writer.write(Origin(server, copy.store_id.hex(), now), counted, lambda: copy.position)
        with _progress("reading back", as_json) as advance:
            contents = verify(writer.draft, advance)
        writer.finish()
    except BaseException:
        writer.give_up()
        raise
    return to, contents


def _counted(batches: Iterable[bytes], advance: Callable[[int], object]) -> Iterator[bytes]:
    """Give the batches, and say how many octets they were."""
    done = 0
    for batch in batches:
        yield batch
        done += len(batch)
        advance(done)


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Have whatever goes wrong said as a sentence."""
    from tandem.stores.store import StoreBroken, StoreError, StoreFull

    try:
        yield
    except (StoreError, StoreBroken) as error:
        raise CommandFailed(str(error)) from error
    except StoreFull as error:
        raise CommandFailed(f"The disk takes nothing: {error}. Make room and try again.") from error
    except OSError as error:
        raise CommandFailed(f"{error.filename or path} cannot be used: {error.strerror or error}.") from error


@contextlib.contextmanager
def _progress(what: str, as_json: bool) -> Iterator[Callable[[int, int], None]]:
    """Show progress on a terminal."""
    if as_json or not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    with Progress(console=console_for_people(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _describe(contents: Contents) -> str:
    """Return what a backup holds, in words."""
    origin = contents.origin
    when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(origin.utc))
    of = f" of server {origin.server}" if origin.server else ""
    return f"{contents.leases:,} leases{of} as of {when} (commit {contents.position})"


def _as_json(contents: Contents) -> dict[str, Any]:
    origin = contents.origin
    return {
        "server": origin.server,
        "taken": origin.utc,
        "store-id": origin.store_id,
        "position": contents.position,
        "leases": contents.leases,
    }

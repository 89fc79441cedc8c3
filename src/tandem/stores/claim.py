"""Whose file it is: what is seen of one before SQLite opens it, and the lock that keeps other servers away."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from tandem.stores.store import StoreError

APPLICATION_ID = 0x54416E64
VERSION = 6
HEADER_OCTETS = 100


def take_alone(path: Path) -> int:
    """Give an open file whose lock keeps other servers away, before anything is read. BlockingIOError if one has it."""
    file = os.open(path.with_name(path.name + "-lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(file)
        raise
    return file


def look_at_header(path: Path) -> None:
    """Refuse another program's file, and one of a newer version, without opening it as a database."""
    try:
        with path.open("rb") as file:
            header = file.read(HEADER_OCTETS)
    except FileNotFoundError:
        return
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}.") from error
    application, version = int.from_bytes(header[68:72], "big"), int.from_bytes(header[60:64], "big")
    if len(header) < HEADER_OCTETS or not header.startswith(b"SQLite format 3\0") or application != APPLICATION_ID:
        raise StoreError(
            f"{path} is not a lease file of this server, or is damaged. It was not changed. "
            "Move it away, or name another state-dir."
        )
    if version > VERSION:
        raise newer(path, version)
    if version < VERSION:
        raise StoreError(
            f"{path} was written before the first release (format {version}; this one knows {VERSION}). "
            "It was not changed. Move it away to begin without leases."
        )


def newer(path: Path, version: int) -> StoreError:
    """Give the error for a file of a version that is not known here yet."""
    return StoreError(
        f"{path} was written by a newer version of this server (format {version}; this one knows {VERSION}). "
        f"It was not changed. Install that version again."
    )


def refuse_orphan(log: Path) -> None:
    """Refuse to begin anew beside the write-ahead log of a file that is gone: it would be taken for the new one's."""
    if log.exists() and log.stat().st_size:
        raise orphan(str(log))


def orphan(name: str) -> StoreError:
    """Give the error for a file that is left of several."""
    return StoreError(f"{name} belongs to a file that is no longer beside it. Put both back, or move it away as well.")

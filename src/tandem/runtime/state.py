"""What a server finds in its state-dir when it starts: its store, its identity, its leases."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

from tandem.effects.effects import Note
from tandem.failover.history import INCARNATION_OCTETS
from tandem.lease.change import Fact, Put
from tandem.node import Identity
from tandem.stores.journal import sync_folder
from tandem.stores.sqlite import SqliteStore
from tandem.stores.store import StoreBroken, StoreError, StoreFull

STORE_NAME = "leases.db"
DUID_FACT = "duid"
SECRET_FACT = "secret"
SECRET_OCTETS = 16
DUID_UUID = b"\0\4"  # RFC 9915 11.5
MISSING_ADVICE = (
    "In a pair, this server recovers from its partner by itself. Alone, leases that clients hold may be missing here: "
    "see docs/disasters.md, 'Commits are missing'."
)
PROGRESS_EVERY = 50_000


class State:
    """An opened store, with the facts it held. `leases` can be gone through once."""

    def __init__(self, folder: Path, progress: Callable[[int, int], None]) -> None:
        """Open the state in `folder`, made if missing. StoreError says why it cannot be used."""
        try:
            _make_folder(folder)
        except OSError as error:
            raise StoreError(f"The state-dir {folder} cannot be made: {error.strerror}.") from error
        except StoreBroken as error:
            raise StoreError(f"The state-dir {folder} cannot be made: {error}.") from error
        if not os.access(folder, os.W_OK | os.X_OK):
            raise StoreError(f"The state-dir {folder} cannot be written to. Give it to the user that runs the server.")
        self.store = SqliteStore(folder / STORE_NAME)
        self.facts: dict[str, bytes] = {}
        self._progress = progress

    def leases(self) -> Iterator[Put]:
        """Give the leases on disk, and keep the facts that come between them."""
        total = self.store.count()
        for number, change in enumerate(self.store.load(), 1):
            if isinstance(change, Put):
                yield change
            else:
                self.facts[change.name] = change.value
            if number % PROGRESS_EVERY == 0:
                self._progress(number, total)

    @property
    def position(self) -> int:
        """Return the number of the last commit."""
        return self.store.position

    def notes(self) -> list[Note]:
        """Return what was noticed while the store was read, for the log."""
        return [
            Note("commits-missing", "error", {"why": each.sentence, "missing": each.missing, "advice": MISSING_ADVICE})
            if each.is_lost
            else Note("journal-end-dropped", "warning", {"why": each.sentence})
            for each in self.store.findings
        ]

    def identity(self, configured_duid: bytes | None) -> Identity:
        """Return who this server is and which start this is. What is made once is durable when this returns."""
        made = {
            DUID_FACT: DUID_UUID + secrets.token_bytes(16),
            SECRET_FACT: secrets.token_bytes(SECRET_OCTETS),
        }
        new = [Fact(name, value) for name, value in made.items() if name not in self.facts]
        if new:
            try:
                self.store.commit(new)
            except StoreFull as error:
                raise StoreError(f"The disk takes nothing: {error}. Make room and start again.") from error
            except StoreBroken as error:
                raise StoreError(f"{error}. Look after the disk before starting again.") from error
            self.facts.update((fact.name, fact.value) for fact in new)
        duid = configured_duid or self.facts[DUID_FACT]
        return Identity(duid, self.facts[SECRET_FACT], secrets.token_bytes(INCARNATION_OCTETS))


def _make_folder(folder: Path) -> None:
    """Make a folder and those around it, so that they are there after a power cut too. OSError if that fails."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    for each in missing:
        sync_folder(each.parent)

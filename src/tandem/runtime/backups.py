"""Keeps the store's files still while `tandem backup` reads them, for as long as it says that it still does.

The reading is done by the process that asked. The server only leaves out housekeeping meanwhile, so commits cost what
they always do; what would be merged waits in the journal.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

from tandem.effects.effects import Answer
from tandem.effects.events import Command
from tandem.runtime.writer import Writer
from tandem.stores.sqlite import SqliteStore
from tandem.stores.store import StoreBroken, StoreFull

HOLD_S = 30.0
"""How long the files are kept still without hearing from whoever reads them."""
COMMANDS = ("backup-begin", "backup-continue", "backup-end")


class Backups:
    """Obeys the commands of `tandem backup`. One backup is made at a time."""

    def __init__(
        self,
        server: str,
        folder: Path,
        store: SqliteStore,
        writer: Writer,
        answer: Callable[[Answer], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        """`failed` is called in any thread if the disk fails."""
        self._server = server
        self._folder = folder
        self._store = store
        self._writer = writer
        self._answer = answer
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self._numbers = count(1)
        self._holding: int | None = None
        """The backup that is being made."""
        self._expiry: asyncio.TimerHandle | None = None

    def obey(self, command: Command) -> None:
        """Obey one of COMMANDS; the answer may come later."""
        if command.name == "backup-begin":
            self._begin(command.ticket)
        elif self._holding is None or command.arguments.get("backup") != self._holding:
            self._refuse(command.ticket, "The files were not kept still for long enough. Make the backup again.")
        else:
            if command.name == "backup-continue":
                self._expire_later()
            else:
                self.end()
            self._answer(Answer(command.ticket, {}))

    def end(self) -> None:
        """Let housekeeping go on."""
        self._holding = None
        self._store.release()
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None

    def _begin(self, ticket: int) -> None:
        if self._holding is not None:
            self._refuse(ticket, "A backup is being made already.")
            return
        self._holding = next(self._numbers)
        self._expire_later()
        self._writer.between_batches(lambda: self._hold(ticket))

    def _hold(self, ticket: int) -> None:
        """Hold the files. Called in the writer's thread."""
        try:
            position = self._store.hold()
        except StoreFull as error:
            self._loop.call_soon_threadsafe(self._could_not, ticket, f"The disk takes nothing: {error}.")
        except StoreBroken as error:
            self._failed(error)
        else:
            self._loop.call_soon_threadsafe(self._held, ticket, position)

    def _held(self, ticket: int, position: int) -> None:
        if self._holding is None:  # it took longer than anybody waits
            self._store.release()
            self._refuse(ticket, "The disk is too slow for a backup.")
            return
        result: dict[str, Any] = {
            "backup": self._holding,
            "server": self._server,
            "folder": str(self._folder.absolute()),
            "position": position,
        }
        self._answer(Answer(ticket, result))

    def _could_not(self, ticket: int, why: str) -> None:
        self.end()
        self._refuse(ticket, why)

    def _refuse(self, ticket: int, sentence: str) -> None:
        self._answer(Answer(ticket, None, sentence))

    def _expire_later(self) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
        self._expiry = self._loop.call_later(HOLD_S, self.end)

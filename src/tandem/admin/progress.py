"""Says how far the reading of a large configuration file has come: on a terminal, to systemd, and in the log."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tandem.admin.console import echo_over
from tandem.runtime.logs import Log
from tandem.runtime.notify import notify

Progress = Callable[[str, int, int], None]
QUIET_S = 1.0
"""What is read within this time needs no progress; later there is some once in so much time."""
EXTEND_S = 60
"""How much longer systemd is to wait with each step. Some steps of a file with a million reservations take long."""


class Paced:
    """Passes progress on, not more often than people can read."""

    def __init__(self, tell: Callable[[str, float], None]) -> None:
        self._tell = tell
        self._began = self._told = time.monotonic()

    def __call__(self, what: str, done: int, total: int) -> None:
        """Note the step in progress, and how many of its items are done."""
        now = time.monotonic()
        if now - self._told >= QUIET_S:
            self._told = now
            self._tell(f"{what}, {done:,} of {total:,}" if total else what, round(now - self._began, 1))


@contextlib.contextmanager
def progress_on_terminal() -> Iterator[Progress]:
    """Show progress on standard error as long as it is needed, if that is a terminal."""
    shown = False

    def tell(what: str, seconds: float) -> None:
        nonlocal shown
        if sys.stderr.isatty():
            shown = True
            echo_over(f"{seconds:.0f} s: {what}")

    try:
        yield Paced(tell)
    finally:
        if shown:
            echo_over("")


def progress_of_start(path: Path) -> Progress:
    """Report the loading of a file to systemd and the log, at the default level: the file has not said its own yet."""
    log = Log("info", as_json=not sys.stderr.isatty())

    def tell(what: str, seconds: float) -> None:
        notify(f"STATUS=Loading {path}: {what}\nEXTEND_TIMEOUT_USEC={EXTEND_S * 1_000_000}")
        log.say("loading-file", file=str(path), doing=what, seconds=seconds)

    notify(f"EXTEND_TIMEOUT_USEC={EXTEND_S * 1_000_000}")
    return Paced(tell)

"""A real pair on loopback, over TLS."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from limits import limit
from tandem.admin.demo_pair import Pair, until

WITHIN_S = limit(30.0)


@contextmanager
def in_step(folder: Path) -> Iterator[Pair]:
    """Run both servers in a folder; they are in NORMAL, and know the same."""
    running = Pair(folder)
    try:
        for server in running.servers:
            server.start()
        until(running.is_in_step, WITHIN_S, "both are in NORMAL")
        yield running
    finally:
        running.close()

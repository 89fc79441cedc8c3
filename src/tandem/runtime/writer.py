"""The one thread that waits for the disk."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable

from tandem.lease.change import Change
from tandem.runtime.histogram import Histogram
from tandem.stores.store import Store, StoreFull

IDLE_S = 0.05
"""How long the disk must have had nothing to do before housekeeping begins."""
TIDY_EVERY = 8
"""Commits after which there is a piece of housekeeping without a pause too: none waits for long behind it."""


class Writer(threading.Thread):
    """The one thread that touches the store. Commits batches in order, and tidies when there are none."""

    def __init__(self, store: Store, done: Callable[[BaseException | None], None]) -> None:
        super().__init__(name="writer", daemon=True)
        self._store = store
        self._done = done
        self.times = Histogram()
        """How long commits took, their syncs included."""
        self._batches: queue.SimpleQueue[list[Change] | None] = queue.SimpleQueue()

    def commit(self, batch: list[Change]) -> None:
        """Have the batch made durable; `done` is called from this thread with what came of it."""
        self._batches.put(batch)

    def stop(self) -> None:
        """End once all batches are done."""
        self._batches.put(None)

    def run(self) -> None:
        """Work until stopped."""
        untidy = 1
        while True:
            try:
                batch = self._batches.get(timeout=IDLE_S if untidy else None)
            except queue.Empty:
                untidy = int(self._tidy())
                continue
            if batch is None:
                return
            began = time.monotonic()
            try:
                self._store.commit(batch)
            except BaseException as error:  # reported, and judged by the main thread
                self._done(error)
            else:
                self.times.add(time.monotonic() - began)
                self._done(None)
                untidy += 1
                if untidy % TIDY_EVERY == 0:
                    self._tidy()

    def _tidy(self) -> bool:
        try:
            return self._store.tidy()
        except StoreFull:
            return False  # there is room again when a commit succeeds
        except BaseException as error:  # judged by the main thread, like a commit's
            self._done(error)
            return False

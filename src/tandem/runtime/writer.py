"""Makes batches durable: in a thread that waits for the disk, or at once if nothing else is to be done meanwhile."""

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
AT_ONCE_MAX = 32
"""Changes in a batch that is committed at once; more of them take their time."""
QUICK_S = 0.002
"""How long a commit took at most, if the next one may be done at once: on a slow disk a thread does the waiting."""


class Writer(threading.Thread):
    """Commits batches in order, and tidies when there are none. One batch is given at a time.

    To hand a batch to another thread and hear of it costs more than a quick disk takes to sync, so a caller who has
    nothing else to do had better wait for the disk itself (docs/decisions/020).
    """

    def __init__(
        self,
        store: Store,
        done: Callable[[BaseException | None], None],
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(name="writer", daemon=True)
        self._store = store
        self._done = done
        self._monotonic_s = monotonic_s
        self.times = Histogram()
        """How long commits took, their syncs included."""
        self._batches: queue.SimpleQueue[list[Change] | Callable[[], None] | None] = queue.SimpleQueue()
        self._last_s = float("inf")
        self._commits = 0

    @property
    def position(self) -> int:
        """Return the number of the last commit that is durable."""
        return self._store.position

    def commit(self, batch: list[Change]) -> None:
        """Have the batch made durable; `done` is called from this thread with what came of it."""
        self._batches.put(batch)

    def commit_at_once(self, batch: list[Change]) -> bool:
        """Make the batch durable before this returns, if that will not take long; say whether it is.

        If not, it is as if `commit` had been called.
        """
        if len(batch) > AT_ONCE_MAX or self._last_s > QUICK_S:
            self.commit(batch)
            return False
        is_durable = self._try(batch)
        if is_durable and self._commits % TIDY_EVERY == 0:
            self._batches.put([])
        return is_durable

    def between_batches(self, step: Callable[[], None]) -> None:
        """Have the step done in this thread, while nothing is tidied. It must not raise."""
        self._batches.put(step)

    def stop(self) -> None:
        """End once all batches are done."""
        self._batches.put(None)

    def run(self) -> None:
        """Work until stopped. An empty batch is there to be tidied after."""
        is_untidy = True
        while True:
            try:
                batch = self._batches.get(timeout=IDLE_S if is_untidy else None)
            except queue.Empty:
                is_untidy = self._tidy()
                continue
            if batch is None:
                return
            if callable(batch):
                batch()
                continue
            if batch:
                if not self._try(batch):
                    continue
                self._done(None)
            is_untidy = True
            if not batch or self._commits % TIDY_EVERY == 0:
                self._tidy()

    def _try(self, batch: list[Change]) -> bool:
        """Commit; a failure is reported, and judged by the main thread."""
        began = self._monotonic_s()
        try:
            self._store.commit(batch)
        except BaseException as error:
            self._done(error)
            return False
        self._last_s = self._monotonic_s() - began
        self.times.add(self._last_s)
        self._commits += 1
        return True

    def _tidy(self) -> bool:
        try:
            return self._store.tidy()
        except StoreFull:
            return False  # there is room again when a commit succeeds
        except BaseException as error:  # judged by the main thread, like a commit's
            self._done(error)
            return False

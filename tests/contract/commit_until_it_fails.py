"""Run by tests in a process of its own: commits batch after batch and says what came of each, one word to a line."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from contract.test_store import BACK_ENDS
from tandem.lease.change import Put
from tandem.stores.store import StoreBroken, StoreError, StoreFull

BATCHES_MAX = 200
RECORD = bytes(2000)


def run(name: str, folder: Path, octets_max: int) -> None:
    """Commit batches of one lease each until one fails; no file may become larger than `octets_max`, if not 0.

    A store that is full is given room, and the same batch once more.
    """
    store = BACK_ENDS[name](folder)
    list(store.load())
    print("opened", flush=True)
    if octets_max:
        resource.setrlimit(resource.RLIMIT_FSIZE, (octets_max, resource.RLIM_INFINITY))
    for number in range(BATCHES_MAX):
        batch = [Put(number, RECORD)]
        try:
            store.commit(batch)
        except StoreFull:
            print("full", flush=True)
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            store.commit(batch)
            print("committed", flush=True)
            return
        print("committed", flush=True)


if __name__ == "__main__":
    try:
        run(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
    except (StoreError, StoreBroken) as failure:
        print(type(failure).__name__, flush=True)

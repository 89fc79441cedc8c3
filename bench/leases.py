"""Fill a state-dir with leases, to measure starting and memory: `python -m bench.leases NUMBER STATE-DIR`."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

from rich.progress import track

from tandem.lease.change import Change, Put
from tandem.lease.lease import BindingStatus, Lease, key_of
from tandem.stores.sqlite import SqliteStore

POOL_FIRST = 0x20010DB8_0001_0000_0001_0001_0000_0000
VALID_S = 86_400
BATCH = 1000


def leases(count: int) -> Iterator[Change]:
    """Give addresses of 2001:db8:1:0:1::/80, held by as many clients for a day from now."""
    now_utc = int(time.time())
    for number in range(count):
        duid = b"\0\1\0\1\x2d\0\0\0\0\x0c" + number.to_bytes(4, "big")
        key = key_of(POOL_FIRST + number)
        held = (now_utc, now_utc, now_utc + VALID_S, VALID_S, VALID_S, VALID_S // 2, VALID_S * 8 // 10)
        yield Put(key, Lease(key, BindingStatus.ACTIVE, duid, 1, *held, b"").pack())


def fill(count: int, folder: Path) -> None:
    """Write the leases and fold them, as a server does that has had a quiet hour."""
    folder.mkdir(parents=True, exist_ok=True)
    store = SqliteStore(folder / "leases.db")
    source = leases(count)
    for at in track(range(0, count, BATCH), description="writing"):
        store.commit([next(source) for _ in range(min(BATCH, count - at))])
    while store.tidy():
        pass
    store.close()


if __name__ == "__main__":
    fill(int(sys.argv[1]), Path(sys.argv[2]))

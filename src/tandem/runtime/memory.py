"""What becomes of memory that is no longer needed."""

from __future__ import annotations

import ctypes
from typing import Final

M_MMAP_THRESHOLD: Final = -3
"""mallopt(3): from this size on a piece of memory is mapped by itself, and goes back to the system when it is freed."""
LARGE_OCTETS: Final = 4 * 1024 * 1024


def give_back_large_pieces() -> None:
    """Have every large piece of memory mapped by itself.

    A table of many leases is laid out anew from time to time. glibc learns from the first freed one to take the next
    from the heap, where what is freed between small pieces stays the process's: each new layout could add to it.
    Other C libraries (musl) have no such rule and no such setting; nothing is done there.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGE_OCTETS)

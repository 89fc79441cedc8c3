"""A cursor over octets that cannot pass its end; the one place where a length is honoured."""

from __future__ import annotations

from typing import Final

DEPTH_MAX: Final = 8  # options in options: an IA holds a lease, a lease holds options, and there is room to spare


class WireError(ValueError):
    """The peer sent octets that do not follow the format."""


class Reader:
    """Reads `data` from the front. Leftovers are an error at `done`, over-nesting an error at `sub`."""

    __slots__ = ("at", "data", "depth", "end")

    def __init__(self, data: bytes, depth: int = 0) -> None:
        self.data = data
        self.at = 0
        self.end = len(data)
        self.depth = depth

    def sub(self, size: int) -> Reader:
        """Give a reader of the next `size` octets, one level deeper. WireError if that is too deep."""
        if self.depth == DEPTH_MAX:
            raise WireError(f"options are nested deeper than {DEPTH_MAX}")
        return Reader(self.take(size), self.depth + 1)

    def take(self, size: int) -> bytes:
        """Give the next `size` octets. WireError if fewer are left."""
        at, to = self.at, self.at + size
        if to > self.end:
            raise WireError(f"need {size} octets at {at}, have {self.end - at}")
        self.at = to
        return self.data[at:to]

    def uint(self, size: int) -> int:
        """Give the next `size` octets as an unsigned integer in network byte order."""
        return int.from_bytes(self.take(size), "big")

    def rest(self) -> bytes:
        """Give all that is left."""
        return self.take(self.end - self.at)

    def done(self) -> None:
        """Refuse leftovers: WireError unless everything was read."""
        if self.at != self.end:
            raise WireError(f"{self.end - self.at} octets left over at {self.at}")

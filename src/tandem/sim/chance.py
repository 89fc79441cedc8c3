"""Everything that is random in a simulated world, from its seed."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from random import Random
from typing import TypeVar

T = TypeVar("T")


class Chance:
    """Draws from a seed and a name: the same row on every machine, whatever is drawn under other names.

    Only `Random.random` and `Random.getrandbits` are used, which give the same in every version of Python.
    """

    def __init__(self, seed: int, *names: object) -> None:
        digest = sha256("/".join(map(str, (seed, *names))).encode()).digest()
        self._random = Random(int.from_bytes(digest, "big"))

    def happens(self, probability: float) -> bool:
        """Say yes as often as the probability, from 0 to 1, says."""
        return self._random.random() < probability

    def between(self, low: float, high: float) -> float:
        """Give a number from low to high."""
        return low + (high - low) * self._random.random()

    def below(self, limit: int) -> int:
        """Give a whole number from 0 to limit - 1."""
        return int(self._random.random() * limit)

    def bits(self, count: int) -> int:
        """Give a number of so many bits."""
        return self._random.getrandbits(count)

    def pick(self, things: Sequence[T]) -> T:
        """Give one of the things."""
        return things[self.below(len(things))]

    def weighted(self, things: Sequence[tuple[int, T]]) -> T:
        """Give one of the things, each as often as the number before it says."""
        left = self.below(sum(weight for weight, _ in things))
        for weight, thing in things:
            left -= weight
            if left < 0:
                return thing
        raise AssertionError("no thing has a weight")

    def some(self, things: Sequence[T], count: int) -> list[T]:
        """Give so many of the things, none twice, in a drawn order."""
        left = list(things)
        return [left.pop(self.below(len(left))) for _ in range(min(count, len(left)))]

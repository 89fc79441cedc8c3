"""What joins a relationship and what leaves it, compared in steps: as sets of addresses say."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest

from tandem.failover.joining import difference, finished, merged
from tandem.lease.space import Interval


def drawn(random: Random) -> list[Interval]:
    """Draw ranges in their order, apart from each other."""
    ends = sorted(random.sample(range(200), 2 * random.randrange(12)))
    return list(zip(ends[::2], ends[1::2], strict=True))


def addresses(ranges: list[Interval]) -> set[int]:
    return {each for first, last in ranges for each in range(first, last + 1)}


@pytest.mark.parametrize("seed", range(200))
def test_the_difference_is_that_of_sets(seed: int) -> None:
    random = Random(seed)
    ranges, others = drawn(random), drawn(random)
    found = finished(difference(ranges, others))
    assert found == sorted(found)
    assert sum(last - first + 1 for first, last in found) == len(addresses(found))
    assert addresses(found) == addresses(ranges) - addresses(others)


@pytest.mark.parametrize("seed", range(50))
def test_ranges_that_overlap_are_put_together(seed: int) -> None:
    random = Random(seed)
    ranges = [(first := random.randrange(100), first + random.randrange(9)) for _ in range(random.randrange(30))]
    found = finished(merged(ranges))
    assert addresses(found) == addresses(ranges)
    assert all(one[1] < other[0] for one, other in pairwise(found))

"""Durations are counted by how long they are."""

from __future__ import annotations

from tandem.runtime.histogram import BOUNDS_S, Histogram, at_most_s


def test_each_is_counted_under_the_first_bound_that_it_does_not_pass() -> None:
    times = Histogram()
    for seconds in (0.0, 0.0005, 0.0006, 0.1, 7.0):
        times.add(seconds)
    found = times.as_json()
    counted = {bound: count for bound, count in zip([*BOUNDS_S, 9.9], found["counts"], strict=True) if count}
    assert counted == {0.0005: 2, 0.001: 1, 0.1: 1, 9.9: 1}
    assert found["sum-s"] == 7.1011


def test_a_share_of_them_took_at_most_so_long() -> None:
    times = Histogram()
    for _ in range(98):
        times.add(0.0001)
    times.add(0.15)
    times.add(3.0)
    found = times.as_json()
    assert [at_most_s(found, share) for share in (0.5, 0.98, 0.99, 1.0)] == [0.0005, 0.0005, 0.2, None]

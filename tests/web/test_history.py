"""What is made of two answers of a server: rates, and how long answers took in between."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from tandem.admin.web.history import EVERY_S, KEPT_MAX, History, sample

UP_TO_S = [0.001, 0.01]


def status(time: int, answered: int = 0, counts: tuple[int, ...] | None = None, pid: int = 1) -> dict[str, Any]:
    return {
        "time": time,
        "pid": pid,
        "counters": {"answered": {"SOLICIT": answered, "REQUEST": answered}, "dropped": {"malformed": 4}},
        "times": {} if counts is None else {"reply": {"up-to-s": UP_TO_S, "counts": list(counts)}},
        "links": [{"pools": [{"where": "subnet[1].pools[1]", "in-use": answered}]}],
        "relationships": [{"name": "campus", "updates": {"unacked": 3}}],
    }


def test_rates_are_of_the_time_between() -> None:
    found = sample(status(100, 10, (1, 0, 0)), status(104, 30, (1, 99, 1)))
    assert found is not None
    assert (found.time, found.answers_per_s, found.drops_per_s) == (104, 10.0, 0.0)
    assert (found.reply_median_s, found.reply_p99_s) == (0.01, 0.01)
    assert (found.in_use, found.unacked) == ({"subnet[1].pools[1]": 30}, {"campus": 3})


def test_no_reply_takes_no_time() -> None:
    for before, after in (((1, 2, 3), (1, 2, 3)), (None, None)):
        found = sample(status(1, counts=before), status(2, counts=after))
        assert found is not None
        assert (found.reply_median_s, found.reply_p99_s) == (None, None)


def test_the_first_replies_count_from_nothing() -> None:
    found = sample(status(1), status(2, counts=(5, 0, 0)))
    assert found is not None
    assert found.reply_p99_s == 0.001


def test_another_life_of_the_server_is_not_compared() -> None:
    assert sample(status(1), status(2, pid=2)) is None
    assert sample(status(2), status(2)) is None
    assert sample(status(2), status(1)) is None


def test_an_hour_is_kept_a_sample_each_ten_seconds() -> None:
    history = History()
    for second in range(round(EVERY_S * KEPT_MAX) + 100):
        history.add(status(second, second))
    times = [each["time"] for each in history.as_json()]
    assert len(times) == KEPT_MAX
    assert {later - earlier for earlier, later in pairwise(times)} == {EVERY_S}


def test_a_restart_leaves_a_gap_and_no_wrong_rate() -> None:
    history = History()
    for time, answered, pid in ((0, 1000, 1), (10, 2000, 1), (20, 5, 2), (30, 25, 2)):
        history.add(status(time, answered, pid=pid))
    assert [(each["time"], each["answers_per_s"]) for each in history.as_json()] == [(10, 200.0), (30, 4.0)]

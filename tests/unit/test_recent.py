"""The last events: which are kept, and how one goes on from where one was."""

from __future__ import annotations

from tandem.effects.effects import Note
from tandem.runtime.recent import KEPT_MAX, PAGE_MAX, Recent


def filled(count: int) -> Recent:
    recent = Recent(0)
    for number in range(1, count + 1):
        recent.add([Note("failover-state", "warning", {"number_of_it": number})])
    return recent


def test_what_comes_by_the_thousand_is_not_kept() -> None:
    recent = Recent(0)
    recent.add([Note("answered", "info", {}), Note("lease-ended", "info", {}), Note("dropped", "warning", {})])
    recent.add([Note("held-to-mclt", "debug", {}), Note("serving", "info", {"pid": 1})])
    found = recent.after({})
    assert [(each["number"], each["event"], each["pid"]) for each in found["events"]] == [(1, "serving", 1)]
    assert found["last"] == 1


def test_one_goes_on_from_where_one_was() -> None:
    recent = filled(3)
    last = recent.after({})["last"]
    assert recent.after({"after": last}) == {"events": [], "last": 3}
    recent.add([Note("serving", "info", {})])
    assert [each["number"] for each in recent.after({"after": last})["events"]] == [4]


def test_without_a_number_the_newest_are_given_and_with_one_page_after_page() -> None:
    recent = filled(PAGE_MAX * 3)
    newest = [each["number"] for each in recent.after({})["events"]]
    assert newest == list(range(PAGE_MAX * 2 + 1, PAGE_MAX * 3 + 1))
    numbers: list[int] = []
    last = 0
    while (page := recent.after({"after": last}))["events"]:
        numbers += [each["number"] for each in page["events"]]
        last = page["last"]
    assert numbers == list(range(1, PAGE_MAX * 3 + 1))


def test_the_oldest_go_and_their_numbers_with_them() -> None:
    recent = filled(KEPT_MAX + 50)
    assert recent.after({"after": 10})["events"][0]["number"] == 51
    assert recent.after({"after": 51})["events"][0]["number"] == 52


def test_a_number_of_an_earlier_life_gives_all() -> None:
    recent = Recent(1000)
    for _ in range(3):
        recent.add([Note("serving", "info", {})])
    for number in (1, 3, 999, 1004, -1, "x", 2.5):
        assert [each["number"] for each in recent.after({"after": number})["events"]] == [1001, 1002, 1003]
    assert recent.after({"after": 1003}) == {"events": [], "last": 1003}

"""A problem is found once, has a beginning, and is logged when it begins and when it ends."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from tandem.config.doubts import unservable
from tandem.config.load import load_text
from tandem.effects.problem import KINDS, Problem, Severity, problem, worst_first
from tandem.runtime.health import Health
from tandem.runtime.occurrences import RECENT_S, Occurrences


class Watched:
    """A server's health, what is wrong, and what was logged."""

    def __init__(self) -> None:
        self.wrong: list[Problem] = []
        self.said: list[tuple[str, str, str]] = []
        self.health = Health(lambda _: self.wrong, self._say)

    def _say(self, event: str, level: str = "info", **values: Any) -> None:
        self.said.append((event, level, values["id"]))


def test_a_problem_is_logged_when_it_begins_and_when_it_ends() -> None:
    watched = Watched()
    assert watched.health.look() == []
    watched.wrong = [problem("port-taken", "Taken.", about="eth0")]
    (first,) = watched.health.look()
    assert first.since is not None
    watched.wrong = [problem("port-taken", "Still taken.", about="eth0")]
    (second,) = watched.health.look()
    assert (second.since, second.what) == (first.since, "Still taken.")
    watched.wrong = []
    assert watched.health.look() == []
    assert watched.said == [("problem", "error", "port-taken"), ("problem-ended", "info", "port-taken")]


def test_one_kind_may_concern_several_things() -> None:
    watched = Watched()
    watched.wrong = [problem("port-taken", "Taken.", about=each) for each in ("eth0", "eth1")]
    assert len(watched.health.look()) == 2


def test_critical_problems_come_first() -> None:
    shuffled = [problem(id_, "Wrong.") for id_ in sorted(KINDS)]
    severities = [each.severity for each in worst_first(shuffled)]
    assert severities == sorted(severities, key=lambda each: each is Severity.WARNING)


@pytest.mark.parametrize("id_", KINDS)
def test_every_kind_survives_its_way_to_the_viewer(id_: str) -> None:
    made = problem(id_, "Wrong.", about="x", since=1, until=2, examples=("one", "two"))
    assert Problem.from_json(made.to_json()) == made
    assert made.ends_when


def test_occurrences_keep_the_last_few_subjects_and_are_forgotten() -> None:
    found = Occurrences()
    assert found.since(1000) is None
    for number in range(20):
        found.add(1000 + number, f"link {number % 10}", "client")
    assert (found.since(1100), found.count, len(found.examples())) == (1000, 20, 5)
    assert found.examples()[0].endswith("link 9 (client)")
    assert found.since(1019 + RECENT_S + 1) is None
    found.add(5000, "link 1", "")
    assert (found.since(5000), found.count, len(found.examples())) == (5000, 1, 1)


CLASSES = """
[server.a]
interfaces = ["eth0"]
[class.nobody]
[class.also-nobody]
when = { class = "nobody" }
[class.somebody]
[class.phones]
when = { option = { code = 16 } }
[[subnet]]
prefix = "2001:db8:1::/64"
pools = [
    { range = "2001:db8:1:0:1::/80", classes = "nobody" },
    { range = "2001:db8:1:0:2::/80", classes = ["also-nobody", "nobody"] },
    { range = "2001:db8:1:0:3::/80", classes = ["nobody", "phones"] },
    { range = "2001:db8:1:0:4::/80", classes = "somebody" },
]
[[subnet.reservation]]
duid = "00:03:00:01:02:00:5e:10:00:01"
classes = "somebody"
[[subnet]]
prefix = "2001:db8:2::/64"
classes = "nobody"
"""


def test_pools_for_classes_without_members_are_named() -> None:
    found = list(unservable(load_text(CLASSES, None).settings))
    assert [each.where for each in found] == ["subnet[1].pools[1]", "subnet[1].pools[2]", "subnet[2]"]
    assert {each.id for each in found} == {"pool-closed"}


def test_a_file_without_subnets_is_named() -> None:
    (found,) = unservable(load_text('[server.a]\ninterfaces = ["eth0"]\n', None).settings)
    assert found.id == "nothing-to-serve"


PAGE = Path(__file__).parent.parent.parent / "docs" / "operating.md"
TABLE = re.compile(r"(<!-- made from .*? -->\n).*?(<!-- end -->)", re.DOTALL)


def test_the_page_for_operators_lists_all_kinds() -> None:
    rows = [f"| `{kind.id}` | {kind.severity.value} | {kind.title} | {kind.ends_when} |\n" for kind in KINDS.values()]
    table = "| problem | severity | meaning | ends when |\n|---|---|---|---|\n" + "".join(rows)
    page = PAGE.read_text()
    wanted = TABLE.sub(lambda found: f"{found[1]}{table}{found[2]}", page)
    if os.environ.get("REWRITE"):
        PAGE.write_text(wanted)
    assert TABLE.search(page)
    assert PAGE.read_text() == wanted

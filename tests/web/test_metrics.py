"""The metrics as Prometheus reads them, the documents made from their declarations, and the alerts on them."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from monitoring import alerts, dashboard
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from limits import limit
from system.needs import need_program
from tandem.admin.web.metrics import FIGURES, HISTOGRAMS, STATES, UP, StatusCollector, Times
from tandem.effects.problem import problem

PAGE = Path(__file__).parent.parent.parent / "docs" / "metrics.md"
HEAD = """\
# Metrics

What `/metrics` of [`tandem web`](web.md) gives. Made from `src/tandem/admin/web/metrics.py`; the test that compares
writes it anew with `REWRITE=1`.

| name | kind | labels | |
|---|---|---|---|
"""
MONITORING = Path(dashboard.__file__).parent
TIMES = {"up-to-s": [0.001, 0.01], "counts": [3, 2, 1], "sum-s": 0.5}
STATUS: dict[str, Any] = {
    "server": "a",
    "version": "1",
    "compiled": False,
    "up-s": 5,
    "time": 1000,
    "leases-known": 7,
    "disk": "ok",
    "problems": [problem("port-taken", "Taken.", about="eth0", since=900).to_json()],
    "counters": {"answered": {"SOLICIT": 3}, "dropped": {"malformed": 2}, "events": {"held-to-mclt": 1}},
    "times": {"reply": TIMES, "commit": TIMES},
    "links": [
        {
            "name": "lan",
            "pools": [
                {"where": "subnet[1].pools[1]", "first": "2001:db8::1", "size": 10, "in-use": 4, "remembered": 1}
            ],
        }
    ],
    "relationships": [
        {
            "name": "campus",
            "state": "NORMAL",
            "since": 900,
            "stepped-aside": None,
            "partner": {"state": None, "in-touch": True},
            "clock-skew": None,
            "mclt": 3600,
            "updates": {"unacked": 9, "in-flight": 2, "rejections": 1},
            "conflicts": 0,
            "differences": ["x"],
            "certificate-days-left": 30,
            "shares": [{"pool": "2001:db9::/56", "primary": 5, "secondary": 6}],
        }
    ],
}


def exposed(status: dict[str, Any] | None) -> str:
    registry = CollectorRegistry()
    registry.register(StatusCollector(status))
    return generate_latest(registry).decode()


def values(text: str) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *(f"{name}={value}" for name, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_what_is_exposed() -> None:
    found = values(exposed(STATUS))
    campus = "relationship=campus"
    assert found[("tandem_up",)] == 1
    assert found["tandem_problem", "about=eth0", "id=port-taken", "severity=critical"] == 1
    assert found["tandem_problems", "severity=critical"] == 1
    assert found["tandem_problems", "severity=warning"] == 0
    assert found["tandem_messages_answered_total", "type=SOLICIT"] == 3
    assert found["tandem_pool_leases_in_use", "first=2001:db8::1", "link=lan", "pool=subnet[1].pools[1]"] == 4
    assert found["tandem_failover_state", campus, "state=NORMAL"] == 1
    assert sum(found["tandem_failover_state", campus, f"state={state}"] for state in STATES) == 1
    assert sum(found["tandem_failover_partner_state", campus, f"state={state}"] for state in STATES) == 0
    assert found["tandem_failover_state_seconds", campus] == 100
    assert ("tandem_failover_clock_skew_seconds", campus) not in found  # it is not known
    assert found["tandem_pool_free_share", "pool=2001:db9::/56", campus, "role=secondary"] == 6
    assert found["tandem_answer_seconds_bucket", "le=0.01", "type=reply"] == 5
    assert found["tandem_commit_seconds_bucket", "le=+Inf"] == 6
    assert found[("tandem_commit_seconds_sum",)] == 0.5


def test_without_an_answer_there_is_only_that() -> None:
    assert values(exposed(None)) == {("tandem_up",): 0}


def test_every_figure_is_exposed_under_its_name_and_explained() -> None:
    text = exposed(STATUS)
    for figure in FIGURES:
        assert f"\n{figure.name}" in "\n" + text or figure.name == "tandem_failover_clock_skew_seconds"
        assert f"# HELP {figure.name} {figure.text}" in text
    names = [each.name for each in (*FIGURES, *HISTOGRAMS)]
    assert len(set(names)) == len(names)


def rows() -> Iterator[str]:
    """Give a line of the page for each metric."""
    yield f"| `{UP[0]}` | gauge | | {UP[1]} |\n"
    for each in (*FIGURES, *HISTOGRAMS):
        kind = "histogram" if isinstance(each, Times) else "counter" if each.is_counter else "gauge"
        labels = " ".join(f"`{label}`" for label in each.source.labels)
        yield f"| `{each.name}` | {kind} | {labels} | {each.text} |\n"


def test_the_page_lists_all() -> None:
    page = HEAD + "".join(rows())
    if os.environ.get("REWRITE"):
        PAGE.write_text(page)
    assert PAGE.read_text() == page


@pytest.mark.parametrize("file", ["dashboard.json", "alerts.yaml"])
def test_dashboard_and_alerts_name_what_there_is(file: str) -> None:
    text = (MONITORING / file).read_text()
    known = {figure.name for figure in FIGURES} | {"tandem_up"}
    known |= {times.name + end for times in HISTOGRAMS for end in ("", "_bucket", "_count", "_sum")}
    assert set(re.findall(r"\btandem_[a-z_]+", text)) <= known


def test_the_dashboard_is_up_to_date() -> None:
    assert dashboard.FILE.read_text() == dashboard.text()


def test_there_is_an_alert_for_each_kind_of_problem() -> None:
    assert alerts.FILE.read_text() == alerts.text()


@pytest.mark.system
@pytest.mark.parametrize("words", [("check", "rules", "alerts.yaml"), ("test", "rules", "alerts.test.yaml")])
def test_alerts_by_promtool(words: tuple[str, ...]) -> None:
    need_program("promtool")
    done = subprocess.run(
        ["promtool", *words], cwd=MONITORING, capture_output=True, text=True, timeout=limit(30), check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.system
def test_metrics_by_promtool() -> None:
    need_program("promtool")
    done = subprocess.run(
        ["promtool", "check", "metrics"],
        input=exposed(STATUS),
        capture_output=True,
        text=True,
        timeout=limit(30),
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")

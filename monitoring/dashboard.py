"""Writes dashboard.json, for Grafana: `python monitoring/dashboard.py`. A test sees that it is up to date."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("dashboard.json")
WIDTH = 24
Target = tuple[str, str]
"""A query, and what its lines are called."""

HERE = '{instance=~"$instance"}'
OF_PAIR = "{{instance}} {{relationship}}"
OF_POOL = "{{instance}} {{pool}} {{first}}"
BY_TYPE, BY_REASON = "sum by (instance, type)", "sum by (instance, reason)"


def quantiles(histogram: str, by: str, legend: str) -> tuple[Target, ...]:
    """Give the median and the 99th percentile of a histogram."""
    rates = f"sum by (instance, {by}le) (rate({histogram}_bucket{HERE}[5m]))"
    return tuple((f"histogram_quantile({share}, {rates})", f"{legend} {share:.0%}") for share in (0.5, 0.99))


ROWS: dict[str, tuple[tuple[str, str, str, tuple[Target, ...]], ...]] = {
    "Partners": (
        ("State", "stat", "none", ((f"tandem_failover_state{HERE} == 1", f"{OF_PAIR}: {{{{state}}}}"),)),
        ("Partner heard", "stat", "bool_yes_no", ((f"tandem_failover_in_touch{HERE}", OF_PAIR),)),
        ("In this state for", "stat", "s", ((f"tandem_failover_state_seconds{HERE}", OF_PAIR),)),
    ),
    "Updates": (
        (
            "Not acknowledged",
            "timeseries",
            "short",
            (
                (f"tandem_failover_updates_unacked{HERE}", OF_PAIR),
                (f"tandem_failover_updates_in_flight{HERE}", f"{OF_PAIR} under way"),
            ),
        ),
        ("Clock skew", "timeseries", "s", ((f"tandem_failover_clock_skew_seconds{HERE}", OF_PAIR),)),
        (
            "Rejections and conflicts",
            "timeseries",
            "short",
            (
                (f"increase(tandem_failover_updates_rejected_total{HERE}[5m])", f"{OF_PAIR} rejected"),
                (f"increase(tandem_failover_conflicts_total{HERE}[5m])", f"{OF_PAIR} conflicts"),
            ),
        ),
    ),
    "Clients": (
        (
            "Answered",
            "timeseries",
            "reqps",
            ((f"{BY_TYPE} (rate(tandem_messages_answered_total{HERE}[1m]))", "{{instance}} {{type}}"),),
        ),
        (
            "Dropped",
            "timeseries",
            "reqps",
            ((f"{BY_REASON} (rate(tandem_messages_dropped_total{HERE}[1m]))", "{{instance}} {{reason}}"),),
        ),
        ("Time to answer", "timeseries", "s", quantiles("tandem_answer_seconds", "type, ", "{{instance}} {{type}}")),
        ("Time to make durable", "timeseries", "s", quantiles("tandem_commit_seconds", "", "{{instance}}")),
    ),
    "Leases": (
        (
            "Use of pools",
            "timeseries",
            "percentunit",
            ((f"tandem_pool_leases_in_use{HERE} / (tandem_pool_leases{HERE} > 0)", OF_POOL),),
        ),
        ("Leases in use", "timeseries", "short", ((f"tandem_pool_leases_in_use{HERE}", OF_POOL),)),
        (
            "Free, by share",
            "timeseries",
            "short",
            ((f"tandem_pool_free_share{HERE}", "{{instance}} {{pool}} {{role}}"),),
        ),
        (
            "Held to the MCLT",
            "timeseries",
            "reqps",
            (('rate(tandem_events_total{instance=~"$instance",event="held-to-mclt"}[1m])', "{{instance}}"),),
        ),
    ),
}


def panel(
    number: int, title: str, kind: str, unit: str, targets: tuple[Target, ...], place: dict[str, int]
) -> dict[str, Any]:
    """Give one panel."""
    return {
        "id": number,
        "title": title,
        "type": kind,
        "datasource": {"type": "prometheus", "uid": "${source}"},
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": unit}, "overrides": []},
        "options": {"textMode": "name"} if title == "State" else {},
        "targets": [
            {"refId": chr(ord("A") + at), "expr": expression, "legendFormat": legend}
            for at, (expression, legend) in enumerate(targets)
        ],
    }


def dashboard() -> dict[str, Any]:
    """Give the whole dashboard as Grafana imports it."""
    panels: list[dict[str, Any]] = []
    y = 0
    for title, row in ROWS.items():
        panels.append(
            {
                "id": len(panels) + 1,
                "title": title,
                "type": "row",
                "collapsed": False,
                "panels": [],
                "gridPos": {"x": 0, "y": y, "w": WIDTH, "h": 1},
            }
        )
        y += 1
        width = WIDTH // len(row)
        for at, (name, kind, unit, targets) in enumerate(row):
            place = {"x": at * width, "y": y, "w": width, "h": 8}
            panels.append(panel(len(panels) + 1, name, kind, unit, targets, place))
        y += 8
    return {
        "uid": "tandem",
        "title": "Tandem",
        "tags": ["dhcpv6", "tandem"],
        "schemaVersion": 39,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {
            "list": [
                {"name": "source", "label": "Data source", "type": "datasource", "query": "prometheus"},
                {
                    "name": "instance",
                    "label": "Server",
                    "type": "query",
                    "datasource": {"type": "prometheus", "uid": "${source}"},
                    "query": "label_values(tandem_up, instance)",
                    "includeAll": True,
                    "multi": True,
                    "refresh": 2,
                },
            ]
        },
        "panels": panels,
    }


def text() -> str:
    """Give the file's text."""
    return json.dumps(dashboard(), indent=1) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())

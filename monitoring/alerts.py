"""Writes alerts.yaml, for Prometheus: `python monitoring/alerts.py`. A test sees that it is up to date.

There is one rule for each kind of problem that the server knows: the alerts say what `tandem status` says.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from tandem.effects.problem import KINDS, Kind, Severity

FILE = Path(__file__).with_name("alerts.yaml")
WAITS = {Severity.CRITICAL: "30s", Severity.WARNING: "2m"}
"""How long a problem has to last before it alerts: some end by themselves within seconds, as a start does."""
SLOW = 'sum by (instance, le) (rate(tandem_answer_seconds_bucket{type="reply"}[5m]))'
HEAD = """\
# Alerts for Tandem, for Prometheus. Made by alerts.py from the kinds of problems that `tandem status` names.
# Checked with `promtool check rules` and `promtool test rules alerts.test.yaml`.
groups:
  - name: tandem
    rules:
      - alert: TandemDown
        expr: tandem_up == 0 or up{job=~".*tandem.*"} == 0
        for: 30s
        labels: {severity: critical}
        annotations:
          summary: "The Tandem server at {{ $labels.instance }} does not answer."
          description: "Its partner, if it has one, serves alone. Look at the server's log and start it again."

      - alert: TandemSlowAnswers
        expr: histogram_quantile(0.99, SLOW) > 0.5
        for: 5m
        labels: {severity: warning}
        annotations:
          summary: "One of a hundred replies of {{ $labels.instance }} takes more than half a second."
          description: "Compare tandem_commit_seconds: a slow disk is the usual cause."
"""
WHERE = "{{ $labels.instance }}{{ if $labels.about }}, {{ $labels.about }}{{ end }}"


def text() -> str:
    """Return what the file has to be."""
    return HEAD.replace("SLOW", SLOW) + "".join("\n".join(["", *rule(kind), ""]) for kind in KINDS.values())


def rule(kind: Kind) -> Iterator[str]:
    """Return the lines of the rule for a kind of problem."""
    name = "".join(part.capitalize() for part in kind.id.split("-"))
    look = "`tandem status` says since when and why."
    command = f" Command: `{kind.command}`." if kind.command not in ("", "tandem status") else ""
    yield f"      - alert: Tandem{name}"
    yield f'        expr: tandem_problem{{id="{kind.id}"}} == 1'
    yield f"        for: {WAITS[kind.severity]}"
    yield f"        labels: {{severity: {kind.severity.value}}}"
    yield "        annotations:"
    yield f"          summary: {json.dumps(f'{WHERE}: {kind.title}')}"
    yield f"          description: {json.dumps(f'It ends when {kind.ends_when}. {look}{command}')}"


if __name__ == "__main__":
    FILE.write_text(text())

"""The server's figures as Prometheus reads them. Each is declared once; docs/metrics.md is made from that."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from tandem.effects.problem import Severity
from tandem.failover.states import State

Found = Mapping[str, Any]
Row = tuple[tuple[str, ...], Found]
"""What a figure is about, by its labels, and where it is read from."""
DAY_S = 86400
STATES = ("STARTUP", *(state.words for state in State))


@dataclass(frozen=True)
class Source:
    """What figures are about."""

    labels: tuple[str, ...]
    rows: Callable[[Found], Iterable[Row]]


@dataclass(frozen=True)
class Figure:
    """One metric: a gauge, or a counter, whose name then ends in `_total`."""

    name: str
    text: str
    source: Source
    value: Callable[[Found], Any]
    """Gives the value of a row; None if there is none."""

    @property
    def is_counter(self) -> bool:
        """Whether it only ever grows, but for a restart of the server."""
        return self.name.endswith("_total")


@dataclass(frozen=True)
class Times:
    """One histogram, in seconds."""

    name: str
    text: str
    source: Source


def _counts(found: Found, what: str) -> Iterator[Row]:
    return (((about,), {"count": count}) for about, count in found["counters"][what].items())


def _states(relationship: Found, state: str | None) -> Iterator[Row]:
    return (((relationship["name"], each), {"is": state == each}) for each in STATES)


def _count(row: Found) -> Any:
    return row["count"]


SERVER = Source((), lambda found: [((), found)])
BUILD = Source(
    ("server", "version", "compiled"),
    lambda found: [((found["server"], found["version"], str(found["compiled"]).lower()), found)],
)
ANSWERED = Source(("type",), lambda found: _counts(found, "answered"))
DROPPED = Source(("reason",), lambda found: _counts(found, "dropped"))
EVENTS = Source(("event",), lambda found: _counts(found, "events"))
PROBLEM = Source(
    ("id", "severity", "about"),
    lambda found: (((each["id"], each["severity"], each["about"]), each) for each in found["problems"]),
)
PROBLEMS = Source(
    ("severity",),
    lambda found: (
        ((severity.value,), {"count": sum(each["severity"] == severity.value for each in found["problems"])})
        for severity in Severity
    ),
)
POOL = Source(
    ("link", "pool", "first"),
    lambda found: (
        ((link["name"], pool["where"], pool["first"]), pool) for link in found["links"] for pool in link["pools"]
    ),
)
RELATIONSHIP = Source(
    ("relationship",),
    lambda found: (((each["name"],), {**each, "now": found["time"]}) for each in found["relationships"]),
)
STATE = Source(
    ("relationship", "state"),
    lambda found: (row for each in found["relationships"] for row in _states(each, each["state"])),
)
PARTNER_STATE = Source(
    ("relationship", "state"),
    lambda found: (row for each in found["relationships"] for row in _states(each, each["partner"]["state"])),
)
SHARE = Source(
    ("relationship", "pool", "role"),
    lambda found: (
        ((each["name"], share["pool"], role), {"free": share[role]})
        for each in found["relationships"]
        for share in each["shares"]
        for role in ("primary", "secondary")
    ),
)
ANSWER_TIMES = Source(
    ("type",), lambda found: (((name,), times) for name, times in found["times"].items() if name != "commit")
)
COMMIT_TIMES = Source((), lambda found: [((), found["times"]["commit"])])

FIGURES = (
    Figure("tandem_build_info", "1, for the version that runs.", BUILD, lambda _: 1),
    Figure("tandem_uptime_seconds", "How long the server has run.", SERVER, lambda each: each["up-s"]),
    Figure("tandem_leases_known", "Leases on record, held or ended.", SERVER, lambda each: each["leases-known"]),
    Figure(
        "tandem_disk_accepts", "1 if the disk takes what has to be durable.", SERVER, lambda each: each["disk"] == "ok"
    ),
    Figure("tandem_problems", "Problems that `tandem status` names.", PROBLEMS, _count),
    Figure("tandem_problem", "1 for each problem that lasts.", PROBLEM, lambda _: 1),
    Figure(
        "tandem_problem_since_timestamp_seconds",
        "Since when a problem has lasted.",
        PROBLEM,
        lambda each: each["since"],
    ),
    Figure("tandem_messages_answered_total", "Messages of clients that were answered.", ANSWERED, _count),
    Figure("tandem_messages_dropped_total", "Datagrams that were not answered.", DROPPED, _count),
    Figure("tandem_events_total", "Whatever else happened, by the event's id in the log.", EVENTS, _count),
    Figure("tandem_pool_leases", "Leases that a pool can have at once.", POOL, lambda each: each["size"]),
    Figure("tandem_pool_leases_in_use", "Leases in use.", POOL, lambda each: each["in-use"]),
    Figure("tandem_pool_leases_remembered", "Ended leases that are remembered.", POOL, lambda each: each["remembered"]),
    Figure("tandem_pool_free_share", "Free leases that only this partner may give.", SHARE, lambda each: each["free"]),
    Figure("tandem_failover_state", "1 for the state that this server is in.", STATE, lambda each: each["is"]),
    Figure(
        "tandem_failover_partner_state",
        "1 for the partner's state, as last heard.",
        PARTNER_STATE,
        lambda each: each["is"],
    ),
    Figure(
        "tandem_failover_state_seconds",
        "How long this server has been in its state.",
        RELATIONSHIP,
        lambda each: max(0, each["now"] - each["since"]),
    ),
    Figure(
        "tandem_failover_in_touch", "1 if the partner is heard.", RELATIONSHIP, lambda each: each["partner"]["in-touch"]
    ),
    Figure(
        "tandem_failover_stepped_aside",
        "1 if this server leaves clients to its partner.",
        RELATIONSHIP,
        lambda each: each["stepped-aside"] is not None,
    ),
    Figure(
        "tandem_failover_clock_skew_seconds",
        "How far the partner's clock is ahead.",
        RELATIONSHIP,
        lambda each: each["clock-skew"],
    ),
    Figure("tandem_failover_mclt_seconds", "The MCLT in effect.", RELATIONSHIP, lambda each: each["mclt"]),
    Figure(
        "tandem_failover_updates_unacked",
        "Leases that the partner has not acknowledged.",
        RELATIONSHIP,
        lambda each: each["updates"]["unacked"],
    ),
    Figure(
        "tandem_failover_updates_in_flight",
        "Of those, told and not answered yet.",
        RELATIONSHIP,
        lambda each: each["updates"]["in-flight"],
    ),
    Figure(
        "tandem_failover_updates_rejected_total",
        "Updates that the partner rejected.",
        RELATIONSHIP,
        lambda each: each["updates"]["rejections"],
    ),
    Figure(
        "tandem_failover_conflicts_total",
        "Leases that each partner had given to another client.",
        RELATIONSHIP,
        lambda each: each["conflicts"],
    ),
    Figure(
        "tandem_failover_differences",
        "In how many things the partner is configured otherwise.",
        RELATIONSHIP,
        lambda each: len(each["differences"]),
    ),
    Figure(
        "tandem_certificate_left_seconds",
        "Until this server's certificate expires, in whole days.",
        RELATIONSHIP,
        lambda each: None if each["certificate-days-left"] is None else each["certificate-days-left"] * DAY_S,
    ),
)
HISTOGRAMS = (
    Times("tandem_answer_seconds", "From a question to its answer, by the answer's type.", ANSWER_TIMES),
    Times("tandem_commit_seconds", "How long it took to make changes durable, syncs included.", COMMIT_TIMES),
)
UP = ("tandem_up", "1 if the server answers; without it there is none of the others.")


class StatusCollector(Collector):
    """Makes metrics of an answer to `status`, None if there is none."""

    def __init__(self, status: Found | None) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        """Give all metrics. Without an answer there is only the one that says so."""
        yield GaugeMetricFamily(*UP, value=float(self._status is not None))
        if self._status is None:
            return
        for figure in FIGURES:
            yield _family(figure, self._status)
        for times in HISTOGRAMS:
            yield _histogram(times, self._status)


def _family(figure: Figure, found: Found) -> Metric:
    make = CounterMetricFamily if figure.is_counter else GaugeMetricFamily
    family = make(figure.name, figure.text, labels=figure.source.labels)
    for about, row in figure.source.rows(found):
        value = figure.value(row)
        if value is not None:
            family.add_metric(about, float(value))
    return family


def _histogram(times: Times, found: Found) -> Metric:
    family = HistogramMetricFamily(times.name, times.text, labels=times.source.labels)
    for about, row in times.source.rows(found):
        reached = 0
        buckets = []
        for bound, count in zip((*row["up-to-s"], "+Inf"), row["counts"], strict=True):
            reached += count
            buckets.append((str(bound), float(reached)))
        family.add_metric(about, buckets, row["sum-s"])
    return family

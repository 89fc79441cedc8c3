"""What somebody should look at is said in a sentence, and nothing else is."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tandem.admin.amiss import CERTIFICATE_DAYS_MIN, SKEW_MAX_S, UNACKED_MAX, amiss

WELL: dict[str, Any] = {
    "disk": "ok",
    "links": [{"pools": [{"where": "subnet[1].pools[1]", "first": "2001:db8::", "in-use": 89, "size": 100}]}],
    "relationships": [
        {
            "name": "campus",
            "state": "NORMAL",
            "means": "All is in step.",
            "stepped-aside": None,
            "last-refusal": None,
            "clock-skew": SKEW_MAX_S,
            "certificate-days-left": CERTIFICATE_DAYS_MIN,
            "updates": {"unacked": UNACKED_MAX, "rejected": []},
            "differences": [],
            "partner": {"name": "b", "in-touch": True, "cannot-serve": False},
        }
    ],
}


def test_all_is_well() -> None:
    assert amiss(WELL) == []
    assert amiss({**WELL, "relationships": []}) == []


def of_pair(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda status: status["relationships"][0].update(
        {name.replace("_", "-"): value for name, value in values.items()}
    )


def of_partner(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda status: status["relationships"][0]["partner"].update(
        {name.replace("_", "-"): value for name, value in values.items()}
    )


@pytest.mark.parametrize(
    ("happens", "sentence"),
    [
        (lambda status: status.update(disk="full"), "The disk is full: nothing is promised"),
        (lambda status: status["links"][0]["pools"][0].update({"in-use": 90}), "90 of 100 leases are in use"),
        (lambda status: status["links"][0]["pools"][0].update({"in-use": 0, "size": 0}), "0 of 0 leases are in use"),
        (of_pair(state="RECOVER"), "campus: this server is in RECOVER, not in NORMAL. All is in step."),
        (of_pair(stepped_aside="handed over"), "this server has stepped aside, handed over."),
        (of_pair(clock_skew=-SKEW_MAX_S - 1), "the partners' clocks are 4 s apart"),
        (of_pair(certificate_days_left=3), "certificate expires in 3 days"),
        (of_pair(updates={"unacked": UNACKED_MAX + 1, "rejected": []}), "1001 leases are not acknowledged"),
        (
            of_pair(updates={"unacked": 0, "rejected": [{"lease": "2001:db8::1", "why": "no"}]}),
            "rejects 2001:db8::1: no.",
        ),
        (of_pair(differences=["subnet 2001:db8::/64"]), "serves something else: subnet 2001:db8::/64."),
        (of_partner(in_touch=False), "the partner b is not heard."),
        (of_partner(cannot_serve=True), "the partner b says that it cannot serve."),
    ],
)
def test_each_thing_is_said(happens: Callable[[dict[str, Any]], None], sentence: str) -> None:
    status = copy.deepcopy(WELL)
    happens(status)
    said = amiss(status)
    assert len(said) == 1
    assert sentence in said[0]


def test_nothing_is_amiss_without_tls_or_a_connection_measured_yet() -> None:
    status = copy.deepcopy(WELL)
    of_pair(clock_skew=None, certificate_days_left=None)(status)
    assert amiss(status) == []

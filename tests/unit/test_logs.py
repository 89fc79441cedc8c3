"""Lines of the log: what is shown of a note, as JSON and for people."""

from __future__ import annotations

import io
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.effects.effects import Note
from tandem.lease.lease import BindingStatus, key_of
from tandem.lease.promise import Lifetimes
from tandem.runtime.logs import Log, as_json, show_json, show_text
from tandem.server.bindings import Decision, Told
from tandem.wire.message import MessageType
from tandem.wire.options import StatusCode
from tandem.wire.received import Ia, Relay

NOON = 1_800_000_000.25
ADDRESS = 0x20010DB8_0001_0000_0000_0000_0000_00AB
PREFIX = 0x20010DB8_00FF_0000_0000_0000_0000_0000
LIFETIMES = Lifetimes(3000, 4000, 1000, 2000)


def told(key: int, reason: str) -> Told:
    return Told(key, LIFETIMES, None, True, reason)


def values_of(**values: Any) -> dict[str, Any]:
    """Give what a line of JSON says of these values."""
    found = json.loads(show_json(NOON, Note("answered", "info", values)))
    assert [found.pop(name) for name in ("time", "level", "event")] == [NOON, "info", "answered"]
    return dict(found)


def test_an_answer_is_shown_with_each_lease_and_each_refusal() -> None:
    given_both = Decision(Ia(3, 7, ()), [told(key_of(ADDRESS), "kept"), told(key_of(PREFIX, 56), "new")])
    refused = Decision(Ia(25, 8, ()), [], StatusCode.NO_PREFIX_AVAIL, 'the pool "a" is full')
    found = values_of(
        type=int(MessageType.REQUEST),
        reply=MessageType.REPLY,
        transaction_id=b"\x01\xab\xcd",
        duid=b"\0\4\xff",
        link="lan",
        classes={"phones", "all"},
        decisions=[given_both, refused],
    )
    times = {"preferred": 3000, "valid": 4000}
    assert found == {
        "type": "REQUEST",
        "reply": "REPLY",
        "transaction-id": "01abcd",
        "duid": "00:04:ff",
        "link": "lan",
        "classes": "all,phones",
        "leases": [
            {"iaid": 7, "lease": "2001:db8:1::ab", **times, "reason": "kept"},
            {"iaid": 7, "lease": "2001:db8:ff::/56", **times, "reason": "new"},
            {"iaid": 8, "refused": "NO_PREFIX_AVAIL", "reason": 'the pool "a" is full'},
        ],
    }


def test_the_relay_next_to_the_client_is_shown() -> None:
    far = Relay(1, bytes(16), bytes(15) + b"\1", [])
    near = Relay(0, ADDRESS.to_bytes(16, "big"), PREFIX.to_bytes(16, "big"), [])
    assert values_of(relays=[far, near]) == {"link-address": "2001:db8:1::ab", "client": "2001:db8:ff::"}


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ({"key": key_of(PREFIX, 56)}, {"key": "2001:db8:ff::/56"}),
        ({"given_up": [key_of(1), key_of(PREFIX, 48)]}, {"leases": "::1,2001:db8:ff::/48"}),
        ({"status": BindingStatus.FREE_BACKUP}, {"status": "FREE-BACKUP"}),
        ({"type": 200}, {"type": 200}),
        ({"in_use": 3, "is_low": True, "skew_s": -0.5}, {"in-use": 3, "is-low": True, "skew-s": -0.5}),
        ({"peer_key": b"\1\2"}, {"peer-key": "01:02"}),
        ({"why": None, "reason": "", "decisions": [], "relays": []}, {}),
        ({"decisions": [Decision(Ia(3, 7, ()), [])]}, {}),
    ],
)
def test_raw_values_are_shown_by_what_they_are(values: dict[str, Any], shown: dict[str, Any]) -> None:
    assert values_of(**values) == shown


@given(st.text(), st.text(), st.text(), st.floats(0, 4e9))
def test_whatever_a_text_holds_a_line_is_one_object_on_one_line(why: str, name: str, reason: str, now: float) -> None:
    decision = Decision(Ia(3, 7, ()), [told(key_of(ADDRESS), reason)], StatusCode.UNSPEC_FAIL, why)
    line = show_json(now, Note("e", "info", {"why": why, "classes": {name}, "decisions": [decision]}))
    assert line.endswith("}\n")
    assert len(line.splitlines()) == 1
    found = json.loads(line)
    assert abs(found["time"] - now) < 1e-6
    assert (found.get("why", ""), found["classes"]) == (why, name)
    assert [each["reason"] for each in found["leases"]] == [reason, why]


def test_people_read_a_clock_a_level_an_event_and_its_values() -> None:
    decision = Decision(Ia(3, 7, ()), [told(key_of(ADDRESS), "kept"), told(key_of(PREFIX, 56), "kept")])
    note = Note("answered", "info", {"duid": b"\0\1", "decisions": [decision]})
    clock = time.strftime("%H:%M:%S", time.localtime(NOON))
    lease = "iaid=7 lease={} preferred=3000 valid=4000 reason=kept"
    leases = f"{lease.format('2001:db8:1::ab')}; {lease.format('2001:db8:ff::/56')}"
    assert show_text(NOON, note) == f"{clock} info    answered duid=00:01 leases={leases}\n"
    assert show_text(NOON, Note("stopped", "warning", {})) == f"{clock} warning stopped\n"


def test_a_log_writes_what_is_at_its_level_or_above_and_nothing_else() -> None:
    stream = io.StringIO()
    log = Log("warning", True, stream)
    log.write([Note("a", "info", {}), Note("b", "warning", {}), Note("c", "debug", {}), Note("d", "error", {})])
    log.say("e")
    log.say("f", "error", why="x")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["b", "d", "f"]


def test_who_asks_for_events_is_given_what_a_log_shows() -> None:
    note = Note("lease-ended", "info", {"key": key_of(ADDRESS), "status": BindingStatus.EXPIRED})
    shown = {"key": "2001:db8:1::ab", "status": "EXPIRED"}
    assert as_json(NOON, note) == {"time": NOON, "level": "info", "event": "lease-ended", **shown}

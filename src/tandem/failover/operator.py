"""What an operator may see of a relationship, and do about it. Results are values as JSON has them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from tandem.effects.effects import Effects
from tandem.effects.now import Moment
from tandem.failover import service
from tandem.failover.endpoint import Endpoint
from tandem.failover.states import Happening, State
from tandem.failover.words import ASIDE, STARTUP, WORDS
from tandem.lease.lease import key_of, show_key
from tandem.lease.space import Role
from tandem.wire.failover_options import FailoverStatus

REJECTIONS_SHOWN: Final = 20

Arguments = Mapping[str, Any]


class CannotObey(Exception):
    """The command cannot be obeyed; the message is a sentence for the operator."""


def describe(endpoint: Endpoint, now: Moment) -> dict[str, Any]:
    """Give all that is known of a relationship."""
    record, session, updates = endpoint.machine.record, endpoint.session, endpoint.exchange.updates
    words = STARTUP if endpoint.machine.starting else ASIDE if endpoint.aside else WORDS[record.state]
    return {
        "name": endpoint.relationship.name,
        "role": endpoint.role.name.lower(),
        "state": "STARTUP" if endpoint.machine.starting else record.state.words,
        "since": record.start_time_of_state,
        "why": endpoint.aside or endpoint.machine.why,
        "means": words.means,
        "ends": words.ends,
        "until": record.wait_until or None,
        "command": words.command or None,
        "risk": words.risk or None,
        "stepped-aside": endpoint.aside or None,
        "partner": {
            "name": endpoint.relationship.partner,
            "state": record.partner_state.words if record.partner_state else None,
            "since": record.partner_start_time_of_state or None,
            "in-touch": endpoint.machine.ok,
            "starting": endpoint.machine.ok and endpoint.machine.partner_is_starting,
            "heard": endpoint.heard_utc or record.partner_heard or None,
            "age": round(now.mono - session.heard_mono, 1) if session else None,
            "cannot-serve": endpoint.partner_cannot_serve,
        },
        "connection": session.peer if session else None,
        "last-refusal": endpoint.last_refusal or None,
        "clock-skew": session.skew_s if session else None,
        "mclt": record.mclt_s,
        "updates": {
            "unacked": updates.waiting,
            "in-flight": updates.in_flight,
            "rejections": updates.rejections,
            "rejected": [
                {"lease": show_key(key), "code": _code(each.code), "why": each.text, "times": each.times}
                for key, each in list(updates.rejected.items())[:REJECTIONS_SHOWN]
            ],
        },
        "conflicts": endpoint.exchange.conflicts,
        "differences": list(endpoint.exchange.fingerprint.differences),
        "unsynchronized": [
            f"{show_key(key_of(first))} - {show_key(key_of(last))}"
            for first, last in (endpoint.unsynchronized.ranges.intervals() if endpoint.unsynchronized else ())
        ],
        "shares": list(_shares(endpoint)),
    }


def _code(code: int) -> str:
    return FailoverStatus(code).name if code in FailoverStatus._value2member_map_ else str(code)


def _shares(endpoint: Endpoint) -> Any:
    for pool in endpoint.table.pools():
        if endpoint.table.relationship_of(pool.first_key) == endpoint.relationship.name:
            yield {
                "pool": show_key(pool.first_key),
                "primary": pool.free(Role.PRIMARY),
                "secondary": pool.free(Role.SECONDARY),
            }


def partner_down(endpoint: Endpoint, now: Moment, arguments: Arguments, effects: Effects) -> dict[str, Any]:
    """Take it from the operator that the partner is down; `last-alive` says since when, in UTC seconds."""
    if _is_alone(endpoint):
        raise CannotObey("This server already takes its partner to be down.")
    heard = max(endpoint.machine.record.partner_heard, endpoint.heard_utc)
    since = arguments.get("last-alive", now.utc)
    if not isinstance(since, int) or not heard <= since <= now.utc:
        raise CannotObey(f"The partner was heard at {heard} (UTC seconds); last-alive must be from then up to now.")
    in_use = sum(
        pool.in_use
        for pool in endpoint.table.pools()
        if endpoint.table.relationship_of(pool.first_key) == endpoint.relationship.name
    )
    found = {
        "state": endpoint.machine.record.state.words,
        "in-touch": endpoint.machine.ok,
        "leases-at-risk": in_use,
        "partner-heard": heard or None,
        "waits-until": since + endpoint.machine.record.largest_mclt_s,
        "risk": WORDS[State.COMMUNICATIONS_INTERRUPTED].risk,
        "done": not arguments.get("dry-run"),
    }
    if found["done"]:
        if endpoint.machine.starting:
            endpoint.end_startup(now, effects)
        endpoint.happen(now, Happening.PARTNER_IS_DOWN, effects)
        if _is_alone(endpoint):
            endpoint.remember(replace(endpoint.machine.record, partner_down_time=since), effects)
    return found


def _is_alone(endpoint: Endpoint) -> bool:
    return endpoint.machine.record.state is State.PARTNER_DOWN


def handover(endpoint: Endpoint, now: Moment, arguments: Arguments, effects: Effects) -> dict[str, Any]:
    """Step aside for maintenance: the partner serves as soon as it hears so."""
    if endpoint.aside:
        raise CannotObey("This server has stepped aside already.")
    if not endpoint.machine.ok or endpoint.partner_cannot_serve:
        raise CannotObey("The partner is not heard, so nobody would serve. Look at `tandem status`.")
    if endpoint.exchange.updates.waiting and not arguments.get("dry-run"):
        endpoint.aside_when_told = "the operator handed over to the partner"
        return {"done": False, "unacked": endpoint.exchange.updates.waiting}
    if not arguments.get("dry-run"):
        service.suspend(endpoint, now, "the operator handed over to the partner", effects)
    return {"done": bool(endpoint.aside), "unacked": endpoint.exchange.updates.waiting}


def resume(endpoint: Endpoint, now: Moment, _arguments: Arguments, effects: Effects) -> dict[str, Any]:
    """Serve again after a handover."""
    if not endpoint.aside and not endpoint.aside_when_told:
        raise CannotObey("This server has not stepped aside.")
    service.resume(endpoint, now, effects)
    if endpoint.aside:
        raise CannotObey(f"Not yet: {endpoint.aside}. It serves again by itself when that is over.")
    return {"done": True}


COMMANDS: Final[dict[str, Callable[[Endpoint, Moment, Arguments, Effects], dict[str, Any]]]] = {
    "failover-partner-down": partner_down,
    "failover-handover": handover,
    "failover-resume": resume,
}

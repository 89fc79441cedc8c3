"""What is wrong with a failover relationship, as its server sees it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tandem.effects.problem import Problem, problem
from tandem.effects.rules import Serve
from tandem.failover.endpoint import Endpoint
from tandem.failover.states import State
from tandem.failover.words import STARTUP, WORDS
from tandem.lease.lease import show_key

SKEW_MAX_S: Final = 3
UNACKED_MAX: Final = 1000
REJECTED_SHOWN: Final = 5


def problems_of(endpoint: Endpoint) -> Iterator[Problem]:
    """Return what is wrong with a relationship."""
    yield from _service(endpoint)
    yield from _partner(endpoint)
    yield from _updates(endpoint)


def _service(endpoint: Endpoint) -> Iterator[Problem]:
    """Whether this server does what its role wants."""
    name, record = endpoint.relationship.name, endpoint.machine.record
    since, until = record.start_time_of_state, record.wait_until or None
    if endpoint.aside:
        yield problem(
            "stepped-aside",
            f"{name}: this server has stepped aside, so that its partner serves alone: {endpoint.aside}.",
            about=name,
        )
        return
    if endpoint.cannot_serve:
        yield problem("cannot-serve", f"{name}: {endpoint.cannot_serve}; the partner does not step in.", about=name)
    if record.state is State.NORMAL and not endpoint.machine.starting:
        return
    words = STARTUP if endpoint.machine.starting else WORDS[record.state]
    state = "STARTUP" if endpoint.machine.starting else record.state.words
    id_ = "failover-not-serving" if endpoint.rules().serve is Serve.NONE else "failover-state"
    what = f"{name}: this server is in {state} ({endpoint.machine.why}). {words.means}"
    yield problem(id_, what, about=name, since=since, until=until, ends_when=_clause(words.ends), command=words.command)


def _partner(endpoint: Endpoint) -> Iterator[Problem]:
    """Whether the partner is heard, and what the two do not agree in."""
    name, partner = endpoint.relationship.name, endpoint.relationship.partner
    refusal = endpoint.last_refusal
    if not endpoint.machine.ok:
        heard = endpoint.heard_utc or endpoint.machine.record.partner_heard or None
        why = f": {refusal}" if refusal else ""
        yield problem("partner-not-heard", f"{name}: the partner {partner} is not heard{why}.", about=name, since=heard)
    elif endpoint.partner_cannot_serve:
        yield problem("partner-cannot-serve", f"{name}: the partner {partner} says that it cannot serve.", about=name)
    session = endpoint.session
    if session is not None and session.established and abs(session.skew_s) > SKEW_MAX_S:
        what = f"{name}: the partners' clocks are {abs(session.skew_s)} s apart; beyond 5 s they stop talking."
        yield problem("clock-skew", what, about=name)
    differences = endpoint.exchange.fingerprint.differences
    if differences:
        what = f"{name}: the partner {partner} is configured differently in {len(differences)} parts: {differences[0]}."
        yield problem("partners-differ", what, about=name, examples=tuple(differences[:REJECTED_SHOWN]))


def _updates(endpoint: Endpoint) -> Iterator[Problem]:
    """Whether the partner takes over what it is told."""
    name, updates = endpoint.relationship.name, endpoint.exchange.updates
    if updates.waiting > UNACKED_MAX:
        what = f"{name}: {updates.waiting} leases are not acknowledged by the partner; they are held to the MCLT."
        yield problem("updates-unacked", what, about=name)
    if updates.rejected:
        rejected = list(updates.rejected.items())[:REJECTED_SHOWN]
        examples = tuple(f"{show_key(key)}: {each.text}" for key, each in rejected)
        what = f"{name}: the partner rejects {len(updates.rejected)} updates, such as that of {examples[0]}."
        yield problem("updates-rejected", what, about=name, examples=examples)


def _clause(sentence: str) -> str:
    """Return a sentence of the states' texts as the end of "ends when"."""
    return sentence.removeprefix("It ends ").removeprefix("by itself ").removeprefix("when ").rstrip(".")

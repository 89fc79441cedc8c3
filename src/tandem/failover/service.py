"""Suspends and resumes service in a relationship: the server cannot serve, or its operator says so (RFC 7031 4.7).

A suspended server disconnects with a reason, so that its partner serves alone in COMMUNICATIONS-INTERRUPTED.
"""

from __future__ import annotations

from tandem.effects.effects import Effects
from tandem.effects.now import Moment
from tandem.effects.rules import Serve
from tandem.failover.endpoint import REDIAL_REFUSED_S, Endpoint
from tandem.failover.handshake import write_status
from tandem.failover.states import State
from tandem.lease.space import Role
from tandem.wire.failover_options import FailoverStatus


def update_service(endpoint: Endpoint, now: Moment, reason: str, is_mute: bool, effects: Effects) -> None:
    """Suspend service for `reason` if the partner can serve; resume it once the reason is gone (empty).

    A secondary in NORMAL only logs, since the primary serves. If the store cannot commit (`is_mute`), this server
    cannot send BNDREPLY either, so it disconnects.
    """
    if reason == endpoint.cannot_serve:
        return
    before, endpoint.cannot_serve = endpoint.cannot_serve, reason
    if reason and before and endpoint.aside == before:
        endpoint.aside = reason  # service resumes when the new reason is gone
    if not reason:
        if endpoint.aside == before:
            resume(endpoint, now, effects)
        return
    effects.note("cannot-serve", "error", relationship=endpoint.relationship.name, why=reason)
    is_spare = endpoint.role is Role.SECONDARY and endpoint.machine.record.state is State.NORMAL
    can_leave = endpoint.machine.ok and not is_spare and not endpoint.partner_cannot_serve
    if (can_leave or is_mute) and not endpoint.aside:
        suspend(endpoint, now, reason, effects)


def suspend(endpoint: Endpoint, now: Moment, reason: str, effects: Effects) -> None:
    """Stop serving and tell the partner. A secondary in NORMAL serves nobody anyway."""
    if endpoint.rules().serve is not Serve.NONE:
        endpoint.machine.last_operation = now.utc
    endpoint.aside = reason
    endpoint.aside_when_told = ""
    effects.note("stepped-aside", "error", relationship=endpoint.relationship.name, why=reason)
    endpoint.hang_up(now, effects, reason, write_status(FailoverStatus.SERVER_SHUTTING_DOWN, reason))
    endpoint.dial_at(now.mono + REDIAL_REFUSED_S)


def suspend_if_told(endpoint: Endpoint, now: Moment, effects: Effects) -> None:
    """Suspend service once the partner has acknowledged every update, if an operator asked for that."""
    if endpoint.aside_when_told and endpoint.machine.ok and not endpoint.exchange.updates.waiting:
        suspend(endpoint, now, endpoint.aside_when_told, effects)


def resume(endpoint: Endpoint, now: Moment, effects: Effects) -> None:
    """Serve again, by way of STARTUP; a server that only waited to suspend goes on.

    While it cannot serve it stays suspended, until it can.
    """
    endpoint.aside_when_told = ""
    if endpoint.aside and endpoint.cannot_serve:
        endpoint.aside = endpoint.cannot_serve
    if not endpoint.aside or endpoint.cannot_serve:
        return
    effects.note("came-back", "warning", relationship=endpoint.relationship.name)
    endpoint.aside = ""
    endpoint.machine.start(now, "this server serves again")
    endpoint.dial_at(now.mono)

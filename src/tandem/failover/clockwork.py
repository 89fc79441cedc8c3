"""What time alone brings about in an endpoint: RFC 8156 6.1, 6.6, and the waits of section 8."""

from __future__ import annotations

from typing import Final

from tandem.effects.effects import Dial, Effects
from tandem.effects.now import Moment
from tandem.failover.endpoint import Endpoint
from tandem.failover.handshake import write_status
from tandem.failover.states import Happening, State
from tandem.lease.space import Role
from tandem.wire.failover import FailoverType
from tandem.wire.failover_options import FailoverStatus

UNANSWERED_S: Final = 60.0
"""How long an update, or an answer to UPDREQ, may stay out before the connection is given up."""


def tick(endpoint: Endpoint, now: Moment, awake_since_mono: float, effects: Effects) -> None:
    """Do what is due; since `awake_since_mono` the server has looked at everything in time."""
    if endpoint.session is not None:
        _mind_connection(endpoint, now, effects)
    if endpoint.machine.starting and now.mono >= endpoint.machine.startup_until:
        endpoint.end_startup(now, effects)
    if endpoint.session is None and endpoint.role is Role.PRIMARY and endpoint.may_dial(now):
        effects.lines.append(Dial(endpoint.relationship.name))
    _end_waits(endpoint, now, awake_since_mono, effects)


def _mind_connection(endpoint: Endpoint, now: Moment, effects: Effects) -> None:
    session = endpoint.session
    assert session is not None
    if now.mono >= session.dead_mono(endpoint.relationship.keepalive_s):
        endpoint.hang_up(now, effects, "the partner was not heard for the keepalive time")
    elif session.is_skewed(now):
        text = f"the partner's clock is {abs(session.skew_s)} s {'ahead' if session.skew_s > 0 else 'behind'}"
        effects.note("time-skew", "error", relationship=endpoint.relationship.name, seconds=session.skew_s)
        endpoint.hang_up(now, effects, text, write_status(FailoverStatus.EXCESSIVE_TIME_SKEW, text))
    elif endpoint.waits_since(now) >= UNANSWERED_S:
        text = "what was sent was not answered"
        endpoint.hang_up(now, effects, text, write_status(FailoverStatus.SERVER_SHUTTING_DOWN, text))
    elif session.established and now.mono >= session.next_contact_mono():
        session.send(FailoverType.CONTACT, b"", effects.at_once, now)


def _end_waits(endpoint: Endpoint, now: Moment, awake_since_mono: float, effects: Effects) -> None:
    endpoint.end_precautions(now, effects)
    record = endpoint.machine.record
    if endpoint.machine.starting or not record.wait_until:
        return
    if record.state is State.RECOVER_WAIT and now.lapse_utc >= record.wait_until:
        endpoint.happen(now, Happening.WAIT_OVER, effects)
    elif record.state is State.COMMUNICATIONS_INTERRUPTED and not endpoint.machine.ok:
        # A partner that was heard in any way is not down, whatever keeps the two apart.
        auto_s = endpoint.relationship.auto_partner_down_s
        # What came while this server slept is yet to be read, and may be the partner's.
        is_awake = now.mono >= awake_since_mono + endpoint.relationship.keepalive_s
        if auto_s and is_awake and now.lapse_utc >= max(record.wait_until, endpoint.heard_utc + auto_s):
            endpoint.happen(now, Happening.AUTO_PARTNER_DOWN, effects)

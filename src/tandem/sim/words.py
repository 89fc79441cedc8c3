"""How what servers say and keep is shown, so that it can be read as a conversation.

Times are shown as seconds since the world began, of which START_UTC is the beginning by a right clock.
"""

from __future__ import annotations

from tandem.failover.handshake import DETAILS
from tandem.failover.history import split_position
from tandem.failover.states import State
from tandem.lease.change import Put
from tandem.lease.lease import BindingStatus, show_key, unpack
from tandem.wire import failover_options as fo
from tandem.wire.binding import LeaseUpdate, LeaseVerdict, read_reply, read_update
from tandem.wire.failover import FailoverMessage, FailoverType
from tandem.wire.failover_options import FailoverStatus, ServerFlags
from tandem.wire.options import Status, VendorOptions
from tandem.wire.times import EPOCH

START_UTC = 1_800_000_000


def show_between_partners(shown: FailoverMessage) -> str:
    """Show a message so that a conversation can be read; times count from the start of the script."""
    _, shown = split_position(shown)
    match shown.type:
        case FailoverType.BNDUPD:
            update = read_update(shown.options)
            client = [f"c{update.duid[-1]}"] if update.duid else []
            return " ".join(("BNDUPD", *client, *map(_show_update, update.leases)))
        case FailoverType.BNDREPLY:
            reply = read_reply(shown.options)
            whole = [f"rejected: {_code(reply.code)} ({reply.text})"] if reply.code else []
            return " ".join(("BNDREPLY", *whole, *map(_show_verdict, reply.verdicts)))
    parts: list[str] = [shown.type.name]
    for each in shown.read_options():
        match each:
            case fo.ServerState():
                parts.append(State(each.state).words)
            case fo.ServerFlagsOption():
                parts += [flag.name or "" for flag in ServerFlags if each.flags & flag]
            case fo.PartnerDownTime():
                parts.append(f"partner-down={_time(each.time)}")
            case fo.Mclt():
                parts.append(f"mclt={each.seconds}s")
            case fo.KeepaliveTime():
                parts.append(f"keepalive={each.seconds}s")
            case Status():
                parts.append(f"{_code(each.status)} ({each.message})")
            case fo.StartTimeOfState():
                parts.append(f"since={_time(each.time)}")
            case VendorOptions() if DETAILS in dict(each.suboptions):
                parts.append("with details")
    return " ".join(parts)


def _show_update(lease: LeaseUpdate) -> str:
    times = {
        "since": lease.start_time_of_state,
        "until": lease.state_expiration_time,
        "clt": lease.client_last_transaction_time,
        "partner-lifetime": lease.partner_lifetime,
        "raw-clt": lease.partner_raw_clt_time,
        "expiration": lease.expiration_time,
    }
    shown = [f"{key}={relative(value - START_UTC)}" for key, value in times.items() if value]
    return " ".join((show_key(lease.key), BindingStatus(lease.status).name.replace("_", "-"), *shown))


def _show_verdict(verdict: LeaseVerdict) -> str:
    if verdict.code:
        return f"{show_key(verdict.key)} rejected: {_code(verdict.code)} ({verdict.text})"
    sent = verdict.partner_lifetime_sent
    return show_key(verdict.key) + (f" partner-lifetime={relative(sent - START_UTC)}" if sent else "")


def _code(code: int) -> str:
    return FailoverStatus(code).name


def _time(absolute: int) -> str:
    return relative(absolute + EPOCH - START_UTC)


def show_change(change: Put) -> str:
    """Show what became of a lease, with all that is kept of it."""
    if change.record is None:
        return f"{show_key(change.key)} forgotten"
    lease = unpack(change.key, change.record)
    times = {
        "since": lease.start_time_of_state,
        "until": lease.state_expiration_time,
        "clt": lease.client_last_transaction_time,
        "acked": lease.acked_partner_lifetime,
        "partner-lifetime": lease.partner_lifetime,
        "raw-clt": lease.partner_raw_clt_time,
        "expiration": lease.expiration_time,
    }
    parts = [show_key(lease.key), BindingStatus(lease.status).name.replace("_", "-")]
    parts += [f"c{lease.duid[-1]}"] if lease.duid else []
    parts += [f"{key}={relative(value - START_UTC)}" for key, value in times.items() if value]
    return " ".join(parts + (["owes"] if lease.owes_partner else []))


def relative(seconds: int) -> str:
    """Show a time as the seconds since the world began."""
    return f"{seconds:+d}s" if abs(seconds) < 10**9 else "never"

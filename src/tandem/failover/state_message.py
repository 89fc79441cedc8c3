"""The STATE message: RFC 8156 6.3 and 6.4."""

from __future__ import annotations

from typing import NamedTuple

from tandem.failover.record import Record
from tandem.failover.states import State
from tandem.wire import failover_options as fo
from tandem.wire.failover import FailoverMessage, find
from tandem.wire.failover_options import ServerFlags
from tandem.wire.option import Option, write_options
from tandem.wire.reader import WireError
from tandem.wire.times import from_wire, to_wire

FLAGS_KNOWN = ServerFlags.COMMUNICATED | ServerFlags.STARTUP | ServerFlags.ACK_STARTUP


class ToldState(NamedTuple):
    """What a partner's STATE says; `state` is None for one that this server does not know."""

    state: State | None
    flags: ServerFlags
    since_utc: int


def write_state(record: Record, is_starting: bool, partner_is_starting: bool) -> bytes:
    """Return the options of a STATE message."""
    flags = ServerFlags.COMMUNICATED if record.communicated else ServerFlags(0)
    if is_starting:
        flags |= ServerFlags.STARTUP
    if partner_is_starting:
        flags |= ServerFlags.ACK_STARTUP
    options: list[Option] = [
        fo.ServerState(record.state),
        fo.ServerFlagsOption(flags),
        fo.StartTimeOfState(to_wire(record.start_time_of_state)),
    ]
    if record.partner_down_time:
        options.append(fo.PartnerDownTime(to_wire(record.partner_down_time)))
    return write_options(options)


def read_state(message: FailoverMessage) -> ToldState:
    """Return what a STATE message says. WireError if its state or its flags are missing."""
    options = message.read_options()
    state, flags = find(options, fo.ServerState), find(options, fo.ServerFlagsOption)
    start = find(options, fo.StartTimeOfState)
    if state is None or flags is None:
        raise WireError("a STATE without a state or without flags")
    known = State(state.state) if state.state in State._value2member_map_ else None
    return ToldState(known, ServerFlags(flags.flags & FLAGS_KNOWN), from_wire(start.time) if start else 0)

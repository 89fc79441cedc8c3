"""CONNECT and CONNECTREPLY: what partners tell each other first, and whether they agree (RFC 8156 6.1)."""

from __future__ import annotations

from typing import Final, NamedTuple

from tandem.effects.settings import Relationship
from tandem.failover.history import ENTERPRISE, Position, read_position
from tandem.failover.session import MAX_UNACKED, SKEW_MAX_S
from tandem.wire import failover_options as fo
from tandem.wire.failover import FailoverMessage, FailoverType, find
from tandem.wire.failover_options import FailoverStatus
from tandem.wire.option import Option, write_options
from tandem.wire.options import Status, VendorOptions
from tandem.wire.received import ADDRESS_LENGTH

VERSION: Final = (1, 0)
MCLT_MIN_S: Final = 30
MCLT_MAX_S: Final = 7 * 86400
"""The MCLT is how long recovery waits: more than a week is a mistake, or an attack."""
REASON_MAX: Final = 200
DIGEST, DETAILS, HEARD, DUID = 1, 2, 3, 5
"""Suboptions: a digest of all that a server serves, that in detail, the partner's position that was last heard, and the
sender's DUID."""


class Refuse(Exception):
    """The partner's terms cannot be agreed to."""

    def __init__(self, code: FailoverStatus, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Introduction(NamedTuple):
    """What a server says of itself in CONNECT and CONNECTREPLY, in options that only another Tandem reads."""

    digest: bytes
    """Of all that it serves."""
    duid: bytes
    heard: Position | None
    """The partner's position that it heard last, None if there is none."""


class Terms(NamedTuple):
    """What a CONNECT or CONNECTREPLY says."""

    name: str | None
    mclt_s: int
    keepalive_s: int
    max_unacked: int
    digest: bytes | None
    """None from a partner that is no Tandem."""
    knows_positions: bool = False
    """True if the partner tells and remembers positions (see `failover.history`)."""
    heard: Position | None = None
    """The position of this server that the partner heard last."""


def write_terms(relationship: Relationship, type_: FailoverType, mclt_s: int, said: Introduction) -> bytes:
    """Return the options of a CONNECT, or of a CONNECTREPLY that agrees."""
    heard = said.heard.pack() if said.heard is not None else b""
    flags = fo.ConnectFlags.FIXED_PD_LENGTH if relationship.fixed_pd_length else 0
    options: list[Option] = [
        fo.ProtocolVersion(*VERSION),
        fo.Mclt(mclt_s),
        fo.KeepaliveTime(relationship.keepalive_s),
        fo.MaxUnackedBndupd(MAX_UNACKED),
        fo.Connect(flags),
        VendorOptions(ENTERPRISE, ((DIGEST, said.digest), (HEARD, heard), (DUID, said.duid))),
    ]
    if type_ is FailoverType.CONNECT:
        options.append(fo.RelationshipName(relationship.name))
    return write_options(options)


def write_status(code: FailoverStatus, reason: str) -> bytes:
    """Give the options of a CONNECTREPLY that refuses, or of a DISCONNECT."""
    return write_options((Status(code, reason[:REASON_MAX]),))


def read_status(message: FailoverMessage) -> Status | None:
    """Give the status in a CONNECTREPLY or DISCONNECT, None if there is none or it is a success."""
    status = find(message.read_options(), Status)
    return status if status is not None and status.status else None


def read_terms(message: FailoverMessage, relationship: Relationship, duid: bytes) -> Terms:
    """Read a CONNECT or CONNECTREPLY. Refuse if something is missing or cannot be followed here.

    `duid` is this server's own. The partner cannot have the same one: clients address a server by it, so both
    would answer, as a cloned machine does.
    """
    options = message.read_options()
    version = find(options, fo.ProtocolVersion)
    mclt, keepalive = find(options, fo.Mclt), find(options, fo.KeepaliveTime)
    unacked, name = find(options, fo.MaxUnackedBndupd), find(options, fo.RelationshipName)
    if version is None or mclt is None or keepalive is None or unacked is None:
        missing = "it needs protocol version, MCLT, keepalive time and the number of unacked updates"
        raise Refuse(FailoverStatus.CONFIGURATION_CONFLICT, missing)
    if version.major != VERSION[0]:
        raise Refuse(FailoverStatus.NOT_SUPPORTED, f"version {version.major} of the protocol is not known here")
    if not MCLT_MIN_S <= mclt.seconds <= MCLT_MAX_S or not keepalive.seconds or not unacked.messages:
        text = f"the MCLT must be from {MCLT_MIN_S} s to {MCLT_MAX_S} s; keepalive and window must not be 0"
        raise Refuse(FailoverStatus.CONFIGURATION_CONFLICT, text)
    flags = find(options, fo.Connect)
    is_fixed = flags is not None and flags.flags & fo.ConnectFlags.FIXED_PD_LENGTH
    has_prefixes = any(pool.length < ADDRESS_LENGTH for pool in relationship.pools)
    if has_prefixes and relationship.fixed_pd_length and not is_fixed:
        several = "prefixes of several lengths from one pool cannot be followed here (FIXED_PD_LENGTH is not set)"
        raise Refuse(FailoverStatus.NOT_SUPPORTED, several)
    own = next((each for each in options if isinstance(each, VendorOptions) and each.enterprise == ENTERPRISE), None)
    told = dict(own.suboptions) if own is not None else {}
    if duid and told.get(DUID) == duid:
        same = "both servers have the same DUID, as a cloned machine has; set another `duid`, or empty one state-dir"
        raise Refuse(FailoverStatus.CONFIGURATION_CONFLICT, same)
    return Terms(
        name.name if name else None,
        mclt.seconds,
        keepalive.seconds,
        unacked.messages,
        told.get(DIGEST),
        HEARD in told,
        read_position(told.get(HEARD, b"")),
    )


def read_terms_name(message: FailoverMessage) -> str | None:
    """Give the relationship's name in a CONNECT, None if it has none (RFC 8156 6.1.1)."""
    name = find(message.read_options(), fo.RelationshipName)
    return name.name if name is not None else None


def check_clock(message: FailoverMessage, received_utc: int) -> None:
    """Refuse a CONNECT whose sender's clock is too far from ours (RFC 8156 6.1.2)."""
    ahead_s = message.sent_time - received_utc
    if abs(ahead_s) > SKEW_MAX_S:
        direction = "ahead of" if ahead_s > 0 else "behind"
        raise Refuse(
            FailoverStatus.EXCESSIVE_TIME_SKEW,
            f"the primary's clock is {abs(ahead_s)} s {direction} the secondary's; set the clocks of both",
        )

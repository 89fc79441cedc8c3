"""Leases in BNDUPD and BNDREPLY: RFC 8156 7.4 and 7.6, between octets and values.

Written and read by hand, since a resynchronisation is nothing but these. Times are UTC seconds since 1970, 0 for
none. Unknown options of a client (in OPTION_CLIENT_DATA) and of a lease (in IAADDR or IAPREFIX) are kept as encoded
options in `details` and sent back. Those directly in a BNDUPD, an IA_NA or an IA_PD are ignored: a record has no place
that belongs to all leases of an identity association, and RFC 8156 defines no option there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from struct import Struct
from typing import ClassVar, Final, NamedTuple

from tandem.wire import codes
from tandem.wire.failover_options import FailoverStatus
from tandem.wire.octets import index_options, u32, write_option
from tandem.wire.options import Status
from tandem.wire.reader import WireError
from tandem.wire.received import ADDRESS_LENGTH, DUID_OCTETS_MAX, IA_ADDRESS, IA_HEADER, IA_PREFIX
from tandem.wire.times import from_wire, to_wire

U8_OPTION: Final = Struct("!HHB")
U32_OPTION: Final = Struct("!HHI")
IA_ADDRESS_OPTION: Final = Struct("!HH16sII")
IA_PREFIX_OPTION: Final = Struct("!HHIIB16s")
IA_OPTION: Final = Struct("!HHIII")
STATUS_HEADER: Final = Struct("!H")
LEASES_MAX: Final = 128
"""Leases in one update; a client holds fewer, and an answer about so many fits into a message."""
TEXT_MAX: Final = 200
VSS: Final = 68
"""OPTION_VSS, RFC 6607 3.4: of which VPN what stands beside it is. That RFC is not supported."""
GIVEN_BACK_OCTETS_MAX: Final = 16_000
"""Of one option in a rejection, so that with all that may stand in it fits into a message."""


HOLDERS: Final = frozenset((codes.CLIENT_DATA, codes.IA_PREFIX))
TIMES: Final = frozenset(
    (
        codes.START_TIME_OF_STATE,
        codes.STATE_EXPIRATION_TIME,
        codes.CLT_TIME,
        codes.PARTNER_LIFETIME,
        codes.PARTNER_RAW_CLT_TIME,
        codes.EXPIRATION_TIME,
    )
)
NOT_KEPT: Final = frozenset((codes.BINDING, codes.BASE_TIME, codes.STATUS, codes.CLIENT_DATA))
NO_IA: Final = (0, 0, 0)


class RejectedUpdate(WireError):
    """All of an update is to be rejected, with this status; the message says why."""

    code: ClassVar[FailoverStatus]


class MissingInformation(RejectedUpdate):
    """It says too little to be processed (RFC 8156 7.5.3)."""

    code: ClassVar[FailoverStatus] = FailoverStatus.MISSING_BINDING_INFORMATION


class AnotherVpn(RejectedUpdate):
    """It is about another VPN than the global one, the only one here (RFC 8156 7.4, 7.6)."""

    code: ClassVar[FailoverStatus] = FailoverStatus.CONFIGURATION_CONFLICT

    def __init__(self) -> None:
        super().__init__("this server serves no VPN but the global one, without OPTION_VSS")


class LeaseUpdate(NamedTuple):
    """What a BNDUPD says of one lease. `key` is address << 8 | prefix length, 128 for an address."""

    key: int
    iaid: int
    t1_s: int
    t2_s: int
    preferred_s: int
    valid_s: int
    status: int
    start_time_of_state: int
    state_expiration_time: int = 0
    client_last_transaction_time: int = 0
    partner_lifetime: int = 0
    partner_raw_clt_time: int = 0
    expiration_time: int = 0
    details: bytes = b""


class Update(NamedTuple):
    """A BNDUPD: leases of one client, or with an empty `duid` one prefix that is nobody's."""

    duid: bytes
    details: bytes
    leases: tuple[LeaseUpdate, ...]
    unsupported: tuple[bytes, ...] = ()
    """Encoded options of the answer that reject what cannot be taken over: an IA_TA, which RFC 9915 removed."""


class LeaseVerdict(NamedTuple):
    """What a BNDREPLY says of one lease; `code` 0 is acceptance."""

    key: int
    code: int = 0
    text: str = ""
    partner_lifetime_sent: int = 0


class Reply(NamedTuple):
    """A BNDREPLY; with `code` not 0 all of the update is rejected."""

    verdicts: tuple[LeaseVerdict, ...]
    code: int = 0
    text: str = ""


def write_update(update: Update, now_utc: int) -> bytes:
    """Give the options of a BNDUPD made at that time."""
    base_time = _time_option(codes.BASE_TIME, now_utc)
    if not update.duid:
        (lease,) = update.leases
        return _lease_option(lease, base_time + _lease_options(lease, now_utc))
    parts = [write_option(codes.CLIENT_ID, update.duid), base_time, update.details]
    parts += [_ia_option(lease, _lease_option(lease, _lease_options(lease, now_utc))) for lease in update.leases]
    return write_option(codes.CLIENT_DATA, b"".join(parts))


def _time_option(code: int, utc_s: int) -> bytes:
    return U32_OPTION.pack(code, 4, to_wire(utc_s))


def _lease_options(lease: LeaseUpdate, now_utc: int) -> bytes:
    parts = [
        U8_OPTION.pack(codes.BINDING, 1, lease.status),
        _time_option(codes.START_TIME_OF_STATE, lease.start_time_of_state),
    ]
    if lease.state_expiration_time:
        parts.append(_time_option(codes.STATE_EXPIRATION_TIME, lease.state_expiration_time))
    if lease.client_last_transaction_time:
        ago_s = max(0, now_utc - lease.client_last_transaction_time)
        parts.append(U32_OPTION.pack(codes.CLT_TIME, 4, ago_s))
    if lease.partner_lifetime:
        parts.append(_time_option(codes.PARTNER_LIFETIME, lease.partner_lifetime))
    if lease.partner_raw_clt_time:
        parts.append(_time_option(codes.PARTNER_RAW_CLT_TIME, lease.partner_raw_clt_time))
    if lease.expiration_time:
        parts.append(_time_option(codes.EXPIRATION_TIME, lease.expiration_time))
    parts.append(lease.details)
    return b"".join(parts)


def _lease_option(lease: LeaseUpdate, options: bytes) -> bytes:
    length, address = lease.key & 0xFF, (lease.key >> 8).to_bytes(16, "big")
    if length == ADDRESS_LENGTH:
        size = IA_ADDRESS.size + len(options)
        return IA_ADDRESS_OPTION.pack(codes.IA_ADDRESS, size, address, lease.preferred_s, lease.valid_s) + options
    size = IA_PREFIX.size + len(options)
    return IA_PREFIX_OPTION.pack(codes.IA_PREFIX, size, lease.preferred_s, lease.valid_s, length, address) + options


def _ia_option(lease: LeaseUpdate, option: bytes) -> bytes:
    code = codes.IA_NA if lease.key & 0xFF == ADDRESS_LENGTH else codes.IA_PD
    return IA_OPTION.pack(code, 12 + len(option), lease.iaid, lease.t1_s, lease.t2_s) + option


def read_update(data: bytes) -> Update:
    """Read the options of a BNDUPD. WireError if they break their format, RejectedUpdate if they cannot be used."""
    holders = [each for each in index_options(data, 0, len(data)) if each[0] in HOLDERS]
    if len(holders) != 1:
        raise MissingInformation(f"{len(holders)} options hold leases, and not one")
    code, start, end = holders[0]
    if code == codes.IA_PREFIX:
        return Update(b"", b"", (_read_lease(data, code, start, end, NO_IA, 0),))
    return _read_client(data, start, end)


def _read_client(data: bytes, start: int, end: int) -> Update:
    duid, base = b"", 0
    details: list[bytes] = []
    unsupported: list[bytes] = []
    ias: list[tuple[int, int, int]] = []
    for option in index_options(data, start, end):
        code, body, to = option
        if code == codes.IA_NA or code == codes.IA_PD:
            ias.append(option)
        elif code == codes.CLIENT_ID:
            duid = data[body:to]
        elif code == codes.BASE_TIME:
            base = from_wire(_read_time(data, body, to))
        elif code == codes.IA_TA:
            rejection = _status_option(FailoverStatus.NOT_SUPPORTED, "temporary addresses are not leased here")
            unsupported.append(write_option(codes.IA_TA, data[body : min(body + 4, to)] + rejection))
        elif code == VSS:
            raise AnotherVpn
        elif code != codes.STATUS:
            details.append(data[body - 4 : to])
    leases: list[LeaseUpdate] = []
    for code, body, to in ias:
        _read_ia(data, code, body, to, base, leases)
    if len(leases) > LEASES_MAX:
        raise MissingInformation(f"more than {LEASES_MAX} leases in one update cannot be taken over")
    if not duid or not base or not (leases or unsupported):
        raise MissingInformation("an update of a client needs its identifier, a base time and a lease")
    if len(duid) > DUID_OCTETS_MAX:
        raise WireError(f"a DUID of {len(duid)} octets")
    return Update(duid, b"".join(details), tuple(leases), tuple(unsupported))


def _read_ia(data: bytes, kind: int, start: int, end: int, base: int, leases: list[LeaseUpdate]) -> None:
    """Append what an identity association says of its leases."""
    at = start + IA_HEADER.size
    if at > end:
        raise WireError("an identity association is cut off")
    header = IA_HEADER.unpack_from(data, start)
    wanted = codes.IA_ADDRESS if kind == codes.IA_NA else codes.IA_PREFIX
    for code, body, to in index_options(data, at, end):
        if code == wanted:
            leases.append(_read_lease(data, code, body, to, header, base))


def _read_key(data: bytes, code: int, start: int, end: int) -> tuple[int, int, int, int]:
    """Give key, preferred and valid lifetime, and where the options begin."""
    layout = IA_ADDRESS if code == codes.IA_ADDRESS else IA_PREFIX
    at = start + layout.size
    if at > end:
        raise WireError("a lease's option is cut off")
    if code == codes.IA_ADDRESS:
        address, preferred_s, valid_s = layout.unpack_from(data, start)
        return int.from_bytes(address, "big") << 8 | ADDRESS_LENGTH, preferred_s, valid_s, at
    preferred_s, valid_s, length, address = layout.unpack_from(data, start)
    first = int.from_bytes(address, "big")
    if length >= ADDRESS_LENGTH or first & ((1 << ADDRESS_LENGTH - length) - 1):
        raise WireError(f"a prefix that is none, of length {length}")
    return first << 8 | length, preferred_s, valid_s, at


def _read_lease(data: bytes, code: int, start: int, end: int, ia: tuple[int, int, int], base: int) -> LeaseUpdate:
    """Read a lease's option; `base` 0 is none, and the lease then can say nothing of its client."""
    key, preferred_s, valid_s, at = _read_key(data, code, start, end)
    status = -1
    details: list[bytes] = []
    times: dict[int, int] = {}
    for option, body, to in index_options(data, at, end):
        if option in TIMES:
            times[option] = _read_time(data, body, to)
        elif option == codes.BINDING and to - body == 1:
            status = data[body]
        elif option == VSS:
            raise AnotherVpn
        elif option not in NOT_KEPT:
            details.append(data[body - 4 : to])
    start_time = times.get(codes.START_TIME_OF_STATE)
    if status < 0 or start_time is None:
        raise MissingInformation("a lease's update needs its binding-status and the start time of that")
    ago_s = times.get(codes.CLT_TIME)
    if ago_s is not None and not base:
        raise MissingInformation("a client-last-transaction-time needs a base time")
    iaid, t1_s, t2_s = ia
    return LeaseUpdate(
        key,
        iaid,
        t1_s,
        t2_s,
        preferred_s,
        valid_s,
        status,
        from_wire(start_time),
        from_wire(times.get(codes.STATE_EXPIRATION_TIME, 0)),
        max(1, base - ago_s) if ago_s is not None else 0,
        from_wire(times.get(codes.PARTNER_LIFETIME, 0)),
        from_wire(times.get(codes.PARTNER_RAW_CLT_TIME, 0)),
        from_wire(times.get(codes.EXPIRATION_TIME, 0)),
        b"".join(details),
    )


def _read_time(data: bytes, start: int, end: int) -> int:
    if end - start != 4:
        raise WireError(f"a time of {end - start} octets")
    return u32(data, start)


def write_reply(update: Update, verdicts: Iterable[LeaseVerdict]) -> bytes:
    """Give the options of the BNDREPLY to an update, with a verdict for each of its leases, in their order."""
    if not update.duid:
        (lease,), (verdict,) = update.leases, verdicts
        return _lease_option(lease, _verdict_options(lease, verdict))
    parts = [write_option(codes.CLIENT_ID, update.duid)]
    for lease, verdict in zip(update.leases, verdicts, strict=True):
        parts.append(_ia_option(lease, _lease_option(lease, _verdict_options(lease, verdict))))
    return write_option(codes.CLIENT_DATA, b"".join((*parts, *update.unsupported)))


def write_rejection(data: bytes, code: int, text: str) -> bytes:
    """Give the options of a BNDREPLY that rejects all of an update, whose options are `data` and may be anything.

    It goes into the outermost option (RFC 8156 7.6); without one that is known it stands alone.
    """
    status = _status_option(code, text)
    for option, start, end in index_options(data, 0, len(data)):
        if option == codes.CLIENT_DATA:
            return write_option(codes.CLIENT_DATA, _given_back(data, start, end, OF_CLIENT) + status)
        at = start + IA_PREFIX.size
        if option == codes.IA_PREFIX and at <= end:
            return write_option(codes.IA_PREFIX, data[start:at] + status + _given_back(data, at, end, OF_PREFIX))
    return status


OF_CLIENT: Final = {codes.CLIENT_ID: codes.CLIENT_ID, VSS: VSS}
OF_PREFIX: Final = {
    VSS: VSS,
    codes.BINDING: codes.BINDING,
    codes.STATE_EXPIRATION_TIME: codes.STATE_EXPIRATION_TIME,
    codes.PARTNER_LIFETIME: codes.PARTNER_LIFETIME_SENT,
}
"""What is given back of an update, and under which code."""


def _given_back(data: bytes, start: int, end: int, codes: Mapping[int, int]) -> bytes:
    """Give the first of each of these options that is not too long, under its code in an answer."""
    found: dict[int, bytes] = {}
    for option, body, to in index_options(data, start, end):
        if option in codes and to - body <= GIVEN_BACK_OCTETS_MAX:
            found.setdefault(option, write_option(codes[option], data[body:to]))
    return b"".join(found.values())


def _status_option(code: int, text: str) -> bytes:
    return write_option(codes.STATUS, Status(code, text[:TEXT_MAX]).body())


def _verdict_options(lease: LeaseUpdate, verdict: LeaseVerdict) -> bytes:
    options = U8_OPTION.pack(codes.BINDING, 1, lease.status)
    if verdict.code:
        options = _status_option(verdict.code, verdict.text) + options
    if lease.state_expiration_time:
        options += _time_option(codes.STATE_EXPIRATION_TIME, lease.state_expiration_time)
    if lease.partner_lifetime:
        options += _time_option(codes.PARTNER_LIFETIME_SENT, lease.partner_lifetime)
    return options


def read_reply(data: bytes) -> Reply:
    """Read the options of a BNDREPLY. WireError if they break their format."""
    verdicts: list[LeaseVerdict] = []
    code, text = 0, ""
    for option, start, end in index_options(data, 0, len(data)):
        if option == codes.STATUS:
            code, text = _read_status(data, start, end)
        elif option == codes.IA_PREFIX:
            verdicts.append(_read_verdict(data, option, start, end))
        elif option == codes.CLIENT_DATA:
            for inner, body, to in index_options(data, start, end):
                if inner == codes.STATUS:
                    code, text = _read_status(data, body, to)
                elif inner == codes.IA_NA or inner == codes.IA_PD:
                    verdicts += _read_ia_verdicts(data, body, to)
    return Reply(tuple(verdicts), code, text)


def _read_ia_verdicts(data: bytes, start: int, end: int) -> list[LeaseVerdict]:
    """Read the verdicts in an IA; a status of the IA itself is one for all in it (RFC 8156 7.7)."""
    at = start + IA_HEADER.size
    if at > end:
        raise WireError("an identity association is cut off")
    verdicts: list[LeaseVerdict] = []
    whole, text = 0, ""
    for code, body, to in index_options(data, at, end):
        if code == codes.IA_ADDRESS or code == codes.IA_PREFIX:
            verdicts.append(_read_verdict(data, code, body, to))
        elif code == codes.STATUS and not whole:
            whole, text = _read_status(data, body, to)
    return [each._replace(code=whole, text=text) for each in verdicts] if whole else verdicts


def _read_verdict(data: bytes, code: int, start: int, end: int) -> LeaseVerdict:
    key, _, _, at = _read_key(data, code, start, end)
    status, text, sent = 0, "", 0
    for option, body, to in index_options(data, at, end):
        if option == codes.STATUS:
            status, text = _read_status(data, body, to)
        elif option == codes.PARTNER_LIFETIME_SENT:
            sent = from_wire(_read_time(data, body, to))
    return LeaseVerdict(key, status, text, sent)


def _read_status(data: bytes, start: int, end: int) -> tuple[int, str]:
    if end - start < STATUS_HEADER.size:
        raise WireError("a status code is cut off")
    return STATUS_HEADER.unpack_from(data, start)[0], data[start + 2 : end].decode("utf-8", "replace")

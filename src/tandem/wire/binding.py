"""Leases in BNDUPD and BNDREPLY: RFC 8156 7.4 and 7.6, between octets and values.

Written and read by hand, since a resynchronisation is nothing but these. Times are UTC seconds since 1970, 0 for
none. What is not known here is kept as encoded options in `details` and given back untouched.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from struct import Struct
from typing import ClassVar, NamedTuple

from tandem.wire import failover_options as fo
from tandem.wire.failover_options import ClientData, FailoverStatus, from_wire, to_wire
from tandem.wire.option import write_option
from tandem.wire.options import ClientId, IaAddress, IaNa, IaPd, IaPrefix, Status
from tandem.wire.reader import WireError, index_options
from tandem.wire.received import ADDRESS_LENGTH, DUID_OCTETS_MAX, IA_ADDRESS, IA_HEADER, IA_PREFIX

U8_OPTION = Struct("!HHB")
U32_OPTION = Struct("!HHI")
IA_ADDRESS_OPTION = Struct("!HH16sII")
IA_PREFIX_OPTION = Struct("!HHIIB16s")
IA_OPTION = Struct("!HHIII")
STATUS_HEADER = Struct("!H")
LEASES_MAX = 128
"""Leases in one update; a client holds fewer, and an answer about so many fits into a message."""
TEXT_MAX = 200
VSS = 68
"""OPTION_VSS, RFC 6607 3.4: of which VPN what stands beside it is. That RFC is not supported."""
GIVEN_BACK_OCTETS_MAX = 16_000
"""Of one option in a rejection, so that with all that may stand in it fits into a message."""


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


def _u32(code: int, value: int) -> bytes:
    return U32_OPTION.pack(code, 4, value)


def _time(code: int, utc_s: int) -> bytes:
    return U32_OPTION.pack(code, 4, to_wire(utc_s)) if utc_s else b""


def write_update(update: Update, now_utc: int) -> bytes:
    """Give the options of a BNDUPD made at that time."""
    if not update.duid:
        (lease,) = update.leases
        return _lease_option(lease, _u32(fo.BaseTime.code, to_wire(now_utc)) + _lease_options(lease, now_utc))
    client = (
        write_option(ClientId.code, update.duid),
        _u32(fo.BaseTime.code, to_wire(now_utc)),
        update.details,
        *(_ia_option(lease, _lease_option(lease, _lease_options(lease, now_utc))) for lease in update.leases),
    )
    return write_option(ClientData.code, b"".join(client))


def _lease_options(lease: LeaseUpdate, now_utc: int) -> bytes:
    clt = lease.client_last_transaction_time
    return b"".join(
        (
            U8_OPTION.pack(fo.Binding.code, 1, lease.status),
            _u32(fo.StartTimeOfState.code, to_wire(lease.start_time_of_state)),
            _time(fo.StateExpirationTime.code, lease.state_expiration_time),
            _u32(fo.CltTime.code, max(0, now_utc - clt)) if clt else b"",
            _time(fo.PartnerLifetime.code, lease.partner_lifetime),
            _time(fo.PartnerRawCltTime.code, lease.partner_raw_clt_time),
            _time(fo.ExpirationTime.code, lease.expiration_time),
            lease.details,
        )
    )


def _lease_option(lease: LeaseUpdate, options: bytes) -> bytes:
    length, address = lease.key & 0xFF, (lease.key >> 8).to_bytes(16, "big")
    if length == ADDRESS_LENGTH:
        size = IA_ADDRESS.size + len(options)
        return IA_ADDRESS_OPTION.pack(IaAddress.code, size, address, lease.preferred_s, lease.valid_s) + options
    size = IA_PREFIX.size + len(options)
    return IA_PREFIX_OPTION.pack(IaPrefix.code, size, lease.preferred_s, lease.valid_s, length, address) + options


def _ia_option(lease: LeaseUpdate, option: bytes) -> bytes:
    code = IaNa.code if lease.key & 0xFF == ADDRESS_LENGTH else IaPd.code
    return IA_OPTION.pack(code, 12 + len(option), lease.iaid, lease.t1_s, lease.t2_s) + option


def read_update(data: bytes) -> Update:
    """Read the options of a BNDUPD. WireError if they break their format, RejectedUpdate if they cannot be used."""
    options = index_options(data, 0, len(data))
    holders = [each for each in options if each[0] in (ClientData.code, IaPrefix.code)]
    if len(holders) != 1:
        raise MissingInformation(f"{len(holders)} options hold leases, and not one")
    code, start, end = holders[0]
    if code == IaPrefix.code:
        return Update(b"", b"", (_read_lease(data, code, start, end, (0, 0, 0), None),))
    duid, base, details = b"", None, []
    leases: list[LeaseUpdate] = []
    inner = index_options(data, start, end)
    for option, body, to in inner:
        if option == fo.BaseTime.code:
            base = from_wire(_read_u32(data, body, to))
    for option, body, to in inner:
        if option == ClientId.code:
            duid = data[body:to]
        elif option in (IaNa.code, IaPd.code):
            leases += _read_ia(data, option, body, to, base)
        elif option == VSS:
            raise AnotherVpn
        elif option not in (fo.BaseTime.code, Status.code):
            details.append(data[body - 4 : to])
    if len(leases) > LEASES_MAX:
        raise MissingInformation(f"more than {LEASES_MAX} leases in one update cannot be taken over")
    if not duid or base is None or not leases:
        raise MissingInformation("an update of a client needs its identifier, a base time and a lease")
    if len(duid) > DUID_OCTETS_MAX:
        raise WireError(f"a DUID of {len(duid)} octets")
    return Update(duid, b"".join(details), tuple(leases))


def _read_ia(data: bytes, kind: int, start: int, end: int, base: int | None) -> Iterator[LeaseUpdate]:
    wanted = IaAddress.code if kind == IaNa.code else IaPrefix.code
    if start + IA_HEADER.size > end:
        raise WireError("an identity association is cut off")
    header = IA_HEADER.unpack_from(data, start)
    for code, body, to in index_options(data, start + IA_HEADER.size, end):
        if code == wanted:
            yield _read_lease(data, code, body, to, header, base)


def _read_key(data: bytes, code: int, start: int, end: int) -> tuple[int, int, int, int]:
    """Give key, preferred and valid lifetime, and where the options begin."""
    layout = IA_ADDRESS if code == IaAddress.code else IA_PREFIX
    at = start + layout.size
    if at > end:
        raise WireError("a lease's option is cut off")
    if code == IaAddress.code:
        address, preferred_s, valid_s = layout.unpack_from(data, start)
        return int.from_bytes(address, "big") << 8 | ADDRESS_LENGTH, preferred_s, valid_s, at
    preferred_s, valid_s, length, address = layout.unpack_from(data, start)
    first = int.from_bytes(address, "big")
    if length >= ADDRESS_LENGTH or first & ((1 << ADDRESS_LENGTH - length) - 1):
        raise WireError(f"a prefix that is none, of length {length}")
    return first << 8 | length, preferred_s, valid_s, at


def _read_lease(
    data: bytes, code: int, start: int, end: int, ia: tuple[int, int, int], base: int | None
) -> LeaseUpdate:
    key, preferred_s, valid_s, at = _read_key(data, code, start, end)
    found: dict[int, int] = {}
    details = []
    for option, body, to in index_options(data, at, end):
        if option == fo.Binding.code and to - body == 1:
            found[option] = data[body]
        elif option in TIME_CODES:
            found[option] = _read_u32(data, body, to)
        elif option == VSS:
            raise AnotherVpn
        elif option not in (fo.BaseTime.code, Status.code, ClientData.code):
            details.append(data[body - 4 : to])
    status = found.get(fo.Binding.code)
    if status is None or fo.StartTimeOfState.code not in found:
        raise MissingInformation("a lease's update needs its binding-status and the start time of that")
    ago_s = found.get(fo.CltTime.code)
    if ago_s is not None and base is None:
        raise MissingInformation("a client-last-transaction-time needs a base time")
    times = [from_wire(found.get(each, 0)) for each in ABSOLUTE_CODES]
    start_time, state_expiration_time, partner_lifetime, partner_raw_clt_time, expiration_time = times
    clt = max(1, base - ago_s) if ago_s is not None and base is not None else 0
    return LeaseUpdate(
        *(key, *ia, preferred_s, valid_s, status, start_time, state_expiration_time, clt),
        *(partner_lifetime, partner_raw_clt_time, expiration_time, b"".join(details)),
    )


ABSOLUTE_CODES = (
    fo.StartTimeOfState.code,
    fo.StateExpirationTime.code,
    fo.PartnerLifetime.code,
    fo.PartnerRawCltTime.code,
    fo.ExpirationTime.code,
)
TIME_CODES = frozenset((*ABSOLUTE_CODES, fo.CltTime.code))


def _read_u32(data: bytes, start: int, end: int) -> int:
    if end - start != 4:
        raise WireError(f"a time of {end - start} octets")
    return int.from_bytes(data[start:end], "big")


def write_reply(update: Update, verdicts: Iterable[LeaseVerdict]) -> bytes:
    """Give the options of the BNDREPLY to an update, with a verdict for each of its leases, in their order."""
    if not update.duid:
        (lease,), (verdict,) = update.leases, verdicts
        return _lease_option(lease, _verdict_options(lease, verdict))
    parts = [write_option(ClientId.code, update.duid)]
    for lease, verdict in zip(update.leases, verdicts, strict=True):
        parts.append(_ia_option(lease, _lease_option(lease, _verdict_options(lease, verdict))))
    return write_option(ClientData.code, b"".join(parts))


def write_rejection(data: bytes, code: int, text: str) -> bytes:
    """Give the options of a BNDREPLY that rejects all of an update, whose options are `data` and may be anything.

    It goes into the outermost option (RFC 8156 7.6); without one that is known it stands alone.
    """
    status = _status_option(code, text)
    for option, start, end in index_options(data, 0, len(data)):
        if option == ClientData.code:
            return write_option(ClientData.code, _given_back(data, start, end, OF_CLIENT) + status)
        at = start + IA_PREFIX.size
        if option == IaPrefix.code and at <= end:
            return write_option(IaPrefix.code, data[start:at] + status + _given_back(data, at, end, OF_PREFIX))
    return status


OF_CLIENT = {ClientId.code: ClientId.code, VSS: VSS}
OF_PREFIX = {
    VSS: VSS,
    fo.Binding.code: fo.Binding.code,
    fo.StateExpirationTime.code: fo.StateExpirationTime.code,
    fo.PartnerLifetime.code: fo.PartnerLifetimeSent.code,
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
    return write_option(Status.code, Status(code, text[:TEXT_MAX]).body())


def _verdict_options(lease: LeaseUpdate, verdict: LeaseVerdict) -> bytes:
    return b"".join(
        (
            _status_option(verdict.code, verdict.text) if verdict.code else b"",
            U8_OPTION.pack(fo.Binding.code, 1, lease.status),
            _time(fo.StateExpirationTime.code, lease.state_expiration_time),
            _time(fo.PartnerLifetimeSent.code, lease.partner_lifetime),
        )
    )


def read_reply(data: bytes) -> Reply:
    """Read the options of a BNDREPLY. WireError if they break their format."""
    verdicts: list[LeaseVerdict] = []
    code, text = 0, ""
    for option, start, end in index_options(data, 0, len(data)):
        if option == Status.code:
            code, text = _read_status(data, start, end)
        elif option == IaPrefix.code:
            verdicts.append(_read_verdict(data, option, start, end))
        elif option == ClientData.code:
            for inner, body, to in index_options(data, start, end):
                if inner == Status.code:
                    code, text = _read_status(data, body, to)
                elif inner in (IaNa.code, IaPd.code):
                    verdicts += _read_ia_verdicts(data, body, to)
    return Reply(tuple(verdicts), code, text)


def _read_ia_verdicts(data: bytes, start: int, end: int) -> Iterator[LeaseVerdict]:
    """Read the verdicts in an IA; a status of the IA itself is one for all in it (RFC 8156 7.7)."""
    if start + IA_HEADER.size > end:
        raise WireError("an identity association is cut off")
    options = index_options(data, start + IA_HEADER.size, end)
    whole = [_read_status(data, body, to) for code, body, to in options if code == Status.code]
    for code, body, to in options:
        if code in (IaAddress.code, IaPrefix.code):
            verdict = _read_verdict(data, code, body, to)
            yield verdict._replace(code=whole[0][0], text=whole[0][1]) if whole and whole[0][0] else verdict


def _read_verdict(data: bytes, code: int, start: int, end: int) -> LeaseVerdict:
    key, _, _, at = _read_key(data, code, start, end)
    status, text, sent = 0, "", 0
    for option, body, to in index_options(data, at, end):
        if option == Status.code:
            status, text = _read_status(data, body, to)
        elif option == fo.PartnerLifetimeSent.code:
            sent = from_wire(_read_u32(data, body, to))
    return LeaseVerdict(key, status, text, sent)


def _read_status(data: bytes, start: int, end: int) -> tuple[int, str]:
    if end - start < STATUS_HEADER.size:
        raise WireError("a status code is cut off")
    return STATUS_HEADER.unpack_from(data, start)[0], data[start + 2 : end].decode("utf-8", "replace")

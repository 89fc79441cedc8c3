"""Leases in BNDUPD and BNDREPLY: written by hand and read by hand, against each other and against the options."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.failover.bindings import accepted, client_update, lease_update, split_details
from tandem.lease.lease import BindingStatus, key_of, unpack
from tandem.wire import failover_options as fo
from tandem.wire.binding import (
    VSS,
    LeaseUpdate,
    LeaseVerdict,
    MissingInformation,
    RejectedUpdate,
    Reply,
    Update,
    read_reply,
    read_update,
    write_rejection,
    write_reply,
    write_update,
)
from tandem.wire.failover import FailoverMessage, FailoverType, find
from tandem.wire.failover_options import ClientData, FailoverStatus
from tandem.wire.octets import write_option
from tandem.wire.option import OPTIONS, Option, Unknown, read_options, write_options
from tandem.wire.options import ClientId, IaAddress, IaNa, IaPd, IaPrefix, Status
from tandem.wire.reader import Reader, WireError
from tandem.wire.times import EPOCH, to_wire
from wire.strategies import NUMBERS, SAME_EVERY_TIME, octets, option_of, unknown_options

NOW = 1_800_000_000
LATEST = 0xFFFFFFFE
DUID = b"\0\3\0\1\2\0\0\0\0\x07"
ADDRESS = key_of(0x20010DB8000100000000000100000007)
PREFIX = key_of(0x20010DB9 << 96, 56)
LEASE = LeaseUpdate(ADDRESS, 1, 2, 3, 4, 5, BindingStatus.ACTIVE, NOW)
HELD = tuple(
    each.code
    for each in (
        *(fo.BaseTime, fo.Binding, fo.CltTime, fo.PartnerLifetimeSent, Status, fo.StartTimeOfState),
        *(fo.StateExpirationTime, fo.PartnerLifetime, fo.PartnerRawCltTime, fo.ExpirationTime),
        ClientData,
    )
)
"""Options of a lease that are read, and so are no details; client-data belongs around leases, and is left out."""

DNS = fo.DnsRemovalInfo((fo.DnsHostName("host."), fo.DnsZoneName("example.net."), fo.DnsFlags(1)))
UNREGISTERED = Unknown(60_000, b"of another implementation")

# -- values

u32 = NUMBERS["I"]
times = st.just(0) | st.integers(EPOCH + 1, LATEST)
heard = st.just(0) | st.integers(EPOCH + 1, NOW)
addresses = st.integers(0, (1 << 128) - 1).map(key_of)
duids = st.binary(min_size=1, max_size=130)


@st.composite
def prefixes(draw: st.DrawFn) -> int:
    length = draw(st.integers(0, 127))
    return key_of(draw(st.integers(0, (1 << length) - 1 if length else 0)) << 128 - length, length)


def details(excluded: Iterable[int]) -> st.SearchStrategy[bytes]:
    """Give encoded options that are kept as they are."""
    codes = sorted(OPTIONS.keys() - {*excluded})
    known = st.sampled_from(codes).flatmap(lambda code: option_of(code, 1))
    unknown = unknown_options.filter(lambda each: each.code != VSS)
    return st.lists(known | unknown, max_size=3).map(write_options)


@st.composite
def leases(draw: st.DrawFn, key: st.SearchStrategy[int], of_client: bool) -> LeaseUpdate:
    in_ia = u32 if of_client else st.just(0)
    return LeaseUpdate(
        draw(key),
        *(draw(in_ia), draw(in_ia), draw(in_ia), draw(u32), draw(u32)),
        draw(NUMBERS["B"]),
        draw(times),
        draw(times),
        draw(heard) if of_client else 0,
        *(draw(times), draw(times), draw(times)),
        draw(details(HELD)),
    )


@st.composite
def updates(draw: st.DrawFn) -> Update:
    if draw(st.integers(0, 4)) == 0:
        return Update(b"", b"", (draw(leases(prefixes(), of_client=False)),))
    held = draw(st.lists(leases(addresses | prefixes(), of_client=True), min_size=1, max_size=4))
    about = draw(details((ClientId.code, IaNa.code, IaPd.code, fo.BaseTime.code, Status.code)))
    return Update(draw(duids), about, tuple(held))


@st.composite
def answered_updates(draw: st.DrawFn) -> tuple[Update, tuple[LeaseVerdict, ...]]:
    update = draw(updates())
    codes = st.just(0) | st.sampled_from(FailoverStatus)
    text = st.text(max_size=40)
    verdicts = []
    for lease in update.leases:
        code = int(draw(codes))
        verdicts.append(LeaseVerdict(lease.key, code, draw(text) if code else "", lease.partner_lifetime))
    return update, tuple(verdicts)


# -- BNDUPD (RFC 8156 7.4)


@given(update=updates())
@SAME_EVERY_TIME
def test_written_is_read(update: Update) -> None:
    assert read_update(write_update(update, NOW)) == update


@given(update=updates())
@SAME_EVERY_TIME
def test_the_options_say_the_same(update: Update) -> None:
    """Another reader, that of the declared options, finds the same in the same octets."""
    seen = Update(*seen_update(read_options(Reader(write_update(update, NOW)))))
    assert seen == update


def seen_update(held: tuple[Option, ...]) -> tuple[bytes, bytes, tuple[LeaseUpdate, ...]]:
    (outer,) = held
    if isinstance(outer, IaPrefix):
        assert find(outer.options, fo.BaseTime) == fo.BaseTime(to_wire(NOW))
        return b"", b"", (seen_lease((0, 0, 0), outer),)
    assert isinstance(outer, ClientData)
    assert find(outer.options, fo.BaseTime) == fo.BaseTime(to_wire(NOW))
    client, ias = outer.options[0], [each for each in outer.options if isinstance(each, IaNa | IaPd)]
    assert isinstance(client, ClientId)
    rest = [each for each in outer.options if not isinstance(each, ClientId | IaNa | IaPd | fo.BaseTime)]
    return client.duid, write_options(rest), tuple(seen_leases(ias))


def seen_leases(ias: Iterable[IaNa | IaPd]) -> Iterator[LeaseUpdate]:
    for ia in ias:
        (inside,) = ia.options
        assert isinstance(inside, IaAddress if isinstance(ia, IaNa) else IaPrefix)
        yield seen_lease((ia.iaid, ia.t1, ia.t2), inside)


def key_in(lease: IaAddress | IaPrefix) -> int:
    if isinstance(lease, IaAddress):
        return key_of(int.from_bytes(lease.address, "big"))
    return key_of(int.from_bytes(lease.prefix, "big"), lease.length)


def seen_lease(ia: tuple[int, int, int], lease: Any) -> LeaseUpdate:
    def time(kind: Any) -> int:
        found: Any = find(lease.options, kind)
        return found.time + EPOCH if found is not None and found.time else 0

    status, ago = find(lease.options, fo.Binding), find(lease.options, fo.CltTime)
    assert status is not None
    assert find(lease.options, fo.StartTimeOfState) is not None
    return LeaseUpdate(
        *(key_in(lease), *ia, lease.preferred, lease.valid, status.status, time(fo.StartTimeOfState)),
        time(fo.StateExpirationTime),
        NOW - ago.seconds if ago is not None else 0,
        *(time(fo.PartnerLifetime), time(fo.PartnerRawCltTime), time(fo.ExpirationTime)),
        write_options(each for each in lease.options if each.code not in HELD),
    )


def test_the_clients_time_is_told_relative_to_the_base_time() -> None:
    """RFC 8156 7.4, RFC 5007 4.1.2.3: so that the two clocks do not matter to how long ago it was."""
    lease = LEASE._replace(client_last_transaction_time=NOW - 90)
    data = write_update(Update(DUID, b"", (lease,)), NOW)
    assert write_options((fo.CltTime(90),)) in data
    later = data.replace(write_options((fo.BaseTime(to_wire(NOW)),)), write_options((fo.BaseTime(to_wire(NOW + 4)),)))
    assert read_update(later).leases[0].client_last_transaction_time == NOW - 86


# -- BNDREPLY (RFC 8156 7.6)


@given(answered=answered_updates())
@SAME_EVERY_TIME
def test_replies_written_are_read(answered: tuple[Update, tuple[LeaseVerdict, ...]]) -> None:
    update, verdicts = answered
    assert read_reply(write_reply(update, verdicts)) == Reply(verdicts)


@given(answered=answered_updates())
@SAME_EVERY_TIME
def test_the_options_of_a_reply_say_the_same(answered: tuple[Update, tuple[LeaseVerdict, ...]]) -> None:
    update, verdicts = answered
    (outer,) = read_options(Reader(write_reply(update, verdicts)))
    if isinstance(outer, ClientData):
        assert outer.options[0] == ClientId(update.duid)
        inside: list[Any] = [lease for ia in outer.options if isinstance(ia, IaNa | IaPd) for lease in ia.options]
    else:
        inside = [outer]
    for lease, verdict, shown in zip(update.leases, verdicts, inside, strict=True):
        assert key_in(shown) == lease.key
        assert find(shown.options, fo.Binding) == fo.Binding(lease.status)
        status = Status(verdict.code, verdict.text) if verdict.code else None
        assert find(shown.options, Status) == status
        sent = fo.PartnerLifetimeSent(to_wire(lease.partner_lifetime)) if lease.partner_lifetime else None
        assert find(shown.options, fo.PartnerLifetimeSent) == sent


@pytest.mark.parametrize("code", [*FailoverStatus])
def test_a_whole_update_can_be_rejected(code: FailoverStatus) -> None:
    """RFC 8156 7.6: in the outermost option, with the client's identifier; else alone."""
    of_client = write_update(Update(DUID, b"", (LEASE,)), NOW)
    assert read_options(Reader(write_rejection(of_client, code, "no"))) == (
        ClientData((ClientId(DUID), Status(code, "no"))),
    )
    nobodys = write_update(Update(b"", b"", (LEASE._replace(key=PREFIX),)), NOW)
    for data in (of_client, nobodys, b"", write_options((UNREGISTERED,))):
        reply = read_reply(write_rejection(data, code, "no"))
        found = {(reply.code, reply.text), *((each.code, each.text) for each in reply.verdicts)} - {(0, "")}
        assert found == {(code, "no")}


def test_a_status_of_an_ia_is_one_of_its_leases() -> None:
    no = Status(FailoverStatus.CONFIGURATION_CONFLICT, "no")
    leases = [IaAddress(bytes(15) + bytes((number,)), 0, 0, ()) for number in (1, 2)]
    data = write_options((ClientData((ClientId(DUID), IaNa(1, 0, 0, (no, *leases)))),))
    assert read_reply(data) == Reply(tuple(LeaseVerdict(key_of(number), 17, "no") for number in (1, 2)))


# -- what says too little (RFC 8156 7.5.3)

READERS: tuple[Callable[[bytes], object], ...] = (read_update, read_reply)
STATUS_OF_LEASE = fo.Binding(BindingStatus.ACTIVE)
START_OF_LEASE = fo.StartTimeOfState(to_wire(NOW))
BASE = fo.BaseTime(to_wire(NOW))


def lease_with(*held: Option) -> IaNa:
    return IaNa(1, 0, 0, (IaAddress(bytes(16), 0, 0, held),))


WHOLE = lease_with(STATUS_OF_LEASE, START_OF_LEASE)
BARE = IaPrefix(0, 0, 56, bytes(16), (STATUS_OF_LEASE, START_OF_LEASE))
TOO_LITTLE: dict[str, tuple[Option, ...]] = {
    "nothing": (),
    "no holder": (UNREGISTERED,),
    "two clients": (ClientData((ClientId(DUID), BASE, WHOLE)),) * 2,
    "a client and a prefix": (ClientData((ClientId(DUID), BASE, WHOLE)), BARE),
    "no client identifier": (ClientData((BASE, WHOLE)),),
    "an empty client identifier": (ClientData((ClientId(b""), BASE, WHOLE)),),
    "no base time": (ClientData((ClientId(DUID), WHOLE)),),
    "no lease": (ClientData((ClientId(DUID), BASE)),),
    "an IA without a lease": (ClientData((ClientId(DUID), BASE, IaNa(1, 0, 0, ()))),),
    "no status": (ClientData((ClientId(DUID), BASE, lease_with(START_OF_LEASE))),),
    "no start time": (ClientData((ClientId(DUID), BASE, lease_with(STATUS_OF_LEASE))),),
    "a prefix without a status": (IaPrefix(0, 0, 56, bytes(16), (START_OF_LEASE,)),),
    "the client's time without a base time": (IaPrefix(0, 0, 56, bytes(16), (*BARE.options, fo.CltTime(1))),),
}


@pytest.mark.parametrize("name", TOO_LITTLE)
def test_what_says_too_little(name: str) -> None:
    data = write_options(TOO_LITTLE[name])
    with pytest.raises(MissingInformation):
        read_update(data)
    reply = read_reply(write_rejection(data, FailoverStatus.MISSING_BINDING_INFORMATION, "x"))
    assert {reply.code, *(each.code for each in reply.verdicts)} - {0} == {18}


def test_what_says_just_enough() -> None:
    for held in ((ClientData((ClientId(DUID), BASE, WHOLE)),), (BARE,)):
        (lease,) = read_update(write_options(held)).leases
        assert (lease.status, lease.start_time_of_state) == (BindingStatus.ACTIVE, NOW)


# -- nonsense


def read_all(data: bytes) -> None:
    """WireError and nothing else, from whoever reads it."""
    with contextlib.suppress(WireError):
        read_update(data)
    with contextlib.suppress(WireError):
        read_reply(data)
    with contextlib.suppress(WireError):
        write_rejection(data, 18, "too little")


@given(update=updates(), at=st.integers(0, 2000), octet=NUMBERS["B"])
@SAME_EVERY_TIME
def test_damaged_updates(update: Update, at: int, octet: int) -> None:
    data = write_update(update, NOW)
    for size in range(len(data)):
        read_all(data[:size])
    at %= len(data)
    read_all(data[:at] + bytes((octet,)) + data[at + 1 :])
    read_all(data[:at] + data[at + 1 :])


@given(data=st.binary(max_size=200) | octets.map(lambda held: write_option(ClientData.code, held)))
@SAME_EVERY_TIME
def test_any_octets(data: bytes) -> None:
    read_all(data)


@pytest.mark.parametrize("outer", [ClientData.code, IaNa.code, IaPrefix.code])
def test_nesting_without_end(outer: int) -> None:
    data = b""
    while len(data) < 60_000:
        data = write_option(outer, bytes(25) + data if outer == IaPrefix.code else data)
    read_all(data)


@pytest.mark.parametrize("length", [128, 129, 255])
def test_a_prefix_that_is_none_is_refused(length: int) -> None:
    with pytest.raises(WireError, match="a prefix that is none"):
        read_update(write_options((IaPrefix(0, 0, length, bytes(16), BARE.options),)))
    with pytest.raises(WireError, match="a prefix that is none"):
        read_update(write_options((IaPrefix(0, 0, 8, bytes(15) + b"\1", BARE.options),)))


@pytest.mark.parametrize(("code", "whole"), [(IaAddress.code, 24), (IaPrefix.code, 25)])
def test_a_lease_that_is_cut_off_is_refused(code: int, whole: int) -> None:
    """Whatever stands behind it in the message is not its."""
    behind = write_options((UNREGISTERED,))
    for size in range(whole):
        inside = bytes(12) + write_option(code, bytes(size)) + behind
        ia = IaNa.code if code == IaAddress.code else IaPd.code
        data = write_options((ClientId(DUID), BASE)) + write_option(ia, inside) + behind
        for read in READERS:
            with pytest.raises(WireError, match="cut off"):
                read(write_option(ClientData.code, data))


@pytest.mark.parametrize(("code", "size", "times"), [(1, 65_515, 1), (1, 130, 480), (VSS, 16_000, 4), (VSS, 60_000, 1)])
def test_a_rejection_always_fits(code: int, size: int, times: int) -> None:
    """What is given back may fill the message; who sent that is to be told so all the same."""
    data = write_option(ClientData.code, write_option(code, bytes(size)) * times)
    with pytest.raises(RejectedUpdate):
        read_update(data)
    answer = write_rejection(data, 18, "it says too little")
    assert len(FailoverMessage(FailoverType.BNDREPLY, 1, answer).write()) < len(data)
    assert read_reply(answer).code == 18


# -- what is not known here (RFC 8156 5.5.3, design 3)


def test_unknown_options_come_back_untouched() -> None:
    """At the client's level and at the lease's: through record and disk, and to the partner again."""
    of_lease, of_client = (
        write_options((DNS, UNREGISTERED)),
        write_options((UNREGISTERED, fo.RelayData(bytes(16), b""))),
    )
    update = Update(DUID, of_client, (LEASE._replace(details=of_lease),))
    came = read_update(write_update(update, NOW))
    assert came == update
    lease = accepted(None, came.leases[0], came, NOW, True)
    assert split_details(lease.details) == (of_lease, of_client)
    again = client_update([unpack(lease.key, lease.pack())])
    assert (again.details, again.leases[0].details) == (of_client, of_lease)
    assert read_update(write_update(again, NOW)) == again


@given(of_lease=details((*HELD, ClientData.code)), of_client=details((ClientId.code, 3, 25, 100, 13)))
@SAME_EVERY_TIME
def test_any_details_come_back_untouched(of_lease: bytes, of_client: bytes) -> None:
    update = Update(DUID, of_client, (LEASE._replace(details=of_lease),))
    lease = accepted(None, update.leases[0], update, NOW, True)
    again = client_update([lease])
    assert (again.details, lease_update(lease).details) == (of_client, of_lease)


def test_client_data_in_a_lease_is_not_kept() -> None:
    """It makes no sense there, and would be taken for the record's own wrapping of what is said of the client."""
    of_lease = write_options((ClientData((UNREGISTERED,)),))
    sent = Update(DUID, b"", (LEASE._replace(details=of_lease),))
    read = read_update(write_update(sent, NOW))
    assert (read.details, read.leases[0].details) == (b"", b"")


def test_an_update_without_details_takes_them_away() -> None:
    """What the sender does not know of the client any more, nobody does."""
    update = Update(DUID, write_options((UNREGISTERED,)), (LEASE,))
    before = accepted(None, update.leases[0], update, NOW, True)
    assert accepted(before, LEASE, Update(DUID, b"", (LEASE,)), NOW, True).details == b""

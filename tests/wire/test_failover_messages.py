"""Messages between partners and their frames: however a stream is cut, the same messages come out of it."""

from __future__ import annotations

import contextlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.wire.failover import (
    MESSAGE_OCTETS_MAX,
    SIZE,
    STARTTLS,
    FailoverMessage,
    FailoverType,
    Frames,
    answer_starttls,
    find,
    is_starttls,
    message,
    read_failover_message,
    show_failover_message,
    stamp,
    write_starttls,
)
from tandem.wire.failover_options import FailoverStatus, Mclt, ServerState
from tandem.wire.message import Message, MessageType, read_message
from tandem.wire.option import Option
from tandem.wire.options import Status
from tandem.wire.reader import WireError
from tandem.wire.times import EPOCH, from_wire, to_wire
from wire.strategies import NUMBERS, SAME_EVERY_TIME, options

LATEST = EPOCH + 0xFFFFFFFF
types = pytest.mark.parametrize("type_", FailoverType, ids=lambda each: each.name)
transaction_ids = st.integers(0, 0xFFFFFF)
bodies = st.lists(st.binary(max_size=300), max_size=12)


def framed(body: bytes) -> bytes:
    return SIZE.pack(len(body)) + body


# -- frames (RFC 5460 5.1)


@given(held=bodies, cuts=st.lists(st.integers(0, 4000), max_size=20), beyond=st.binary(max_size=1))
@SAME_EVERY_TIME
def test_frames_are_the_same_however_the_stream_is_cut(held: list[bytes], cuts: list[int], beyond: bytes) -> None:
    stream = b"".join(map(framed, held)) + beyond
    ends = sorted({min(cut, len(stream)) for cut in (*cuts, 0, len(stream))})
    pieces = [stream[start:end] for start, end in pairwise(ends)]
    frames = Frames()
    assert [frame for piece in pieces for frame in frames.feed(piece)] == held


@given(held=bodies)
@SAME_EVERY_TIME
def test_frames_one_octet_at_a_time(held: list[bytes]) -> None:
    stream, frames, found = b"".join(map(framed, held)), Frames(), []
    for at in range(len(stream)):
        found += frames.feed(stream[at : at + 1])
    assert found == held


def test_a_frame_comes_with_its_last_octet() -> None:
    frames, data = Frames(), framed(bytes(500))
    assert [len(frames.feed(data[at : at + 1])) for at in range(len(data))] == [0] * 501 + [1]


def test_frames_a_megabyte_at_once() -> None:
    held = [bytes((number & 0xFF,)) * (number % 700) for number in range(3200)]
    stream = b"".join(map(framed, held))
    assert len(stream) > 1 << 20
    assert Frames().feed(stream + framed(b"cut off")[:-1]) == held


def test_the_longest_frame() -> None:
    longest = bytes(MESSAGE_OCTETS_MAX)
    frames = Frames()
    assert frames.feed(framed(longest)[:-1]) == []
    assert frames.feed(b"\0" + framed(b"")) == [longest, b""]


# -- messages (RFC 8156 5.1, 5.2)


@types
@given(transaction_id=transaction_ids, held=options(), sent_time=st.integers(EPOCH, LATEST))
@SAME_EVERY_TIME
def test_written_is_read(type_: FailoverType, transaction_id: int, held: tuple[Option, ...], sent_time: int) -> None:
    written = message(type_, transaction_id, held)._replace(sent_time=sent_time)
    (frame,) = Frames().feed(written.write())
    assert read_failover_message(frame) == written
    assert read_failover_message(frame).read_options() == held
    assert type_.name in show_failover_message(written)


def test_the_header_is_as_in_the_rfc() -> None:
    """RFC 8156 5.2: type, transaction-id, sent-time in seconds since 2000, behind the frame's length."""
    written = FailoverMessage(FailoverType.STATE, 0x123456, b"\0\x84\0\x01\x02", EPOCH + 0x01020304).write()
    assert written.hex(" ") == "00 0d 22 12 34 56 01 02 03 04 00 84 00 01 02"


@types
@given(utc_s=st.integers(EPOCH, LATEST), held=st.binary(max_size=50))
@SAME_EVERY_TIME
def test_a_stamp_changes_the_sent_time_only(type_: FailoverType, utc_s: int, held: bytes) -> None:
    written = FailoverMessage(type_, 7, held)
    stamped = stamp(written.write(), utc_s)
    assert stamped == written._replace(sent_time=utc_s).write()
    assert read_failover_message(stamped[SIZE.size :]) == written._replace(sent_time=utc_s)


def test_a_message_is_no_longer_than_a_frame_can_say() -> None:
    assert len(FailoverMessage(FailoverType.BNDUPD, 1, bytes(65527)).write()) == 2 + 65535
    with pytest.raises(WireError, match="does not fit"):
        FailoverMessage(FailoverType.BNDUPD, 1, bytes(65528)).write()


@given(data=st.binary(max_size=80))
@SAME_EVERY_TIME
def test_any_octets_are_a_message_or_refused(data: bytes) -> None:
    for type_ in (*range(256),) if len(data) < 9 else (data[0], 24, 34):
        with contextlib.suppress(WireError):
            found = read_failover_message(bytes((type_,)) + data)
            assert 24 <= type_ <= 35
            assert found.write()[SIZE.size + 1 :] == data
            show_failover_message(found)


@pytest.mark.parametrize("type_", [0, 1, 13, STARTTLS, 36, 255])
def test_other_messages_are_refused(type_: int) -> None:
    with pytest.raises(WireError, match="not one of failover"):
        read_failover_message(bytes((type_,)) + bytes(7))


@pytest.mark.parametrize("size", range(8))
def test_a_message_that_is_cut_off_is_refused(size: int) -> None:
    with pytest.raises(WireError, match="shorter"):
        read_failover_message(FailoverMessage(FailoverType.STATE, 1, b"").write()[SIZE.size :][:size])


def test_what_is_malformed_can_be_shown() -> None:
    assert "malformed" in show_failover_message(FailoverMessage(FailoverType.STATE, 1, b"\0\x84\0\x09"))


def test_find_gives_the_first() -> None:
    held = (ServerState(2), Mclt(60), Mclt(90))
    assert find(held, Mclt) == Mclt(60)
    assert find(held, Status) is None


# -- times (RFC 8156 section 3)


@given(absolute=NUMBERS["I"])
@SAME_EVERY_TIME
def test_times_round_trip(absolute: int) -> None:
    """What fits into the clock of the records comes back; what is beyond it is its last second."""
    utc_s = from_wire(absolute)
    assert utc_s < 0xFFFFFFFF
    if utc_s < 0xFFFFFFFE:
        assert to_wire(utc_s) == absolute


def test_no_time_is_no_time() -> None:
    assert (to_wire(0), from_wire(0)) == (0, 0)
    assert (to_wire(EPOCH + 1), from_wire(1)) == (1, EPOCH + 1)


# -- STARTTLS (RFC 7653 6.2.2)


@given(transaction_id=transaction_ids)
@SAME_EVERY_TIME
def test_starttls_and_its_answers(transaction_id: int) -> None:
    (asked,) = Frames().feed(write_starttls(transaction_id))
    assert is_starttls(asked)
    assert is_starttls(asked + b"\0\x07\0\0")
    refusal = Status(FailoverStatus.TLS_CONNECTION_REFUSED, "no")
    for status, held in ((None, ()), (refusal, (refusal,))):
        (answer,) = Frames().feed(answer_starttls(asked, status))
        assert read_message(answer) == Message(MessageType.REPLY, transaction_id, held)


@pytest.mark.parametrize("data", [b"", b"\x17", b"\x17\0\0", b"\x18\0\0\0", b"\x1f" + bytes(7)], ids=bytes.hex)
def test_what_is_no_starttls(data: bytes) -> None:
    assert not is_starttls(data)

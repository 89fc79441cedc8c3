"""Every declared option, names, nesting and relays: what is written is read, what is read is written back."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.wire.message import HOP_COUNT_LIMIT, Message, MessageType, Relayed, read_message, show_message
from tandem.wire.names import read_name, read_names, write_name
from tandem.wire.octets import write_option
from tandem.wire.option import OPTIONS, Option, Unknown, read_options, write_options
from tandem.wire.options import ClientFqdn, DomainSearch, IaNa, RelaySuppliedOptions
from tandem.wire.reader import DEPTH_MAX, Reader, WireError
from tandem.wire.received import unwrap
from wire.strategies import (
    SAME_EVERY_TIME,
    client_messages,
    complete_names,
    label_text,
    option_of,
    partial_names,
    relayed_messages,
    unknown_options,
)

every_option = pytest.mark.parametrize("code", sorted(OPTIONS), ids=lambda code: OPTIONS[code].__name__)
LONG_LABEL = "l" * 63


def read(code: int, body: bytes) -> Option:
    (found,) = read_options(Reader(write_option(code, body)))
    return found


def refused_or_kept(code: int, body: bytes) -> None:
    """What is read at all is read whole: it is written back octet by octet, and it can be shown."""
    with contextlib.suppress(WireError):
        found = read(code, body)
        assert found.body() == body
        can_be_shown(found)


def can_be_shown(option: Option) -> None:
    """People who look into a message see the name of each option, whatever a stranger put into it."""
    shown = show_message(Message(MessageType.REPLY, 1, (option,)))
    assert type(option).__name__ in shown


# -- options


@every_option
@given(data=st.data())
@SAME_EVERY_TIME
def test_written_is_read(code: int, data: st.DataObject) -> None:
    value = data.draw(option_of(code))
    found = read(code, value.body())
    assert found == value
    can_be_shown(found)


@every_option
@given(data=st.data())
@SAME_EVERY_TIME
def test_every_prefix_is_refused_or_kept(code: int, data: st.DataObject) -> None:
    body = data.draw(option_of(code, depth=1)).body()
    for size in range(len(body)):
        refused_or_kept(code, body[:size])


@every_option
@given(body=st.binary(max_size=64))
@SAME_EVERY_TIME
def test_any_octets_are_refused_or_kept(code: int, body: bytes) -> None:
    refused_or_kept(code, body)


@every_option
@given(data=st.data())
@SAME_EVERY_TIME
def test_leftovers_are_refused(code: int, data: st.DataObject) -> None:
    value = data.draw(option_of(code))
    body = value.body() + data.draw(st.binary(min_size=1, max_size=8))
    if all(field.form for _, field in OPTIONS[code].layout):
        with pytest.raises(WireError, match="left over"):
            read(code, body)
    else:
        refused_or_kept(code, body)


@given(value=unknown_options)
@SAME_EVERY_TIME
def test_an_unknown_option_is_kept(value: Unknown) -> None:
    assert read(value.code, value.data) == value


@pytest.mark.parametrize("body", [b"", b"\0", b"\0\x01\0", b"\0\x01\0\x02\0", b"\xff\xff\xff\xff"], ids=bytes.hex)
def test_an_option_that_passes_the_end_is_refused(body: bytes) -> None:
    assert read_options(Reader(b"")) == ()
    if body:
        with pytest.raises(WireError):
            read_options(Reader(body))


def test_an_option_is_no_longer_than_its_header_can_say() -> None:
    assert len(write_option(60000, bytes(0xFFFF))) == 4 + 0xFFFF
    with pytest.raises(ValueError, match="65535 is the most"):
        write_option(60000, bytes(0x10000))


# -- nesting


def nested_ias(levels: int) -> tuple[Option, ...]:
    inside: tuple[Option, ...] = ()
    for _ in range(levels):
        inside = (IaNa(1, options=inside),)
    return inside


def test_nesting_is_bounded() -> None:
    assert read_options(Reader(write_options(nested_ias(DEPTH_MAX)))) == nested_ias(DEPTH_MAX)
    with pytest.raises(WireError, match="nested deeper"):
        read_options(Reader(write_options(nested_ias(DEPTH_MAX + 1))))


def test_a_nesting_bomb_is_refused() -> None:
    bomb = b""
    for _ in range(10_000):
        bomb = write_option(RelaySuppliedOptions.code, bomb)
    with pytest.raises(WireError, match="nested deeper"):
        read_options(Reader(bomb))


# -- messages


@given(message=client_messages | relayed_messages())
@SAME_EVERY_TIME
def test_a_message_is_read_as_written_and_can_be_shown(message: Message | Relayed) -> None:
    assert read_message(message.write()) == message
    assert show_message(message).startswith(message.type.name)


def relayed(relays: int) -> Relayed:
    inside: Message | Relayed = Message(MessageType.SOLICIT, 1)
    for hops in range(relays):
        inside = Relayed(MessageType.RELAY_FORW, hops, bytes(16), bytes(16), (), inside)
    assert isinstance(inside, Relayed)
    return inside


@pytest.mark.rfc("9915 7.6")
def test_hop_counts_go_up_to_the_limit() -> None:
    """A relay agent forwards a message whose hop-count is below the limit, and adds 1 (RFC 9915 19.1.2)."""
    deepest = relayed(HOP_COUNT_LIMIT + 1)
    assert deepest.hop_count == HOP_COUNT_LIMIT
    assert read_message(deepest.write()) == deepest
    assert len(unwrap(deepest.write())[0]) == HOP_COUNT_LIMIT + 1
    for read in (read_message, unwrap):
        with pytest.raises(WireError, match="more than 9 relays"):
            read(relayed(HOP_COUNT_LIMIT + 2).write())


@given(data=st.binary(max_size=80))
@SAME_EVERY_TIME
def test_any_octets_are_a_message_or_refused(data: bytes) -> None:
    with contextlib.suppress(WireError):
        show_message(read_message(data))


@given(message=relayed_messages(), data=st.data())
@SAME_EVERY_TIME
def test_a_message_cut_short_is_refused(message: Relayed, data: st.DataObject) -> None:
    """The innermost message stands last, so that a cut leaves its relay's option too short."""
    octets = message.write()
    with pytest.raises(WireError):
        read_message(octets[: data.draw(st.integers(0, len(octets) - 1))])


@pytest.mark.parametrize("count", [0, 2])
def test_a_relay_carries_one_message(count: int) -> None:
    header = relayed(1).write()[:34]
    inside = write_option(9, Message(MessageType.SOLICIT, 1).write())
    with pytest.raises(WireError, match=f"holds {count} messages"):
        read_message(header + inside * count)


# -- names


@given(name=complete_names)
@SAME_EVERY_TIME
def test_a_complete_name_is_read_as_written(name: str) -> None:
    assert read_name(Reader(write_name(name))) == name
    assert read_names(Reader(write_name(name) * 3)) == (name, name, name)


@given(name=partial_names)
@SAME_EVERY_TIME
def test_a_partial_name_is_read_as_written(name: str) -> None:
    assert read_name(Reader(write_name(name))) == name


@given(label=st.binary(min_size=1, max_size=63))
@SAME_EVERY_TIME
def test_any_octet_can_stand_in_a_label(label: bytes) -> None:
    text = label_text(label) + "."
    assert write_name(text) == bytes((len(label),)) + label + b"\0"
    assert read_name(Reader(write_name(text))) == text


@pytest.mark.parametrize(
    ("name", "octets"),
    [
        (".", b"\0"),
        ("", b""),
        ("a.b.", b"\1a\1b\0"),
        ("a.b", b"\1a\1b"),
        (r"a\046b.", b"\3a.b\0"),
        (r"\000\255.", b"\2\0\xff\0"),
        ("bücher.", b"\x0dxn--bcher-kva\0"),
        (f"{LONG_LABEL}.", b"\x3f" + LONG_LABEL.encode() + b"\0"),
    ],
)
def test_names_are_written_as_labels(name: str, octets: bytes) -> None:
    assert write_name(name) == octets


@pytest.mark.parametrize(
    "name",
    ["a..b.", ".a.", "..", "l" * 64, r"\256.", "é" * 64, ".".join([LONG_LABEL] * 4)],
    ids=["empty", "leading dot", "two dots", "long label", "escape", "long after IDNA", "long name"],
)
def test_what_is_no_name_is_not_written(name: str) -> None:
    with pytest.raises(ValueError, match=r"label|escape|longer"):
        write_name(name)


@pytest.mark.parametrize(
    "octets",
    [b"\xc0\x0c", b"\x40" + b"a" * 64, b"\5ab", (b"\x3f" + b"a" * 63) * 4],
    ids=["compressed", "long label", "cut off", "long name"],
)
def test_what_is_no_name_is_not_read(octets: bytes) -> None:
    with pytest.raises(WireError):
        read_name(Reader(octets))


def test_names_of_a_list_have_an_end() -> None:
    assert read(DomainSearch.code, b"\1a\0\1b\0") == DomainSearch(("a.", "b."))
    with pytest.raises(WireError, match="no end"):
        read(DomainSearch.code, b"\1a\0\1b")


@pytest.mark.rfc("4704 4.2")
def test_nothing_follows_the_root_label_of_a_single_name() -> None:
    assert read(ClientFqdn.code, b"\0\1a\0") == ClientFqdn(0, "a.")
    with pytest.raises(WireError, match="left over"):
        read(ClientFqdn.code, b"\0\1a\0\1b")


@pytest.mark.parametrize("last", range(60, 64), ids="last label of {}".format)
@pytest.mark.parametrize("end", [b"", b"\0"], ids=["partial", "complete"])
def test_the_longest_names_are_refused_or_kept(last: int, end: bytes) -> None:
    """255 octets are the most, with the root label, whether that is there yet or not."""
    labels = b"".join(bytes((size,)) + b"a" * size for size in (63, 63, 63, last))
    refused_or_kept(ClientFqdn.code, b"\0" + labels + end)

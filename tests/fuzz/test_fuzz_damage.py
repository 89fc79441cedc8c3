"""One damaged option costs that option: everything else in the message is answered as if nothing was wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from served import (
    ETH0,
    ETH1,
    EVERYTHING,
    OTHER_SERVER_DUID,
    SERVER_DUID,
    START,
    answer_to,
    ask,
    sends,
    serve,
    through_relay,
)
from tandem.config.load import load
from tandem.effects.events import Interfaces
from tandem.lease.table import LeaseTable
from tandem.node import Identity, Node
from tandem.wire.message import Message, MessageType, Relayed, read_message
from tandem.wire.octets import scan_options, write_option
from tandem.wire.option import Option, Unknown
from tandem.wire.options import (
    ClientFqdn,
    ClientId,
    ElapsedTime,
    IaNa,
    IaPd,
    InterfaceId,
    OptionRequest,
    RapidCommit,
    ServerId,
    Status,
    StatusCode,
    UserClass,
    VendorClass,
    VendorOptions,
)
from wire.answers import NAMES_THE_SERVER, OURS, client, leases_of, say

TYPES = (
    MessageType.SOLICIT,
    MessageType.REQUEST,
    MessageType.CONFIRM,
    MessageType.RENEW,
    MessageType.REBIND,
    MessageType.RELEASE,
    MessageType.DECLINE,
    MessageType.INFORMATION_REQUEST,
)
SETTINGS = load(EVERYTHING, None).settings
WHO = client(1)
EXTRAS: tuple[Option, ...] = (
    ElapsedTime(250),
    OptionRequest((23, 24, 39)),
    ClientFqdn(1, "laptop.example.net."),
    UserClass((b"lab", b"floor 2")),
    VendorClass(32473, (b"model 7",)),
    VendorOptions(32473, ((1, b"\1\2"), (2, b"\3"))),
    RapidCommit(),
    Status(StatusCode.SUCCESS, "fine"),
    Unknown(11, bytes(12)),  # Authentication
    Unknown(65_000, b"whatever"),
)
IA_HEADER_OCTETS = 12
IA_CODES = (IaNa.code, IaPd.code)


@dataclass(frozen=True)
class Case:
    """A message, the option in it that is damaged, and how."""

    type: MessageType
    code: int
    how: str
    data: bytes


def damages(option: bytes) -> Iterator[tuple[str, bytes]]:
    """Give an option, with its header, in the ways in which it may come to harm."""
    code, body = int.from_bytes(option[:2], "big"), option[4:]
    yield "empty", write_option(code, b"")
    yield "one octet", write_option(code, body[:1])
    yield "one octet less", write_option(code, body[:-1])
    yield "three octets more", write_option(code, body + b"\0\3\0")
    yield "noise", write_option(code, b"\xff" * len(body))
    yield "zeros", write_option(code, bytes(len(body)))
    yield "twice", option * 2
    if code in IA_CODES and len(body) > IA_HEADER_OCTETS:
        lease = body[IA_HEADER_OCTETS:]
        yield "lease over-long", write_option(code, body[:IA_HEADER_OCTETS] + lease[:2] + b"\xff\xff" + lease[4:])
        yield "lease cut short", write_option(code, body[:IA_HEADER_OCTETS] + write_option(lease[1], lease[4:20]))
        yield "lease of noise", write_option(code, body[:IA_HEADER_OCTETS] + write_option(lease[1], b"\xff" * 25))


def options_of(type_: MessageType, leases: tuple[Option, ...]) -> list[bytes]:
    """Give a message's options, each with its header; those that make it valid come first."""
    named = (OURS,) if type_ in NAMES_THE_SERVER else ()
    ias = () if type_ is MessageType.INFORMATION_REQUEST else leases
    data = Message(type_, 1, (WHO, *named, *EXTRAS, *ias)).write()
    return [data[start - 4 : end] for _, start, end in scan_options(data, 4, len(data))[0]]


def cases(type_: MessageType, leases: tuple[Option, ...]) -> Iterator[Case]:
    header = bytes((type_, 0, 0, 1))
    options = options_of(type_, leases)
    for at, option in enumerate(options):
        code = int.from_bytes(option[:2], "big")
        if code in (ClientId.code, ServerId.code):
            continue  # without these the message is not valid
        for how, damaged in damages(option):
            yield Case(type_, code, how, header + b"".join((*options[:at], damaged, *options[at + 1 :])))
        others = b"".join((*options[:at], *options[at + 1 :]))
        for size in (1, 3, 4, len(option) - 1):
            yield Case(
                type_, code, f"last, cut after {size} octets", header + others + option[: min(size, len(option) - 1)]
            )


def told(answer: Message) -> dict[tuple[int, int], Option]:
    """Give what each identity association is told."""
    return {(ia.code, ia.iaid): ia for ia in answer.options if isinstance(ia, IaNa | IaPd)}


def answered(data: bytes, is_relayed: bool) -> Message:
    """Give the answer to a message of a client that has its leases; AssertionError if there is none."""
    node = Node(SETTINGS, Identity(SERVER_DUID, b"secret of a test"), LeaseTable(), START)
    node.handle(START, [Interfaces({ETH0: ("eth0", ()), ETH1: ("eth1", ())})])
    answer_to(node, say(MessageType.REQUEST, WHO, IaNa(1), IaPd(2)))
    if is_relayed:
        wrapped = through_relay(Message(MessageType.SOLICIT, 1)).write()[:34]
        data = wrapped + write_option(9, data)
    found = sends(ask(node, data))
    assert len(found) == 1, "no answer"
    answer = read_message(found[0].data)
    while isinstance(answer, Relayed):
        answer = answer.message
    return answer


@pytest.mark.parametrize("is_relayed", [False, True], ids=["direct", "relayed"])
@pytest.mark.parametrize("type_", TYPES, ids=lambda type_: type_.name)
def test_a_damaged_option_costs_that_option(type_: MessageType, is_relayed: bool) -> None:
    node = serve()
    leases = leases_of(answer_to(node, say(MessageType.REQUEST, WHO, IaNa(1), IaPd(2))))
    whole = bytes((type_, 0, 0, 1)) + b"".join(options_of(type_, leases))
    expected = answered(whole, is_relayed)
    tried = 0
    for case in cases(type_, leases):
        if type_ is MessageType.CONFIRM and case.code == IaNa.code:
            continue  # a Confirm that names no address is not answered (RFC 9915 18.3.3)
        try:
            answer = answered(case.data, is_relayed)
            assert answer.type is expected.type
            left = {key: ia for key, ia in told(expected).items() if key[0] != case.code}
            assert {key: ia for key, ia in told(answer).items() if key in left} == left
            statuses = [each for each in answer.options if isinstance(each, Status)]
            assert statuses == [each for each in expected.options if isinstance(each, Status)]
        except AssertionError as error:
            error.add_note(f"option {case.code}, {case.how}: {case.data.hex()}")
            raise
        tried += 1
    assert tried > 50


@pytest.mark.parametrize("size", [1, 3, 5])
def test_octets_behind_a_relays_options_cost_nothing(size: int) -> None:
    question = through_relay(say(MessageType.SOLICIT, WHO, IaNa(1))).write()
    assert sends(ask(serve(), question + b"\0\x12\0\x50\0"[:size]))


def test_a_relays_damaged_option_costs_that_option() -> None:
    question = through_relay(say(MessageType.SOLICIT, WHO, IaNa(1)))
    for code in (InterfaceId.code, 37, 79, 135, 66):
        for body in (b"", b"\1", b"\xff" * 5, b"\xff" * 40):
            damaged = Relayed(
                question.type,
                question.hop_count,
                question.link_address,
                question.peer_address,
                (Unknown(code, body),),
                question.message,
            )
            assert sends(ask(serve(), damaged.write())), f"option {code}: {body.hex()}"


def test_a_damaged_server_identifier_is_not_ours() -> None:
    """It cannot be told whom the message is for: whoever is meant answers."""
    for body in (b"\0", OTHER_SERVER_DUID[:-1], OURS.duid[:-1], OURS.duid + b"\0", bytes(131)):
        data = bytes((MessageType.RENEW, 0, 0, 1)) + write_option(1, WHO.duid) + write_option(2, body)
        assert not sends(ask(serve(), data))


def test_what_is_left_out_is_counted_and_named() -> None:
    node = serve()
    effects = ask(node, say(MessageType.SOLICIT, WHO, IaNa(1), IaNa(1)).write() + b"\0")
    ignored = [note.values["reason"] for note in effects.notes if note.event == "option-ignored"]
    assert ignored == ["option-cut-off", "ia-repeated"]
    (line,) = (note for note in effects.notes if note.event == "answered")
    assert [part.reason for part in line.values["ignored"]] == ignored

"""Where a server leaves clients to its partner, an explanation says that it does not answer."""

from __future__ import annotations

from ipaddress import IPv6Address

import pytest

from served import ETH0, EVERYTHING, MULTICAST, SERVER_DUID, START, UNICAST
from tandem.config.load import load
from tandem.effects.events import Datagram, Interfaces
from tandem.effects.lapse import LapseClock
from tandem.effects.rules import Rules, Serve
from tandem.lease.table import LeaseTable
from tandem.server.engine import Engine
from tandem.server.explain import explain_packet
from tandem.wire.message import Message, MessageType
from tandem.wire.option import Option
from tandem.wire.options import ClientId, IaAddress, IaNa, OptionRequest, ServerId

CLIENT = ClientId(bytes.fromhex("0003000102000000000a"))
ELSEWHERE = IaNa(1, options=(IaAddress(IPv6Address("2001:db8:7::1").packed),))
NAMED = IaNa(1, options=(IaAddress(IPv6Address("2001:db8:1::100").packed),))


def steps(message: Message | bytes, serve: Serve = Serve.ALL, to: bytes = MULTICAST) -> list[str]:
    engine = Engine(load(EVERYTHING, None).settings, LeaseTable(), SERVER_DUID, b"secret of a test")
    engine.use_interfaces(Interfaces({ETH0: ("eth0", ())}).by_index)
    data = message if isinstance(message, bytes) else message.write()
    rules: dict[str | None, Rules] = {None: Rules(serve=serve, reason="failover-SOME")}
    now = LapseClock(START).moment(START, 0)
    found = explain_packet(engine, now, Datagram(data, "", 0, ETH0, 0, to), rules)
    (link,) = found["links"]
    told: list[str] = link["steps"]
    return told


@pytest.mark.parametrize(
    ("serve", "type_", "named", "last"),
    [
        (Serve.ALL, MessageType.SOLICIT, False, "The answer is an ADVERTISE."),
        (Serve.ALL, MessageType.REBIND, False, "The answer is a REPLY."),
        (Serve.ADDRESSED_TO_ME, MessageType.SOLICIT, False, "It gets no answer here."),
        (Serve.ADDRESSED_TO_ME, MessageType.RENEW, True, "The answer is a REPLY."),
        (Serve.NONE, MessageType.RENEW, True, "It gets no answer here."),
    ],
)
def test_who_is_answered(serve: Serve, type_: MessageType, named: bool, last: str) -> None:
    server = (ServerId(SERVER_DUID),) if named else ()
    told = steps(Message(type_, 1, (CLIENT, *server, NAMED)), serve)
    assert told[-1] == last
    assert ("Answered here: " in " ".join(told)) is (serve is not Serve.ALL)


@pytest.mark.parametrize(
    ("type_", "options", "last"),
    [
        (MessageType.RELEASE, (ServerId(SERVER_DUID), NAMED), "The answer is a REPLY."),
        (MessageType.DECLINE, (ServerId(SERVER_DUID), NAMED), "The answer is a REPLY."),
        (MessageType.CONFIRM, (NAMED,), "Its addresses fit the link; the answer is a REPLY that says so."),
        (MessageType.CONFIRM, (ELSEWHERE,), "Its addresses do not fit the link; the answer is a REPLY that says so."),
        (MessageType.CONFIRM, (IaNa(1),), "It gets no answer."),
    ],
)
def test_messages_that_ask_for_nothing_new(type_: MessageType, options: tuple[Option, ...], last: str) -> None:
    assert steps(Message(type_, 1, (CLIENT, *options)))[-1] == last


def test_what_is_sent_to_one_server_alone_is_discarded() -> None:
    told = steps(Message(MessageType.SOLICIT, 1, (CLIENT, NAMED)), to=UNICAST)
    assert told[-1] == (
        "It is discarded: a client has to send to the servers' multicast address, and not to one server "
        "(RFC 9915 section 16)."
    )


def test_only_options_that_are_told_are_named() -> None:
    asked = OptionRequest((23, 32, 23))
    told = [each for each in steps(Message(MessageType.SOLICIT, 1, (CLIENT, NAMED, asked))) if "Option" in each]
    assert [each.split()[1] for each in told] == ["23"]
    told = [each for each in steps(Message(MessageType.INFORMATION_REQUEST, 1, (CLIENT, asked))) if "Option" in each]
    assert [each.split()[1] for each in told] == ["23", "32"]


def test_octets_that_are_no_message() -> None:
    assert steps(b"\x01\x00", Serve.ALL) == ["It is discarded: a message is shorter than its header."]

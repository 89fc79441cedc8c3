"""Where a server leaves clients to its partner, an explanation says that it does not answer."""

from __future__ import annotations

from ipaddress import IPv6Address

import pytest

from served import ETH0, EVERYTHING, MULTICAST, SERVER_DUID, START
from tandem.config.load import load
from tandem.effects.events import Datagram, Interfaces
from tandem.effects.lapse import LapseClock
from tandem.effects.rules import Rules, Serve
from tandem.lease.table import LeaseTable
from tandem.server.engine import Engine
from tandem.server.explain import explain_packet
from tandem.wire.message import Message, MessageType
from tandem.wire.options import ClientId, IaAddress, IaNa, ServerId

CLIENT = ClientId(bytes.fromhex("0003000102000000000a"))
NAMED = IaNa(1, options=(IaAddress(IPv6Address("2001:db8:1::100").packed),))


def steps(message: Message | bytes, serve: Serve) -> list[str]:
    engine = Engine(load(EVERYTHING, None).settings, LeaseTable(), SERVER_DUID, b"secret of a test")
    engine.use_interfaces(Interfaces({ETH0: ("eth0", ())}).by_index)
    data = message if isinstance(message, bytes) else message.write()
    rules: dict[str | None, Rules] = {None: Rules(serve=serve, reason="failover-SOME")}
    now = LapseClock(START).moment(START, 0)
    found = explain_packet(engine, now, Datagram(data, "", 0, ETH0, 0, MULTICAST), rules)
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


def test_octets_that_are_no_message() -> None:
    assert steps(b"\x01\x00", Serve.ALL) == ["It is discarded: a message is shorter than its header."]

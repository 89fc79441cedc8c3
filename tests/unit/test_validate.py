"""RFC 9915 section 16, rule by rule: what breaks one is discarded for that reason, what breaks none is answered."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv6Address
from typing import NamedTuple

import pytest

from served import (
    OTHER_SERVER_DUID,
    SERVER_DUID,
    UNICAST,
    answer_to,
    ask,
    reasons_to_drop,
    sends,
    serve,
    through_relay,
)
from tandem.server.validate import ROWS
from tandem.wire.message import Message, MessageType, Relayed
from tandem.wire.option import Option, Unknown
from tandem.wire.options import ClientId, IaAddress, IaNa, IaPd, ServerId

CLIENT = ClientId(bytes.fromhex("0003000102000000000a"))
OURS = ServerId(SERVER_DUID)
OTHERS = ServerId(OTHER_SERVER_DUID)
IA = IaNa(1, options=(IaAddress(IPv6Address("2001:db8:1::100").packed),))

RIGHT: dict[MessageType, tuple[Option, ...]] = {
    MessageType.SOLICIT: (CLIENT,),
    MessageType.REQUEST: (CLIENT, OURS),
    MessageType.CONFIRM: (CLIENT, IA),
    MessageType.RENEW: (CLIENT, OURS),
    MessageType.REBIND: (CLIENT,),
    MessageType.DECLINE: (CLIENT, OURS),
    MessageType.RELEASE: (CLIENT, OURS),
    MessageType.INFORMATION_REQUEST: (),
}
"""The least that each message must have, and with which it is answered."""


class Rule(NamedTuple):
    """One sentence of the RFC: a message of that type with these options is discarded, for the reason named."""

    section: str
    type: MessageType
    options: tuple[Option, ...]
    reason: str


def names_the_server(section: str, type_: MessageType) -> Iterable[Rule]:
    """Give the rules of the messages that are for one server: three sentences each, word by word the same."""
    yield Rule(section, type_, (CLIENT, IA), "no-server-id")
    yield Rule(section, type_, (CLIENT, OTHERS, IA), "other-server")
    yield Rule(section, type_, (OURS, IA), "no-client-id")


def names_no_server(section: str, type_: MessageType) -> Iterable[Rule]:
    """Give the rules of the messages that are for every server."""
    yield Rule(section, type_, (IA,), "no-client-id")
    yield Rule(section, type_, (CLIENT, OURS, IA), "server-id-present")
    yield Rule(section, type_, (CLIENT, OTHERS, IA), "server-id-present")


RULES = (
    *names_no_server("16.2", MessageType.SOLICIT),
    Rule("16.3", MessageType.ADVERTISE, (CLIENT, OURS), "message-type"),
    *names_the_server("16.4", MessageType.REQUEST),
    *names_no_server("16.5", MessageType.CONFIRM),
    *names_the_server("16.6", MessageType.RENEW),
    *names_no_server("16.7", MessageType.REBIND),
    *names_the_server("16.8", MessageType.DECLINE),
    *names_the_server("16.9", MessageType.RELEASE),
    Rule("16.10", MessageType.REPLY, (CLIENT, OURS), "message-type"),
    Rule("16.11", MessageType.RECONFIGURE, (CLIENT, OURS), "message-type"),
    Rule("16.12", MessageType.INFORMATION_REQUEST, (CLIENT, OTHERS), "other-server"),
    Rule("16.12", MessageType.INFORMATION_REQUEST, (CLIENT, IaNa(1)), "ia-present"),
    Rule("16.12", MessageType.INFORMATION_REQUEST, (CLIENT, IaPd(1)), "ia-present"),
)


def shown(rule: Rule) -> str:
    options = "+".join(type(each).__name__ for each in rule.options)
    return f"{rule.section} {rule.type.name} {options} {rule.reason}"


every_rule = pytest.mark.parametrize(
    "rule", [pytest.param(rule, id=shown(rule), marks=pytest.mark.rfc(f"9915 {rule.section}")) for rule in RULES]
)
every_answered_type = pytest.mark.parametrize("type_", RIGHT, ids=lambda type_: type_.name)


@every_rule
@pytest.mark.parametrize("wrap", [lambda message: message, through_relay], ids=["direct", "relayed"])
def test_what_breaks_a_rule_is_discarded(rule: Rule, wrap: object) -> None:
    assert callable(wrap)
    effects = ask(serve(), wrap(Message(rule.type, 0xABCDEF, rule.options)))
    assert reasons_to_drop(effects) == [rule.reason]
    assert sends(effects) == []
    assert effects.commit == []


@every_answered_type
def test_the_least_that_breaks_no_rule_is_answered(type_: MessageType) -> None:
    answer = answer_to(serve(), Message(type_, 0xABCDEF, RIGHT[type_]))
    assert isinstance(answer, Message)
    assert answer.type is (MessageType.ADVERTISE if type_ is MessageType.SOLICIT else MessageType.REPLY)
    assert answer.transaction_id == 0xABCDEF
    assert OURS in answer.options
    assert (CLIENT in answer.options) is (CLIENT in RIGHT[type_])


@pytest.mark.rfc("9915 16.12")
def test_an_information_request_may_name_its_client_and_our_server() -> None:
    answer = answer_to(serve(), Message(MessageType.INFORMATION_REQUEST, 1, (CLIENT, OURS)))
    assert CLIENT in answer.options


@pytest.mark.rfc("9915 16.14")
@pytest.mark.parametrize("type_", [MessageType.REPLY, MessageType.SOLICIT], ids=lambda type_: type_.name)
def test_a_relay_reply_is_discarded(type_: MessageType) -> None:
    """Whatever it carries."""
    inside = Message(type_, 1, (CLIENT,))
    effects = ask(serve(), Relayed(MessageType.RELAY_REPL, 0, UNICAST, UNICAST, (), inside))
    assert reasons_to_drop(effects) == ["message-type"]
    assert sends(effects) == []


@pytest.mark.rfc("9915 16")
@pytest.mark.parametrize("type_", [0, 14, 36, 255])
def test_an_unknown_message_type_is_discarded(type_: int) -> None:
    effects = ask(serve(), bytes((type_,)) + Message(MessageType.SOLICIT, 1, (CLIENT,)).write()[1:])
    assert reasons_to_drop(effects) == ["message-type"]
    assert sends(effects) == []


@pytest.mark.rfc("9915 16")
@every_answered_type
def test_unicast_from_a_client_is_discarded(type_: MessageType) -> None:
    effects = ask(serve(), Message(type_, 1, RIGHT[type_]), local=UNICAST)
    assert reasons_to_drop(effects) == ["unicast"]
    assert sends(effects) == []


@pytest.mark.rfc("9915 16")
@every_answered_type
def test_unicast_from_a_relay_is_answered(type_: MessageType) -> None:
    effects = ask(serve(), through_relay(Message(type_, 1, RIGHT[type_])), local=UNICAST)
    assert len(sends(effects)) == 1


@pytest.mark.rfc("9915 16")
@every_answered_type
def test_unknown_options_are_ignored(type_: MessageType) -> None:
    unknown = (Unknown(60000, b"\1\2\3"), Unknown(60001, b""))
    node = serve()
    plain = answer_to(node, Message(type_, 1, RIGHT[type_]))
    assert answer_to(node, Message(type_, 1, (*unknown, *RIGHT[type_], *unknown))) == plain


def test_every_row_has_its_tests() -> None:
    assert RIGHT.keys() == ROWS.keys()
    assert {rule.type for rule in RULES} >= ROWS.keys()

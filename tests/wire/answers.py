"""One of every kind of answer that the server gives, each to a client that really asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv6Address

from served import ETH0, ETH1, LINK_ADDRESSES, SERVER_DUID, answer_to, ask, sends, serve
from tandem.node import Node
from tandem.wire.message import HOP_COUNT_LIMIT, Message, MessageType, Relayed
from tandem.wire.option import OPTIONS, Option, Unknown
from tandem.wire.options import (
    ClientFqdn,
    ClientId,
    ClientLinkLayer,
    ElapsedTime,
    IaAddress,
    IaNa,
    IaPd,
    IaPrefix,
    InterfaceId,
    OptionRequest,
    RapidCommit,
    RelayPort,
    RelaySuppliedOptions,
    RemoteId,
    ServerId,
    VendorClass,
)

ERP_DOMAIN = 65  # RFC 6440: the option that relays may supply
ALL_OPTIONS = OptionRequest((*sorted(OPTIONS), ERP_DOMAIN, 200))
IAS = (IaNa(1), IaPd(2))
FQDN = ClientFqdn(1, "laptop.example.net.")
OURS = ServerId(SERVER_DUID)
OFF_LINK = IPv6Address("2001:db8:ffff::1").packed
OTHERS_PREFIX = IaPrefix(0, 0, 56, IPv6Address("2001:db9:0:300::").packed)
REMOTE_ID = RemoteId(32473, b"line 7")
VENDOR = VendorClass(32473, (b"box",))


def client(number: int) -> ClientId:
    return ClientId(bytes.fromhex("000300010200000000") + bytes((number,)))


RESERVED = client(9)


def say(type_: MessageType, who: ClientId, *options: Option) -> Message:
    named = (OURS,) if type_ in NAMES_THE_SERVER else ()
    return Message(type_, 0x7A11 + who.duid[-1], (who, *named, ElapsedTime(250), ALL_OPTIONS, VENDOR, *options))


NAMES_THE_SERVER = (MessageType.REQUEST, MessageType.RENEW, MessageType.RELEASE, MessageType.DECLINE)
SOLICIT, REQUEST, CONFIRM, RENEW, REBIND, RELEASE, DECLINE, INFORMATION_REQUEST = (
    MessageType.SOLICIT,
    MessageType.REQUEST,
    MessageType.CONFIRM,
    MessageType.RENEW,
    MessageType.REBIND,
    MessageType.RELEASE,
    MessageType.DECLINE,
    MessageType.INFORMATION_REQUEST,
)


def leases_of(answer: Message | Relayed) -> tuple[Option, ...]:
    """Give the identity associations of an answer, to be named in the next question."""
    return tuple(each for each in answer.options if isinstance(each, IaNa | IaPd))


def questions(node: Node) -> Iterator[tuple[str, Message | Relayed, int]]:
    """Give what clients ask, each under the name of its answer, with the interface that it comes by."""
    mine = leases_of(answer_to(node, say(REQUEST, client(1), *IAS, FQDN)))
    mistaken = (IaNa(1, options=(IaAddress(OFF_LINK),)), IaPd(2, options=(OTHERS_PREFIX,)))
    yield "advertise", say(SOLICIT, client(2), *IAS, FQDN), ETH0
    yield "advertise nothing for lack of prefixes", say(SOLICIT, client(2), *(IaPd(n) for n in range(30))), ETH0
    yield "reply to request", say(REQUEST, client(2), *IAS, FQDN), ETH0
    yield "reply with a reservation", say(REQUEST, RESERVED, *IAS), ETH0
    yield "reply without anything asked for", Message(REQUEST, 0xFFFFFF, (client(3), OURS, IaNa(1))), ETH0
    yield "reply not on link", say(REQUEST, client(4), *mistaken), ETH0
    yield "reply with rapid commit", say(SOLICIT, client(5), *IAS, RapidCommit()), ETH1
    yield "reply to confirm", say(CONFIRM, client(1), *mine), ETH0
    yield "reply to confirm not on link", say(CONFIRM, client(1), *mistaken), ETH0
    yield "reply to renew", say(RENEW, client(1), *mine, FQDN), ETH0
    yield "reply to renew with a lease taken away", say(RENEW, client(6), *mine), ETH0
    yield "reply to rebind", say(REBIND, client(1), *mine), ETH0
    yield "reply to rebind without a binding", say(REBIND, client(7), *IAS), ETH0
    yield "reply to decline", say(DECLINE, client(1), *mine), ETH0
    yield "reply to release", say(RELEASE, client(1), *mine), ETH0
    yield "reply to release without a binding", say(RELEASE, client(8), *mine), ETH0
    yield "reply to information-request", say(INFORMATION_REQUEST, client(1)), ETH0
    yield "reply to information-request of nobody", Message(INFORMATION_REQUEST, 0, (ALL_OPTIONS,)), ETH0
    yield "relay-reply", relayed(say(REQUEST, client(10), *IAS, FQDN), 1), ETH0
    yield "relay-reply two deep", relayed(say(SOLICIT, client(11), *IAS), 2), ETH0
    yield "relay-reply nine deep", relayed(say(REQUEST, client(11), *IAS), HOP_COUNT_LIMIT + 1), ETH0
    for number in range(20, 24):
        ask(node, say(REQUEST, client(number), *(IaNa(n) for n in range(32))))
    yield "advertise nothing for lack of addresses", say(SOLICIT, client(24), IaNa(1)), ETH0


def relayed(inside: Message | Relayed, relays: int) -> Relayed:
    """Wrap a message in relays that each send all that relays may."""
    peer = IPv6Address("fe80::c").packed
    for hops in range(relays):
        options = (
            InterfaceId(b"port %d" % hops),
            REMOTE_ID,
            ClientLinkLayer(1, bytes.fromhex("020000000001")),
            RelaySuppliedOptions((Unknown(ERP_DOMAIN, b"\4erp%d\7example\0" % hops),)),
            OptionRequest((REMOTE_ID.code,)),
            Unknown(43, OptionRequest((REMOTE_ID.code,)).body()),
            RelayPort(0),
        )
        inside = Relayed(MessageType.RELAY_FORW, hops, LINK_ADDRESSES[ETH0], peer, options, inside)
    assert isinstance(inside, Relayed)
    return inside


def every_answer() -> dict[str, bytes]:
    """Give the octets of one answer of each kind, by name."""
    node = serve()
    found = {}
    for name, question, interface in questions(node):
        (send,) = sends(ask(node, question, interface=interface))
        found[name] = send.data
    return found

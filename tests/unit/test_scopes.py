"""Lifetimes of classes, leases reserved for several clients, and links that differ by what relays call them."""

from __future__ import annotations

from ipaddress import IPv6Address
from pathlib import Path

import pytest

from served import SERVER_DUID, START, answer_to, serve
from tandem.config.load import load_text, parse
from tandem.config.problems import ConfigError
from tandem.effects.now import Now
from tandem.node import Node
from tandem.wire.message import Message, MessageType, Relayed
from tandem.wire.option import Option, Unknown
from tandem.wire.options import ClientId, IaAddress, IaNa, InterfaceId, ServerId

FIVE, SIX = (ClientId(bytes.fromhex(f"0003000102000000000{number}")) for number in (5, 6))
HEAD = '[server.a]\ninterfaces = ["eth0"]\n'
SUBNET = """
[[subnet]]
prefix = "2001:db8:1::/64"
interface = "eth0"
pools = ["2001:db8:1::10-2001:db8:1::1f"]
"""
SHARED = "".join(
    f'[[subnet.reservation]]\nduid = "{client.duid.hex()}"\naddress = "2001:db8:1::15"\n' for client in (FIVE, SIX)
)
RESERVED = IPv6Address("2001:db8:1::15").packed


def node_of(folder: Path, text: str) -> Node:
    path = folder / "tandem.toml"
    path.write_text(text)
    return serve(path)


def lease(node: Node, client: ClientId, *options: Option, type_: MessageType, now: Now = START) -> IaAddress:
    """Ask for an address, and give what the answer says of it."""
    server = (ServerId(SERVER_DUID),) if type_ is not MessageType.SOLICIT else ()
    ias = () if any(isinstance(each, IaNa) for each in options) else (IaNa(1),)
    answer = answer_to(node, Message(type_, 1, (client, *server, *options, *ias)), now)
    assert isinstance(answer, Message)
    (ia,) = (each for each in answer.options if isinstance(each, IaNa))
    return next(each for each in ia.options if isinstance(each, IaAddress) and each.valid)


def test_members_of_a_class_have_its_lifetimes(tmp_path: Path) -> None:
    short = "[class.short]\nwhen.option.code = 200\nlifetimes = { preferred-lifetime = 300, valid-lifetime = 600 }\n"
    node = node_of(tmp_path, f"{HEAD}[lifetimes]\nrenew-timer = 1000\nrebind-timer = 2000\n{short}{SUBNET}")
    member = lease(node, FIVE, Unknown(200, b""), type_=MessageType.REQUEST)
    assert (member.preferred, member.valid) == (300, 600)
    other = lease(node, SIX, type_=MessageType.REQUEST)
    assert (other.preferred, other.valid) == (2700, 3600)


def test_lifetimes_of_a_class_are_checked_in_each_subnet() -> None:
    odd = "[class.odd]\nlifetimes = { valid-lifetime = 600 }\n"
    with pytest.raises(ConfigError, match=r"class\.odd\.lifetimes: in subnet\[1\], the preferred lifetime, 2700 s"):
        parse(HEAD + odd + SUBNET)


def test_a_lease_for_two_clients_is_refused_unless_the_file_says_so() -> None:
    with pytest.raises(ConfigError, match="say ip-reservations-unique = false"):
        parse(HEAD + SUBNET + SHARED)
    parse(f"ip-reservations-unique = false\n{HEAD}{SUBNET}{SHARED}")


def test_a_lease_for_two_clients_is_kept_by_the_one_that_holds_it(tmp_path: Path) -> None:
    node = node_of(tmp_path, f"ip-reservations-unique = false\n{HEAD}{SUBNET}{SHARED}")
    assert lease(node, FIVE, type_=MessageType.REQUEST).address == RESERVED
    assert lease(node, SIX, type_=MessageType.REQUEST).address != RESERVED
    server, held = ServerId(SERVER_DUID), IaNa(1, 0, 0, (IaAddress(RESERVED),))
    answer_to(node, Message(MessageType.RELEASE, 2, (FIVE, server, held)))
    assert lease(node, SIX, type_=MessageType.RENEW).address == RESERVED
    assert lease(node, FIVE, type_=MessageType.REQUEST).address != RESERVED


def test_a_lease_for_two_clients_is_in_one_share_of_a_pair() -> None:
    pair = (
        'ip-reservations-unique = false\n[server.a]\ninterfaces = ["eth0"]\naddress = "fd00::1"\n[server.b]\n'
        'interfaces = ["eth0"]\naddress = "fd00::2"\n[failover.x]\nprimary = "a"\nsecondary = "b"\n'
    )
    settings = load_text(pair + SUBNET + 'failover = "x"\n' + SHARED, "b").settings
    for reservation in settings.links[0].reservations:
        assert reservation.shared == frozenset(reservation.keys)


LINKS = "".join(
    f'[[subnet]]\nprefix = "2001:db8:{number}::/64"\nrelay = "2001:db8:99::1"\n{{{name}}}'
    f'pools = ["2001:db8:{number}::/64"]\n'
    for number, name in ((1, "first"), (2, "second"))
)


@pytest.mark.parametrize(
    ("name", "expected"), [(b"port1", "2001:db8:1::"), (b"port2", "2001:db8:2::"), (b"port3", "2001:db8:1::")]
)
def test_one_relay_address_of_two_links_that_differ_by_interface_id(tmp_path: Path, name: bytes, expected: str) -> None:
    text = LINKS.format(first='interface-id = "port1"\n', second='interface-id = "port2"\n')
    node = node_of(tmp_path, HEAD + text)
    inside = Message(MessageType.SOLICIT, 1, (FIVE, IaNa(1)))
    link, peer = IPv6Address("2001:db8:99::1").packed, IPv6Address("fe80::c").packed
    answer = answer_to(node, Relayed(MessageType.RELAY_FORW, 0, link, peer, (InterfaceId(name),), inside))
    assert isinstance(answer, Relayed)
    assert isinstance(answer.message, Message)
    (ia,) = (each for each in answer.message.options if isinstance(each, IaNa))
    assert [IPv6Address(each.address[:8] + bytes(8)) for each in ia.options if isinstance(each, IaAddress)] == [
        IPv6Address(expected)
    ]


def test_one_relay_address_of_two_links_that_nothing_tells_apart_is_refused() -> None:
    with pytest.raises(ConfigError, match="has it too, and is on another link"):
        parse(HEAD + LINKS.format(first='interface-id = "port1"\n', second=""))

"""A node that serves `everything.toml`, and what it answers to one datagram."""

from __future__ import annotations

from ipaddress import IPv6Address
from pathlib import Path

from tandem.config.load import load
from tandem.effects.effects import Effects, Send
from tandem.effects.events import Datagram, Interfaces
from tandem.effects.now import Now
from tandem.lease.table import LeaseTable
from tandem.node import Identity, Node
from tandem.wire.message import Message, MessageType, Relayed, read_message

EVERYTHING = Path(__file__).parent / "everything.toml"
START = Now(1000.0, 1_800_000_000)
SERVER_DUID = bytes.fromhex("00030001020000000001")
OTHER_SERVER_DUID = bytes.fromhex("00030001020000000002")
MULTICAST = IPv6Address("ff02::1:2").packed
UNICAST = IPv6Address("2001:db8:1::1").packed

ETH0, ETH1, UNKNOWN_INTERFACE = 1, 2, 9
LINK_ADDRESSES = {ETH0: IPv6Address("2001:db8:1::1").packed, ETH1: IPv6Address("2001:db8:2::1").packed}


def serve(path: Path = EVERYTHING) -> Node:
    """Start a node with the file's settings and no leases."""
    settings = load(path, None).settings
    node = Node(settings, Identity(SERVER_DUID, b"secret of a test"), LeaseTable(), START)
    node.handle(START, [Interfaces({ETH0: ("eth0", ()), ETH1: ("eth1", ())})])
    return node


def ask(
    node: Node,
    question: Message | Relayed | bytes,
    now: Now = START,
    interface: int = ETH0,
    local: bytes = MULTICAST,
) -> Effects:
    """Hand one datagram to the node, from a client on the link unless a relay wraps it."""
    data = question if isinstance(question, bytes) else question.write()
    return node.handle(now, [Datagram(data, "fe80::c", 546, interface, 1, local)])


def sends(effects: Effects) -> list[Send]:
    """Give all that is to be sent, now or once it is durable."""
    return [each for each in (*effects.at_once, *effects.then) if isinstance(each, Send)]


def answer_to(node: Node, question: Message | Relayed, now: Now = START, interface: int = ETH0) -> Message | Relayed:
    """Give the one answer to a question that must have one."""
    (send,) = sends(ask(node, question, now, interface))
    return read_message(send.data)


def reasons_to_drop(effects: Effects) -> list[str]:
    """Give the reasons of all datagrams that were dropped."""
    return [note.values["reason"] for note in effects.notes if note.event == "dropped"]


def through_relay(inside: Message | Relayed, link_address: bytes = LINK_ADDRESSES[ETH0]) -> Relayed:
    """Wrap a message as a relay agent on that link does."""
    hops = inside.hop_count + 1 if isinstance(inside, Relayed) else 0
    return Relayed(MessageType.RELAY_FORW, hops, link_address, IPv6Address("fe80::c").packed, (), inside)

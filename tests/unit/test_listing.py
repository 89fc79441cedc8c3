"""A list of many leases comes in pages, each of a bounded amount of work; none is left out or told twice."""

from __future__ import annotations

from ipaddress import IPv6Address
from typing import Any

import pytest

from served import EVERYTHING, SERVER_DUID, START
from tandem.config.load import load
from tandem.effects.effects import Answer
from tandem.effects.events import Command
from tandem.lease.lease import BindingStatus, Lease, key_of
from tandem.lease.table import LeaseTable
from tandem.node import Identity, Node
from tandem.server.operator import EXAMINED_PER_PAGE, FOUND_PER_PAGE

FIRST = int(IPv6Address("2001:db8:1::1:0:0"))
COUNT = EXAMINED_PER_PAGE + 2 * FOUND_PER_PAGE
ODD = bytes.fromhex("000300010c0000000001")
EVEN = bytes.fromhex("000300010d0000000002")


@pytest.fixture(scope="module")
def node() -> Node:
    """A node with many leases: the first thousand belong to one client, all others have a client each."""
    table = LeaseTable()
    for number in range(COUNT):
        duid = ODD if number < 1000 else b"\0\3\0\1\2" + number.to_bytes(5, "big")
        if number == COUNT - 1:
            duid = EVEN
        utc = START.utc
        table.put(
            Lease(key_of(FIRST + number, 128), BindingStatus.ACTIVE, duid, 1, utc, utc, utc + 60, 60, 60, 30, 48, b"")
        )
    return Node(load(EVERYTHING, None).settings, Identity(SERVER_DUID, b"secret of a test"), table, START)


def pages(node: Node, **filters: Any) -> list[list[str]]:
    found, token = [], None
    while True:
        arguments = filters if token is None else {**filters, "from": token}
        effects = node.handle(START, [Command(1, "lease-list", arguments)])
        (answer,) = (each for each in effects.at_once if isinstance(each, Answer))
        assert not answer.error
        found.append([lease["lease"] for lease in answer.result["leases"]])
        token = answer.result["next"]
        if token is None:
            return found


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ({}, COUNT),
        ({"status": "ACTIVE"}, COUNT),
        ({"status": "EXPIRED"}, 0),
        ({"duid": ODD.hex()}, 1000),
        ({"client": "0c:00:00:00:00"}, 1000),
        ({"client": "0d:00:00:00:00:02"}, 1),
        ({"client": "00:03:00:01"}, COUNT),
        ({"client": "0c:00:00:00:00", "status": "RELEASED"}, 0),
        ({"within": "2001:db8:1::1:0:1"}, 1),
        ({"within": "2001:db8:1::1:0:0/120"}, 256),
    ],
)
def test_each_is_told_once(node: Node, filters: dict[str, str], count: int) -> None:
    told = [lease for page in pages(node, **filters) for lease in page]
    assert len(told) == len(set(told)) == count


def test_a_page_is_bounded(node: Node) -> None:
    assert max(map(len, pages(node))) == FOUND_PER_PAGE
    assert len(pages(node, status="EXPIRED")) == COUNT // EXAMINED_PER_PAGE + 2
    assert len(pages(node, client="ff:ff:ff")) == COUNT // EXAMINED_PER_PAGE + 2

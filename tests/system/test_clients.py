"""Real clients, for an address and for a prefix, directly on the link and through relays."""

from __future__ import annotations

from ipaddress import IPv6Network

import pytest

from system.capture import Kind, Message
from system.cell import RELAYS, Cell, Plan
from system.clients import CLIENTS, Want
from system.net import until
from system.servers import ADDRESS_POOL, PREFIX_POOL, Server, Tandem, duid

SUCCESS = 0
WITHIN_S = 45.0  # longer than any client's timers, on a machine with much else to do

# The clients change fastest, so that the slow ones are spread over the workers of pytest-xdist.
MATRIX = [Plan(client, want, relay) for relay in (None, *RELAYS) for want in Want for client in CLIENTS]


@pytest.mark.system
@pytest.mark.parametrize("cell", MATRIX, indirect=True, ids=str)
def test_a_lease_lives_its_whole_life(cell: Cell) -> None:
    """It is got, renewed, rebound at another server, the same again after a power cut, and released."""
    client, link = cell.client, cell.link

    client.start()
    lease = granted(link.answered(Kind.REQUEST, WITHIN_S))
    (prefix,) = lease
    assert prefix.subnet_of(ADDRESS_POOL if client.want is Want.ADDRESS else PREFIX_POOL)
    until(lambda: client.leases() == lease, WITHIN_S, "the client uses what it was given")
    assert says(cell.server, prefix, "ACTIVE")

    assert granted(link.answered(Kind.RENEW, WITHIN_S)) == lease

    cell.server.crash()
    link.forget()
    # The same server would answer the next Renew, and a client that had one answered sends no Rebind.
    link.sent(Kind.RENEW if client.follows_rebind else Kind.REBIND, WITHIN_S)
    cell.server.start(successor := 2 if client.follows_rebind else 1)
    rebound = link.answered(Kind.REBIND, WITHIN_S)
    assert (granted(rebound), rebound.server) == (lease, duid(successor))
    assert client.leases() == lease

    client.lose_power()
    assert not client.leases()
    client.start()
    until(lambda: client.leases() == lease, WITHIN_S, "the same lease after a power cut")
    assert says(cell.server, prefix, "ACTIVE")

    if client.can_release:
        client.release()
        released = link.answered(Kind.RELEASE, WITHIN_S)
        assert not granted(released)
        assert released.statuses  # RFC 9915 18.3.7 has the Success said
        until(lambda: not client.leases(), WITHIN_S, "the client no longer uses what it released")
        assert says(cell.server, prefix, "RELEASED")


def granted(reply: Message) -> frozenset[IPv6Network]:
    """What a Reply gives; it must be a success."""
    assert set(reply.statuses) <= {SUCCESS}, str(reply)
    return reply.leases


def says(server: Server, lease: IPv6Network, status: str) -> bool:
    """Whether the server lists this lease, with this status, and no other. Kea is not asked."""
    return not isinstance(server, Tandem) or server.statuses() == {lease: status}

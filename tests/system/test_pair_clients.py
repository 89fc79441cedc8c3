"""Real clients, and a real load generator, while the primary of a pair is killed."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from system.capture import DHCP_AT, ETH_P_ALL, ETHERTYPE_AT, UDP_AT, Capture, Kind, Message
from system.clients import CLIENTS, HOME, WAN, Client, Dhclient, Dhcpcd, Networkd, Want, WideClient
from system.needs import need_namespaces, need_program
from system.net import Host, until
from system.partners import CLIENTS_INTERFACE, Pair, Settings, pair_of
from system.servers import RENEW_TIMER_S, VALID_LIFETIME_S
from system.street import CLIENT_PORT, SERVER_PORT
from tandem.lease.lease import show_key
from tandem.sim.client import given_in
from tandem.wire.message import Message as WholeMessage
from tandem.wire.message import MessageType, read_message
from tandem.wire.options import ClientId, ServerId

WITHIN_S = 60.0  # longer than any client's timers, on a machine with much else to do
SUCCESS = 0
# The clients of one pair have the same rebind timer.
CASTS: tuple[tuple[type[Client], ...], ...] = ((WideClient,), (Networkd,), (Dhclient, Dhcpcd))


def test_every_client_that_follows_a_rebind_is_tried() -> None:
    assert {each for cast in CASTS for each in cast} == {each for each in CLIENTS if each.follows_rebind}


class Household:
    """A client on a host of its own, and all that passes on its link."""

    def __init__(self, pair: Pair, kind: type[Client], want: Want, scratch: Path) -> None:
        self.name = f"{kind.__name__.lower()}-{want.value}"
        host = pair.lab.host(self.name)
        home = f"home-{kind.__name__[:6]}-{want.value[0]}"
        pair.lab.link(home)
        pair.lab.plug(host, WAN, "lan")
        pair.lab.plug(host, HOME, home)
        (folder := scratch / self.name).mkdir()
        self.client = kind(host, folder, want)
        self.link = Capture(host, WAN)

    def close(self) -> None:
        """Stop looking on."""
        self.link.close()

    def got(self, kind: Kind) -> Message:
        """The successful answer to the client's next message of this kind, which gives it one lease."""
        reply = self.link.answered(kind, WITHIN_S)
        assert set(reply.statuses) <= {SUCCESS}, f"{self.name}: {reply}"
        assert len(reply.leases) == 1, f"{self.name}: {reply}"
        return reply


@pytest.mark.system
@pytest.mark.parametrize("cast", CASTS, ids=lambda cast: "-".join(each.__name__.lower() for each in cast))
def test_real_clients_keep_their_leases(tmp_path: Path, cast: tuple[type[Client], ...]) -> None:
    """The primary is killed; each client rebinds with the secondary, and never stops using what it has."""
    need_namespaces()
    for program in ("ip", "mount", *(each.program for each in cast)):
        need_program(program)
    # With so long an MCLT the timers are what they are from the first lease on.
    settings = Settings(
        mclt_s=VALID_LIFETIME_S,
        renew_timer_s=RENEW_TIMER_S,
        rebind_timer_s=cast[0].rebind_timer_s,
        lifetime_s=VALID_LIFETIME_S,
    )
    with pair_of(tmp_path, settings) as pair, ExitStack() as opened:
        pair.start()
        homes = [opened.enter_context(closing(Household(pair, kind, want, tmp_path))) for kind in cast for want in Want]
        for home in homes:
            home.client.start()
        leases = {home: home.got(Kind.REQUEST).leases for home in homes}
        for home in homes:
            assert home.got(Kind.RENEW).leases == leases[home]
        pair.settle()
        pair.a.kill()
        for home in homes:
            rebound = home.got(Kind.REBIND)
            assert (rebound.leases, rebound.server) == (leases[home], pair.b.duid.hex(":")), home.name
            assert home.client.leases() == leases[home], home.name
        pair.a.start()
        pair.settle()
        for home in homes:
            renewed = home.got(Kind.RENEW)
            assert (renewed.leases, renewed.server) == (leases[home], pair.b.duid.hex(":")), home.name
        for home in homes:
            assert home.client.leases() == leases[home], home.name


class Watch:
    """Who is granted what on a link, by which server."""

    def __init__(self, host: Host, interface: str) -> None:
        self.holders: dict[str, bytes] = {}
        self.granted_by: dict[bytes, int] = {}
        """How many grants each server made."""
        with host.inside():
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self._socket.setsockopt(socket.SOL_SOCKET, getattr(socket, "SO_RCVBUFFORCE", 33), 32 << 20)
        self._socket.bind((interface, ETH_P_ALL))
        self._socket.setblocking(False)

    def close(self) -> None:
        """Stop looking on."""
        self._socket.close()

    def look(self) -> None:
        """Take in what has passed since; an AssertionError if a lease is in two hands. Nothing is given back here."""
        for message in self._messages():
            if message.type is MessageType.REPLY:
                client = next(each.duid for each in message.options if isinstance(each, ClientId))
                server = next(each.duid for each in message.options if isinstance(each, ServerId))
                for key in given_in(message):
                    assert self.holders.setdefault(show_key(key), client) == client, show_key(key)
                    self.granted_by[server] = self.granted_by.get(server, 0) + 1

    def grants_of(self, server: bytes) -> int:
        """How many grants a server has made so far."""
        self.look()
        return self.granted_by.get(server, 0)

    def _messages(self) -> Iterator[WholeMessage]:
        while True:
            try:
                frame = self._socket.recv(65_536)
            except BlockingIOError:
                return
            if frame[ETHERTYPE_AT : ETHERTYPE_AT + 2] == b"\x86\xdd" and frame[UDP_AT : UDP_AT + 4] == TO_CLIENT:
                message = read_message(frame[DHCP_AT:])
                assert isinstance(message, WholeMessage)
                yield message


TO_CLIENT = SERVER_PORT.to_bytes(2, "big") + CLIENT_PORT.to_bytes(2, "big")
PERFDHCP = (
    "perfdhcp",
    "-6",
    "-l",
    CLIENTS_INTERFACE,
    "-e",
    "address-and-prefix",
    "-r",
    "30",
    "-R",
    "10000",
    "-f",
    "10",
)
GRANTS = 100


@pytest.mark.system
def test_the_primary_is_killed_under_perfdhcp(tmp_path: Path) -> None:
    """No lease is in two hands, and both servers know of all that either gave."""
    need_namespaces()
    need_program("ip")
    need_program("perfdhcp")
    settings = Settings(pool_bits=11, mclt_s=VALID_LIFETIME_S, lifetime_s=VALID_LIFETIME_S)
    with pair_of(tmp_path, settings) as pair, closing(Watch(pair.near, CLIENTS_INTERFACE)) as watch:
        pair.start()
        perfdhcp = pair.near.start([*PERFDHCP, "-p", "120", "all"], tmp_path / "perfdhcp.log")
        until(lambda: watch.grants_of(pair.a.duid) >= GRANTS, WITHIN_S, "enough leases of the primary's")
        pair.a.kill()
        until(lambda: watch.grants_of(pair.b.duid) >= GRANTS, WITHIN_S, "enough leases of the secondary's")
        pair.a.start()
        pair.wait_normal()
        before = watch.grants_of(pair.a.duid)
        until(lambda: watch.grants_of(pair.a.duid) >= before + GRANTS, WITHIN_S, "enough leases of the primary's again")
        pair.near.kill_all()
        assert not perfdhcp.alive()
        both = pair.settle()
        watch.look()
        held = {lease: bytes.fromhex(row[0].replace(":", "")) for lease, row in both.items()}
        assert watch.holders.items() <= held.items()

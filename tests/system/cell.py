"""One cell of the matrix: a client, a server, and what lies between them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from system.capture import Capture
from system.clients import HOME, WAN, Client, Want
from system.net import Host, Lab, until
from system.servers import INTERFACE, PORT, SERVER_ON_CLIENT_LINK, SERVER_ON_UPLINK, Kea, Server, Tandem

# `TANDEM_SYSTEM_SERVER=kea` tells whether a failure is the server's or the client's.
SERVER: type[Server] = Kea if os.environ.get("TANDEM_SYSTEM_SERVER") == "kea" else Tandem

RELAY_ON_CLIENT_LINK, RELAY_ON_UPLINK = "2001:db8:1::2", "2001:db8:2::2"
LOWER, UPPER = "lan0", "up0"  # the relay's interfaces, to clients and to the server

# How each relay is run in the foreground.
RELAYS = {
    "dhcrelay": ["-6", "-d", "--no-pid", "-l", LOWER, "-u", f"{SERVER_ON_UPLINK}%{UPPER}"],
    "dnsmasq": [
        *("--keep-in-foreground", "--conf-file=/dev/null", "--pid-file", "--user=root", "--log-facility=-"),
        *("--port=0", f"--dhcp-relay={RELAY_ON_CLIENT_LINK},{SERVER_ON_UPLINK}"),
    ],
}


@dataclass(frozen=True)
class Plan:
    """What a cell is made of; without a relay, client and server share a link."""

    client: type[Client]
    want: Want
    relay: str | None

    def __str__(self) -> str:
        return f"{self.client.__name__.lower()}-{self.want.value}-{self.relay or 'direct'}"

    def programs(self) -> list[str]:
        """What must be installed beside Tandem."""
        relay = [self.relay] if self.relay else []
        server = [SERVER.program] if SERVER is not Tandem else []
        return ["ip", "mount", self.client.program, *relay, *server]


@dataclass(frozen=True)
class Cell:
    """A server that serves, a client not yet started, and all that passes on the client's link."""

    client: Client
    server: Server
    link: Capture


def _connect(lab: Lab, relay: str | None, scratch: Path) -> tuple[Host, Host]:
    """The hosts of the client and the server, with the relay between them running."""
    client, server = lab.host("client"), lab.host("server")
    lab.link("lan")
    lab.link("home")
    lab.plug(client, WAN, "lan")
    lab.plug(client, HOME, "home")
    if not relay:
        lab.plug(server, INTERFACE, "lan", f"{SERVER_ON_CLIENT_LINK}/64")
        return client, server
    between = lab.host("relay")
    lab.link("uplink")
    lab.plug(server, INTERFACE, "uplink", f"{SERVER_ON_UPLINK}/64")
    lab.plug(between, UPPER, "uplink", f"{RELAY_ON_UPLINK}/64")
    lab.plug(between, LOWER, "lan", f"{RELAY_ON_CLIENT_LINK}/64")
    process = between.start([relay, *RELAYS[relay]], scratch / "relay.log")
    until(lambda: process.listens(PORT), 30, f"{relay} listening")
    return client, server


@contextmanager
def cell_of(plan: Plan, scratch: Path) -> Iterator[Cell]:
    """Build a cell, and leave nothing of it but its logs in `scratch`."""
    with Lab() as lab:
        client_host, server_host = _connect(lab, plan.relay, scratch)
        server = SERVER(server_host, scratch, plan.client.rebind_timer_s, on_link=plan.relay is None)
        server.start()
        link = Capture(client_host, WAN)
        try:
            yield Cell(plan.client(client_host, scratch, plan.want), server, link)
        finally:
            link.close()

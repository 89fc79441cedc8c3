"""Runs the web process."""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path
from types import FrameType

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from tandem.admin.client import CommandFailed
from tandem.admin.console import echo
from tandem.admin.web.access import Tokens, TokensError
from tandem.admin.web.app import CERTIFICATE, PEER, Site, Wanted
from tandem.config.load import Loaded
from tandem.runtime.certificates import peer_of
from tandem.runtime.control_path import control_path

CONNECTIONS_MAX = 200
KEPT_OPEN_S = 15
FAREWELL_S = 2
"""How long an end waits for answers that are under way."""


class Door(uvicorn.Server):
    """An HTTP server that ends its site's streams before it waits for them to end."""

    def __init__(self, config: uvicorn.Config, site: Site) -> None:
        super().__init__(config)
        self._site = site

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Hear that it is to end."""
        self._site.end()
        super().handle_exit(sig, frame)


class Conversation(H11Protocol):
    """One connection: its requests know the certificate that it was opened with."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over a connection whose TLS handshake is done."""
        assert isinstance(transport, asyncio.Transport)
        super().connection_made(transport)
        secured = transport.get_extra_info("ssl_object")
        peer = peer_of(secured) if secured is not None else None
        self.app_state = {**self.app_state, CERTIFICATE: transport.get_extra_info("peercert"), PEER: peer}


def wanted(loaded: Loaded, folder: Path) -> Wanted:
    """Say how the web process of a server is to be, by its file; `folder` is the server's state-dir."""
    web = loaded.web
    host, _, is_loopback = web.endpoint
    return Wanted(
        socket=control_path(loaded.server.control, folder),
        tokens=Path(web.tokens),
        is_open=is_loopback,
        hosts=("localhost", "127.0.0.1", "[::1]", f"[{host}]" if ":" in host else host, *web.names),
        operators=tuple(web.operators),
        revoked=frozenset(web.revoked),
    )


def serve(loaded: Loaded, folder: Path) -> None:
    """Serve until SIGTERM or SIGINT. CommandFailed says why that is not possible."""
    web = loaded.web
    host, port, _ = web.endpoint
    site = Site(wanted(loaded, folder))
    config = uvicorn.Config(
        site.app(),
        http=Conversation,
        ssl_certfile=web.certificate,
        ssl_keyfile=web.key,
        ssl_ca_certs=web.client_ca,
        ssl_cert_reqs=ssl.CERT_REQUIRED if web.client_ca is not None else ssl.CERT_NONE,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="on",
        limit_concurrency=CONNECTIONS_MAX,
        timeout_keep_alive=KEPT_OPEN_S,
        timeout_graceful_shutdown=FAREWELL_S,
    )
    try:
        Tokens(Path(web.tokens)).names()
    except TokensError as error:  # the page and the metrics can be had without them
        echo(f"{error} Nobody can use the API.", err=True)
    try:
        config.load()
    except OSError as error:  # what TLS does not like is one, too
        raise CommandFailed(
            f"The certificate, key or client-ca in [web] cannot be used: {error.strerror or error}."
        ) from None
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Not by `create_server`: asyncio turns off Nagle's waiting only where the protocol is said.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, port))
        except OSError as error:
            raise CommandFailed(f"It cannot listen on {web.listen}: {error.strerror}.") from None
        Door(config, site).run([listening])

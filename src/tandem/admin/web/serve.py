"""Runs the web process."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from pathlib import Path
from types import FrameType
from typing import Any

import h11
import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from tandem.admin.client import CommandFailed
from tandem.admin.console import echo
from tandem.admin.web.access import Tokens, TokensError
from tandem.admin.web.app import CERTIFICATE, PEER, Site, Wanted
from tandem.admin.web.audit import Audit
from tandem.admin.web.limits import Connection, Limits, Listener
from tandem.config.load import Loaded
from tandem.runtime.certificates import peer_of
from tandem.runtime.control_path import control_path

REQUEST_WITHIN_S = 10.0
"""How long a request may take to come, headers and body, from when the connection is opened."""
KEPT_OPEN_S = 75
"""How long a connection waits for its next request; Prometheus asks each minute, say."""
READ_WITHIN_S = 20.0
"""How long an answer waits for a client that does not read on."""
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


class Config(uvicorn.Config):
    """What uvicorn is told, and how many connections there may be."""

    def __init__(self, app: Starlette, limits: Limits, **given: Any) -> None:
        super().__init__(app, **given)
        self.limits = limits


class Conversation(H11Protocol):
    """One connection: its requests know the certificate that it was opened with, and it may not dawdle."""

    _slot: Connection | None = None
    _request_due: asyncio.TimerHandle | None = None
    _reading_due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over a connection whose TLS handshake is done."""
        assert isinstance(transport, asyncio.Transport)
        super().connection_made(transport)
        secured = transport.get_extra_info("ssl_object")
        peer = peer_of(secured) if secured is not None else None
        if isinstance(self.config, Config):
            self._slot = self.config.limits.of(transport.get_extra_info("socket").fileno())
        self._expect(REQUEST_WITHIN_S)
        self.app_state = {**self.app_state, CERTIFICATE: transport.get_extra_info("peercert"), PEER: peer}

    def connection_lost(self, exc: Exception | None) -> None:
        """Hear that it is over."""
        self.resume_writing()
        self._expect(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take in a part of a request; once it is whole, it is being answered."""
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        """Wait for the next request; one that is here already is taken up."""
        if self._slot is not None:
            self._slot.is_busy, self._slot.since = False, time.monotonic()
        self._expect(KEPT_OPEN_S + REQUEST_WITHIN_S)
        super().on_response_complete()
        self._look()

    def pause_writing(self) -> None:
        """Hear that the client does not read."""
        super().pause_writing()
        if self._slot is not None:
            self._slot.is_busy = False
        if self._reading_due is None:
            self._reading_due = self.loop.call_later(READ_WITHIN_S, self.transport.abort)

    def resume_writing(self) -> None:
        """Hear that it reads again."""
        super().resume_writing()
        if self._slot is not None:
            self._slot.is_busy = self.cycle is not None and not self.cycle.response_complete
        if self._reading_due is not None:
            self._reading_due.cancel()
            self._reading_due = None

    def _look(self) -> None:
        if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
            self._expect(None)
            if self._slot is not None:
                self._slot.is_busy = self.cycle is not None and not self.cycle.response_complete

    def _expect(self, within_s: float | None) -> None:
        """Give the client so long for a whole request, counted from now; None if there is one."""
        if self._request_due is not None:
            self._request_due.cancel()
        self._request_due = None if within_s is None else self.loop.call_later(within_s, self.transport.abort)


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
    audit = Audit()
    limits = Limits(lambda place: audit.refused(place, "it has too many connections, and all of them are busy"))
    site = Site(wanted(loaded, folder), audit)
    config = Config(
        site.app(),
        limits,
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
        ws="none",
        loop="asyncio",
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
    with Listener(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listening:
        listening.limits = limits
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, port))
        except OSError as error:
            raise CommandFailed(f"It cannot listen on {web.listen}: {error.strerror}.") from None
        Door(config, site).run([listening])

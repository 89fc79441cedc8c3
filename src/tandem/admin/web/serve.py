"""Runs the web process."""

from __future__ import annotations

from pathlib import Path

import uvicorn

from tandem.admin.target import CONTROL_NAME
from tandem.admin.web.access import Role
from tandem.admin.web.app import Site, Wanted
from tandem.config.load import Loaded

CONNECTIONS_MAX = 200
KEPT_OPEN_S = 15
FAREWELL_S = 1
"""How long an end waits for streams, which never end by themselves."""
CERTIFICATE_REQUIRED = 2


def wanted(loaded: Loaded, folder: Path) -> Wanted:
    """Say how the web process of a server is to be, by its file; `folder` is the server's state-dir."""
    web = loaded.web
    host, _, is_loopback = web.endpoint
    return Wanted(
        server=loaded.name,
        socket=Path(loaded.server.control or folder / CONTROL_NAME),
        tokens=Path(web.tokens),
        is_open=is_loopback,
        hosts=("localhost", "127.0.0.1", "[::1]", f"[{host}]" if ":" in host else host, *web.names),
        role_of_certificate=Role.READ_ONLY if web.client_ca is not None else None,
    )


def serve(loaded: Loaded, folder: Path) -> None:
    """Serve until SIGTERM or SIGINT. OSError if the port cannot be opened."""
    web = loaded.web
    host, port, _ = web.endpoint
    config = uvicorn.Config(
        Site(wanted(loaded, folder)).app(),
        host=host,
        port=port,
        ssl_certfile=web.certificate,
        ssl_keyfile=web.key,
        ssl_ca_certs=web.client_ca,
        ssl_cert_reqs=CERTIFICATE_REQUIRED if web.client_ca is not None else 0,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="on",
        limit_concurrency=CONNECTIONS_MAX,
        timeout_keep_alive=KEPT_OPEN_S,
        timeout_graceful_shutdown=FAREWELL_S,
    )
    uvicorn.Server(config).run()

"""Which running server a command is for: options that several commands share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from tandem.admin.client import CommandFailed, ControlClient
from tandem.runtime.control_path import CONTROL_NAME

StateDir = Annotated[Path, typer.Option(metavar="DIR", readable=False, help="The server's state-dir.")]
Socket = Annotated[Path | None, typer.Option(metavar="PATH", help="The server's control socket.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
DEFAULT_STATE_DIR = Path("/var/lib/tandem")
RUNTIME_DIR = Path("/run/tandem")
"""Where the packaged units have a directory for each server, with its control socket."""


def connect(state_dir: Path, path: Path | None) -> ControlClient:
    """Return a connection to the server that the options name. CommandFailed if they leave it open which one."""
    return ControlClient(path or _socket_of(state_dir))


def _socket_of(state_dir: Path) -> Path:
    """Return the control socket of the server with this state-dir, for operators who may not look into it as well."""
    named = state_dir / CONTROL_NAME
    if state_dir != DEFAULT_STATE_DIR or os.path.exists(named):  # Path.exists raises if it may not look
        return named
    running = sorted(RUNTIME_DIR.glob(f"*/{CONTROL_NAME}"))
    if len(running) > 1:
        raise CommandFailed(f"Several servers run here. Say which one with --socket: {', '.join(map(str, running))}.")
    return running[0] if running else named

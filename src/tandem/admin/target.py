"""Which running server a command is for: options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tandem.admin.client import ControlClient

StateDir = Annotated[Path, typer.Option(metavar="DIR", help="The server's state-dir.")]
Socket = Annotated[Path | None, typer.Option(metavar="PATH", help="The server's control socket.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
DEFAULT_STATE_DIR = Path("/var/lib/tandem")
CONTROL_NAME = "control.sock"


def connect(state_dir: Path, path: Path | None) -> ControlClient:
    """Give the way to the server that the options name."""
    return ControlClient(path or state_dir / CONTROL_NAME)

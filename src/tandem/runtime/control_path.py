"""Where a server's control socket is, for the server itself and for whoever asks it."""

from __future__ import annotations

import os
from pathlib import Path

CONTROL_NAME = "control.sock"
RUNTIME_DIRECTORY = "RUNTIME_DIRECTORY"
"""Set by systemd for units that have one."""


def control_path(configured: str | None, state_dir: Path) -> Path:
    """Return the path of the socket: what the file says, else in the unit's runtime directory, else in the state-dir.

    In a runtime directory, the group that may use the socket needs no access to the state-dir.
    """
    return Path(configured) if configured else Path(os.environ.get(RUNTIME_DIRECTORY) or state_dir) / CONTROL_NAME

"""Tells systemd how the server is doing (sd_notify), if it is systemd that started it."""

from __future__ import annotations

import os
import socket


def notify(state: str) -> None:
    """Send a state such as `READY=1`. Does nothing without systemd."""
    path = os.environ.get("NOTIFY_SOCKET")
    if path:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
            out.connect("\0" + path[1:] if path.startswith("@") else path)
            out.sendall(state.encode())


def watchdog_s() -> float | None:
    """Give how often systemd wants to hear `WATCHDOG=1`, in seconds, with a margin; None if it does not."""
    usec = os.environ.get("WATCHDOG_USEC", "")
    return int(usec) / 2_000_000 if usec.isdecimal() and int(usec) else None

"""Talks to a running server through its control socket."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TIMEOUT_S = 30.0


class CommandFailed(Exception):
    """The server said no, or could not be asked; the message is a sentence."""


class ServerUnreachable(CommandFailed):
    """No server listens there."""


class ControlClient:
    """A connection to a server. Use it as a context manager."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> ControlClient:
        """Connect. CommandFailed says why that is not possible."""
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(TIMEOUT_S)
        try:
            self._socket.connect(str(self._path))
        except OSError as error:
            self._socket.close()
            is_nobody = isinstance(error, FileNotFoundError | ConnectionRefusedError)
            raise (ServerUnreachable if is_nobody else CommandFailed)(why_unreachable(self._path, error)) from None
        self._lines = self._socket.makefile("rb")
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        self._socket.close()

    def ask(self, command: str, **arguments: Any) -> Any:
        """Give the command's result. CommandFailed if there is none."""
        given = {name: value for name, value in arguments.items() if value is not None}
        try:
            self._socket.sendall(json.dumps({"command": command, "arguments": given}).encode() + b"\n")
            line = self._lines.readline()
        except OSError as error:
            raise CommandFailed(f"The server did not answer: {error}.") from error
        if not line:
            raise CommandFailed("The server ended the connection without an answer.")
        answer = json.loads(line)
        if "error" in answer:
            raise CommandFailed(answer["error"])
        return answer["result"]

    def leases(self, **filters: Any) -> Iterator[dict[str, Any]]:
        """Give all leases that pass the filters, in no order that means anything."""
        page = self.ask("lease-list", **filters)
        yield from page["leases"]
        while page["next"] is not None:
            page = self.ask("lease-list", **filters, **{"from": page["next"]})
            yield from page["leases"]


def why_unreachable(path: Path, error: OSError) -> str:
    """Say why a control socket cannot be used, and what to do."""
    match error:
        case FileNotFoundError():
            return f"No server has its control socket at {path}. Is it running? --state-dir or --socket names another."
        case ConnectionRefusedError():
            return f"{path} was left behind by a server that no longer runs."
        case PermissionError():
            return f"You may not use {path}. Be its owner, or in its group."
        case _:
            return f"{path} cannot be used: {error}."

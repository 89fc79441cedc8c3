"""The control socket: JSON lines over a Unix socket. One request a line, one answer a line, in order.

A request is `{"command": NAME, "arguments": {...}}`; an answer is `{"result": ...}` or `{"error": SENTENCE}`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path
from typing import Any

from tandem.effects.effects import Answer
from tandem.effects.events import Command
from tandem.runtime.control_path import CONTROL_NAME

CONNECTIONS_MAX = 32
LINE_MAX = 65_536
IDLE_S = 300.0
GROUP_MAY_USE = 0o660


class Control:
    """Hands operators' commands to the node and its answers back.

    `state_dir` is where commands look for the socket: if it is elsewhere, a link there leads to it.
    """

    def __init__(self, path: Path, state_dir: Path, command: Callable[[Command], None]) -> None:
        self._path = path
        self._link = state_dir / CONTROL_NAME
        self._command = command
        self._tickets = count(1)
        self._open: dict[int, asyncio.Future[Answer]] = {}
        self._connections = 0
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen. A socket that a dead server left behind is replaced. OSError says in words why that cannot be."""
        before = os.umask(0o777 & ~GROUP_MAY_USE)
        try:
            self._path.unlink(missing_ok=True)
            self._server = await asyncio.start_unix_server(self._serve, self._path, limit=LINE_MAX)
            if self._link.resolve() != self._path.resolve():
                self._link.unlink(missing_ok=True)
                self._link.symlink_to(self._path.absolute())
        except OSError as error:
            why = error.strerror or error
            raise OSError(
                f"no control socket can be made at {self._path} ({why}); `control` names another place"
            ) from None
        finally:
            os.umask(before)

    def stop(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)
            if self._link.is_symlink():
                self._link.unlink()

    def answer(self, answer: Answer) -> None:
        """Give an answer to whoever asked; nobody may be waiting any more."""
        waiting = self._open.pop(answer.ticket, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        try:
            if self._connections > CONNECTIONS_MAX:
                await _write(writer, {"error": "Too many connections to the control socket; try again later."})
                return
            while line := await asyncio.wait_for(reader.readline(), IDLE_S):
                await _write(writer, await self._obey(line))
        except ValueError:
            with contextlib.suppress(OSError):
                await _write(writer, {"error": f"A request is longer than {LINE_MAX} octets."})
        except (OSError, TimeoutError, asyncio.CancelledError):
            pass
        finally:
            self._connections -= 1
            writer.close()

    async def _obey(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            return {"error": "A request must be one JSON object on one line."}
        name = request.get("command") if isinstance(request, Mapping) else None
        arguments = request.get("arguments", {}) if isinstance(request, Mapping) else {}
        if not isinstance(name, str) or not isinstance(arguments, Mapping):
            return {"error": 'A request looks like {"command": "status", "arguments": {}}.'}
        ticket = next(self._tickets)
        waiting = self._open[ticket] = asyncio.get_running_loop().create_future()
        try:
            self._command(Command(ticket, name, arguments))
            answer = await waiting
        finally:
            self._open.pop(ticket, None)
        return {"result": answer.result} if answer.error is None else {"error": answer.error}


async def _write(writer: asyncio.StreamWriter, answer: Mapping[str, Any]) -> None:
    writer.write(json.dumps(answer).encode() + b"\n")
    await writer.drain()

"""The web process's way to the server: its control socket, asked without anybody being kept waiting."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any

from tandem.admin.client import CommandFailed, why_unreachable

ANSWER_MAX = 64 << 20
TIMEOUT_S = 20.0


class Unreachable(CommandFailed):
    """There is no server at the socket, or it does not answer; the message is a sentence."""


class Link:
    """One connection to the server, made when it is needed and made again when it was lost. Questions take turns."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._turn = asyncio.Lock()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, command: str, **arguments: Any) -> Any:
        """Give the command's result. Unreachable if nobody answers, CommandFailed if the server says no."""
        given = {name: value for name, value in arguments.items() if value is not None}
        line = json.dumps({"command": command, "arguments": given}).encode() + b"\n"
        async with self._turn:
            answer = await self._exchange(line)
        if "error" in answer:
            raise CommandFailed(answer["error"])
        return answer["result"]

    async def close(self) -> None:
        """Give the connection up."""
        if self._streams is not None:
            _, writer = self._streams
            self._streams = None
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _exchange(self, line: bytes) -> Any:
        try:
            return json.loads(await asyncio.wait_for(self._answer(line), TIMEOUT_S))
        except TimeoutError:
            await self.close()
            raise Unreachable(f"The server has not answered for {TIMEOUT_S:.0f} s.") from None
        except ValueError:  # it is longer than ANSWER_MAX, or no JSON
            await self.close()
            raise Unreachable(f"What answers at {self._path} is not a server of this program.") from None

    async def _answer(self, line: bytes) -> bytes:
        is_new = self._streams is None
        try:
            answer = await self._over(line)
        except OSError as error:
            await self.close()
            raise Unreachable(why_unreachable(self._path, error)) from None
        if answer:
            return answer
        await self.close()
        if not is_new:  # it was closed while nothing was asked, perhaps by a server that is another by now
            return await self._answer(line)
        raise Unreachable("The server ended the connection without an answer.")

    async def _over(self, line: bytes) -> bytes:
        """Send the question and give the answer; nothing if the connection was closed."""
        if self._streams is None:
            self._streams = await asyncio.open_unix_connection(self._path, limit=ANSWER_MAX)
        reader, writer = self._streams
        with contextlib.suppress(ConnectionError):
            writer.write(line)
            await writer.drain()
            return await reader.readline()
        return b""

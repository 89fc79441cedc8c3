"""A secondary listens for its partners as soon as that is possible, once, and no longer than it is wanted."""

from __future__ import annotations

import asyncio
import errno
import socket

import pytest

from limits import limit
from tandem.admin.demo_pair import free_port
from tandem.config.partners import PartnerLine
from tandem.effects.events import Event
from tandem.lease.space import Role
from tandem.runtime import partner_sockets
from tandem.runtime.partners import Partners

HERE = "::1"
WITHIN_S = limit(10.0)


def line(port: int) -> PartnerLine:
    return PartnerLine("campus", Role.SECONDARY, HERE, HERE, port, "a", 10, None)


class Watched:
    """A server's streams, and what it says of them."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.heard = asyncio.Event()
        self.partners = Partners(self._into, self._say)

    def _into(self, _: Event) -> None:
        pass

    def _say(self, event: str, _level: str = "info", **_values: object) -> None:
        self.said.append(event)
        self.heard.set()


async def connected(port: int) -> None:
    """Connect as soon as somebody listens."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            try:
                _, writer = await asyncio.open_connection(HERE, port)
            except OSError:
                await asyncio.sleep(0)
                continue
            writer.close()
            return


def test_too_many_open_files_are_waited_out(monkeypatch: pytest.MonkeyPatch) -> None:
    real, failures = socket.socket, [OSError(errno.EMFILE, "Too many open files")]

    def scarce(*arguments: int, **named: int) -> socket.socket:
        if failures and arguments[:2] == (socket.AF_INET6, socket.SOCK_STREAM):
            raise failures.pop()
        return real(*arguments, **named)

    async def play() -> None:
        port = free_port(socket.SOCK_STREAM)
        watched = Watched()
        monkeypatch.setattr(partner_sockets, "RELISTEN_S", 0.01)
        monkeypatch.setattr("tandem.runtime.partner_sockets.socket.socket", scarce)
        watched.partners.use([line(port)])
        await asyncio.wait_for(watched.heard.wait(), WITHIN_S)
        monkeypatch.undo()
        await connected(port)
        await watched.partners.stop()
        assert watched.said == ["partner-door-failed"]

    asyncio.run(play())


def test_an_address_is_listened_on_once_however_often_the_file_is_read() -> None:
    async def play() -> None:
        port = free_port(socket.SOCK_STREAM)
        watched = Watched()
        for _ in range(3):
            watched.partners.use([line(port)])
        await connected(port)
        watched.partners.use([])
        with pytest.raises(OSError, match="Connect"):
            await asyncio.open_connection(HERE, port)
        await watched.partners.stop()
        assert watched.said == []

    asyncio.run(play())

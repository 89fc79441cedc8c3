"""The TCP sockets of failover: where partners are awaited, and how one is connected to.

Addresses are compared and used as values: an IPv4 address inside of IPv6 may be written in two ways.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Callable, Iterator, Set
from ipaddress import IPv6Address

from tandem.config.partners import PartnerLine
from tandem.effects.problem import Problem, problem
from tandem.runtime.health import Say

RELISTEN_S = 1.0
FREEBIND = 78  # IPV6_FREEBIND: listen on an address that is not there yet
Endpoint = tuple[str, int]
"""An address and a port."""


class NotEstablished(Exception):
    """No connection came about; the message says why. `partner_was_there`: but somebody answered."""

    def __init__(self, reason: str, partner_was_there: bool = True) -> None:
        super().__init__(reason)
        self.partner_was_there = partner_was_there


class PartnerListeners:
    """Listens on addresses. One that cannot be listened on is a problem, and is tried again until it can."""

    def __init__(self, accept: Callable[[Endpoint], asyncio.Protocol], backlog: int, say: Say) -> None:
        self._accept = accept
        self._backlog = backlog
        self._say = say
        self._listeners: dict[Endpoint, asyncio.Server] = {}
        self._wanted: Set[Endpoint] = frozenset()
        self._tasks: dict[Endpoint, asyncio.Task[None]] = {}
        self._failures: dict[Endpoint, str] = {}
        """Why an address cannot be listened on."""

    def use(self, wanted: Set[Endpoint]) -> None:
        """Listen on these from now on, and on no others."""
        self._wanted = wanted
        for endpoint in self._listeners.keys() - wanted:
            self._listeners.pop(endpoint).close()
        for endpoint in self._failures.keys() - wanted:
            del self._failures[endpoint]
        for endpoint in sorted(wanted - self._listeners.keys() - self._tasks.keys()):
            self._tasks[endpoint] = asyncio.get_running_loop().create_task(self._listen(endpoint))

    def close(self) -> None:
        """Listen on nothing any more."""
        for task in self._tasks.values():
            task.cancel()
        self.use(frozenset())

    def problems(self) -> Iterator[Problem]:
        """Return what keeps partners from connecting."""
        for (host, port), why in self._failures.items():
            what = f"The failover partner cannot connect to [{host}]:{port}: {why}."
            yield problem("partner-listen-failed", what, about=f"[{host}]:{port}")

    async def _listen(self, endpoint: Endpoint) -> None:
        """Listen on an address, trying again until that is possible, or is not wanted any more."""
        try:
            while endpoint in self._wanted:
                try:
                    listener = await self._open(endpoint)
                except OSError as error:
                    self._failed(endpoint, _reason(error))
                    await asyncio.sleep(RELISTEN_S)
                    continue
                self._failures.pop(endpoint, None)
                if endpoint in self._wanted:
                    self._listeners[endpoint] = listener
                else:
                    listener.close()
                break
        finally:
            del self._tasks[endpoint]

    async def _open(self, endpoint: Endpoint) -> asyncio.Server:
        listening = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
        try:
            with contextlib.suppress(OSError):
                listening.setsockopt(socket.IPPROTO_IPV6, FREEBIND, 1)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            _bind(listening, *endpoint)
            loop = asyncio.get_running_loop()
            return await loop.create_server(lambda: self._accept(endpoint), sock=listening, backlog=self._backlog)
        except OSError:
            listening.close()
            raise

    def _failed(self, endpoint: Endpoint, why: str) -> None:
        if self._failures.get(endpoint) != why and endpoint in self._wanted:
            self._failures[endpoint] = why
            host, port = endpoint
            self._say("partner-door-failed", "warning", why=f"[{host}]:{port}: {why}; it is tried again")


async def connected(line: PartnerLine) -> socket.socket:
    """Connect to a partner. NotEstablished says in words why that is not possible."""
    loop = asyncio.get_running_loop()
    dialing = socket.socket(socket.AF_INET6, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        _bind(dialing, line.own_address, 0)
    except OSError as error:
        dialing.close()
        reason = f"this server's own address {line.own_address} cannot be used: {_reason(error)}"
        raise NotEstablished(reason, partner_was_there=False) from error
    try:
        await loop.sock_connect(dialing, _socket_address(line.partner_address, line.port))
    except OSError as error:
        dialing.close()
        reason = f"no connection to {line.partner_address} port {line.port}: {_reason(error)}"
        raise NotEstablished(reason, partner_was_there=False) from error
    except BaseException:
        dialing.close()
        raise
    return dialing


def _bind(unbound: socket.socket, host: str, port: int) -> None:
    """Bind to an address, which may be an IPv4 address inside of IPv6 (::ffff:192.0.2.1). OSError if it cannot be."""
    unbound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    unbound.bind(_socket_address(host, port))


def _socket_address(host: str, port: int) -> tuple[str, int, int, int]:
    """Return what a socket takes for an address; the zone of a link-local one (fe80::1%eth0) becomes its index."""
    bare, _, zone = host.partition("%")
    return bare, port, 0, socket.if_nametoindex(zone) if zone else 0


def _reason(error: OSError) -> str:
    known = error.errno is not None and error.errno in errno.errorcode
    text = os.strerror(error.errno) if known and error.errno else error.strerror or str(error)
    return text[:1].lower() + text[1:]


def is_same_address(one: str, other: str) -> bool:
    """True if two texts name one IPv6 address, however it is written (::ffff:192.0.2.1 is ::ffff:c000:201)."""
    return IPv6Address(one).packed == IPv6Address(other).packed

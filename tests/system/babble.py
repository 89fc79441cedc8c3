"""What a partner must bear with: connections from its partner's address on which nothing that makes sense is said."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from limits import limit
from system.partners import KEEPALIVE_S, MCLT_S, PARTNER_ADDRESS, PARTNER_PORT, Pair
from tandem.sim.client import SimClient
from tandem.wire import failover_options as fo
from tandem.wire.failover import FailoverMessage, FailoverType, stamp, write_starttls
from tandem.wire.option import write_options

FRAME_MAX = 65_535
MORE_THAN_ARE_HEARD = 20
"""Connections on which nothing is said: more than a server bears with at a time."""


def _frame(body: bytes) -> bytes:
    return struct.pack("!H", len(body)) + body


def _connect() -> bytes:
    """A CONNECT as the primary would send it."""
    terms = (
        fo.ProtocolVersion(1, 0),
        fo.Mclt(MCLT_S),
        fo.KeepaliveTime(KEEPALIVE_S),
        fo.MaxUnackedBndupd(10),
        fo.Connect(fo.ConnectFlags.FIXED_PD_LENGTH),
        fo.RelationshipName("campus"),
    )
    return stamp(FailoverMessage(FailoverType.CONNECT, 1, write_options(terms)).write(), int(time.time()))


def _babble(chance: random.Random) -> list[bytes]:
    """One thing to say on each of some connections."""
    connect = _connect()
    starttls = write_starttls(1)
    babble = [
        b"",
        chance.randbytes(3000),
        connect[: len(connect) // 2],
        FailoverMessage(FailoverType.CONNECT, 1, b"").write(),
        _frame(chance.randbytes(FRAME_MAX)) * 3,
        _frame(b""),
        b"\xff\xff" + bytes(1000),
        _frame(SimClient(1).solicit().write()),
        starttls,
        starttls + chance.randbytes(2000),
        starttls[:5],
        connect + connect,
        connect + _frame(chance.randbytes(FRAME_MAX)),
        connect + b"\xff\xff" + bytes(1000),
    ]
    for type_ in FailoverType:
        babble.append(connect + FailoverMessage(type_, 2, b"").write())
        babble.append(connect + FailoverMessage(type_, 2, chance.randbytes(100)).write())
    return babble + [b""] * MORE_THAN_ARE_HEARD


@contextmanager
def talkers(pair: Pair) -> Iterator[Callable[[], bytes | None]]:
    """Give a way to say one thing after another from server a's address to b; None once all is said.

    The connections stay open until the end.
    """
    sayings = iter(_babble(random.Random(1)))
    with contextlib.ExitStack() as opened:

        def talk() -> bytes | None:
            octets = next(sayings, None)
            if octets is None:
                return None
            with pair.a.host.inside():
                connection = opened.enter_context(socket.socket(socket.AF_INET6, socket.SOCK_STREAM))
            connection.settimeout(limit(5))
            connection.bind((PARTNER_ADDRESS["a"], 0))
            with contextlib.suppress(ConnectionError):  # hung up on, as it may be at any moment
                connection.connect((PARTNER_ADDRESS["b"], PARTNER_PORT))
                connection.sendall(octets)
            return octets

        yield talk

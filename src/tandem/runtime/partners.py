"""The streams to failover partners: dialed or accepted, secured as RFC 7653 8.2 and 9.1 say, then handed to the node.

What the node sees of a stream begins when it stands: until then at most HANDSHAKES_MAX of them, HANDSHAKE_S seconds
and one frame are spent on it.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import count
from typing import Any

from tandem.config.partners import PartnerLine
from tandem.effects.effects import Dial, Hangup, ToPartner
from tandem.effects.events import ConnectionFailed, Event, PartnerGone, PartnerOctets, PartnerUp
from tandem.effects.problem import Problem, problem
from tandem.lease.space import Role
from tandem.runtime.certificates import CertificateError, Peer, peer_of, tls_context
from tandem.runtime.framed_stream import FramedStream
from tandem.runtime.occurrences import Occurrences
from tandem.runtime.partner_sockets import NotEstablished, PartnerListeners, connected, is_same_address
from tandem.wire.failover import answer_starttls, is_starttls, stamp, write_starttls
from tandem.wire.failover_options import FailoverStatus
from tandem.wire.message import Message, MessageType, read_message
from tandem.wire.options import Status
from tandem.wire.reader import WireError

HANDSHAKE_S = 10.0
FIRST_FRAME_S = 3.0
"""How long an accepted connection may say nothing."""
HANDSHAKES_MAX = 16
"""Accepted connections that are not established yet; with one more, the oldest one is closed."""
PIECE_OCTETS = 8192
"""Of what came from a partner at once, how much is taken before clients have their turn."""
BACKLOG_MAX = 16
"""Pieces that wait to be taken, from which on no more is read."""
CERTIFICATE_TIME_WRONG = (9, 10)
"""OpenSSL's X509_V_ERR_CERT_NOT_YET_VALID and _HAS_EXPIRED: the certificate is good but for its time."""


class Partners:
    """All streams to partners. `into` takes events for the node, `say` sentences for the log."""

    def __init__(self, into: Callable[[Event], None], say: Callable[..., None]) -> None:
        self._into = into
        self._say = say
        self._lines: dict[str, PartnerLine] = {}
        self._wires: dict[int, FramedStream] = {}
        self._numbers = count(1)
        self._listeners = PartnerListeners(
            lambda endpoint: FramedStream(partial(self._accepted, endpoint)), HANDSHAKES_MAX, say
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self._admitting: dict[FramedStream, None] = {}
        """Accepted streams that are not established yet, oldest first."""
        self._is_paused = False
        self._is_stopping = False
        self._refused = Occurrences()
        """Connections that were not admitted."""

    def use(self, lines: Iterable[PartnerLine]) -> None:
        """Serve these relationships from now on; streams that stand are left to the node, but for revoked partners'."""
        self._lines = {line.relationship: line for line in lines}
        self._drop_revoked()
        secondaries = (line for line in self._lines.values() if line.role is Role.SECONDARY)
        self._listeners.use({(line.own_address, line.port) for line in secondaries})

    def problems(self) -> Iterator[Problem]:
        """Return what keeps partners from connecting to this server."""
        yield from self._listeners.problems()
        since = self._refused.since(int(time.time()))
        if since is not None:
            what = f"{self._refused.count} connections to the failover port were refused."
            examples = self._refused.examples()
            yield problem("connect-refused", what, since=since, until=self._refused.until, examples=examples)

    def line(self, relationship: str) -> PartnerLine | None:
        """Give the way to a relationship's partner."""
        return self._lines.get(relationship)

    def send(self, messages: Sequence[ToPartner]) -> None:
        """Stamp and send messages, all for one partner at once. Those for a stream that is gone are dropped."""
        now = int(time.time())
        by_connection: dict[int, list[bytes]] = {}
        for message in messages:
            by_connection.setdefault(message.connection, []).append(stamp(message.data, now))
        for connection, octets in by_connection.items():
            wire = self._wires.get(connection)
            if wire is not None:
                wire.write(b"".join(octets))

    def obey(self, lines: Sequence[Dial | Hangup]) -> None:
        """Open and close streams."""
        for line in lines:
            if isinstance(line, Hangup):
                wire = self._wires.pop(line.connection, None)
                if wire is not None:
                    wire.close()
            elif not self._is_stopping:
                self._begin(self._dial(line.relationship))

    async def stop(self) -> None:
        """Listen no more, and give what was written a moment to leave."""
        self._is_stopping = True
        self._listeners.close()
        for task in self._tasks:
            task.cancel()
        wires = [wire for wire in self._wires.values() if wire.transport is not None]
        for wire in wires:
            wire.close()
        await asyncio.sleep(0)

    # -- inside

    def _begin(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _accepted(self, endpoint: tuple[str, int], wire: FramedStream) -> None:
        assert wire.transport is not None
        peer = str(wire.transport.get_extra_info("peername")[0])
        here = [
            line
            for line in self._lines.values()
            if line.role is Role.SECONDARY and (line.own_address, line.port) == endpoint
        ]
        lines = [line for line in here if is_same_address(line.partner_address, peer)]
        if not lines:  # RFC 8156 6.1: no relationship with whoever this is
            expected = ", ".join(sorted({line.partner_address for line in here}))
            self._refuse(peer, f"no partner has this address; connections are expected from {expected}")
        if not lines or self._is_stopping:
            wire.transport.abort()
            return
        while len(self._admitting) >= HANDSHAKES_MAX:  # silent connections must not keep the partner out
            oldest = next(iter(self._admitting))
            del self._admitting[oldest]
            oldest.abort()
        self._admitting[wire] = None
        self._begin(self._admit(wire, lines, peer))

    def _refuse(self, peer: str, reason: str) -> None:
        """Log a refused connection, but not each time again when it is tried over and over."""
        is_new = self._refused.since(int(time.time())) is None or peer not in self._refused.subjects()
        self._refused.add(int(time.time()), peer, reason)
        if is_new:
            self._say("partner-not-admitted", "warning", peer=peer, why=reason)

    async def _admit(self, wire: FramedStream, lines: list[PartnerLine], peer: str) -> None:
        try:
            async with asyncio.timeout(HANDSHAKE_S):
                lines = await self._secure_accepted(wire, lines)
        except (NotEstablished, CertificateError, OSError, TimeoutError, WireError) as error:
            reason = _sentence(error)
            self._refuse(peer, reason)
            if wire.transport is not None:
                wire.transport.close()
            for line in lines:
                self._into(ConnectionFailed(line.relationship, reason, _is_partners_certificate(error)))
        else:
            self._stands(wire, lines, peer, is_dialed=False)
        finally:
            self._admitting.pop(wire, None)

    async def _secure_accepted(self, wire: FramedStream, lines: list[PartnerLine]) -> list[PartnerLine]:
        """RFC 7653 9.1. Give the relationships that the peer may speak for."""
        async with asyncio.timeout(FIRST_FRAME_S):
            first = await wire.first_frame()
        secured = [line for line in lines if line.tls is not None]
        assert wire.transport is not None
        if not is_starttls(first):
            if len(secured) == len(lines):
                raise NotEstablished("it came without TLS, which this server needs")
            return [line for line in lines if line.tls is None]
        if not secured or secured[0].tls is None:
            refusal = Status(FailoverStatus.TLS_CONNECTION_REFUSED, "this server is configured to go without TLS")
            wire.write(answer_starttls(first, refusal))
            raise NotEstablished("it wants TLS, which is turned off here")
        context = tls_context(secured[0].tls, server_side=True)
        wire.transport.pause_reading()
        wire.forget()
        wire.write(answer_starttls(first, None))
        certificate = await self._handshake(wire, context, server_side=True)
        admitted = [line for line in secured if not certificate.objection(line)]
        if not admitted:
            raise NotEstablished(f"its certificate {certificate.objection(secured[0])}")
        return admitted

    async def _dial(self, relationship: str) -> None:
        line = self._lines.get(relationship)
        if line is None:
            return
        wire = FramedStream()
        try:
            async with asyncio.timeout(line.patience_s):
                await self._connect(wire, line)
        except (NotEstablished, CertificateError, OSError, TimeoutError, WireError) as error:
            was_there = (
                error.partner_was_there if isinstance(error, NotEstablished) else isinstance(error, ssl.SSLError)
            )
            if wire.transport is not None:
                wire.transport.close()
            self._into(ConnectionFailed(relationship, _sentence(error), was_there))
        else:
            self._stands(wire, [line], line.partner_address, is_dialed=True)

    async def _connect(self, wire: FramedStream, line: PartnerLine) -> None:
        """RFC 7653 8.2."""
        loop = asyncio.get_running_loop()
        context = None if line.tls is None else tls_context(line.tls, server_side=False)
        await loop.create_connection(lambda: wire, sock=await connected(line))
        if context is None:
            return
        wire.write(write_starttls(1))
        reply = read_message(await wire.first_frame())
        assert wire.transport is not None
        if not isinstance(reply, Message) or reply.type is not MessageType.REPLY:
            raise NotEstablished("the partner does not understand STARTTLS")
        status = next((each for each in reply.options if isinstance(each, Status)), None)
        if status is not None:
            raise NotEstablished(f"the partner refuses TLS: {status.message or status.status}")
        wire.transport.pause_reading()
        wire.forget()
        certificate = await self._handshake(wire, context, server_side=False)
        if objection := certificate.objection(line):
            raise NotEstablished(f"the partner's certificate {objection}")

    async def _handshake(self, wire: FramedStream, context: ssl.SSLContext, server_side: bool) -> Peer:
        """Secure a stream whose reading is paused, and return what the other side's certificate says."""
        loop = asyncio.get_running_loop()
        assert wire.transport is not None
        secured = await loop.start_tls(
            wire.transport, wire, context, server_side=server_side, ssl_handshake_timeout=HANDSHAKE_S
        )
        if secured is None:
            raise NotEstablished("the connection was closed during the TLS handshake")
        wire.transport = secured
        wire.certificate = peer_of(secured.get_extra_info("ssl_object"))
        return wire.certificate

    def _stands(self, wire: FramedStream, lines: list[PartnerLine], peer: str, is_dialed: bool) -> None:
        number = next(self._numbers)
        self._wires[number] = wire
        wire.relationships = tuple(line.relationship for line in lines)
        self._into(PartnerUp(number, wire.relationships, peer, is_dialed))
        wire.hand_over(partial(self._octets, number), partial(self._gone, number))

    def _drop_revoked(self) -> None:
        """End the streams whose partner's certificate was revoked since they were opened."""
        for number, wire in list(self._wires.items()):
            lines = [self._lines[name] for name in wire.relationships if name in self._lines]
            objections = [wire.certificate.objection(line) for line in lines] if wire.certificate is not None else []
            if any(objections):
                self._gone(number, f"its certificate {max(objections)}")
                wire.close()

    def _octets(self, number: int, octets: bytes) -> None:
        """Take in what came; the time of that goes with it, however long it waits (RFC 8156 7.1)."""
        wire = self._wires.get(number)
        if wire is not None:
            is_first = not wire.backlog
            came = int(time.time())
            for at in range(0, len(octets), PIECE_OCTETS):
                wire.backlog.append(PartnerOctets(number, octets[at : at + PIECE_OCTETS], came))
            wire.read_if(len(wire.backlog) < BACKLOG_MAX)
            if is_first and not self._is_paused:
                self._take_piece(number)

    def _take_piece(self, number: int) -> None:
        """Hand on a piece of what came; clients have their turn before the next one."""
        wire = self._wires.get(number)
        if wire is None or not wire.backlog or self._is_paused:
            return
        self._into(wire.backlog[0])
        wire.backlog.popleft()
        wire.read_if(len(wire.backlog) < BACKLOG_MAX)
        if wire.backlog:
            asyncio.get_running_loop().call_soon(self._take_piece, number)

    def pause(self, is_paused: bool) -> None:
        """Leave what partners sent where it is while the disk is behind; then go on with it."""
        if is_paused is self._is_paused:
            return
        self._is_paused = is_paused
        for number, wire in self._wires.items() if not is_paused else ():
            if wire.backlog:
                asyncio.get_running_loop().call_soon(self._take_piece, number)

    def _gone(self, number: int, reason: str) -> None:
        wire = self._wires.get(number)
        if wire is None:
            return
        for piece in wire.backlog:
            self._into(piece)
        if self._wires.pop(number, None) is not None:
            self._into(PartnerGone(number, reason))


def _is_partners_certificate(error: BaseException) -> bool:
    """True if the certificate authority vouches for the other side, and only the validity period is wrong.

    Whoever else connects from the partner's address is not taken for the partner.
    """
    return isinstance(error, ssl.SSLCertVerificationError) and error.verify_code in CERTIFICATE_TIME_WRONG


def _sentence(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not good: {error.verify_message}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__

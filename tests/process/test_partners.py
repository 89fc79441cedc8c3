"""Streams to partners over the loopback: who is let in, what TLS needs, what is spent on whoever says nothing."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from itertools import count
from typing import TypeVar

import pytest

from limits import limit
from tandem.admin.pki import write_certificates
from tandem.config.partners import PartnerLine, Tls
from tandem.effects.effects import Dial, Hangup, ToPartner
from tandem.effects.events import ConnectionFailed, Event, PartnerGone, PartnerOctets, PartnerUp
from tandem.lease.space import Role
from tandem.runtime import partners
from tandem.runtime.certificates import tls_context
from tandem.runtime.framed_stream import FIRST_FRAME_MAX, FramedStream
from tandem.runtime.partners import HANDSHAKES_MAX, PIECE_OCTETS, Partners
from tandem.wire.failover import (
    FailoverMessage,
    FailoverType,
    Frames,
    message,
    read_failover_message,
    write_starttls,
)
from tandem.wire.failover_options import FailoverStatus
from tandem.wire.message import Message, read_message
from tandem.wire.options import Status

HERE = "::1"
LONG_S = limit(20.0)
CONNECT = FailoverMessage(FailoverType.CONNECT, 1, b"").write()
CONTACT = FailoverMessage(FailoverType.CONTACT, 2, b"").write()
POISON = FailoverMessage(FailoverType.DISCONNECT, 3, b"").write()


def free_port() -> int:
    with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
        probe.bind((HERE, 0))
        return int(probe.getsockname()[1])


Kind = TypeVar("Kind")


class Door:
    """A server's streams, and all events that came of them."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.said: list[str] = []
        self._changed = asyncio.Event()
        self.partners = Partners(self._into, self._say)

    def _into(self, event: Event) -> None:
        self.events.append(event)
        self._changed.set()

    def _say(self, event: str, _level: str = "info", **values: object) -> None:
        self.said.append(f"{event}: {values.get('why')}")
        self._changed.set()

    async def until(self, holds: Callable[[], object]) -> None:
        """Wait for what an event brings about."""
        async with asyncio.timeout(LONG_S):
            while not holds():
                self._changed.clear()
                await self._changed.wait()

    def of(self, kind: type[Kind]) -> list[Kind]:
        return [each for each in self.events if isinstance(each, kind)]

    @property
    def octets(self) -> bytes:
        return b"".join(each.octets for each in self.events if isinstance(each, PartnerOctets))


def line_of(role: Role, partner_address: str, port: int, partner: str, tls: Tls | None) -> PartnerLine:
    return PartnerLine(
        relationship="campus",
        role=role,
        own_address=HERE,
        partner_address=partner_address,
        port=port,
        partner=partner,
        tls=tls,
        patience_s=20,
    )


OPEN: list[Pair] = []
"""What the running test has opened, to be closed however it ends."""


class Pair:
    """What most of these tests need: a secondary that listens, its line, and the primary's."""

    def __init__(self, tls: Callable[[str], Tls | None], partner_address: str = HERE) -> None:
        self.port = free_port()
        self.door = Door()
        self._writers: list[asyncio.StreamWriter] = []
        self.line = line_of(Role.SECONDARY, partner_address, self.port, "a", tls("b"))
        self.primary_line = line_of(Role.PRIMARY, HERE, self.port, "b", tls("a"))

    async def open(self) -> Pair:
        OPEN.append(self)
        self.door.partners.use([self.line])
        async with asyncio.timeout(LONG_S):
            await asyncio.gather(*self.door.partners._listeners._tasks.values())
        return self

    async def dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(HERE, self.port)
        self._writers.append(writer)
        return reader, writer

    async def close(self) -> None:
        """End all that is open on either side."""
        await self.door.partners.stop()
        for writer in self._writers:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


def without_tls(_: str) -> None:
    return None


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        try:
            async with asyncio.timeout(3 * LONG_S):
                await test()
        finally:
            while OPEN:
                await OPEN.pop().close()

    asyncio.run(limited())


async def rest_of(reader: asyncio.StreamReader) -> bytes:
    """Read until the other side closes, however it does."""
    async with asyncio.timeout(LONG_S):
        with contextlib.suppress(ConnectionError):
            return await reader.read()
        return b""


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Tls]:
    folder = tmp_path_factory.mktemp("pki")
    write_certificates(folder, ["a", "b", "stranger"])
    return lambda name: Tls(str(folder / "ca.crt"), str(folder / f"{name}.crt"), str(folder / f"{name}.key"))


# -- without TLS


def test_what_comes_is_handed_on() -> None:
    async def test() -> None:
        pair = await Pair(without_tls).open()
        _, writer = await pair.dial()
        before = int(time.time())
        for octet in CONNECT + CONTACT:
            writer.write(bytes((octet,)))
            await writer.drain()
        await pair.door.until(lambda: pair.door.octets == CONNECT + CONTACT)
        (up,) = pair.door.of(PartnerUp)
        assert up == PartnerUp(1, ("campus",), HERE, False)
        assert all(before <= each.received_utc <= time.time() for each in pair.door.of(PartnerOctets))
        writer.close()
        await pair.door.until(lambda: pair.door.of(PartnerGone))
        assert pair.door.events[0] is up

    run(test)


def test_when_octets_came_is_kept_while_they_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 8156 7.1: clients have their turn between one piece and the next, however long that takes."""

    async def test() -> None:
        pair = await Pair(without_tls).open()
        _, writer = await pair.dial()
        writer.write(CONNECT)
        await pair.door.until(lambda: pair.door.octets == CONNECT)
        clock = count(1_900_000_000)
        monkeypatch.setattr(time, "time", lambda: next(clock))
        stream = pair.door.partners._wires[1]
        for _ in range(2):
            stream.data_received(bytes(2 * PIECE_OCTETS))
        await pair.door.until(lambda: len(pair.door.octets) == len(CONNECT) + 4 * PIECE_OCTETS)
        came = [each.received_utc for each in pair.door.of(PartnerOctets)[1:]]
        assert came == [1_900_000_000, 1_900_000_000, 1_900_000_001, 1_900_000_001]

    run(test)


def test_the_sent_time_is_that_of_the_writing(monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 8156 5.2, however long a message waited for its commit."""

    async def test() -> None:
        pair = await Pair(without_tls).open()
        reader, writer = await pair.dial()
        writer.write(CONNECT)
        await pair.door.until(lambda: pair.door.of(PartnerUp))
        monkeypatch.setattr(time, "time", lambda: 1_900_000_000.75)
        waited = message(FailoverType.STATE, 5)._replace(sent_time=1_800_000_000).write()
        pair.door.partners.send([ToPartner(1, waited), ToPartner(99, POISON), ToPartner(1, CONTACT)])
        pair.door.partners.obey([Hangup(1)])
        frames = Frames().feed(await rest_of(reader))
        got = [read_failover_message(frame) for frame in frames]
        assert [(each.type, each.sent_time) for each in got] == [
            (FailoverType.STATE, 1_900_000_000),
            (FailoverType.CONTACT, 1_900_000_000),
        ]
        assert not pair.door.of(PartnerGone)  # whoever hangs up hears nothing more

    run(test)


def test_a_strangers_address_is_dropped() -> None:
    async def test() -> None:
        pair = await Pair(without_tls, partner_address="fd00:99::1").open()
        reader, writer = await pair.dial()
        with contextlib.suppress(ConnectionError):
            writer.write(CONNECT)
        assert await rest_of(reader) == b""
        assert pair.door.events == []

    run(test)


def test_silent_connections_are_bounded_and_do_not_count_as_contact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partners, "FIRST_FRAME_S", 0.5)

    async def test() -> None:
        pair = await Pair(without_tls).open()
        dialed = [await pair.dial() for _ in range(HANDSHAKES_MAX * 2)]
        await asyncio.gather(*(rest_of(reader) for reader, _ in dialed))
        assert pair.door.of(PartnerUp) == []
        assert not any(each.partner_was_there for each in pair.door.of(ConnectionFailed))

    run(test)


def test_partner_gets_in_beside_silent_connections() -> None:
    """The oldest of them has to make way, long before its time is over."""

    async def test() -> None:
        pair = await Pair(without_tls).open()
        for _ in range(HANDSHAKES_MAX * 2):
            await pair.dial()
        _, writer = await pair.dial()
        writer.write(CONNECT)
        await pair.door.until(lambda: pair.door.of(PartnerUp))

    run(test)


class Silent(asyncio.Transport):
    """The stream of somebody who says nothing."""

    def __init__(self) -> None:
        super().__init__({"peername": (HERE, 1)})
        self.is_open = True

    def abort(self) -> None:
        self.is_open = False

    close = abort


def test_silent_ones_that_come_at_once_are_bounded() -> None:
    """Before the first of them gets a turn."""

    async def test() -> None:
        pair = await Pair(without_tls).open()
        streams = [Silent() for _ in range(HANDSHAKES_MAX * 3)]
        for stream in streams:
            wire = FramedStream(lambda wire: pair.door.partners._accepted((HERE, pair.port), wire))
            wire.connection_made(stream)
        assert sum(stream.is_open for stream in streams) == HANDSHAKES_MAX

    run(test)


def test_a_first_frame_that_never_ends_is_given_up() -> None:
    """Only so much is kept of whoever did not say yet what it wants."""

    async def test() -> None:
        pair = await Pair(without_tls).open()
        reader, writer = await pair.dial()
        with contextlib.suppress(ConnectionError):
            writer.write(b"\xff\xff" + bytes(FIRST_FRAME_MAX))
            await writer.drain()
        assert await rest_of(reader) == b""
        await pair.door.until(lambda: pair.door.said)
        assert pair.door.said == ["partner-not-admitted: the other side did not say what it wants"]
        assert not pair.door.of(PartnerUp)

    run(test)


# -- STARTTLS (RFC 7653 8.2, 9.1)


def test_tls_is_refused_where_it_is_off() -> None:
    async def test() -> None:
        pair = await Pair(without_tls).open()
        reader, writer = await pair.dial()
        writer.write(write_starttls(0x123456) + CONNECT)
        (frame,) = Frames().feed(await rest_of(reader))
        answer = read_message(frame)
        assert isinstance(answer, Message)
        assert answer.transaction_id == 0x123456
        assert [each.status for each in answer.options if isinstance(each, Status)] == [
            FailoverStatus.TLS_CONNECTION_REFUSED
        ]
        assert not pair.door.of(PartnerUp)

    run(test)


def test_no_one_comes_in_without_tls_where_it_is_on(certified: Callable[[str], Tls]) -> None:
    async def test() -> None:
        pair = await Pair(certified).open()
        reader, writer = await pair.dial()
        writer.write(CONNECT)
        assert await rest_of(reader) == b""
        await pair.door.until(lambda: pair.door.said)
        assert pair.door.octets == b""

    run(test)


@pytest.mark.parametrize("is_secure", [True, False])
def test_who_comes_without_tls_speaks_for_what_goes_without_it(
    certified: Callable[[str], Tls], is_secure: bool
) -> None:
    """Of two relationships with one partner, of which one needs TLS."""

    async def test() -> None:
        pair = await Pair(certified).open()
        pair.door.partners.use([pair.line, replace(pair.line, relationship="plain", tls=None)])
        if is_secure:
            writer = await secure(pair, b"", certified("a"))
        else:
            _, writer = await pair.dial()
        writer.write(CONNECT)
        await pair.door.until(lambda: pair.door.of(PartnerUp))
        assert pair.door.of(PartnerUp)[0].relationships == ("campus" if is_secure else "plain",)
        writer.close()

    run(test)


async def secure(pair: Pair, behind: bytes, tls: Tls) -> asyncio.StreamWriter:
    """Ask for TLS with plain text behind it, and shake hands once that is granted."""
    reader, writer = await pair.dial()
    writer.write(write_starttls(1) + behind)
    async with asyncio.timeout(LONG_S):
        size = int.from_bytes(await reader.readexactly(2), "big")
        answer = read_message(await reader.readexactly(size))
    assert isinstance(answer, Message)
    assert answer.options == ()
    await writer.start_tls(tls_context(tls, server_side=False))
    return writer


@pytest.mark.parametrize("behind", [b"", POISON, POISON[:5], b"\0"], ids=["nothing", "a message", "part of one", "one"])
def test_plain_text_behind_starttls_is_discarded(certified: Callable[[str], Tls], behind: bytes) -> None:
    """Decision 16: nobody knows who sent it."""

    async def test() -> None:
        pair = await Pair(certified).open()
        writer = await secure(pair, behind, certified("a"))
        writer.write(CONNECT)
        await pair.door.until(lambda: len(pair.door.octets) >= len(CONNECT))
        assert pair.door.octets == CONNECT
        writer.close()
        await pair.door.until(lambda: pair.door.of(PartnerGone))

    run(test)


def test_a_certificate_of_somebody_else_is_not_enough(certified: Callable[[str], Tls]) -> None:
    async def test() -> None:
        pair = await Pair(certified).open()
        with contextlib.suppress(ConnectionError):
            writer = await secure(pair, b"", certified("stranger"))
            writer.write(CONNECT)
        await pair.door.until(lambda: pair.door.said)
        assert pair.door.said == ["partner-not-admitted: its certificate is for stranger"]
        assert pair.door.octets == b""

    run(test)


@pytest.mark.parametrize("is_secure", [True, False])
def test_both_ends(certified: Callable[[str], Tls], is_secure: bool) -> None:
    async def test() -> None:
        pair = await Pair(certified if is_secure else without_tls).open()
        primary = Door()
        primary.partners.use([pair.primary_line])
        primary.partners.obey([Dial("campus")])
        await primary.until(lambda: primary.of(PartnerUp))
        assert primary.of(PartnerUp) == [PartnerUp(1, ("campus",), HERE, True)]
        primary.partners.send([ToPartner(1, CONNECT)])
        await pair.door.until(lambda: pair.door.octets)
        pair.door.partners.send([ToPartner(1, CONTACT)])
        await primary.until(lambda: primary.octets)
        assert read_failover_message(Frames().feed(primary.octets)[0]).type is FailoverType.CONTACT
        primary.partners.obey([Hangup(1)])
        await pair.door.until(lambda: pair.door.of(PartnerGone))
        await primary.partners.stop()

    run(test)


def test_a_refusal_reaches_the_primary(certified: Callable[[str], Tls]) -> None:
    async def test() -> None:
        pair = await Pair(without_tls).open()
        primary = Door()
        primary.partners.use([replace(pair.primary_line, tls=certified("a"))])
        primary.partners.obey([Dial("campus")])
        await primary.until(lambda: primary.events)
        (failed,) = primary.events
        assert isinstance(failed, ConnectionFailed)
        assert failed.partner_was_there
        assert "refuses TLS" in failed.reason
        await primary.partners.stop()

    run(test)


def test_nobody_listens() -> None:
    async def test() -> None:
        primary = Door()
        primary.partners.use([line_of(Role.PRIMARY, HERE, free_port(), "b", None)])
        primary.partners.obey([Dial("campus")])
        await primary.until(lambda: primary.events)
        (failed,) = primary.events
        assert isinstance(failed, ConnectionFailed)
        assert not failed.partner_was_there

    run(test)

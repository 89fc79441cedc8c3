"""A TCP stream to a failover partner: the first frame, then whatever comes, with backpressure in both directions."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from tandem.effects.events import PartnerOctets
from tandem.runtime.certificates import Peer
from tandem.runtime.partner_sockets import NotEstablished
from tandem.wire.failover import Frames

FIRST_FRAME_MAX = 2048
WRITE_BUFFER_MAX = 16 << 20


class FramedStream(asyncio.Protocol):
    """A TCP stream of frames. What arrives is kept until it is handed over."""

    def __init__(self, accepted: Callable[[FramedStream], None] | None = None) -> None:
        self.transport: asyncio.Transport | None = None
        self.relationships: tuple[str, ...] = ()
        self.certificate: Peer | None = None  # of the other side, if the stream is secured
        self._accepted = accepted
        self._kept = b""
        self.backlog: deque[PartnerOctets] = deque()
        """What came and was not yet handed on, in pieces."""
        self._more = asyncio.Event()
        self._is_gone = False
        self._octets: Callable[[bytes], None] | None = None
        self._gone: Callable[[str], None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over the stream."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        if self._accepted is not None:
            self._accepted(self)

    def data_received(self, data: bytes) -> None:
        """Hand on what came, or keep it."""
        if self._octets is not None:
            self._octets(data)
            return
        self._kept += data
        if len(self._kept) > FIRST_FRAME_MAX and self.transport is not None:
            self.transport.pause_reading()
        self._more.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that the stream is closed, and wake who waits for its frames."""
        self._is_gone = True
        self._more.set()
        if self._gone is not None:
            self._gone(str(exc) if exc else "the partner closed the connection")

    async def first_frame(self) -> bytes:
        """Return what the first frame held, and forget what came behind it. NotEstablished if there is none."""
        while True:
            frames = Frames().feed(self._kept)
            if frames:
                return frames[0]
            if self._is_gone or len(self._kept) > FIRST_FRAME_MAX:
                raise NotEstablished("the other side did not say what it wants")
            self._more.clear()
            await self._more.wait()

    def forget(self) -> None:
        """Drop what came in plain text: it is not to be believed behind a STARTTLS."""
        self._kept = b""

    def hand_over(self, octets: Callable[[bytes], None], gone: Callable[[str], None]) -> None:
        """From now on hand on all that comes, with what was kept."""
        self._octets, self._gone = octets, gone
        kept, self._kept = self._kept, b""
        if kept:
            octets(kept)
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()
        if self._is_gone:
            gone("the partner closed the connection")

    def write(self, octets: bytes) -> None:
        """Send octets; a partner that takes nothing is given up."""
        if self.transport is None or self.transport.is_closing():
            return
        self.transport.write(octets)
        if self.transport.get_write_buffer_size() > WRITE_BUFFER_MAX:
            self.transport.abort()

    def read_if(self, is_wanted: bool) -> None:
        """Pause or resume reading."""
        if self.transport is None or self.transport.is_closing() or self.transport.is_reading() is is_wanted:
            return
        if is_wanted:
            self.transport.resume_reading()
        else:
            self.transport.pause_reading()

    def abort(self) -> None:
        """End the stream at once."""
        if self.transport is not None:
            self.transport.abort()

    def close(self) -> None:
        """End the stream, once all that was written is sent."""
        if self.transport is not None:
            self.transport.close()

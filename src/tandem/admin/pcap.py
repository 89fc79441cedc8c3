"""Files of captured frames: the classic format of libpcap and pcapng (draft-ietf-opsawg-pcap, -pcapng).

Both may be of either byte order. What stands in them besides frames is skipped. A file that breaks its format, or ends
in the middle of a frame as that of an interrupted program does, raises CaptureError once the frames before are given.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from struct import Struct, unpack
from typing import BinaryIO, Final, NamedTuple

FRAME_MAX: Final = 262_144
"""What libpcap takes for the largest frame."""
BLOCK_MAX: Final = 16 << 20
CLASSIC: Final = {
    b"\xa1\xb2\xc3\xd4": (">", 0),
    b"\xd4\xc3\xb2\xa1": ("<", 0),
    b"\xa1\xb2\x3c\x4d": (">", 0),  # with nanoseconds
    b"\x4d\x3c\xb2\xa1": ("<", 0),
    b"\xa1\xb2\xcd\x34": (">", 8),  # with eight octets more before each frame
    b"\x34\xcd\xb2\xa1": ("<", 8),
}
SECTION: Final = b"\x0a\x0d\x0d\x0a"
BYTE_ORDERS: Final = {b"\x1a\x2b\x3c\x4d": ">", b"\x4d\x3c\x2b\x1a": "<"}
INTERFACE, OLD_PACKET, SIMPLE_PACKET, PACKET = 1, 2, 3, 6


class CaptureError(Exception):
    """The file is no capture that can be read; the message is a part of a sentence."""


class Frame(NamedTuple):
    """A frame: its number in the file, from 1, the type of its link, and its octets."""

    number: int
    link_type: int
    data: bytes


def read_frames(file: BinaryIO) -> Iterator[Frame]:
    """Give all frames of a file. CaptureError says why there are no more."""
    magic = file.read(4)
    if magic in CLASSIC:
        found = _classic(file, *CLASSIC[magic])
    elif magic == SECTION:
        found = _next_generation(file)
    else:
        raise CaptureError("it has neither the format of pcap nor that of pcapng")
    for number, (link_type, data) in enumerate(found, 1):
        yield Frame(number, link_type, data)


def _classic(file: BinaryIO, order: str, more: int) -> Iterator[tuple[int, bytes]]:
    *_, link_type = unpack(f"{order}HHiIII", _take(file, 20))
    record = Struct(f"{order}IIII")
    while header := file.read(record.size):
        if len(header) < record.size:
            raise CaptureError("it ends in the middle of a frame")
        _, _, size, _ = record.unpack(header)
        _take(file, more)
        if size > FRAME_MAX:
            raise CaptureError(f"it is damaged: a frame of {size} octets")
        yield link_type & 0x0FFFFFFF, _take(file, size)  # above it stands how long a checksum is


def _next_generation(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    order, interfaces = _section(file), list[tuple[int, int]]()
    while kind := file.read(4):
        if kind == SECTION:
            order, interfaces = _section(file), []
            continue
        type_, size = unpack(f"{order}II", kind + _take(file, 4))
        body = _take(file, _body_size(size))
        _take(file, 4)
        try:
            if type_ == INTERFACE:
                link_type, _, frame_max = unpack(f"{order}HHI", body[:8])
                interfaces.append((link_type, frame_max))
            elif type_ in (PACKET, OLD_PACKET):
                number, _, _, captured = unpack(f"{order}{'I' if type_ == PACKET else 'Hxx'}III", body[:16])
                yield interfaces[number][0], _part(body, 20, captured)
            elif type_ == SIMPLE_PACKET:
                link_type, frame_max = interfaces[0]
                (whole,) = unpack(f"{order}I", body[:4])
                yield link_type, _part(body, 4, min(whole, frame_max or whole))
        except (struct.error, IndexError) as error:
            raise CaptureError(f"it is damaged: {error}") from None


def _section(file: BinaryIO) -> str:
    """Read the rest of a section's header, and return the byte order of the section."""
    size, mark = _take(file, 4), _take(file, 4)
    order = BYTE_ORDERS.get(mark)
    if order is None:
        raise CaptureError("it is damaged: a section without a byte order")
    _take(file, _body_size(unpack(f"{order}I", size)[0]))  # but for the mark, and with the length again
    return order


def _body_size(size: int) -> int:
    """Return how long a block's body is, by the length of the whole block."""
    if not 12 <= size <= BLOCK_MAX or size % 4:
        raise CaptureError(f"it is damaged: a block of {size} octets")
    return size - 12


def _part(body: bytes, start: int, size: int) -> bytes:
    if start + size > len(body):
        raise CaptureError(f"it is damaged: a frame of {size} octets in a block of {len(body)}")
    return body[start : start + size]


def _take(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise CaptureError("it ends in the middle of a frame")
    return data

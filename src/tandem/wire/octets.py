"""Options as octets, with no look at their declarations: found where they lie, and given their headers."""

from __future__ import annotations

from struct import Struct
from typing import Final

from tandem.wire.reader import WireError

HEADER: Final = Struct("!HH")
OPTION_SIZE_MAX: Final = 0xFFFF
OPTIONS_MAX: Final = 2048
"""Options side by side that are looked at in what clients and relay agents send: of empty ones, a datagram holds more
than 16,000, and to look at them takes longer than to answer hundreds of messages."""


class TooLong(ValueError):
    """Something would not fit into the format."""


def u32(data: bytes, at: int) -> int:
    """Give the four octets at `at` as a number. IndexError if they are not all there."""
    return data[at] << 24 | data[at + 1] << 16 | data[at + 2] << 8 | data[at + 3]


def scan_options(data: bytes, at: int, end: int, most: int = OPTIONS_MAX) -> tuple[list[tuple[int, int, int]], int]:
    """List the options in data[at:end] as (code, start of body, end of body), decoding nothing: the first `most`.

    The second value is where the first option begins that is not listed, since it passes `end` or there are too many;
    `end` if all are.
    """
    found: list[tuple[int, int, int]] = []
    while at < end and len(found) < most:
        body = at + 4
        if body > end:
            break
        to = body + (data[at + 2] << 8 | data[at + 3])
        if to > end:
            break
        found.append((data[at] << 8 | data[at + 1], body, to))
        at = to
    return found, at


def index_options(data: bytes, at: int, end: int) -> list[tuple[int, int, int]]:
    """List all options in data[at:end]. Raise WireError when an option's length passes `end` (RFC 9915 21.1)."""
    found, at = scan_options(data, at, end, most=end)
    if at == end:
        return found
    if at + 4 > end:
        raise WireError(f"an option's header is cut off at {at}")
    to = at + 4 + (data[at + 2] << 8 | data[at + 3])
    raise WireError(f"option {data[at] << 8 | data[at + 1]} at {at} passes the end by {to - end} octets")


def write_option(code: int, body: bytes) -> bytes:
    """Put the header before a body. TooLong if the body does not fit into an option."""
    if len(body) > OPTION_SIZE_MAX:
        raise TooLong(f"option {code} would take {len(body)} octets; {OPTION_SIZE_MAX} is the most")
    return HEADER.pack(code, len(body)) + body

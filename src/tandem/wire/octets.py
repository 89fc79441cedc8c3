"""Options as octets, with no look at their declarations: found where they lie, and given their headers."""

from __future__ import annotations

from struct import Struct
from typing import Final

from tandem.wire.reader import WireError

HEADER: Final = Struct("!HH")
OPTION_SIZE_MAX: Final = 0xFFFF


class TooLong(ValueError):
    """Something would not fit into the format."""


def u32(data: bytes, at: int) -> int:
    """Give the four octets at `at` as a number. IndexError if they are not all there."""
    return data[at] << 24 | data[at + 1] << 16 | data[at + 2] << 8 | data[at + 3]


def scan_options(data: bytes, at: int, end: int) -> tuple[list[tuple[int, int, int]], int]:
    """List the options in data[at:end] as (code, start of body, end of body), decoding nothing.

    The second value is where the first option begins that passes `end`, or `end` if there is none.
    """
    found = []
    while at < end:
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
    """Do what `scan_options` does. Raise WireError when an option's length passes `end` (RFC 9915 21.1)."""
    found, at = scan_options(data, at, end)
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

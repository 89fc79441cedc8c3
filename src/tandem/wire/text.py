"""How addresses, prefixes and octets are written for people, and read back from them."""

from __future__ import annotations

import re
from struct import Struct
from typing import Final

GROUPS: Final = Struct("!8H")
SHOWN_GROUPS: Final = ":".join(["%x"] * 8)
HALF: Final = Struct("!4H")
SHOWN_HALF: Final = ":".join(["%x"] * 4)
ZERO_HALF: Final = bytes(8)
ZEROS: Final = re.compile(r"(?:^|:)0(?::0)+(?=:|$)")
"""Two or more groups of zeros with the colons around them, but the last."""


def show_address(address: bytes) -> str:
    """Show 16 octets as an IPv6 address (RFC 5952)."""
    if address.endswith(ZERO_HALF):  # most prefixes; no other run of zeros can be as long
        front: str = SHOWN_HALF % HALF.unpack_from(address)
        while front.endswith(":0"):
            front = front[:-2]
        return f"{front}::" if front != "0" else "::"
    text: str = SHOWN_GROUPS % GROUPS.unpack(address)
    if "0:0" not in text:  # most addresses, and each line of the log shows one
        return text
    runs = ZEROS.findall(text)
    if not runs:
        return text
    longest = max(runs, key=lambda run: run.count("0"))  # of equally long ones the first, as RFC 5952 4.2.3 asks
    before, _, after = text.partition(longest)
    return f"{before}:{after or ':'}" if before else f":{after or ':'}"


def show_prefix(address: bytes, length: int) -> str:
    """Show a prefix as `address/length`."""
    return f"{show_address(address)}/{length}"


def show_octets(data: bytes) -> str:
    """Show octets as `00:01:02`, the way DUIDs and link-layer addresses are written."""
    return data.hex(":")


def read_octets(text: str) -> bytes:
    """Read `00:01:02`, `00-01-02` or `000102`. ValueError if it is none of them."""
    return bytes.fromhex(text.strip().replace(":", "").replace("-", ""))


def printable(text: str) -> str:
    r"""Return the text with every character escaped that a terminal could act on or not show.

    These are control characters (ESC begins commands to terminals), line ends, marks that reorder a line, and octets
    that are not UTF-8. They are written as `\x1b`, `\u202e` or `\U000e0001`, as in Python.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else _escape(ord(each)) for each in text)


def _escape(point: int) -> str:
    if point < 0x80:
        return f"\\x{point:02x}"
    return f"\\u{point:04x}" if point < 0x1_0000 else f"\\U{point:08x}"

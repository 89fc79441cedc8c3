"""How addresses, prefixes and octets are written for people, and read back from them."""

from __future__ import annotations

from ipaddress import IPv6Address


def show_address(address: bytes) -> str:
    """Show 16 octets as an IPv6 address."""
    return str(IPv6Address(address))


def show_prefix(address: bytes, length: int) -> str:
    """Show a prefix as `address/length`."""
    return f"{IPv6Address(address)}/{length}"


def show_octets(data: bytes) -> str:
    """Show octets as `00:01:02`, the way DUIDs and link-layer addresses are written."""
    return data.hex(":")


def read_octets(text: str) -> bytes:
    """Read `00:01:02`, `00-01-02` or `000102`. ValueError if it is none of them."""
    return bytes.fromhex(text.strip().replace(":", "").replace("-", ""))

"""Absolute times as partners tell them (RFC 8156 5.4.1)."""

from __future__ import annotations

from typing import Final

EPOCH: Final = 946_684_800
"""2000-01-01 UTC, in UTC seconds since 1970."""


def to_wire(utc_s: int) -> int:
    """Give UTC seconds since 1970 as an absolute time; 0 stays 0."""
    return (utc_s - EPOCH) & 0xFFFFFFFF if utc_s else 0


def from_wire(absolute: int) -> int:
    """Give an absolute time as UTC seconds since 1970, up to 2^32 - 1; 0 stays 0."""
    return min(absolute + EPOCH, 0xFFFFFFFE) if absolute else 0

"""Clients' messages in a file that tcpdump or Wireshark wrote. Reading it takes scapy, which nothing else needs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tandem.admin.client import CommandFailed

SERVER_PORT = 547


class Captured(NamedTuple):
    """A message to servers and relays: its number in the file, from 1, who sent it, where to, and its octets."""

    number: int
    peer: str
    to: str
    data: bytes


def read_capture(path: Path) -> Iterator[Captured]:
    """Give all messages to servers in the file. CommandFailed says why it cannot be read."""
    try:
        from scapy.error import Scapy_Exception
        from scapy.layers.inet import UDP
        from scapy.layers.inet6 import IPv6
        from scapy.utils import PcapReader
    except ImportError:
        raise CommandFailed("To read captures, install scapy: pip install scapy, or python3-scapy on Debian.") from None
    try:
        with path.open("rb") as file, PcapReader(file) as packets:
            for number, packet in enumerate(packets, 1):
                if IPv6 in packet and UDP in packet and packet[UDP].dport == SERVER_PORT:
                    yield Captured(number, packet[IPv6].src, packet[IPv6].dst, bytes(packet[UDP].payload))
    except FileNotFoundError:
        raise CommandFailed(f"There is no file {path}.") from None
    except (OSError, EOFError, Scapy_Exception) as error:
        raise CommandFailed(f"{path} is not a capture that can be read: {error}.") from error

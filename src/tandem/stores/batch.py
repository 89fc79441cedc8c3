"""A batch of changes as octets with a checksum: what a store appends for each commit."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from zlib import crc32

from tandem.lease.change import Change, Fact, Put

KEY_OCTETS = 17
PUT = 1
FORGET = 2
FACT = 3
HEADER = struct.Struct(f"!B{KEY_OCTETS}sH")
"""Kind, key (for a fact the size of its name, and nothing behind it), and the size of what follows."""


class BatchDamagedError(ValueError):
    """The octets are not what was written."""


def write_batch(batch: Sequence[Change]) -> bytes:
    """Give the changes as octets, a CRC-32 of them in front."""
    parts = []
    for change in batch:
        if isinstance(change, Put):
            record = change.record
            kind = FORGET if record is None else PUT
            record = record or b""
            parts.append(HEADER.pack(kind, change.key.to_bytes(KEY_OCTETS, "big"), len(record)))
            parts.append(record)
        else:
            name = change.name.encode()
            parts.append(HEADER.pack(FACT, len(name).to_bytes(KEY_OCTETS, "big"), len(name) + len(change.value)))
            parts += (name, change.value)
    data = b"".join(parts)
    return crc32(data).to_bytes(4, "big") + data


def read_batch(data: bytes) -> Iterator[Change]:
    """Read what `write_batch` gave. BatchDamagedError if it is not that."""
    if len(data) < 4 or crc32(data[4:]) != int.from_bytes(data[:4], "big"):
        raise BatchDamagedError("a batch's checksum is wrong")
    at, end = 4, len(data)
    try:
        while at < end:
            kind, key_octets, size = HEADER.unpack_from(data, at)
            at += HEADER.size
            if at + size > end:
                raise BatchDamagedError(f"a change of {size} octets is cut off at {at}")
            yield _change(kind, int.from_bytes(key_octets, "big"), data[at : at + size])
            at += size
    except (struct.error, UnicodeDecodeError) as error:  # cut off, or no text where there should be one
        raise BatchDamagedError(f"a batch is not what this version writes: {error}") from error


def _change(kind: int, key: int, body: bytes) -> Change:
    if kind == PUT:
        return Put(key, body)
    if kind == FORGET and not body:
        return Put(key, None)
    if kind == FACT and key <= len(body):
        return Fact(body[:key].decode(), body[key:])
    raise BatchDamagedError(f"there is no such change of kind {kind}")

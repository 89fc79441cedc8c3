"""A batch of changes as octets with a checksum: what a store appends for each commit."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from zlib import crc32

from tandem.lease.change import Change, Fact, Put
from tandem.lease.lease import KEY_OCTETS
from tandem.stores.blocks import Written

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
    return _checked(parts)


def read_batch(data: bytes) -> Iterator[Change]:
    """Read what `write_batch` gave. BatchDamagedError if it is not that."""
    if not is_intact(data):
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


def is_intact(batch: bytes) -> bool:
    """Say whether a batch's checksum is right."""
    return len(batch) >= 4 and crc32(memoryview(batch)[4:]) == int.from_bytes(batch[:4], "big")


def read_leases(batch: bytes) -> list[Put]:
    """Read a batch that holds leases alone, and at least one. BatchDamagedError if it is not that."""
    leases = [change for change in read_batch(batch) if isinstance(change, Put)]
    if not leases:
        raise BatchDamagedError("a block holds no lease")
    return leases


def merge(batch: bytes, changes: Mapping[int, bytes | None], octets_max: int) -> list[Written]:
    """Merge changes into a batch of leases alone, b"" for none; give batches in the order of their keys.

    A new one begins where one has `octets_max`. BatchDamagedError if the batch is not what was written.
    """
    leases = dict(_leases(batch)) if batch else {}
    for key, record in changes.items():
        octets = key.to_bytes(KEY_OCTETS, "big")
        if record is None:
            leases.pop(octets, None)
        else:
            leases[octets] = HEADER.pack(PUT, octets, len(record)) + record
    parts: list[Written] = []
    keys: list[bytes] = []
    size = 0
    for octets in sorted(leases):
        if size >= octets_max:
            parts.append(_written(keys, leases))
            keys, size = [], 0
        keys.append(octets)
        size += len(leases[octets])
    return [*parts, _written(keys, leases)] if keys else parts


def _written(keys: list[bytes], leases: dict[bytes, bytes]) -> Written:
    return Written(int.from_bytes(keys[0], "big"), len(keys), _checked([leases[key] for key in keys]))


def _leases(batch: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Give the key of each lease in a batch, and the octets that say it there."""
    if not is_intact(batch):
        raise BatchDamagedError("a block's checksum is wrong")
    at, end = 4, len(batch)
    front, unpack = HEADER.size, HEADER.unpack_from
    while at < end:
        _, key, size = unpack(batch, at)
        ends = at + front + size
        yield key, batch[at:ends]
        at = ends


def _checked(parts: Sequence[bytes]) -> bytes:
    data = b"".join(parts)
    return crc32(data).to_bytes(4, "big") + data


def _change(kind: int, key: int, body: bytes) -> Change:
    if kind == PUT:
        return Put(key, body)
    if kind == FORGET and not body:
        return Put(key, None)
    if kind == FACT and key <= len(body):
        return Fact(body[:key].decode(), body[key:])
    raise BatchDamagedError(f"there is no such change of kind {kind}")

"""Whatever a store gives back as a batch: the very changes that were written, or BatchDamagedError."""

from __future__ import annotations

from random import Random
from zlib import crc32

import pytest

from tandem.lease.change import Change, Fact, Put
from tandem.stores.batch import BatchDamagedError, read_batch, write_batch

DAMAGES = 2_000
KEY = 0x20010DB8 << 96 + 8 | 128


def random_batch(random: Random) -> list[Change]:
    changes: list[Change] = []
    for _ in range(random.randrange(6)):
        key = random.getrandbits(136)
        octets = random.randbytes(random.choice((0, 1, 40, 300)))
        changes.append(random.choice((Put(key, octets), Put(key, None), Fact("dúid"[: random.randrange(5)], octets))))
    return changes


def damaged(random: Random, data: bytes) -> bytes:
    """Give the octets with one thing wrong: a bit, an end, or a piece that is there twice or not at all."""
    start, end = sorted(random.randrange(len(data) + 1) for _ in range(2))
    match random.randrange(5):
        case 0:
            return data[:start]
        case 1:
            return data[:start] + data[end:]
        case 2:
            return data[:end] + data[start:]
        case 3:
            return data + random.randbytes(random.randrange(1, 30))
        case _:
            return bytes(octet ^ (at == start) << random.randrange(8) for at, octet in enumerate(data))


@pytest.mark.parametrize("seed", range(100))
def test_a_batch_is_read_as_written(seed: int) -> None:
    batch = random_batch(Random(seed))
    assert list(read_batch(write_batch(batch))) == batch


@pytest.mark.parametrize("seed", range(4))
def test_damage_is_noticed(seed: int) -> None:
    random = Random(seed)
    for _ in range(DAMAGES):
        data = write_batch(random_batch(random))
        worse = damaged(random, data)
        if worse != data:
            with pytest.raises(BatchDamagedError):
                list(read_batch(worse))


@pytest.mark.parametrize("seed", range(4))
def test_what_was_never_written_is_refused_though_its_checksum_is_right(seed: int) -> None:
    random = Random(seed)
    for _ in range(DAMAGES):
        body = damaged(random, write_batch(random_batch(random))[4:])
        data = crc32(body).to_bytes(4, "big") + body
        try:
            changes = list(read_batch(data))
        except BatchDamagedError:
            continue
        assert write_batch(changes) == data


@pytest.mark.parametrize("size", range(5))
def test_next_to_nothing_is_no_batch(size: int) -> None:
    with pytest.raises(BatchDamagedError):
        list(read_batch(bytes(size)[:3] + b"\1" * (size > 3)))
    assert list(read_batch(write_batch([]))) == []

"""Hands a loaded configuration over to another process, which takes it up in small steps.

It is written as frames, each of which is read in a millisecond or less. What is large (the reservations of a link) is
not read at all: it stays where it is, in memory that both processes share.

A frame is: the size of a pickle, the number of blocks, the size of each block, the pickle, the blocks.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass, replace
from io import BytesIO
from itertools import islice
from struct import Struct
from typing import Any, BinaryIO, Final, TypeVar

from tandem.config.load import Loaded
from tandem.config.partners import reservations_in
from tandem.effects.reservations import Reservations
from tandem.effects.settings import Link, Relationship
from tandem.lease.holes import Holes
from tandem.lease.space import Interval, Range

WORD: Final = Struct("=Q")
PROTOCOL: Final = 5
LINKS_PER_FRAME: Final = 25
INTERVALS_PER_FRAME: Final = 1000
SHARED_MIN_OCTETS: Final = 1 << 15
"""Blocks from this size on stay in shared memory."""
Some = TypeVar("Some")


class _Pickler(pickle.Pickler):
    """Pickles what settings are made of by what their constructors take, which compiled classes need."""

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, Reservations):
            return Reservations, (pickle.PickleBuffer(value.octets),)
        if isinstance(value, Holes):
            return Holes.of_parts, value.parts()
        if is_dataclass(value) and not isinstance(value, type):
            return type(value), tuple(getattr(value, each.name) for each in fields(value))
        return NotImplemented


def write_loaded(loaded: Loaded, out: BinaryIO) -> None:
    """Write what was loaded; `read_loaded` reads it."""
    settings = loaded.settings
    relationships = [
        (replace(each, territories=(), pools=(), summary={}, reservations={}), each) for each in settings.relationships
    ]
    _write(replace(loaded, settings=replace(settings, links=(), relationships=())), out)
    _write_all(settings.links, LINKS_PER_FRAME, out)
    _write([bare for bare, _ in relationships], out)
    for _, each in relationships:
        _write_all(each.territories, INTERVALS_PER_FRAME, out)
        _write_all(each.pools, INTERVALS_PER_FRAME, out)
        _write_all(each.summary.items(), INTERVALS_PER_FRAME, out)


def read_loaded(data: memoryview) -> Iterator[Loaded | None]:
    """Read what `write_loaded` wrote, a little with each step; the last one gives it."""
    frames = _frames(data)
    loaded: Loaded = next(frames)
    links: list[Link] = []
    for each in _read_all(frames):
        links += each
        yield None
    relationships: list[Relationship] = []
    for bare in next(frames):
        territories: list[Interval] = []
        pools: list[Range] = []
        for each in _read_all(frames):
            territories += each
            yield None
        for each in _read_all(frames):
            pools += each
            yield None
        summary: dict[str, str] = {}
        reservations: dict[str, str] = {}
        for each in _read_all(frames):
            summary.update(each)
            reservations.update(reservations_in(each))
            yield None
        large = {"territories": tuple(territories), "pools": tuple(pools), "summary": summary}
        relationships.append(replace(bare, **large, reservations=reservations))
    settings = replace(loaded.settings, links=tuple(links), relationships=tuple(relationships))
    yield replace(loaded, settings=settings)


def _write_all(values: Iterable[object], per_frame: int, out: BinaryIO) -> None:
    """Write any number of values as lists, the last of which is empty."""
    left = iter(values)
    while some := list(islice(left, per_frame)):
        _write(some, out)
    _write([], out)


def _read_all(frames: Iterator[Any]) -> Iterator[list[Any]]:
    while some := next(frames):
        yield some


def _write(value: object, out: BinaryIO) -> None:
    blocks: list[memoryview] = []

    def keep(block: pickle.PickleBuffer) -> bool:
        """True if a block is to be a part of the pickle."""
        raw = block.raw()
        if raw.nbytes < SHARED_MIN_OCTETS:
            return True
        blocks.append(raw)
        return False

    pickled = BytesIO()
    _Pickler(pickled, PROTOCOL, buffer_callback=keep).dump(value)
    sizes = [pickled.tell(), len(blocks), *(block.nbytes for block in blocks)]
    for size in sizes:
        out.write(WORD.pack(size))
    out.write(pickled.getbuffer())
    for block in blocks:
        out.write(block)


def _frames(data: memoryview) -> Iterator[Any]:
    at = 0
    while at < len(data):
        (size,) = WORD.unpack_from(data, at)
        (count,) = WORD.unpack_from(data, at + WORD.size)
        at += 2 * WORD.size
        sizes = [WORD.unpack_from(data, at + number * WORD.size)[0] for number in range(count)]
        at += count * WORD.size
        pickled = data[at : at + size]
        at += size
        blocks = []
        for each in sizes:
            blocks.append(data[at : at + each])
            at += each
        yield pickle.loads(pickled, buffers=blocks)

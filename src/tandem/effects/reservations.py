"""All reservations of one link, packed into one block of octets that is searched in place.

A file may have a million of them. As objects they would take ten times the memory, Python's garbage collector would
walk through them again and again, and taking them over from another process would stop a server for seconds.

A block begins with 32-bit words in the machine's order; the rows follow, each a marshalled tuple:

    number of rows n, number of leases m, whether any of the clients is named by a link-layer address
    n + 1 words   where each row begins, and where the last one ends, counted from the first row
    n words       hashes of the clients' identifiers, ascending
    n words       the row of each of these
    m words       hashes of the reserved leases' keys, ascending
    m words       the row of each of these

A hash only narrows the search: whatever it finds is compared before it is believed.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from marshal import dumps, loads
from typing import Final, NamedTuple
from zlib import crc32

from tandem.effects.options import NO_OPTIONS, OptionSet, PackedOptions
from tandem.lease.lease import KEY_OCTETS

WORD: Final = "I"
WORD_OCTETS: Final = array(WORD).itemsize
COUNTS: Final = 3
"""The words before the table of rows."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """Leases for one client, named by its DUID or by its link-layer address (RFC 6939). Equal if the place is."""

    where: str
    duid: bytes | None = field(compare=False)
    link_layer: bytes | None = field(compare=False)
    keys: tuple[int, ...] = field(compare=False)
    hostname: str | None = field(compare=False)
    options: OptionSet = field(compare=False)
    exclude: tuple[int, int] | None = field(default=None, compare=False)
    classes: frozenset[str] = field(default=frozenset(), compare=False)
    """The classes that it puts the client into."""
    subnet: int = field(default=0, compare=False)
    """The number of its subnet on the link, from 0."""
    shared: frozenset[int] = field(default=frozenset(), compare=False)
    """Those of its leases that are reserved for other clients too; whoever holds one keeps it."""


class Row(NamedTuple):
    """A reservation as it is packed. The last part is None for most: they have only leases."""

    subnet_in_file: int
    subnet_on_link: int
    item: int
    """Its number in its subnet, from 1."""
    identifier: bytes
    is_link_layer: bool
    keys: tuple[int, ...]
    more: tuple[str | None, PackedOptions | None, tuple[int, int] | None, frozenset[str], frozenset[int]] | None
    """Host name, options, the prefix to exclude, classes, leases that are reserved for other clients too."""


class Reservations:
    """The reservations of one link, found by client and by lease."""

    __slots__ = ("_lease_count", "_octets", "_rows_at", "_size", "_words", "name_link_layers", "octets")

    def __init__(self, octets: bytes | memoryview) -> None:
        self.octets: Final = octets
        """The block, as `pack` made it."""
        self._octets = memoryview(octets)
        counts = self._octets[: COUNTS * WORD_OCTETS].cast(WORD)
        self._size: int = counts[0]
        self._lease_count: int = counts[1]
        self.name_link_layers: bool = counts[2] > 0
        """Whether any of them is for a link-layer address."""
        words = COUNTS + 3 * self._size + 1 + 2 * self._lease_count
        self._rows_at = words * WORD_OCTETS
        self._words = self._octets[: self._rows_at].cast(WORD)

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Reservation]:
        return (_reservation(self.row(number)) for number in range(self._size))

    def of_client(self, identifier: bytes, is_link_layer: bool) -> Reservation | None:
        """Return the reservation that names a client, the first one in the file if several do."""
        begin = COUNTS + self._size + 1
        for number in self._numbers(begin, self._size, _hash_of_client(identifier, is_link_layer)):
            row = self.row(number)
            if row.identifier == identifier and row.is_link_layer is is_link_layer:
                return _reservation(row)
        return None

    def subnet_of_lease(self, key: int) -> int | None:
        """Return the number on the link of the subnet that reserves a lease, None if none does."""
        begin = COUNTS + 3 * self._size + 1
        for number in self._numbers(begin, self._lease_count, _hash_of_lease(key)):
            row = self.row(number)
            if key in row.keys:
                return row.subnet_on_link
        return None

    def leases(self) -> Iterator[int]:
        """Return the keys of all reserved leases, in the order of the file."""
        return (key for number in range(self._size) for key in self.row(number).keys)

    def row(self, number: int) -> Row:
        """Return a reservation by its number on the link, from 0, as it is packed."""
        start, end = self._words[COUNTS + number], self._words[COUNTS + number + 1]
        return Row(*loads(self._octets[self._rows_at + start : self._rows_at + end]))

    def _numbers(self, begin: int, size: int, wanted: int) -> Iterator[int]:
        """Return the rows that have the wanted hash in the table of that size that begins there."""
        end = begin + size
        at = bisect_left(self._words, wanted, begin, end)
        while at < end and self._words[at] == wanted:
            yield self._words[at + size]
            at += 1


def pack(rows: Iterable[Row]) -> bytes:
    """Pack the reservations of a link, in the order of the file."""
    clients: list[int] = []
    leases: list[int] = []
    packed: list[bytes] = []
    name_link_layers = False
    for number, row in enumerate(rows):
        packed.append(dumps(tuple(row)))
        _, _, _, identifier, is_link_layer, keys, _ = row
        name_link_layers = name_link_layers or is_link_layer
        clients.append(crc32(identifier, is_link_layer) << 32 | number)
        leases += [crc32(key.to_bytes(KEY_OCTETS, "big")) << 32 | number for key in keys]
    starts = array(WORD, accumulate(map(len, packed), initial=0))
    counts = array(WORD, (len(packed), len(leases), int(name_link_layers)))
    tables = [counts, starts, *_table(clients), *_table(leases)]
    return b"".join((*(table.tobytes() for table in tables), *packed))


def _table(pairs: list[int]) -> tuple[array[int], array[int]]:
    """Return hashes and numbers, in the order of the hashes, from both in one number each."""
    pairs.sort()
    return array(WORD, [pair >> 32 for pair in pairs]), array(WORD, [pair & 0xFFFFFFFF for pair in pairs])


def _hash_of_client(identifier: bytes, is_link_layer: bool) -> int:
    return crc32(identifier, is_link_layer)


def _hash_of_lease(key: int) -> int:
    return crc32(key.to_bytes(KEY_OCTETS, "big"))


def _reservation(row: Row) -> Reservation:
    hostname, options, exclude, classes, shared = row.more or (None, None, None, frozenset(), frozenset())
    return Reservation(
        where=f"subnet[{row.subnet_in_file + 1}].reservation[{row.item}]",
        duid=None if row.is_link_layer else row.identifier,
        link_layer=row.identifier if row.is_link_layer else None,
        keys=row.keys,
        hostname=hostname,
        options=NO_OPTIONS if options is None else OptionSet(*options),
        exclude=exclude,
        classes=classes,
        subnet=row.subnet_on_link,
        shared=shared,
    )


NO_RESERVATIONS: Final = Reservations(pack(()))

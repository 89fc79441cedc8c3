"""A range of addresses, or of prefixes of one length, from which leases are chosen.

A choice is a function of the client: keyed hashing spreads clients over the pool in a way that nobody can
predict (RFC 9915 13.1) and gives a client the same place each time, even if nothing is remembered of it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from hashlib import blake2b
from itertools import islice
from typing import Final

from tandem.lease.holes import Holes, odd
from tandem.lease.lease import STATUS_AT, TIMED, BindingStatus, duid_of, key_of
from tandem.lease.occupancy import SIZE_MAX, Occupancy
from tandem.lease.space import ROLES, Gifts, Range, Role, Space, address_owner, interval_of
from tandem.wire.received import ADDRESS_LENGTH

ENDED_MAX: Final = 65_536
"""Ended leases that a pool remembers; beyond that the longest ended one is forgotten."""
PROBES: Final = 8
CLUSTER_MIN: Final = 64
"""Prefixes that are shared with a partner lie together: among the first so many, or four times those in use."""
SCAN_MAX: Final = 512
"""Steps of the search for space never used, per choice, once hashing and ended leases gave nothing."""
RESERVED_INTERFACE_IDS: Final = (
    (0, 0),
    (0x0200_5EFF_FE00_0000, 0x0200_5EFF_FEFF_FFFF),
    (0xFDFF_FFFF_FFFF_FF80, 0xFDFF_FFFF_FFFF_FFFF),
)
"""The subnet-router anycast address, and what RFC 5453 and its registry reserve."""
SUBNETS_COUNTED: Final = 16


class Pool:
    """A range, what of it is in use, and how to choose from the rest."""

    __slots__ = (
        "_cursors",
        "_exhausted",
        "_occupancy",
        "_odd_free",
        "_shelves",
        "_spaces",
        "_unit",
        "abandoned",
        "abandoned_count",
        "foreign",
        "gifts",
        "holes",
        "in_use",
        "range",
        "size",
    )

    def __init__(self, range_: Range, holes: Holes) -> None:
        self.range = range_
        self._exhausted: set[int] = set()
        self._unit = range_.unit
        self.holes = holes_of(range_, holes)
        self.foreign: list[int] = []
        """The keys of clients' prefixes of other lengths, in ascending order; each one made a hole in it."""
        self.in_use = 0
        """Leases that nobody else can have: held by a client, or set aside. Those in holes are not counted."""
        self.abandoned: dict[bytes, int] = {}
        """How many leases are set aside since a client declined them, by that client. Those in holes do not count."""
        self.abandoned_count = 0
        self._shelves: dict[Role | None, OrderedDict[int, None]] = {None: OrderedDict()}
        self._shelves.update({role: OrderedDict() for role in Role})
        self.gifts = Gifts(range_, self._reserved_in) if range_.length != ADDRESS_LENGTH else None
        """How two partners share the pool, if it is one of prefixes."""
        self._spaces: dict[Role | None, Space] = {}
        self._cursors: dict[Role | None, int] = {}
        self._occupancy: Occupancy | None = None
        self.size = range_.size - self._reserved_in(range_.first, range_.last)
        """How many leases the pool can have at once."""
        self._odd_free = odd(range_.first, range_.last) - self.holes.odd
        """In a pool of addresses: how many with the last bit set nobody has."""

    @property
    def first_key(self) -> int:
        """The key of the pool's first lease."""
        return self.range.first << 8 | self.range.length

    def holds(self, key: int) -> bool:
        """Say whether the key is one of this pool's leases and may be given to anybody who asks."""
        address, (first, last, length) = key >> 8, self.range
        return (
            key & 0xFF == length
            and first <= address <= last
            and not (address - first) % self._unit
            and self._may_be_given(address)
        )

    def choose(
        self,
        seed: bytes,
        is_free: Callable[[int], bool],
        is_new: Callable[[int], bool],
        role: Role | None = None,
        scan_max: int = SCAN_MAX,
    ) -> int | None:
        """Choose a key for the client that `seed` stands for, None if all is taken; with a role, from its share.

        `is_free` says whether a key can be given now; `is_new` whether it was never given, and so is nobody's
        to come back to. In that order: the client's own place, the longest ended lease, space never used, of which
        up to `scan_max` leases are looked at.
        """
        if self.in_use >= self.size:
            return None
        space = self._space(role)
        length = self.range.length
        digest, size = blake2b(seed, digest_size=8 * PROBES).digest(), self._spread(space, role)
        for at in range(0, 8 * PROBES if size else 0, 8):
            address = space.nth(int.from_bytes(digest[at : at + 8], "big") % size)
            key = address << 8 | length
            if is_new(key) and self._may_be_given(address) and is_free(key):
                return key
        for key in islice(self.ended(role), PROBES):
            if is_free(key):
                return key
        found = self._find_unused(is_free, is_new, role, scan_max) or self._scan(is_free, space, role, scan_max)
        if found is None and role is not None and self.gifts is not None:
            self._exhausted.add(self.first_key)
        return found

    def report_exhausted(self, into: set[int]) -> None:
        """Put the pool's first key into a set each time that a share of its prefixes has none for a client."""
        self._exhausted = into

    def ended(self, role: Role | None = None) -> Iterator[int]:
        """Give the keys whose lease ended and is remembered: those that a partner agrees to, of that role or of both.

        Behind them come those that it is yet to hear of; of each kind the longest ended one comes first.
        """
        for shelf in (*(ROLES if role is None else (role,)), None):
            yield from self._shelves[shelf]

    @property
    def remembered(self) -> int:
        """How many ended leases are remembered."""
        return sum(map(len, self._shelves.values()))

    def note(self, key: int, before: int | None, after: int | None) -> None:
        """Take over that a lease's status changed; None is: not on record.

        A lease in a hole, such as a reserved one, is no part of `size`: it takes no room from the others, and once it
        has ended nobody else is given it.
        """
        if self.is_reserved(key):
            return
        taken = (after in TIMED) - (before in TIMED)
        self.in_use += taken
        self._odd_free -= taken * (key >> 8 & 1)
        if before is not None and before not in TIMED:
            self._shelf(key, before).pop(key, None)
        if after is not None and after not in TIMED:
            self._shelf(key, after)[key] = None
        if (before is None) != (after is None) and self.range.size <= SIZE_MAX:
            if self._occupancy is None:
                self._occupancy = Occupancy(self.range)
            self._occupancy.count(key >> 8, 1 if before is None else -1)
        if self.gifts is not None:
            self.gifts.count(key, before, after)

    def note_abandoned(self, key: int, duid: bytes, is_abandoned: bool) -> None:
        """Take over that a lease was declined by a client, or is no longer set aside for that."""
        if self.is_reserved(key):
            return
        change = 1 if is_abandoned else -1
        self.abandoned_count += change
        count = self.abandoned.get(duid, 0) + change
        if count:
            self.abandoned[duid] = count
        else:
            del self.abandoned[duid]

    def use_holes(self, holes: Holes, on_record: Mapping[int, bytes]) -> None:
        """Go on with other holes, as `holes_of` gives them; `on_record` has the leases that this is about."""
        for key, record in on_record.items():
            self.note(key, record[STATUS_AT], None)
            if record[STATUS_AT] == BindingStatus.ABANDONED:
                self.note_abandoned(key, duid_of(record), False)
        range_, before = self.range, self.holes
        self.holes = holes
        self.size = range_.size - self._reserved_in(range_.first, range_.last)
        self._odd_free += before.odd - holes.odd
        if self._occupancy is not None:
            self._occupancy.use_other_holes()
        for key, record in on_record.items():
            self.note(key, None, record[STATUS_AT])
            if record[STATUS_AT] == BindingStatus.ABANDONED:
                self.note_abandoned(key, duid_of(record), True)

    def set_aside(self, key: int, records: Mapping[int, bytes]) -> None:
        """Exclude the space of a client's prefix of another length from allocation, until the next layout."""
        first, last = interval_of(key)
        if self.gifts is None or first < self.range.first or last > self.range.last:
            return
        at = bisect_left(self.foreign, key)
        if self.foreign[at : at + 1] != [key]:
            self.foreign.insert(at, key)
        if self.holes.covers(first, last):
            return
        begin = first - (first - self.range.first) % self._unit
        inside = [key_of(address, self.range.length) for address in self.gifts.on_record(begin, last)]
        holes = Holes((*self.holes.intervals(), (first, last))).fitted_to(self.range)
        self.use_holes(holes, {each: records[each] for each in inside if each in records})

    def sort_ended(self, start_time_of_state: Callable[[int], int]) -> None:
        """Put the ended leases in the order in which they ended."""
        for role, shelf in self._shelves.items():
            self._shelves[role] = OrderedDict.fromkeys(sorted(shelf, key=start_time_of_state))

    def is_reserved(self, key: int) -> bool:
        """True if the lease lies in a hole of the pool."""
        address = key >> 8
        return self.holes.touches(address, address + self._unit - 1)

    def _reserved_in(self, first: int, last: int) -> int:
        """Return how many leases of first..last lie in holes."""
        return self.holes.covered(first, last) // self._unit

    def look_at_later(self, key: int, status: int) -> None:
        """Put an ended lease behind all others of its kind."""
        self._shelf(key, status).move_to_end(key)

    def _shelf(self, key: int, status: int) -> OrderedDict[int, None]:
        if status not in (BindingStatus.FREE, BindingStatus.FREE_BACKUP):
            return self._shelves[None]
        if key & 0xFF == ADDRESS_LENGTH:
            return self._shelves[address_owner(key)]
        return self._shelves[Role.SECONDARY if status == BindingStatus.FREE_BACKUP else Role.PRIMARY]

    def free(self, role: Role) -> int:
        """Say how many leases that nobody has are in the share of one of two partners."""
        if self.gifts is not None:
            return self.gifts.available(role)
        return self._odd_free if role is Role.PRIMARY else self.size - self.in_use - self._odd_free

    def give(self, key: int, status: int | None) -> None:
        """Take over the record of a large prefix that changed hands."""
        if self.gifts is not None:
            self.gifts.put(key, status)
            self._spaces.clear()
            self._cursors.clear()

    def _space(self, role: Role | None) -> Space:
        space = self._spaces.get(role)
        if space is None:
            first, last, _ = self.range
            if role is None:
                space = Space(((first, last),), self._unit)
            elif self.gifts is None:
                space = Space(((first + ((first ^ role) & 1), last),), 2)
            else:
                space = Space(self.gifts.intervals(role), self._unit)
            self._spaces[role] = space
        return space

    def _spread(self, space: Space, role: Role | None) -> int:
        """Say over how much of a space clients are spread. Shared prefixes lie together: so large ones stay whole."""
        if role is None or self.gifts is None:
            return space.size
        return min(space.size, max(CLUSTER_MIN, 2 << self.in_use.bit_length()))

    def _find_unused(
        self, is_free: Callable[[int], bool], is_new: Callable[[int], bool], role: Role | None, refusals_max: int
    ) -> int | None:
        """Return the key of a lease that was never given, None if all of them were or the pool is too large to say."""
        if self._occupancy is None:
            return None
        first, last, length = self.range
        address = self._occupancy.find(
            lanes=(0,) if self.gifts is not None else ROLES if role is None else (role,),
            intervals=((first, last),) if role is None or self.gifts is None else self.gifts.intervals(role),
            is_unused=lambda address: is_new(address << 8 | length) and self._may_be_given(address),
            is_free=lambda address: is_free(address << 8 | length),
            refusals_max=refusals_max,
        )
        return None if address is None else address << 8 | length

    def _scan(self, is_free: Callable[[int], bool], space: Space, role: Role | None, scan_max: int) -> int | None:
        """Look on from where the last search ended; round and round, a bounded number of steps each time."""
        length = self.range.length
        cursor = self._cursors.get(role, 0)
        for _ in range(min(scan_max, space.size)):
            address = space.nth(cursor)
            cursor = cursor + 1 if cursor + 1 < space.size else 0
            if self._may_be_given(address) and is_free(address << 8 | length):
                self._cursors[role] = cursor
                return address << 8 | length
        self._cursors[role] = cursor
        return None

    def _may_be_given(self, address: int) -> bool:
        if self.holes.touches(address, address + self._unit - 1):
            return False
        return self.range.length != ADDRESS_LENGTH or not is_reserved_interface_id(address)


def holes_of(range_: Range, holes: Holes) -> Holes:
    """Return what a pool has that no client is given: what is reserved, and addresses that are no host's."""
    if holes.fits == range_:
        return holes
    return Holes((*holes.intervals(), *_reserved_interface_ids(range_))).fitted_to(range_)


def _reserved_interface_ids(range_: Range) -> Iterator[tuple[int, int]]:
    """Return the addresses of a range that are given to no host, so that a pool's size is what it can give.

    Nothing for ranges over many subnets of 64 bits, of which they are next to nothing.
    """
    first, last = range_.first >> 64, range_.last >> 64
    subnets = range(first, last + 1) if last - first < SUBNETS_COUNTED else ()
    for subnet in subnets if range_.length == ADDRESS_LENGTH else ():
        for low, high in RESERVED_INTERFACE_IDS:
            yield subnet << 64 | low, subnet << 64 | high


def is_reserved_interface_id(address: int) -> bool:
    """Say whether the address must not be given to a host (RFC 5453, RFC 9915 13.1)."""
    interface_id = address & (1 << 64) - 1
    return interface_id == 0 or interface_id >> 7 == 0xFDFFFFFFFFFFFF80 >> 7 or interface_id >> 24 == 0x02005EFFFE

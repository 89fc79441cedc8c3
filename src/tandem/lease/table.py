"""All leases of one server, looked up by lease, by client and by the time at which they end.

Leases are kept packed; see `lease.lease`. The table is the only place that changes a pool's counts.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from itertools import chain, islice

from tandem.lease.change import Put
from tandem.lease.clients import ClientIndex, Kind, kind_of
from tandem.lease.deadlines import Deadlines
from tandem.lease.groups import Groups
from tandem.lease.holes import Holes
from tandem.lease.layout import Layout
from tandem.lease.lease import (
    FOREVER,
    OWING,
    STATUS_AT,
    TIMED,
    BindingStatus,
    Lease,
    client_last_transaction_time_of,
    duid_of,
    key_of,
    settled_record,
    state_expiration_time_of,
    unpack,
)
from tandem.lease.pool import ENDED_MAX, Pool
from tandem.lease.space import Interval, Range, interval_of
from tandem.lease.territories import Territories
from tandem.wire.received import ADDRESS_LENGTH


class LeaseTable:
    """Leases by key, by client, by deadline, and the pools that they lie in."""

    def __init__(self) -> None:
        self._records: dict[int, bytes] = {}
        self._clients = ClientIndex()
        self.by_relay = Groups()
        self.by_remote_id = Groups()
        self._deadlines = Deadlines()
        self._pools: list[Pool] = []
        self._pool_firsts: list[int] = []
        self._pools_by_first: dict[int, Pool] = {}
        self._layout: Layout | None = None
        """Other pools, as long as they are being laid out."""
        self._crowded: dict[int, Pool] = {}
        """The pools that may remember too many ended leases, by their first address."""
        self._territories = Territories()
        self._territories_to_be: Territories | None = None
        """Others, as long as what owes is being sorted in."""
        self.exhausted: set[int] = set()
        """The first keys of prefix pools in whose share a client was just found nothing."""
        self.newest_time = 0
        """The latest client-last-transaction-time of any lease, in UTC seconds."""

    def __len__(self) -> int:
        return len(self._records)

    # -- looking up

    def get(self, key: int) -> Lease | None:
        """Give the lease with that key, None if nothing is known of it."""
        record = self._records.get(key)
        return None if record is None else unpack(key, record)

    def keys_of_client(self, duid: bytes) -> tuple[int, ...]:
        """Give the keys of the leases that the client has, and of the last ones that it had.

        Those that it declined are not its any more.
        """
        return self._clients.keys(duid)

    def of_client(self, duid: bytes) -> list[Lease]:
        """Give the leases that the client has, and the last ones that it had."""
        return [unpack(key, self._records[key]) for key in self._clients.keys(duid)]

    def of_client_on(self, duid: bytes, spaces: Iterable[Interval], reserved: Iterable[int]) -> list[Lease]:
        """Return the leases of a client, of one with many only those on the link with these spaces."""
        return [unpack(key, self._records[key]) for key in self._clients.keys_on(duid, spaces, reserved)]

    def abandoned_by(self, duid: bytes) -> Iterable[int]:
        """Return the keys of the leases that are set aside since the client declined them."""
        return self._clients.declined(duid)

    def record(self, key: int) -> bytes | None:
        """Give the lease as its octets, None if nothing is known of it."""
        return self._records.get(key)

    def owing(self, relationship: str) -> dict[int, None]:
        """Give the keys of the leases that the partner of a relationship is yet to acknowledge; not to be changed."""
        return self._territories.owing(relationship)

    def relationship_of(self, key: int) -> str | None:
        """Say in which relationship all of the lease is shared with a partner, None if in none."""
        return self._territories.relationship_of(key)

    def keys(self) -> list[int]:
        """Give the keys of all leases, in no order that means anything."""
        return list(self._records)

    def clients(self) -> list[bytes]:
        """Give the DUIDs of all clients that have or last had a lease, in no order that means anything."""
        return self._clients.clients()

    def keys_in(self, first: int, last: int) -> list[int]:
        """Give the keys of all leases that begin in first..last. Looks at every lease: not for the packet path."""
        return [key for key in self._records if first <= key >> 8 <= last]

    def pool_of(self, key: int) -> Pool | None:
        """Give the pool whose range the key's address lies in."""
        at = bisect_right(self._pool_firsts, key >> 8)
        if at and key >> 8 <= self._pools[at - 1].range.last:
            return self._pools[at - 1]
        return None

    def pool_from(self, first: int) -> Pool | None:
        """Return the pool whose range begins with that address, None if there is none."""
        return self._pools_by_first.get(first)

    def pool_at(self, first_key: int) -> Pool | None:
        """Return the pool that begins with that key, None if there is none."""
        pool = self._pools_by_first.get(first_key >> 8)
        return pool if pool is not None and pool.first_key == first_key else None

    def pools_touched(self, key: int) -> list[Pool]:
        """Return up to two pools that share an address with the lease, lowest first."""
        first, last = interval_of(key)
        at = bisect_right(self._pool_firsts, first)
        at -= at > 0 and self._pools[at - 1].range.last >= first
        return [pool for pool in self._pools[at : at + 2] if pool.range.first <= last]

    def overlaps_another(self, pool: Pool, key: int) -> bool:
        """True if a client has a prefix, other than this one, that shares space with it in a prefix pool."""
        if pool.gifts is None:
            return False
        first, last = interval_of(key)
        around = (
            first >> bits << bits + 8 | ADDRESS_LENGTH - bits for bits in range(129 - (key & 0xFF), ADDRESS_LENGTH)
        )
        begin = first - (first - pool.range.first) % pool.range.unit
        inside = (key_of(address, pool.range.length) for address in pool.gifts.on_record(begin, last))
        foreign = pool.foreign[bisect_left(pool.foreign, first << 8) : bisect_left(pool.foreign, last + 1 << 8)]
        records = ((each, self._records.get(each)) for each in chain(around, inside, foreign))
        return any(each != key and record is not None and record[STATUS_AT] in TIMED for each, record in records)

    # -- changing

    def change(self, lease: Lease) -> Put:
        """Put what happened to a lease here; the partner, if it is shared with one, is to be told."""
        record = lease.pack()
        if self._territories.relationship_of(lease.key) is not None:
            record = OWING + record[1:]
        return self._set(lease.key, record)

    def put(self, lease: Lease) -> Put:
        """Take over a lease's new content and give the change that makes it durable."""
        return self._set(lease.key, lease.pack())

    def settle(self, key: int, status: int, acked_partner_lifetime: int) -> Put:
        """Take over that the partner acknowledged all that is on record of a lease, and what follows from that."""
        return self._set(key, settled_record(self._records[key], status, acked_partner_lifetime))

    def load(self, change: Put) -> None:
        """Take over a change that is durable already."""
        if change.record is None:
            self.forget(change.key)
        else:
            self._set(change.key, change.record)

    def forget(self, key: int) -> Put:
        """Remove all trace of a lease, and give the change that makes this durable."""
        record = self._records.pop(key, None)
        if record is not None:
            before = unpack(key, record)
            self._unlink(key, record)
            self._regroup(key, record, None)
            self._count(before.key, before.status, None)
            if before.owes_partner:
                self._owe(key, False)
        return Put(key, None)

    def take_due(self, now_utc_s: int, limit: int) -> list[Lease]:
        """Take leases whose expiration time has come, at most about `limit`; the caller ends each of them."""
        due = []
        for key in self._deadlines.take_due(now_utc_s, limit):
            lease = self.get(key)
            if lease is None or lease.status not in TIMED:
                continue
            if lease.state_expiration_time <= now_utc_s:
                due.append(lease)
            else:
                self._deadlines.add(key, lease.state_expiration_time)
        return due

    def put_back(self, lease: Lease, second: int) -> None:
        """Have `take_due` give the lease again at `second`, since it could not be ended yet."""
        self._deadlines.add(lease.key, second)

    def take_forgettable(self, limit: int) -> list[int]:
        """Name the longest ended leases of pools that remember more than ENDED_MAX of them.

        Not those from whose record alone one knows whose they are to give.
        """
        keys: list[int] = []
        for first, pool in list(self._crowded.items()):
            excess = min(pool.remembered - ENDED_MAX, limit - len(keys))
            if pool.remembered <= ENDED_MAX:
                del self._crowded[first]
            is_shared = excess > 0 and self.relationship_of(pool.first_key) is not None
            for key in list(islice(pool.ended(), max(0, excess))):
                if not is_shared or self._is_known_to_both(pool, key):
                    keys.append(key)
                else:
                    pool.look_at_later(key, self._records[key][STATUS_AT])
        return keys

    def _is_known_to_both(self, pool: Pool, key: int) -> bool:
        """Say whether a lease that ended is free for both partners, and whose it is to give follows from its place."""
        record = self._records[key]
        status = record[STATUS_AT]
        if record[0] or status not in (BindingStatus.FREE, BindingStatus.FREE_BACKUP):
            return False
        return pool.gifts is None or status == pool.gifts.owner(key >> 8).available

    def next_deadline(self) -> int | None:
        """Give the UTC second at which `take_due` may have something."""
        return self._deadlines.next_second()

    # -- pools

    def use_pools(self, wanted: Iterable[tuple[Range, Holes]]) -> None:
        """Lay these ranges, with their holes, over the table and count what they hold.

        A lease of another prefix length within a range, left from an earlier configuration, is one more hole.
        """
        for _ in self.lay_out(wanted):
            pass
        self.use_layout()

    def lay_out(self, wanted: Iterable[tuple[Range, Holes]]) -> Iterator[None]:
        """Do what `use_pools` does but for the end of it, which is `use_layout`, a bounded part with each step."""
        self._layout = Layout(self._records, self._pools, wanted, self.exhausted)
        return self._layout.steps()

    def use_layout(self) -> Iterator[None]:
        """Go on with the pools and territories that were laid out. Return the steps that free what was before."""
        if self._territories_to_be is not None:
            self._territories, self._territories_to_be = self._territories_to_be, None
        layout, self._layout = self._layout, None
        if layout is None:
            return iter(())
        layout.note_abandoned()
        for key in layout.foreign:
            number = bisect_right(layout.firsts, key >> 8) - 1
            layout.pools[number].set_aside(key, self._records)
        self._pools, self._pool_firsts, self._pools_by_first = layout.pools, layout.firsts, layout.by_first
        self._crowded |= layout.crowded
        self._crowded = {first: layout.by_first[first] for first in self._crowded if first in layout.by_first}
        return layout.free()

    def use_territories(self, wanted: Iterable[tuple[Interval, str]]) -> None:
        """Say which space is shared with a partner, in which relationship."""
        for _ in self.lay_out_territories(wanted):
            pass
        self.use_layout()

    def lay_out_territories(self, wanted: Iterable[tuple[Interval, str]]) -> Iterator[None]:
        """Do what `use_territories` does but for its end, which is `use_layout`, a bounded part with each step."""
        to_be = Territories(wanted)
        self._territories_to_be = None if to_be.is_same(self._territories) else to_be
        return to_be.take_over(self._territories, self._records) if self._territories_to_be is not None else iter(())

    def pools(self) -> Iterator[Pool]:
        """Give the pools in the order of their ranges."""
        return iter(self._pools)

    # -- inside

    def _set(self, key: int, record: bytes) -> Put:
        before = self._records.get(key)
        self._records[key] = record
        status = record[STATUS_AT]
        if before is None:
            self._link(key, record)
            self._count(key, None, status)
            ended_at = None
        else:
            former = before[STATUS_AT]
            if former != status or duid_of(before) != duid_of(record):
                self._unlink(key, before)
                self._link(key, record)
                self._regroup(key, before, record)
            if former != status:
                self._count(key, former, status)
            ended_at = state_expiration_time_of(before) if former in TIMED else None
        if record[0] or (before is not None and before[0]):
            self._owe(key, record[0] > 0)
        # With a later end, its entry at the earlier one stays, and is moved on when that comes.
        if status in TIMED:
            ends_at = state_expiration_time_of(record)
            if (ended_at is None or ends_at < ended_at) and ends_at != FOREVER:
                self._deadlines.add(key, ends_at)
        self.newest_time = max(self.newest_time, client_last_transaction_time_of(record))
        return Put(key, record)

    def _owe(self, key: int, owes: bool) -> None:
        self._territories.owe(key, owes)
        if self._territories_to_be is not None:
            self._territories_to_be.owe(key, owes)

    def _count(self, key: int, before: int | None, after: int | None) -> None:
        if self._layout is not None:
            self._layout.changed(key, before, after)
        pool = self.pool_of(key)
        if pool is None:
            return
        length = pool.range.length
        if key & 0xFF != length:
            if after in TIMED and before not in TIMED:
                pool.set_aside(key, self._records)
            elif key & 0xFF < length and after not in TIMED:
                pool.give(key, after)
            return
        pool.note(key, before, after)
        if after is not None and after not in TIMED and pool.remembered > ENDED_MAX:
            self._crowded[pool.range.first] = pool

    def _link(self, key: int, record: bytes) -> None:
        kind, duid = kind_of(record), duid_of(record)
        self._clients.add(duid, key, kind)
        if kind is Kind.DECLINED:
            self._note_abandoned(key, duid, True)

    def _unlink(self, key: int, record: bytes) -> None:
        kind, duid = kind_of(record), duid_of(record)
        self._clients.remove(duid, key, kind)
        if kind is Kind.DECLINED:
            self._note_abandoned(key, duid, False)

    def _regroup(self, key: int, before: bytes, after: bytes | None) -> None:
        is_its = after is not None and duid_of(after) == duid_of(before)
        was, now = kind_of(before), kind_of(after) if after is not None and is_its else Kind.FORMER
        self.by_relay.change(key, was, now)
        self.by_remote_id.change(key, was, now)

    def _note_abandoned(self, key: int, duid: bytes, is_abandoned: bool) -> None:
        pool = self.pool_of(key)
        if pool is not None and key & 0xFF == pool.range.length:
            pool.note_abandoned(key, duid, is_abandoned)


def load_table(changes: Iterable[Put]) -> LeaseTable:
    """Make a table from all that a store holds, oldest change first."""
    table = LeaseTable()
    for change in changes:
        table.load(change)
    return table

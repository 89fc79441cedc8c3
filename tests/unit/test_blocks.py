"""Which block a lease belongs to, and how blocks come and go."""

from __future__ import annotations

from tandem.lease.change import Put
from tandem.stores.batch import merge, read_leases
from tandem.stores.blocks import Block, Blocks, Written

RECORD = b"lease"
OCTETS_MAX = 50  # two leases


def settled(blocks: Blocks, rows: dict[int, bytes]) -> dict[int, list[int]]:
    """Merge what changed in each block, as a store does; give the keys that each row then holds."""
    for block in list(blocks):
        parts = blocks.rows(block, merge(rows.pop(block.number, b""), blocks.take_changes(block), OCTETS_MAX))
        rows |= {number: part.batch for number, part in parts}
        blocks.merged(block, parts)
    return {number: [lease.key for lease in read_leases(batch)] for number, batch in rows.items()}


def change(blocks: Blocks, record: bytes | None, *keys: int) -> None:
    for key in keys:
        blocks.change(Put(key, record))


def test_neighbours_are_together_and_a_block_that_has_grown_is_parted() -> None:
    blocks, rows = Blocks(), dict[int, bytes]()
    change(blocks, RECORD, 50, 10, 40, 20)
    assert settled(blocks, rows) == {1: [10, 20], 2: [40, 50]}
    change(blocks, RECORD, 5, 45, 39)
    assert settled(blocks, rows) == {1: [5, 10], 3: [20, 39], 2: [40, 45], 4: [50]}
    assert [block.first for block in blocks] == [0, 20, 40, 50]
    assert blocks.leases == 7


def test_a_block_without_leases_goes_but_for_the_last() -> None:
    blocks, rows = Blocks(), dict[int, bytes]()
    change(blocks, RECORD, 10, 20, 40, 50)
    settled(blocks, rows)
    change(blocks, None, 10, 20)
    assert settled(blocks, rows) == {2: [40, 50]}
    assert [block.number for block in blocks] == [2]
    change(blocks, RECORD, 1)
    change(blocks, None, 40, 50)
    assert settled(blocks, rows) == {2: [1]}
    change(blocks, None, 1)
    assert settled(blocks, rows) == {}
    assert (len(list(blocks)), blocks.leases) == (1, 0)


def test_what_is_merged_is_no_change_any_more() -> None:
    blocks, rows = Blocks(), dict[int, bytes]()
    change(blocks, RECORD, *range(10))
    change(blocks, RECORD, 1, 2)
    assert blocks.changed == 10
    settled(blocks, rows)
    assert blocks.changed == 0
    assert not any(block.changes for block in blocks)


def test_leases_before_the_first_that_is_on_disk_belong_to_its_block_also_when_that_is_parted() -> None:
    blocks = Blocks([Block(40, 1, 2), Block(80, 2, 2)])
    rows = {1: merge(b"", {40: RECORD, 50: RECORD}, OCTETS_MAX)[0].batch}
    rows[2] = merge(b"", {80: RECORD, 90: RECORD}, OCTETS_MAX)[0].batch
    change(blocks, RECORD, 5, 6, 7)
    settled(blocks, rows)
    change(blocks, None, 5, 40)
    left = settled(blocks, rows)
    assert sorted(key for keys in left.values() for key in keys) == [6, 7, 50, 80, 90]


def test_when_the_first_block_goes_the_next_takes_what_comes_before_it() -> None:
    blocks, rows = Blocks(), dict[int, bytes]()
    change(blocks, RECORD, 40, 50, 80, 90)
    settled(blocks, rows)
    change(blocks, None, 40, 50)
    settled(blocks, rows)
    change(blocks, RECORD, 5, 6, 7)
    settled(blocks, rows)
    change(blocks, None, 5)
    left = settled(blocks, rows)
    assert sorted(key for keys in left.values() for key in keys) == [6, 7, 80, 90]


def test_blocks_from_disk_are_put_in_order() -> None:
    blocks = Blocks([Block(40, 1, 2), Block(10, 2, 3)])
    blocks.change(Put(39, RECORD))
    assert [(block.number, list(block.changes)) for block in blocks] == [(2, [39]), (1, [])]
    assert blocks.leases == 5
    parts = [Written(10, 1, b""), Written(20, 1, b"")]
    assert blocks.rows(next(iter(blocks)), parts) == [(2, parts[0]), (3, parts[1])]


def test_a_block_is_full_once_so_many_of_its_leases_have_changed_and_until_it_is_merged() -> None:
    blocks, rows = Blocks(changes_max=3), dict[int, bytes]()
    change(blocks, RECORD, 10, 20, 10, 20)
    assert blocks.full() is None
    change(blocks, RECORD, 40)
    (block,) = blocks
    assert blocks.full() is block
    assert blocks.full() is block
    changes = blocks.take_changes(block)
    assert blocks.full() is None
    blocks.put_back(block, changes)
    assert blocks.full() is block
    settled(blocks, rows)
    assert blocks.full() is None
    change(blocks, RECORD, 41, 42, 43, 1)
    assert [each.changes.keys() for each in blocks] == [{1}, {41, 42, 43}]
    change(blocks, RECORD, 2, 3)
    full = blocks.full()
    assert full is not None
    assert full.first == 40
    blocks.take_changes(full)
    assert blocks.full() is next(iter(blocks))

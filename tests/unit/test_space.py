"""Who may give out which space, against a model that has every prefix by itself."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tandem.lease.lease import BindingStatus, key_of
from tandem.lease.space import Gifts, Range, Role, Space, address_owner, interval_of

SAME_EVERY_TIME = settings(derandomize=True, deadline=None, max_examples=300)
POOL_BITS = 5
LENGTH = 64
FIRST = 0x20010DB9 << 96
UNIT = 1 << 128 - LENGTH
POOL = Range(FIRST, FIRST + (UNIT << POOL_BITS) - 1, LENGTH)
STARTS = range(POOL.first, POOL.last + 1, UNIT)
STATUSES = (BindingStatus.FREE, BindingStatus.FREE_BACKUP)


@st.composite
def aggregates(draw: st.DrawFn) -> int:
    """Draw a large prefix in the pool."""
    bits = draw(st.integers(1, POOL_BITS))
    return key_of(FIRST + (draw(st.integers(0, (1 << POOL_BITS - bits) - 1)) << bits) * UNIT, LENGTH - bits)


def owners(records: dict[int, int]) -> dict[int, Role]:
    """Say whose each prefix is: the smallest record around it says so."""
    found = {}
    for start in STARTS:
        around = [key for key in records if interval_of(key)[0] <= start <= interval_of(key)[1]]
        smallest = max(around, key=lambda key: key & 0xFF, default=None)
        is_given = smallest is not None and records[smallest] == BindingStatus.FREE_BACKUP
        found[start] = Role.SECONDARY if is_given else Role.PRIMARY
    return found


@given(
    steps=st.lists(st.tuples(aggregates(), st.sampled_from((*STATUSES, None))), max_size=12),
    asked=aggregates(),
)
@SAME_EVERY_TIME
def test_gifts_are_as_in_the_model(steps: list[tuple[int, int | None]], asked: int) -> None:
    gifts, records = Gifts(POOL), dict[int, int]()
    for key, status in steps:
        gifts.put(key, status)
        if status is None:
            records.pop(key, None)
        else:
            records[key] = status
    model = owners(records)
    assert {start: gifts.owner(start) for start in STARTS} == model
    assert all(gifts.owner(start + UNIT - 1) is role for start, role in model.items())
    for role in Role:
        mine = [start for start in STARTS if model[start] is role]
        space = Space(gifts.intervals(role), UNIT)
        assert [space.nth(number) for number in range(space.size)] == mine
        assert gifts.available(role) == len(mine)
    first, last = interval_of(asked)
    inside = [start for start in STARTS if first <= start <= last]
    assert gifts.touches_given(asked) is any(model[start] is Role.SECONDARY for start in inside)


@given(
    given_away=st.lists(aggregates(), max_size=3),
    steps=st.lists(st.tuples(st.sampled_from(STARTS), st.sampled_from((*BindingStatus, None))), max_size=20),
)
@SAME_EVERY_TIME
def test_counts_are_as_in_the_model(given_away: list[int], steps: list[tuple[int, int | None]]) -> None:
    """What a server could delegate: its space without a record, and each record that says it may."""
    gifts, statuses = Gifts(POOL), dict[int, int]()
    for key in given_away:
        gifts.put(key, BindingStatus.FREE_BACKUP)
    for start, status in steps:
        gifts.count(key_of(start, LENGTH), statuses.get(start), status)
        if status is None:
            statuses.pop(start, None)
        else:
            statuses[start] = status
    model = owners(dict.fromkeys(given_away, int(BindingStatus.FREE_BACKUP)))
    for role in Role:
        untouched = [start for start in STARTS if model[start] is role and start not in statuses]
        on_record = [start for start, status in statuses.items() if status == role.available]
        assert gifts.available(role) == len(untouched) + len(on_record)
    assert gifts.on_record(POOL.first, POOL.last) == sorted(statuses)
    for first in STARTS[::3]:
        assert gifts.on_record(first, STARTS[-1]) == [start for start in sorted(statuses) if start >= first]


@given(counts=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=8), step_bits=st.integers(0, 70))
@SAME_EVERY_TIME
def test_space_counts_through_its_intervals(counts: list[tuple[int, int]], step_bits: int) -> None:
    """Intervals need not end where the last step does."""
    step, intervals, model, at = 1 << step_bits, [], list[int](), 0
    for gap, size in counts:
        at += (gap + 1) * step
        intervals.append((at, at + size * step - 1 + (step // 2 if size else 0)))
        model += [at + number * step for number in range(size + (size > 0 and step > 1))]
        at += (size + 1) * step
    space = Space(intervals, step)
    assert [space.nth(number) for number in range(space.size)] == model


def test_an_address_is_shared_by_its_last_bit() -> None:
    """RFC 8156 4.2.1.1: the primary gives odd ones."""
    assert [address_owner(key_of(FIRST + number)) for number in range(4)] == [
        *(Role.SECONDARY, Role.PRIMARY, Role.SECONDARY, Role.PRIMARY)
    ]


def test_a_role_says_what_is_free() -> None:
    assert Role.PRIMARY.partner is Role.SECONDARY
    assert Role.SECONDARY.partner is Role.PRIMARY
    assert [role.available for role in (Role.PRIMARY, Role.SECONDARY)] == list(STATUSES)


def test_a_large_pool_has_a_bounded_number_of_parts() -> None:
    """A /32 of /56s is 16 million prefixes."""
    gifts = Gifts(Range(FIRST, FIRST + (1 << 96) - 1, 56))
    assert (1 << 96) // gifts.bucket_octets == 1024
    assert gifts.available(Role.PRIMARY) == 1 << 24

"""How long a lease may be promised: RFC 8156 4.4."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tandem.lease.promise import Lifetimes, promise

SAME_EVERY_TIME = settings(derandomize=True, deadline=None, max_examples=500)
T = 1_800_000_000
HOUR_S, DAY_S = 3600, 86_400
MCLT_S = HOUR_S
DESIRED = Lifetimes(preferred_s=3 * DAY_S, valid_s=3 * DAY_S, renew_s=3 * DAY_S // 2, rebind_s=3 * DAY_S * 4 // 5)

durations = st.integers(0, 0xFFFFFFFF)
mclts = st.integers(30, 10 * DAY_S)


@st.composite
def ordered_lifetimes(draw: st.DrawFn) -> Lifetimes:
    renew_s, rebind_s, preferred_s, valid_s = sorted(draw(durations) for _ in range(4))
    return Lifetimes(preferred_s, valid_s, renew_s, rebind_s)


def test_the_worked_example() -> None:
    """RFC 8156 4.4.1, number by number: MCLT 1 h, desired 3 d, T1 half of it."""
    new = promise(DESIRED, 0, T, MCLT_S)
    assert new == Lifetimes(HOUR_S, HOUR_S, HOUR_S // 2, HOUR_S * 4 // 5)  # floor(3d, 0 + 1h) = 1h
    acked = T + new.renew_s + DESIRED.valid_s
    assert acked - T == HOUR_S // 2 + 3 * DAY_S  # partner-lifetime = 1/2h + 3d

    at_t1 = T + HOUR_S // 2
    assert acked - at_t1 == 3 * DAY_S
    renewed = promise(DESIRED, acked, at_t1, MCLT_S)
    assert renewed == DESIRED  # floor(3d, 3d + 1h) = 3d
    acked = at_t1 + renewed.renew_s + DESIRED.valid_s
    assert acked - at_t1 == 9 * DAY_S // 2  # partner-lifetime = 1.5d + 3d

    again = at_t1 + 3 * DAY_S // 2
    assert acked - again == 3 * DAY_S
    assert promise(DESIRED, acked, again, MCLT_S) == DESIRED


@pytest.mark.parametrize(
    ("left_s", "valid_s"),
    [(-DAY_S, HOUR_S), (0, HOUR_S), (1, HOUR_S + 1), (3 * DAY_S - HOUR_S - 1, 3 * DAY_S - 1), (3 * DAY_S, 3 * DAY_S)],
)
def test_what_the_partner_acknowledged_counts_as_far_as_it_lasts(left_s: int, valid_s: int) -> None:
    assert promise(DESIRED, T + left_s, T, MCLT_S).valid_s == valid_s


@given(desired=ordered_lifetimes(), acked=st.integers(0, 0xFFFFFFFE), mclt_s=mclts)
@SAME_EVERY_TIME
def test_it_never_goes_beyond(desired: Lifetimes, acked: int, mclt_s: int) -> None:
    """And it is no shorter than it must be."""
    promised = promise(desired, acked, T, mclt_s)
    assert promised.valid_s == min(desired.valid_s, max(acked, T) + mclt_s - T)


@given(desired=ordered_lifetimes(), acked=st.integers(0, 2 * T), mclt_s=mclts)
@SAME_EVERY_TIME
def test_all_shrink_in_proportion(desired: Lifetimes, acked: int, mclt_s: int) -> None:
    promised = promise(desired, acked, T, mclt_s)
    for got_s, wanted_s in zip(promised, desired, strict=True):
        exact = wanted_s * promised.valid_s / desired.valid_s if desired.valid_s else 0
        assert exact - 1.001 < got_s <= exact + 0.001
    assert promised.renew_s <= promised.rebind_s <= promised.preferred_s <= promised.valid_s


@given(desired=ordered_lifetimes(), acked=st.integers(0, 2 * T))
@SAME_EVERY_TIME
def test_without_a_limit_nothing_shrinks(desired: Lifetimes, acked: int) -> None:
    """In PARTNER-DOWN (8.4.1), and without a partner."""
    assert promise(desired, acked, T, None) == desired


def test_for_ever_is_no_promise_beside_a_partner() -> None:
    assert promise(Lifetimes(*[0xFFFFFFFF] * 4), 0, T, MCLT_S) == Lifetimes(*[MCLT_S] * 4)

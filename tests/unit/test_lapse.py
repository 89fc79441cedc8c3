"""The clock that leases end by."""

from __future__ import annotations

from tandem.effects.lapse import LapseClock
from tandem.effects.now import Now

HOUR_S = 3600


def test_follows_utc_and_never_runs_ahead() -> None:
    clock = LapseClock(Now(0.0, 1000))
    assert clock.moment(Now(10.0, 1010), HOUR_S).lapse_utc == 1010
    assert clock.moment(Now(20.0, 9000), HOUR_S) == (20.0, 9000, 1020)
    assert clock.moment(Now(30.0, 500), HOUR_S).lapse_utc == 500


def test_believes_a_jump_once_all_promises_made_before_have_ended() -> None:
    clock = LapseClock(Now(0.0, 1000))
    assert clock.moment(Now(10.0, 90_000), HOUR_S).lapse_utc == 1010
    assert clock.moment(Now(10.0 + HOUR_S - 1, 93_599), HOUR_S).lapse_utc == 4609
    assert clock.moment(Now(10.0 + HOUR_S, 93_600), HOUR_S).lapse_utc == 93_600


def test_a_jump_that_was_taken_back_is_forgotten() -> None:
    clock = LapseClock(Now(0.0, 1000))
    clock.moment(Now(10.0, 90_000), HOUR_S)
    clock.moment(Now(20.0, 1020), HOUR_S)
    assert clock.moment(Now(10.0 + HOUR_S, 99_000), HOUR_S).lapse_utc == 1010 + HOUR_S


def test_a_jump_is_told_while_leases_are_held_in_spite_of_it() -> None:
    clock = LapseClock(Now(0.0, 1000))
    clock.moment(Now(10.0, 90_010), HOUR_S)
    assert clock.ahead_s(Now(20.0, 90_020)) == 89_000
    assert clock.held_until_mono(HOUR_S) == 10.0 + HOUR_S
    clock.moment(Now(30.0, 1030), HOUR_S)
    assert clock.ahead_s(Now(30.0, 1030)) == 0

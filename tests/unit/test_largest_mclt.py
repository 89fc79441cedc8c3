"""The largest MCLT by which leases were promised counts until the last of them is over, and no longer."""

from __future__ import annotations

from tandem.effects.now import Moment
from tandem.effects.settings import Relationship
from tandem.failover.machine import Machine
from tandem.failover.record import Record
from tandem.failover.states import State
from tandem.lease.space import Role

HOUR, LIFETIME = 3600, 7200
CHANGED = 100_000
RELATIONSHIP = Relationship("campus", Role.PRIMARY, "b", 60, 10, 5, 0, False, 50, True, (), (), LIFETIME, 0, b"")
LONG = Record(State.NORMAL, None, 0, HOUR, HOUR, True)


def at(utc: int) -> Moment:
    return Moment(1000.0, utc, utc)


def test_smaller_mclt_leaves_the_largest_until_its_last_lease_is_over() -> None:
    machine = Machine(RELATIONSHIP, LONG.with_mclt(60, LIFETIME, CHANGED), 0, at(CHANGED))
    over = CHANGED + LIFETIME + HOUR
    assert not machine.end_precautions(at(over - 1))
    assert machine.record.largest_mclt_s == HOUR
    assert machine.end_precautions(at(over))
    assert (machine.record.mclt_s, machine.record.largest_mclt_s) == (60, 60)


def test_larger_mclt_counts_at_once() -> None:
    record = LONG.with_mclt(2 * HOUR, LIFETIME, CHANGED)
    assert (record.mclt_s, record.largest_mclt_s, record.largest_mclt_until) == (2 * HOUR, 2 * HOUR, 0)

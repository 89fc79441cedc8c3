"""What an endpoint must not forget (RFC 8156 8.2), as one fact on disk."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from tandem.failover.states import State
from tandem.lease.change import Fact

FACT_PREFIX: Final = "failover."
HEARTBEAT_FACT: Final = "heartbeat"
HEARTBEAT_S: Final = 10


@dataclass(frozen=True, slots=True)
class Record:
    """One endpoint's memory. Times are UTC seconds, 0 for never."""

    state: State
    previous_state: State | None
    start_time_of_state: int
    mclt_s: int
    largest_mclt_s: int
    """The largest MCLT by which leases may have been promised that have not ended."""
    communicated: bool = False
    """Whether this server was ever in step with its partner, and so has leases that count."""
    partner_state: State | None = None
    partner_start_time_of_state: int = 0
    partner_heard: int = 0
    partner_down_time: int = 0
    """Since when the partner is known to be down; 0 unless in PARTNER-DOWN."""
    wait_until: int = 0
    """When RECOVER-WAIT, or the wait for auto-partner-down, is over; 0 for no such wait."""
    largest_mclt_until: int = 0
    """When the last lease is over that was promised by a larger MCLT than `mclt_s`; 0 if none was."""
    rolled_back: bool = False
    """Whether the table is an older copy of what this server knew, and the partner is to be asked for everything."""
    untrusted_until: int = 0
    """Until when clients may hold leases that this server gave and has forgotten; 0 if there are none."""

    def deadlines(self) -> tuple[int, ...]:
        """Return when something in this record is over, 0 for what is not there."""
        return self.wait_until, self.untrusted_until, self.largest_mclt_until

    def with_mclt(self, mclt_s: int, longest_lifetime_s: int, now_utc: int) -> Record:
        """Return the memory of an endpoint that just agreed on another MCLT with its partner.

        Leases promised by a larger one last at most for the longest lifetime, or so long behind what was acknowledged.
        """
        largest_s = max(mclt_s, self.largest_mclt_s)
        until = now_utc + longest_lifetime_s + largest_s if largest_s > mclt_s else 0
        return replace(self, mclt_s=mclt_s, largest_mclt_s=largest_s, largest_mclt_until=until)

    def moved(self, state: State, now_utc: int) -> Record:
        """Give the memory of an endpoint that just entered a state."""
        return replace(
            self,
            state=state,
            previous_state=self.state,
            start_time_of_state=now_utc,
            partner_down_time=0,
            wait_until=0,
        )

    def as_fact(self, name: str) -> Fact:
        """Give what is to be made durable for the relationship of that name."""
        return Fact(FACT_PREFIX + name, json.dumps(asdict(self)).encode())


def read_record(value: bytes) -> Record:
    """Read what `as_fact` wrote."""
    found: dict[str, Any] = json.loads(value)
    for key in ("state", "previous_state", "partner_state"):
        found[key] = None if found[key] is None else State(found[key])
    return Record(**found)

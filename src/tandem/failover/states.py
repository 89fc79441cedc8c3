"""The states of a failover endpoint and the transitions between them: RFC 8156 section 8, as two tables and a loop."""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import Final, NamedTuple

from tandem.effects.rules import Serve
from tandem.lease.space import Role


class State(IntEnum):
    """RFC 8156 5.5.16. STARTUP is never on record: it is a flag beside the state that was recorded before."""

    NORMAL = 2
    COMMUNICATIONS_INTERRUPTED = 3
    PARTNER_DOWN = 4
    POTENTIAL_CONFLICT = 5
    RECOVER = 6
    RECOVER_WAIT = 7
    RECOVER_DONE = 8
    RESOLUTION_INTERRUPTED = 9
    CONFLICT_DONE = 10

    @property
    def words(self) -> str:
        """The state's name as RFC 8156 spells it."""
        return self.name.replace("_", "-")


class Happening(Enum):
    """What moves an endpoint on beside the partner's state."""

    UPDDONE = "all updates that were asked for are here"
    WAIT_OVER = "the MCLT has passed since this server last served"
    PARTNER_IS_DOWN = "the operator says that the partner is down"
    AUTO_PARTNER_DOWN = "the partner was not heard for auto-partner-down"
    FORGOTTEN = "the partner remembers a time together that this server does not"


class Row(NamedTuple):
    """How an endpoint behaves in a state (RFC 8156 8.1)."""

    primary: Serve
    secondary: Serve
    holds_to_mclt: bool
    """Whether promises stay within the MCLT of what the partner acknowledged."""
    wants_updates: bool = False
    """Whether the endpoint asks its partner for updates while it is in this state."""


CUT: Final = None
"""The partner's state while it cannot be heard."""

S = State
BEHAVIOUR: Final = {
    S.NORMAL: Row(Serve.ALL, Serve.ADDRESSED_TO_ME, True),  # 8.8.1
    S.COMMUNICATIONS_INTERRUPTED: Row(Serve.ALL, Serve.ALL, True),  # 8.9.1
    S.PARTNER_DOWN: Row(Serve.ALL, Serve.ALL, False),  # 8.4.1
    S.POTENTIAL_CONFLICT: Row(Serve.NONE, Serve.NONE, True, wants_updates=True),  # 8.10.1
    S.RECOVER: Row(Serve.NONE, Serve.NONE, True, wants_updates=True),  # 8.5.1
    S.RECOVER_WAIT: Row(Serve.NONE, Serve.NONE, True),  # 8.6.1
    S.RECOVER_DONE: Row(Serve.RENEW_OF_KNOWN, Serve.RENEW_OF_KNOWN, True),  # 8.7.1
    S.RESOLUTION_INTERRUPTED: Row(Serve.ALL, Serve.ALL, True),  # 8.11.1
    S.CONFLICT_DONE: Row(Serve.ALL, Serve.ALL, True),  # 8.12.1
}

WHEN_PARTNER_IS: dict[tuple[State, State | None], State] = {
    (S.NORMAL, CUT): S.COMMUNICATIONS_INTERRUPTED,  # 8.8.2
    (S.NORMAL, S.RECOVER): S.COMMUNICATIONS_INTERRUPTED,
    (S.NORMAL, S.RECOVER_WAIT): S.COMMUNICATIONS_INTERRUPTED,
    (S.NORMAL, S.PARTNER_DOWN): S.COMMUNICATIONS_INTERRUPTED,
    (S.NORMAL, S.POTENTIAL_CONFLICT): S.COMMUNICATIONS_INTERRUPTED,
    (S.NORMAL, S.RESOLUTION_INTERRUPTED): S.COMMUNICATIONS_INTERRUPTED,
    (S.COMMUNICATIONS_INTERRUPTED, S.NORMAL): S.NORMAL,  # 8.9.2
    (S.COMMUNICATIONS_INTERRUPTED, S.COMMUNICATIONS_INTERRUPTED): S.NORMAL,
    (S.COMMUNICATIONS_INTERRUPTED, S.RECOVER_DONE): S.NORMAL,
    (S.COMMUNICATIONS_INTERRUPTED, S.PARTNER_DOWN): S.POTENTIAL_CONFLICT,
    (S.COMMUNICATIONS_INTERRUPTED, S.POTENTIAL_CONFLICT): S.POTENTIAL_CONFLICT,
    (S.COMMUNICATIONS_INTERRUPTED, S.CONFLICT_DONE): S.POTENTIAL_CONFLICT,
    (S.COMMUNICATIONS_INTERRUPTED, S.RESOLUTION_INTERRUPTED): S.POTENTIAL_CONFLICT,
    (S.PARTNER_DOWN, S.NORMAL): S.POTENTIAL_CONFLICT,  # 8.4.2
    (S.PARTNER_DOWN, S.COMMUNICATIONS_INTERRUPTED): S.POTENTIAL_CONFLICT,
    (S.PARTNER_DOWN, S.PARTNER_DOWN): S.POTENTIAL_CONFLICT,
    (S.PARTNER_DOWN, S.POTENTIAL_CONFLICT): S.POTENTIAL_CONFLICT,
    (S.PARTNER_DOWN, S.RESOLUTION_INTERRUPTED): S.POTENTIAL_CONFLICT,
    (S.PARTNER_DOWN, S.CONFLICT_DONE): S.POTENTIAL_CONFLICT,
    (S.PARTNER_DOWN, S.RECOVER_DONE): S.NORMAL,
    (S.RECOVER, S.POTENTIAL_CONFLICT): S.POTENTIAL_CONFLICT,  # 8.5.2
    (S.RECOVER, S.RESOLUTION_INTERRUPTED): S.POTENTIAL_CONFLICT,
    (S.RECOVER, S.CONFLICT_DONE): S.POTENTIAL_CONFLICT,
    (S.RECOVER_DONE, S.NORMAL): S.NORMAL,  # 8.7.2
    (S.RECOVER_DONE, S.RECOVER_DONE): S.NORMAL,
    (S.RECOVER_DONE, S.RECOVER): S.COMMUNICATIONS_INTERRUPTED,
    (S.RECOVER_DONE, S.RECOVER_WAIT): S.COMMUNICATIONS_INTERRUPTED,
    (S.RECOVER_DONE, S.POTENTIAL_CONFLICT): S.POTENTIAL_CONFLICT,
    # Not in the text, which would leave both waiting for ever: the primary for our NORMAL, we for its.
    (S.RECOVER_DONE, S.CONFLICT_DONE): S.POTENTIAL_CONFLICT,
    (S.POTENTIAL_CONFLICT, CUT): S.RESOLUTION_INTERRUPTED,  # 8.10.2
    **{(S.RESOLUTION_INTERRUPTED, partner): S.POTENTIAL_CONFLICT for partner in State},  # 8.11.2
    (S.CONFLICT_DONE, S.NORMAL): S.NORMAL,  # 8.12.2
}
"""Where an endpoint goes when it sees its partner in a state; where there is no row, it stays."""

ON: dict[tuple[State, Happening, Role], State] = {
    **{(S.RECOVER, Happening.UPDDONE, role): S.RECOVER_WAIT for role in Role},  # 8.5.2
    **{(S.RECOVER_WAIT, Happening.WAIT_OVER, role): S.RECOVER_DONE for role in Role},  # 8.6.2
    (S.POTENTIAL_CONFLICT, Happening.UPDDONE, Role.PRIMARY): S.CONFLICT_DONE,  # 8.10.2
    (S.POTENTIAL_CONFLICT, Happening.UPDDONE, Role.SECONDARY): S.NORMAL,
    # Not in the text: alone without its leases, it would go on to give away what the partner knows to be in use.
    **{(S.PARTNER_DOWN, Happening.FORGOTTEN, role): S.POTENTIAL_CONFLICT for role in Role},
    **{(S.COMMUNICATIONS_INTERRUPTED, Happening.AUTO_PARTNER_DOWN, role): S.PARTNER_DOWN for role in Role},  # 8.9.2
    **{
        (state, Happening.PARTNER_IS_DOWN, role): S.PARTNER_DOWN  # 8.8.2, 8.9.2, 8.11.2; the others: no dead ends
        for state in State
        if state is not S.PARTNER_DOWN
        for role in Role
        if (state, role) != (S.CONFLICT_DONE, Role.SECONDARY)  # only a primary is ever there (8.12)
    },
}
"""Where an endpoint goes when something happens; where there is no row, it stays."""


def settle(mine: State, partner: State | None) -> State:
    """Give the state in which an endpoint comes to rest that sees its partner in a state, or not at all."""
    while (after := WHEN_PARTNER_IS.get((mine, partner), mine)) is not mine:
        mine = after
    return mine


def served(state: State, role: Role) -> Serve:
    """Say whose messages are answered."""
    row = BEHAVIOUR[state]
    return row.primary if role is Role.PRIMARY else row.secondary


def _assert_that_it_comes_to_rest() -> None:
    for partner in (CUT, *State):
        for mine in State:
            seen = {mine}
            while (mine := WHEN_PARTNER_IS.get((mine, partner), mine)) not in seen:
                seen.add(mine)
            assert WHEN_PARTNER_IS.get((mine, partner), mine) is mine, f"{mine!r} goes round with {partner!r}"


_assert_that_it_comes_to_rest()

"""What each state means, in words for the operator: why, what ends it, what may be done and at what risk."""

from __future__ import annotations

from typing import Final, NamedTuple

from tandem.failover.states import State


class Words(NamedTuple):
    """One state explained."""

    means: str
    ends: str
    command: str = ""
    risk: str = ""


RISK: Final = (
    "If the partner still serves, both may give out the same prefix, and leases that only it knows of may be given to "
    "others once the MCLT is over."
)
PARTNER_DOWN: Final = "tandem failover partner-down"

WORDS: Final = {
    State.NORMAL: Words(
        "Both servers are in step. The primary answers clients, the secondary those that name it.",
        "It ends when the partners lose each other.",
        "tandem failover handover",
        "None: the partner takes over before this server stops.",
    ),
    State.COMMUNICATIONS_INTERRUPTED: Words(
        "The partner is not heard. This server answers everybody from its own share, with leases of at most the MCLT.",
        "It ends by itself when the partner is heard again.",
        PARTNER_DOWN,
        RISK,
    ),
    State.PARTNER_DOWN: Words(
        "The partner is known to be down. This server answers everybody with full lifetimes.",
        "It ends by itself when the partner is back and has recovered.",
    ),
    State.POTENTIAL_CONFLICT: Words(
        "Both servers have served alone, and now exchange what they gave out. No client is answered for a moment.",
        "It ends by itself when all updates are exchanged.",
        PARTNER_DOWN,
        RISK,
    ),
    State.RECOVER: Words(
        "This server fetches from its partner what it does not know. It answers no client; its partner does.",
        "It ends by itself when all updates are here; for that the partner must be heard.",
        PARTNER_DOWN,
        RISK,
    ),
    State.RECOVER_WAIT: Words(
        "This server knows all that its partner knows, and waits until nothing can be in use that it may have "
        "promised and forgotten. It answers no client; its partner does.",
        "It ends by itself when the MCLT has passed since this server last served.",
        PARTNER_DOWN,
        RISK,
    ),
    State.RECOVER_DONE: Words(
        "This server has recovered. It extends known leases, and gives out nothing new yet.",
        "It ends by itself when the partner is heard and goes to NORMAL as well.",
        PARTNER_DOWN,
        RISK,
    ),
    State.RESOLUTION_INTERRUPTED: Words(
        "The partner was lost while both were exchanging what they gave out. This server answers everybody from its "
        "own share, with leases of at most the MCLT.",
        "It ends by itself when the partner is heard again.",
        PARTNER_DOWN,
        RISK,
    ),
    State.CONFLICT_DONE: Words(
        "This server, the primary, knows all that its partner gave out, and answers everybody.",
        "It ends by itself when the partner has fetched what this server gave out.",
        PARTNER_DOWN,
        RISK,
    ),
}
STARTUP: Final = Words(
    "This server has just started and looks for its partner. No client is answered for a moment.",
    "It ends by itself when the partner is heard, or after the startup time.",
)
ASIDE: Final = Words(
    "This server has stepped aside, so that its partner serves alone.",
    "It ends when what kept it from serving is over.",
    "tandem failover resume",
    "None, if this server can serve again.",
)

"""Detects that a server runs from an older copy of its disk: a restored backup, a reverted snapshot, a clone.

Problem. A server that was rolled back looks healthy: its file is whole, its state is NORMAL. But it has forgotten
leases that clients hold and updates that it acknowledged, and would give those leases to somebody else.

Invariant. Every batch of changes that a server commits raises its commit counter, and the new value is in the batch
itself. Each start of the server opens a new incarnation: a random id, and the counter at which it began. The list of
incarnations is the history of the disk. A position is an incarnation and a counter in it.

Each message that rests on a commit tells the partner the sender's position; the partner remembers the last one (its
own disk keeps it too) and repeats it in CONNECT or CONNECTREPLY. A server whose own history does not contain the
position that its partner heard has lost what came between.

Why it holds. A position is told only behind the commit that it names (`Effects.then`), so an honest crash never loses
it. A copy that goes on by itself opens another incarnation at a lower counter, so that the position the partner heard
lies behind the end of that incarnation, however far the counter climbs afterwards. What a server committed and told
nobody cannot be found missing by anybody; it is covered by the MCLT (RFC 8156 4.4).

A partner that does not speak this extension shows a rollback by its time alone: see `Machine.partner_said`.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from struct import Struct
from typing import Final, NamedTuple

from tandem.effects.effects import Effects
from tandem.lease.change import Fact
from tandem.wire.failover import FailoverMessage
from tandem.wire.option import write_options
from tandem.wire.options import VendorOptions

ENTERPRISE: Final = 32473
"""The enterprise number for examples (RFC 5612): these options are read only by another Tandem."""
POSITION: Final = 4
"""The suboption that holds the sender's position."""
COMMITS_FACT: Final = "commits"
HISTORY_FACT: Final = "history"
HEARD_FACT_PREFIX: Final = "heard."
INCARNATIONS_MAX: Final = 256
"""Starts that are remembered; with a partner away for longer, only counters are compared."""
LAYOUT: Final = Struct("!8sQ")
INCARNATION_OCTETS: Final = 8


class Position(NamedTuple):
    """A point in the history of a server's disk: an incarnation, and the commit counter in it."""

    incarnation: bytes
    commits: int

    def pack(self) -> bytes:
        """Return the position as 16 octets."""
        return LAYOUT.pack(self.incarnation, self.commits)


def read_position(octets: bytes) -> Position | None:
    """Return the position that `pack` wrote, None for octets of another length."""
    return Position(*LAYOUT.unpack(octets)) if len(octets) == LAYOUT.size else None


_TEMPLATE: Final = write_options((VendorOptions(ENTERPRISE, ((POSITION, bytes(LAYOUT.size)),)),))
_FRONT: Final = _TEMPLATE[: -LAYOUT.size]


def split_position(message: FailoverMessage) -> tuple[Position | None, FailoverMessage]:
    """Return the sender's position if it stands first in a message, None otherwise, and the message without it."""
    options = message.options
    if not options.startswith(_FRONT) or len(options) < len(_TEMPLATE):
        return None, message
    position = Position(*LAYOUT.unpack_from(options, len(_FRONT)))
    return position, message._replace(options=options[len(_TEMPLATE) :])


class History:
    """The incarnations of this server's disk and its commit counter."""

    def __init__(self, facts: Mapping[str, bytes], incarnation: bytes) -> None:
        self._commits = int(facts.get(COMMITS_FACT, b"0"))
        packed = facts.get(HISTORY_FACT, b"")
        starts = [Position(*each) for each in LAYOUT.iter_unpack(packed)]
        self._starts = [*starts, Position(incarnation, self._commits)][-INCARNATIONS_MAX:]
        self._is_recorded = False

    def record(self, effects: Effects) -> None:
        """Count the batch in `effects.commit`, if there is one, and make the new counter part of it."""
        if not self._is_recorded:
            self._is_recorded = True
            effects.commit.append(Fact(HISTORY_FACT, b"".join([each.pack() for each in self._starts])))
        if effects.commit:
            self._commits += 1
            effects.commit.append(Fact(COMMITS_FACT, b"%d" % self._commits))

    def write_position(self, effects: Effects) -> bytes:
        """Return the option for a message in `effects.then`: the position once the batch so far is durable."""
        commits = self._commits + 1 if effects.commit else self._commits
        return _FRONT + LAYOUT.pack(self._starts[-1].incarnation, commits)

    def contains(self, heard: Position) -> bool:
        """True if the disk went through the position, or may have: the incarnation is older than all remembered."""
        ends = [after.commits for _, after in pairwise(self._starts)]
        for start, end in zip(self._starts, [*ends, self._commits], strict=True):
            if start.incarnation == heard.incarnation:
                return heard.commits <= end
        is_cut = len(self._starts) == INCARNATIONS_MAX
        return is_cut and heard.commits <= self._starts[0].commits


class Own(NamedTuple):
    """What an endpoint tells its partner of this server: its DUID, and the history of its disk."""

    duid: bytes
    history: History

"""What keeps a server from answering clients, or soon may: the value that each view of its health renders.

The command line, the page, the metrics, the alerts and the log show `Problem` values and compute nothing themselves, so
that they cannot disagree. Each kind of problem is declared once, in `KINDS`; the alert rules and the table in
docs/operating.md are made from the declarations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Final, NamedTuple


class Severity(Enum):
    """How urgent a problem is."""

    CRITICAL = "critical"
    """Clients that should be answered are not, or are given nothing."""
    WARNING = "warning"
    """All clients are answered, but something needs attention."""


class Kind(NamedTuple):
    """A kind of problem, with what is the same for each of its problems."""

    id: str
    severity: Severity
    title: str
    """A sentence that names it."""
    ends_when: str
    """What ends it."""
    command: str = ""
    """The command that shows more, or ends it; empty if there is none."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong now. `id` and `about` together identify it. Times are UTC seconds."""

    id: str
    severity: Severity
    about: str
    """The interface, address, pool, link or relationship that it concerns; empty if it concerns the whole server."""
    what: str
    """A sentence that says what is wrong and what that means for clients."""
    since: int | None
    until: int | None
    """When it ends at the latest, if that is known."""
    ends_when: str
    command: str
    examples: tuple[str, ...] = ()
    """The last few occurrences."""

    @property
    def key(self) -> tuple[str, str]:
        """Return what identifies the problem while it lasts."""
        return self.id, self.about

    def began(self, utc: int) -> Problem:
        """Return the problem with `utc` as its beginning, unless that is known already."""
        return self if self.since is not None else replace(self, since=utc)

    def to_json(self) -> dict[str, Any]:
        """Return the problem as the `status` answer holds it."""
        return {
            "id": self.id,
            "severity": self.severity.value,
            "about": self.about,
            "what": self.what,
            "since": self.since,
            "until": self.until,
            "ends-when": self.ends_when,
            "command": self.command or None,
            "examples": list(self.examples),
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Problem:
        """Return the problem that `to_json` wrote."""
        return cls(
            found["id"],
            Severity(found["severity"]),
            found["about"],
            found["what"],
            found["since"],
            found["until"],
            found["ends-when"],
            found["command"] or "",
            tuple(found["examples"]),
        )


def problem(
    id_: str,
    what: str,
    *,
    about: str = "",
    since: int | None = None,
    until: int | None = None,
    ends_when: str = "",
    command: str = "",
    examples: tuple[str, ...] = (),
) -> Problem:
    """Return a problem of the kind `id_`, with the kind's own texts where none are given."""
    kind = KINDS[id_]
    return Problem(
        id_, kind.severity, about, what, since, until, ends_when or kind.ends_when, command or kind.command, examples
    )


_C: Final = Severity.CRITICAL
_W: Final = Severity.WARNING
_STATUS: Final = "tandem status"
_RELOAD: Final = "systemctl reload tandem@NAME"

_ALL: Final = (
    # Sockets and interfaces
    Kind(
        "interface-missing",
        _C,
        "An interface in the configuration does not exist.",
        "the interface appears, or the file no longer lists it",
        "ip link",
    ),
    Kind("interface-down", _W, "A served interface is down or has no carrier.", "the interface is up again", "ip link"),
    Kind(
        "port-taken",
        _C,
        "Another program uses the DHCPv6 server port.",
        "the other program releases the port; it is tried each second",
        "ss -lunp 'sport = :547'",
    ),
    Kind(
        "socket-failed",
        _C,
        "A socket for clients or relays cannot be opened.",
        "the socket can be opened; it is tried each second",
    ),
    Kind(
        "multicast-lost",
        _C,
        "An interface does not receive the DHCPv6 multicast groups.",
        "the groups can be joined; it is tried each second and whenever the interface changes",
        "ip -6 maddress",
    ),
    Kind(
        "listen-address-missing",
        _C,
        "An address to listen on does not exist on this machine.",
        "the address appears, or the file no longer lists it (a restart)",
        "ip -6 address",
    ),
    Kind(
        "partner-listen-failed",
        _W,
        "The address that the failover partner connects to cannot be used.",
        "the address can be listened on; it is tried each second",
        "ip -6 address",
    ),
    Kind(
        "replies-lost",
        _W,
        "Replies could not be sent.",
        "no reply was lost for ten minutes",
        "ip -6 route",
    ),
    Kind(
        "overloaded",
        _C,
        "Messages waited too long and were dropped.",
        "none was dropped for ten minutes",
        _STATUS,
    ),
    # Clock and store
    Kind(
        "clock-behind",
        _C,
        "The clock is behind times that are on record, and no client is answered.",
        "the clock has passed the newest time on record, or the operator accepts the clock",
        "tandem clock accept",
    ),
    Kind(
        "clock-stepped-back",
        _W,
        "The clock is behind times that are on record; clients are answered all the same.",
        "the clock has passed the newest time on record, or the operator accepts the clock",
        "tandem clock accept",
    ),
    Kind(
        "clock-jumped",
        _W,
        "The clock jumped ahead.",
        "every lease that was granted before the jump has ended",
        "timedatectl",
    ),
    Kind(
        "clock-unset",
        _C,
        "The clock shows a time in the distant past.",
        "the clock is set",
        "timedatectl",
    ),
    Kind(
        "store-full",
        _C,
        "The store cannot write: no client is promised anything.",
        "there is room in the state-dir; it is tried each second",
        "df",
    ),
    Kind(
        "poison",
        _W,
        "Datagrams that stopped the server once are dropped.",
        "the file `poison` in the state-dir is removed and the server restarted",
    ),
    # Configuration
    Kind(
        "reload-refused",
        _W,
        "The configuration file was changed but cannot be used; the server runs with the earlier one.",
        "the file is corrected and reloaded; a restart would fail until then",
        _RELOAD,
    ),
    Kind(
        "restart-needed",
        _W,
        "A changed setting takes effect only after a restart.",
        "the server is restarted",
        "systemctl restart tandem@NAME",
    ),
    Kind(
        "config-warning", _W, "The configuration has a doubtful setting.", "the file is corrected and reloaded", _RELOAD
    ),
    Kind(
        "pool-closed",
        _W,
        "No client can be a member of the classes that a subnet or pool needs.",
        "the class gets a condition or a reservation, and the file is reloaded",
        _RELOAD,
    ),
    Kind("nothing-to-serve", _C, "The configuration has no subnet for this server.", "a subnet is added", _RELOAD),
    # Clients
    Kind(
        "unknown-link",
        _W,
        "Messages came from links that no subnet is configured for; they are not answered.",
        "no such message came for ten minutes",
        _STATUS,
    ),
    Kind(
        "clients-refused",
        _C,
        "Clients asked for a lease and were given none.",
        "no client was refused for ten minutes",
        "tandem explain --duid DUID",
    ),
    Kind(
        "limit-reached",
        _W,
        "Clients are at one of the limits of the file: they are refused leases, or their messages are dropped.",
        "nothing was refused or dropped for ten minutes",
        "tandem explain --duid DUID",
    ),
    Kind("pool-low", _W, "A pool has few free leases left.", "less than nine tenths are in use", _STATUS),
    Kind(
        "pool-exhausted",
        _W,
        "A pool has no free lease left.",
        "leases end, or the pool is made larger",
        _STATUS,
    ),
    Kind(
        "share-low",
        _W,
        "This server's share of a pool has few free leases left.",
        "leases end, or the partners rebalance",
        _STATUS,
    ),
    Kind(
        "share-exhausted",
        _W,
        "This server's share of a pool has no free lease left.",
        "leases end, the partners rebalance, or the pool is made larger",
        _STATUS,
    ),
    Kind(
        "pool-withheld",
        _W,
        "Nothing new is given from a pool, since the partner lacks it or has yet to learn of its leases.",
        "both servers run the same file, and the partner knows the leases of the pool",
        _RELOAD,
    ),
    # Failover
    Kind(
        "failover-not-serving",
        _C,
        "This server answers no client of a relationship, in its failover state.",
        "the state ends",
        _STATUS,
    ),
    Kind("failover-state", _W, "A relationship is not in NORMAL.", "the partners are in step again", _STATUS),
    Kind(
        "stepped-aside",
        _W,
        "This server leaves all clients to its partner.",
        "the reason is over",
        "tandem failover resume",
    ),
    Kind(
        "cannot-serve",
        _C,
        "This server cannot serve a relationship, and its partner does not step in.",
        "the reason is over",
        _STATUS,
    ),
    Kind(
        "partner-not-heard",
        _W,
        "The partner is not heard.",
        "the partner is heard again",
        "tandem failover partner-down",
    ),
    Kind("partner-cannot-serve", _W, "The partner says that it cannot serve.", "the partner can serve again", _STATUS),
    Kind(
        "connect-refused",
        _W,
        "The partners do not agree to connect.",
        "the reason is removed; it is tried again by itself",
        _STATUS,
    ),
    Kind("clock-skew", _W, "The partners' clocks differ.", "both clocks are right", "timedatectl"),
    Kind(
        "updates-unacked", _W, "Many leases are not acknowledged by the partner.", "the partner has caught up", _STATUS
    ),
    Kind(
        "updates-rejected", _W, "The partner rejects updates.", "the partner accepts them; they are sent again", _STATUS
    ),
    Kind(
        "partners-differ", _W, "The partners run different configurations.", "both servers run the same file", _RELOAD
    ),
    Kind(
        "key-exposed",
        _W,
        "The private key for the failover connection can be read by others than the server's user.",
        "only the server's user may read the key; make a new one if somebody did",
        "chmod 600",
    ),
    Kind(
        "certificate-expires",
        _W,
        "The certificate for the failover connection expires soon, or cannot be read.",
        "there is a new certificate; no restart is needed",
        "tandem pki new --renew",
    ),
)
KINDS: Final[Mapping[str, Kind]] = {kind.id: kind for kind in _ALL}
"""All kinds of problems by their id, in the order in which people read them."""
ORDER: Final[Mapping[str, int]] = {id_: number for number, id_ in enumerate(KINDS)}


def worst_first(problems: list[Problem]) -> list[Problem]:
    """Return the problems, the critical ones first."""
    return sorted(problems, key=lambda each: (each.severity is not Severity.CRITICAL, ORDER[each.id], each.about))

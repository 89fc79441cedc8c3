"""What a node wants done, in an order that is part of the value: commit, then `then`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from tandem.lease.change import Change


class Send:
    """Octets to be sent on UDP through the door and interface that the question came by, from the address `local`.

    `type` is that of the client's answer in them; its question came at the monotonic time `came`.
    """

    __slots__ = ("came", "data", "door", "interface", "local", "peer", "port", "type")

    def __init__(
        self, data: bytes, peer: str, port: int, interface: int, door: int, local: bytes, type_: int, came: float
    ) -> None:
        self.data = data
        self.peer = peer
        self.port = port
        self.interface = interface
        self.door = door
        self.local = local
        self.type = type_
        self.came = came


class ToPartner:
    """A framed message for the failover partner; whoever sends it stamps it with the time."""

    __slots__ = ("connection", "data")

    def __init__(self, connection: int, data: bytes) -> None:
        self.connection = connection
        self.data = data


class Dial(NamedTuple):
    """Open a connection to the partner of a relationship. `PartnerUp` or `ConnectionFailed` says what came of it."""

    relationship: str


class Hangup(NamedTuple):
    """Close a connection to a partner, once all that was sent on it is written. Nothing more is heard of it."""

    connection: int


class Answer(NamedTuple):
    """The answer to the command with that ticket: `result` as JSON has it, or `error`, a sentence."""

    ticket: int
    result: Any
    error: str | None = None


Out = list[Send | Answer | ToPartner]
"""What leaves, in its order."""


class Note:
    """Something worth counting or logging. Never read by a decision.

    `event` is a stable id; the values are raw (octets, keys, numbers), to be shown by whoever logs them.
    """

    __slots__ = ("event", "level", "values")

    def __init__(self, event: str, level: str, values: Mapping[str, Any]) -> None:
        self.event = event
        self.level = level
        self.values = values


class Effects:
    """What one call of `node.handle` asks for."""

    __slots__ = ("at_once", "commit", "lines", "notes", "then", "wake")

    def __init__(self) -> None:
        self.commit: list[Change] = []
        """Changes that are to be durable before anything in `then` leaves; one batch."""
        self.then: Out = []
        """Leaves once all commits so far are durable, these and every earlier call's: it promises something."""
        self.at_once: Out = []
        """Leaves now: it promises nothing."""
        self.lines: list[Dial | Hangup] = []
        """Connections to open and to close, behind what is at once."""
        self.wake: float | None = None
        """Call again no later than this monotonic time."""
        self.notes: list[Note] = []

    def note(self, event: str, level: str = "info", **values: Any) -> None:
        """Add a note."""
        self.notes.append(Note(event, level, values))

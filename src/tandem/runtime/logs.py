"""Notes to log lines: text for a terminal, JSON for everything else. Raw values are shown here and nowhere else."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TextIO

from tandem.effects.effects import Note
from tandem.lease.lease import BindingStatus, show_key
from tandem.server.bindings import Decision
from tandem.wire.message import MessageType
from tandem.wire.received import Relay
from tandem.wire.text import show_address, show_octets

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class Log:
    """Writes notes at or above a level to a stream, all of one call at once."""

    def __init__(self, level: str, as_json: bool, stream: TextIO | None = None) -> None:
        self._least = LEVELS[level]
        self._show: Callable[[float, Note], str] = show_json if as_json else show_text
        self._stream = stream if stream is not None else sys.stderr

    def write(self, notes: Iterable[Note]) -> None:
        """Log the notes that matter at this level."""
        least, show = self._least, self._show
        chosen = [note for note in notes if LEVELS[note.level] >= least]
        if chosen:
            now = time.time()
            self._stream.write("".join(show(now, note) for note in chosen))
            self._stream.flush()

    def say(self, event: str, level: str = "info", **values: Any) -> None:
        """Log one event of the world around the node."""
        self.write((Note(event, level, values),))


def show_json(now: float, note: Note) -> str:
    """Show a note as one JSON object: `time`, `level`, `event`, and its values."""
    shown = {"time": round(now, 6), "level": note.level, "event": note.event, **dict(_shown(note.values))}
    return json.dumps(shown) + "\n"


def show_text(now: float, note: Note) -> str:
    """Show a note as one line for people."""
    clock = time.strftime("%H:%M:%S", time.localtime(now))
    values = " ".join(f"{name}={_plain(value)}" for name, value in _shown(note.values))
    return f"{clock} {note.level:7} {note.event} {values}".rstrip() + "\n"


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return "; ".join(" ".join(f"{name}={each}" for name, each in item.items()) for item in value)
    return str(value)


def _shown(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if name == "decisions":
            yield from _show_decisions(value)
        elif name == "given_up":
            if value:
                yield "leases", ",".join(show_key(key) for key in value)
        elif name == "relays":
            yield from _show_relays(value)
        elif value not in ("", None):
            yield name.replace("_", "-"), _show_value(name, value)


def _show_value(name: str, value: Any) -> Any:
    if name in ("type", "reply"):
        return MessageType(value).name if value in MessageType._value2member_map_ else value
    if name == "key":
        return show_key(value)
    if name == "transaction_id":
        return value.hex()
    if isinstance(value, BindingStatus):
        return value.name.replace("_", "-")
    return show_octets(value) if isinstance(value, bytes) else value


def _show_decisions(decisions: Iterable[Decision]) -> Iterator[tuple[str, Any]]:
    shown: list[dict[str, Any]] = []
    for decision in decisions:
        shown += [
            {
                "iaid": decision.ia.iaid,
                "lease": show_key(told.key),
                "preferred": told.lifetimes.preferred_s,
                "valid": told.lifetimes.valid_s,
                "reason": told.reason,
            }
            for told in decision.told
        ]
        if decision.status:
            shown.append({"iaid": decision.ia.iaid, "refused": decision.status.name, "reason": decision.reason})
    if shown:
        yield "leases", shown


def _show_relays(relays: list[Relay]) -> Iterator[tuple[str, Any]]:
    if relays:
        yield "link-address", show_address(relays[-1].link_address)
        yield "client", show_address(relays[-1].peer_address)

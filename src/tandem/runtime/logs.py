"""Notes to log lines: text for a terminal, JSON for everything else. Raw values are shown here and nowhere else."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TextIO

from tandem.effects.effects import Note
from tandem.lease.lease import BindingStatus, show_key
from tandem.server.bindings import Decision
from tandem.wire.message import MessageType
from tandem.wire.received import Relay
from tandem.wire.text import show_address, show_octets

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
ENCODER = json.JSONEncoder()
MESSAGE_TYPES = {int(each): each.name for each in MessageType}


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
    """Show a note as one JSON object on a line."""
    return ENCODER.encode(as_json(now, note)) + "\n"


def as_json(now: float, note: Note) -> dict[str, Any]:
    """Give a note as JSON has it: `time`, `level`, `event`, and its values."""
    return {"time": round(now, 6), "level": note.level, "event": note.event, **_shown(note.values)}


def show_text(now: float, note: Note) -> str:
    """Show a note as one line for people."""
    clock = time.strftime("%H:%M:%S", time.localtime(now))
    values = " ".join(f"{name}={_plain(value)}" for name, value in _shown(note.values).items())
    return f"{clock} {note.level:7} {note.event} {values}".rstrip() + "\n"


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return "; ".join(" ".join(f"{name}={each}" for name, each in item.items()) for item in value)
    return str(value)


def _shown(values: Mapping[str, Any]) -> dict[str, Any]:
    """Give what is shown of a note's values, by the name that it is shown under."""
    shown: dict[str, Any] = {}
    for name, value in values.items():
        show = SHOWN.get(name)
        if show is not None:
            show(shown, value)
        elif isinstance(value, BindingStatus):
            shown[name] = value.name.replace("_", "-")
        elif isinstance(value, bytes):
            shown[name.replace("_", "-")] = show_octets(value)
        elif value is not None and value != "":
            shown[name.replace("_", "-")] = value
    return shown


def _show_type(value: Any) -> Any:
    return MESSAGE_TYPES.get(value, value)


def _show_decisions(shown: dict[str, Any], decisions: Iterable[Decision]) -> None:
    leases: list[dict[str, Any]] = []
    for decision in decisions:
        iaid = decision.ia.iaid
        for told in decision.told:
            preferred_s, valid_s, _, _ = told.lifetimes
            lease = {
                "iaid": iaid,
                "lease": show_key(told.key),
                "preferred": preferred_s,
                "valid": valid_s,
                "reason": told.reason,
            }
            leases.append(lease)
        if decision.status:
            leases.append({"iaid": iaid, "refused": decision.status.name, "reason": decision.reason})
    if leases:
        shown["leases"] = leases


def _show_relays(shown: dict[str, Any], relays: list[Relay]) -> None:
    if relays:
        shown["link-address"] = show_address(relays[-1].link_address)
        shown["client"] = show_address(relays[-1].peer_address)


def _show_given_up(shown: dict[str, Any], keys: Iterable[int]) -> None:
    shown["leases"] = ",".join(map(show_key, keys))


def _under(name: str, show: Callable[[Any], Any]) -> Callable[[dict[str, Any], Any], None]:
    def put(shown: dict[str, Any], value: Any) -> None:
        shown[name] = show(value)

    return put


SHOWN: dict[str, Callable[[dict[str, Any], Any], None]] = {
    "type": _under("type", _show_type),
    "reply": _under("reply", _show_type),
    "key": _under("key", show_key),
    "transaction_id": _under("transaction-id", bytes.hex),
    "decisions": _show_decisions,
    "given_up": _show_given_up,
    "relays": _show_relays,
    "classes": _under("classes", lambda names: ",".join(sorted(names))),
}
"""How values of these names are shown. All others are shown as what they are."""

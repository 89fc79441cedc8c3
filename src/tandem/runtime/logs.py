"""Notes to log lines: text for a terminal, JSON for everything else. Raw values are shown here and nowhere else."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, Final, TextIO

from tandem.effects.effects import Note
from tandem.lease.lease import BindingStatus, show_key
from tandem.server.bindings import Decision
from tandem.wire.message import MessageType
from tandem.wire.received import Ignored, Relay
from tandem.wire.text import printable, show_address, show_octets

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
ENCODE: Final = json.JSONEncoder().encode
IGNORED_SHOWN: Final = 8
"""Parts of a message that a line of the log names as ignored."""
MESSAGE_TYPES: Final = {int(each): f'"{each.name}"' for each in MessageType}


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
    """Show a note as one JSON object on a line: `time`, `level`, `event`, and its values.

    It is joined from pieces, since at the highest rates nothing costs an exchange more than its line (decision 014).
    """
    values = "".join([_member(name, value) for name, value in note.values.items()])
    return f'{{"time": {now:.6f}, "level": "{note.level}", "event": "{note.event}"{values}}}\n'


def as_json(now: float, note: Note) -> dict[str, Any]:
    """Give a note as JSON has it."""
    shown: dict[str, Any] = json.loads(show_json(now, note))
    return shown


def show_text(now: float, note: Note) -> str:
    """Show a note as one line for people."""
    clock = time.strftime("%H:%M:%S", time.localtime(now))
    _, level, event, *values = as_json(now, note).items()
    shown = " ".join(f"{name}={printable(_plain(value))}" for name, value in values)
    return f"{clock} {level[1]:7} {event[1]} {shown}".rstrip() + "\n"


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return "; ".join(" ".join(f"{name}={each}" for name, each in item.items()) for item in value)
    return str(value)


def _member(name: str, value: Any) -> str:
    """Give what is shown of a value, with a comma in front; "" if that is nothing."""
    show = SHOWN.get(name)
    if show is not None:
        text: str = show(value)
        return text
    if value is None or value == "":
        return ""
    if isinstance(value, BindingStatus):
        value = value.name.replace("_", "-")
    elif isinstance(value, bytes):
        value = show_octets(value)
    return f', "{name.replace("_", "-")}": {ENCODE(value)}'


def _show_type(type_: int) -> str:
    return f', "type": {MESSAGE_TYPES.get(type_, type_)}'


def _show_reply(type_: int) -> str:
    return f', "reply": {MESSAGE_TYPES.get(type_, type_)}'


def _show_key(key: int) -> str:
    return f', "key": "{show_key(key)}"'


def _show_transaction_id(transaction_id: bytes) -> str:
    return f', "transaction-id": "{transaction_id.hex()}"'


def _show_duid(duid: bytes) -> str:
    return f', "duid": "{show_octets(duid)}"'


def _show_decisions(decisions: Iterable[Decision]) -> str:
    leases: list[str] = []
    for decision in decisions:
        iaid = decision.ia.iaid
        for told in decision.told:
            preferred_s, valid_s, _, _ = told.lifetimes
            leases.append(
                f'{{"iaid": {iaid}, "lease": "{show_key(told.key)}", "preferred": {preferred_s}, '
                f'"valid": {valid_s}, "reason": {ENCODE(told.reason)}}}'
            )
        if decision.status:
            leases.append(
                f'{{"iaid": {iaid}, "refused": "{decision.status.name}", "reason": {ENCODE(decision.reason)}}}'
            )
    return f', "leases": [{", ".join(leases)}]' if leases else ""


def _show_relays(relays: list[Relay]) -> str:
    if not relays:
        return ""
    nearest = relays[-1]
    link_address, client = show_address(nearest.link_address), show_address(nearest.peer_address)
    return f', "link-address": "{link_address}", "client": "{client}"'


def _show_given_up(keys: Iterable[int]) -> str:
    return f', "leases": "{",".join(map(show_key, keys))}"'


def _show_ignored(parts: Iterable[Ignored]) -> str:
    named = dict.fromkeys(f"{part.reason} (option {part.code})" if part.code else part.reason for part in parts)
    return f', "ignored": {ENCODE(", ".join(islice(named, IGNORED_SHOWN)))}'


def _show_classes(names: Iterable[str]) -> str:
    return f', "classes": {ENCODE(",".join(sorted(names)))}'


SHOWN: dict[str, Callable[[Any], str]] = {
    "type": _show_type,
    "reply": _show_reply,
    "key": _show_key,
    "transaction_id": _show_transaction_id,
    "duid": _show_duid,
    "decisions": _show_decisions,
    "given_up": _show_given_up,
    "relays": _show_relays,
    "classes": _show_classes,
    "ignored": _show_ignored,
}
"""How values of these names are shown. All others are shown as what they are."""

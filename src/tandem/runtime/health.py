"""The health of a server: whether every client that should be answered is being answered, and if not, why.

`Health` finds the problems of a running server, remembers since when each lasts, and logs when one begins and ends. The
`status` answer carries the same values, and everything that people look at renders them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from tandem.config.load import Loaded
from tandem.config.model import Server
from tandem.effects.problem import Problem, Severity, problem, worst_first
from tandem.runtime.certificates import days_left, is_exposed

CERTIFICATE_DAYS_MIN = 30
LOOK_S = 1.0
"""How soon a problem that nothing reports by itself is noticed."""


class Say(Protocol):
    """Logs an event."""

    def __call__(self, event: str, level: str = "info", **values: Any) -> None:
        """Log one event with its values."""


class Health:
    """The problems of one server. `find` returns all that are wrong now; thoroughly if it is asked to."""

    def __init__(self, find: Callable[[bool], Iterable[Problem]], say: Say) -> None:
        self._find = find
        self._say = say
        self._known: dict[tuple[str, str], Problem] = {}

    def look(self, is_thorough: bool = False) -> list[Problem]:
        """Return the problems there are now, the critical ones first; log those that are new or over."""
        now = int(time.time())
        found = {each.key: each for each in self._find(is_thorough)}
        for key, each in found.items():
            before = self._known.get(key)
            found[key] = each.began(now if before is None or before.since is None else before.since)
            if before is None:
                self._log_begin(found[key])
        for key, each in self._known.items():
            if key not in found:
                self._say("problem-ended", "info", id=each.id, about=each.about, what=each.what)
        self._known = found
        return worst_first(list(found.values()))

    def _log_begin(self, each: Problem) -> None:
        level = "error" if each.severity is Severity.CRITICAL else "warning"
        until = None if each.until is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(each.until))
        self._say(
            "problem",
            level,
            id=each.id,
            about=each.about,
            what=each.what,
            ends_when=each.ends_when,
            until=until,
            command=each.command,
            examples="; ".join(each.examples),
        )


def configuration_problems(
    loaded: Loaded, path: Path, refused: Sequence[str], started_with: Server
) -> Iterator[Problem]:
    """Return what is wrong with the configuration; `refused` is what is wrong with a file that was not taken over."""
    if refused:
        what = f"{path} was changed but cannot be used, and the server runs with the earlier one: {refused[0]}"
        more = f" There are {len(refused) - 1} more errors." if len(refused) > 1 else ""
        yield problem("reload-refused", what + more, command=f"tandem check {path}", examples=tuple(refused[:5]))
    for complaint in loaded.complaints:
        yield problem("config-warning", complaint, about=complaint.partition(": ")[0])
    for doubt in loaded.doubts:
        yield problem(doubt.id, doubt.text, about=doubt.where)
    for sentence in needs_restart(started_with, loaded.server):
        yield problem("restart-needed", f"{sentence[:1].upper()}{sentence[1:]}.", about=sentence.partition(" ")[0])


def needs_restart(before: Server, after: Server) -> Iterator[str]:
    """Return what differs between the running server's part of the file and the one on disk, if it needs a restart."""
    for key, old, new in (
        ("duid", before.duid, after.duid),
        ("state-dir", before.state_dir, after.state_dir),
        ("control", before.control, after.control),
    ):
        if old != new:
            yield f"{key} was changed in the file and takes effect with a restart"


def certificate_problems(loaded: Loaded) -> Iterator[Problem]:
    """Return what is wrong with this server's certificates for its partners."""
    for line in loaded.lines:
        if line.tls is not None:
            if is_exposed(line.tls.key):
                what = f"{line.relationship}: others than the server's user may read the private key {line.tls.key}."
                yield problem("key-exposed", what, about=line.relationship, command=f"chmod 600 {line.tls.key}")
            days = days_left(line.tls.certificate)
            if days is None:
                what = f"{line.relationship}: the certificate {line.tls.certificate} cannot be read."
            elif days < CERTIFICATE_DAYS_MIN:
                what = f"{line.relationship}: the certificate {line.tls.certificate} expires in {days} days."
            else:
                continue
            yield problem("certificate-expires", what, about=line.relationship)

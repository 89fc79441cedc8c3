"""Datagrams that stopped the server once are dropped after the restart, or they would stop the partner too.

A client sends the same message again with only its elapsed time changed, so that is left out of the fingerprint.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path

from tandem.effects.events import Datagram
from tandem.effects.problem import Problem, problem
from tandem.wire.octets import scan_options
from tandem.wire.options import ElapsedTime
from tandem.wire.reader import WireError
from tandem.wire.received import unwrap

REMEMBERED_MAX = 100


def fingerprint(data: bytes) -> str:
    """Give what is the same in a datagram and its retransmissions."""
    try:
        _, start, end = unwrap(data)
        for code, body, body_end in scan_options(data, start + 4, end)[0]:
            if code == ElapsedTime.code:
                data = data[:body] + bytes(body_end - body) + data[body_end:]
    except WireError:
        pass
    return sha256(data).hexdigest()


class Poison:
    """The fingerprints in a file, one to a line."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            # What a damaged file holds instead of a fingerprint fits no datagram, and keeps no server from starting.
            self._known = set(path.read_bytes().decode("ascii", "replace").split())
        except FileNotFoundError:
            self._known = set()

    def __bool__(self) -> bool:
        return bool(self._known)

    def without(self, datagrams: Iterable[Datagram]) -> list[Datagram]:
        """Give those that never did any harm."""
        return [each for each in datagrams if fingerprint(each.data) not in self._known]

    def problems(self) -> Iterator[Problem]:
        """Return whether datagrams are dropped since they stopped the server."""
        if self._known:
            last = self._path.with_suffix(".last")
            what = f"{len(self._known)} datagrams stopped the server and are dropped; the last one is in {last}."
            yield problem("poison", what, command=f"rm {self._path}   # once the fault is reported and mended")

    def record(self, data: bytes) -> None:
        """Remember a datagram, and keep its octets beside for whoever looks into it."""
        kept = [*sorted(self._known)[-REMEMBERED_MAX + 1 :], fingerprint(data)]
        draft = self._path.with_suffix(".new")
        draft.write_text("\n".join(kept) + "\n")
        draft.rename(self._path)
        self._path.with_suffix(".last").write_bytes(data)

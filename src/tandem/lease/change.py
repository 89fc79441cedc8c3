"""What can become durable: a lease's new content, or a fact about the server itself."""

from __future__ import annotations

from typing import NamedTuple


class Put(NamedTuple):
    """The lease `key` now is `record`; None forgets it."""

    key: int
    record: bytes | None


class Fact(NamedTuple):
    """Something the server must not forget that is no lease, such as its DUID."""

    name: str
    value: bytes


Change = Put | Fact

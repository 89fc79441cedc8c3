"""What can become durable: a lease's new content, or a fact about the server itself."""

from __future__ import annotations

from typing import Final, NamedTuple


class Put(NamedTuple):
    """The lease `key` now is `record`; None forgets it."""

    key: int
    record: bytes | None


class Fact(NamedTuple):
    """Something the server must not forget that is no lease, such as its DUID."""

    name: str
    value: bytes


Change = Put | Fact

RESTORED_FACT: Final = "restored"
"""The name of the fact that says when the store was restored, or noticed that acknowledged commits may be missing.

Its value is the UTC second in decimal, empty once the server has begun to recover.
"""

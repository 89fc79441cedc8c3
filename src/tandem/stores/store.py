"""What any store promises. `tests/contract/test_store.py` tries every back end against it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from tandem.lease.change import Change

STORE_ID_FACT = "store-id"
"""Random, made with the store, and another one once a backup was restored."""
STORE_ID_OCTETS = 8


class StoreError(Exception):
    """The store cannot be used; the message says what, where and what to do."""


class StoreFull(Exception):
    """Nothing was stored, since there is no room or no right to write. The batch may be tried again."""


class StoreBroken(Exception):
    """A sync failed: what is on disk is not known any more. Never to be retried."""


class Finding(NamedTuple):
    """Something about the files of a store that an operator has to know."""

    sentence: str
    missing: int | None
    """How many acknowledged commits are missing, None if that is not known."""
    is_lost: bool = False
    """Whether acknowledged commits are missing, or may be. Then the fact `restored` says so as well."""


class Store(Protocol):
    """Keeps changes. Used by one thread at a time; but while one tidies, another may commit."""

    @property
    def position(self) -> int:
        """Return the number of the last commit: once loaded, each commit has the next number. For any thread."""

    def load(self) -> Iterable[Change]:
        """Give all that is kept, the later of two changes to one lease or fact last. StoreError if it is damaged."""

    def commit(self, batch: Sequence[Change]) -> None:
        """Keep the changes, all or none; returns once they are durable. StoreFull or StoreBroken if not."""

    def tidy(self) -> bool:
        """Do a small piece of housekeeping, for when there is nothing to commit; say whether there is more."""

    def close(self) -> None:
        """Give back what the store holds. What was committed stays."""

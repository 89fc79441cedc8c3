"""The options of one scope of the configuration, encoded once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

Suboptions = Mapping[int, bytes]
"""A vendor's suboptions by code, encoded with their headers."""
PackedOptions = tuple[dict[int, bytes], dict[int, dict[int, bytes]], frozenset[int], frozenset[tuple[int, int]]]
"""The fields of an `OptionSet`, of types that can be marshalled."""


@dataclass(frozen=True, slots=True, eq=False)
class OptionSet:
    """The options of one scope: encoded by code, and apart from them the suboptions of each vendor (option 17)."""

    encoded: Mapping[int, bytes] = field(default_factory=dict)
    vendors: Mapping[int, Suboptions] = field(default_factory=dict)
    """By enterprise number."""
    always: frozenset[int] = frozenset()
    """Codes of the options that each client is told, whether it asked for them or not (RFC 9915 18.3)."""
    always_of_vendors: frozenset[tuple[int, int]] = frozenset()
    """Suboptions, by enterprise number and code, that each client of the vendor is told."""

    def __len__(self) -> int:
        """Return the number of options."""
        return len(self.encoded) + bool(self.vendors)

    @property
    def says_anything(self) -> bool:
        """True if what a client is told can depend on it."""
        return bool(self.encoded or self.vendors or self.always or self.always_of_vendors)

    def packed(self) -> PackedOptions:
        """Return the same in types that can be marshalled."""
        vendors = {enterprise: dict(suboptions) for enterprise, suboptions in self.vendors.items()}
        return dict(self.encoded), vendors, self.always, self.always_of_vendors


NO_OPTIONS: Final = OptionSet()

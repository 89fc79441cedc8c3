"""The leases of each client: those that it has, the last ones that it had, and apart from them those that it declined.

A message of a client is decided by its leases. What it has is limited for each link, but not what it had: a client that
asks for leases and gives them up again and again would make each of its messages, and the next start, cost more. So of
those that ended, the last few are found by their client, and none of those that it declined.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable
from enum import Enum
from typing import Final

from tandem.lease.lease import KEY_OCTETS, STATUS_AT, BindingStatus
from tandem.lease.space import Interval

FEW_KEYS: Final = 32
"""Leases of a client that are looked at whichever link it is on; beyond that, those of the link are searched for."""
FORMER_MAX: Final = 32
"""Ended leases by which a client is remembered."""

Keys = dict[bytes, int | bytes]


class Kind(Enum):
    """What a lease is to the client that is on record with it."""

    HELD = "held"
    FORMER = "former"
    DECLINED = "declined"


def kind_of(record: bytes) -> Kind:
    """Return what a packed lease is to its client."""
    status = record[STATUS_AT]
    if status == BindingStatus.ACTIVE:
        return Kind.HELD
    return Kind.DECLINED if status == BindingStatus.ABANDONED else Kind.FORMER


class ClientIndex:
    """Keys of leases by the DUID of their client; an empty DUID stands for none."""

    def __init__(self) -> None:
        # Most clients hold one lease: its key stands by itself, several are octets. They are no tuple, since Python
        # walks through all that holds objects when it collects garbage, for a tenth of a second with a million clients.
        self._held: Keys = {}
        self._former: Keys = {}
        # The clients with more than FEW_KEYS leases, on many links say; their keys in order. Few, so lists do no harm.
        self._many: dict[bytes, list[int]] = {}
        self._declined: dict[bytes, dict[int, None]] = {}

    def clients(self) -> list[bytes]:
        """Return the DUIDs of all clients, in no order that means anything."""
        others = (self._former.keys() | self._declined.keys()) - self._held.keys()
        return [*self._held, *others]

    def keys(self, duid: bytes) -> tuple[int, ...]:
        """Return the keys of the leases that the client has, and of the last ones that it had."""
        return self._keys_held(duid) + _unpack(self._former.get(duid, b""))

    def keys_on(self, duid: bytes, spaces: Iterable[Interval], reserved: Iterable[int]) -> Iterable[int]:
        """Return the same, of a client with many leases only those on one link.

        The DUIDs of machines that were cloned have a lease on each of their links, and a message is about those of one:
        what begins in the link's spaces, which do not overlap, and what is reserved there for the client.
        """
        held, former = self._held.get(duid), self._former.get(duid)
        if former is None and (held is None or type(held) is int):  # most clients
            return () if held is None else (held,)
        many = self._many.get(duid)
        if many is None:
            return self.keys(duid)
        found: dict[int, None] = {}
        for first, last in spaces:
            found.update(dict.fromkeys(many[bisect_left(many, first << 8) : bisect_left(many, last + 1 << 8)]))
        found.update((key, None) for key in reserved if _has(many, key))
        found.update(dict.fromkeys(_unpack(former or b"")))
        return found

    def declined(self, duid: bytes) -> Iterable[int]:
        """Return the keys of the leases that are set aside since the client declined them."""
        return self._declined.get(duid, ())

    def add(self, duid: bytes, key: int, kind: Kind) -> None:
        """Add a lease to those of a client."""
        if not duid:
            return
        if kind is Kind.HELD:
            self._hold(duid, key)
        elif kind is Kind.FORMER:
            former = _unpack(self._former.get(duid, b""))
            self._former[duid] = _pack((*former, key)[-FORMER_MAX:])
        else:
            self._declined.setdefault(duid, {})[key] = None

    def remove(self, duid: bytes, key: int, kind: Kind) -> None:
        """Remove a lease from those of a client."""
        if not duid:
            return
        if kind is Kind.HELD:
            self._let_go(duid, key)
        elif kind is Kind.FORMER:
            left = tuple([each for each in _unpack(self._former.get(duid, b"")) if each != key])
            if left:
                self._former[duid] = _pack(left)
            else:
                self._former.pop(duid, None)
        else:
            keys = self._declined[duid]
            del keys[key]
            if not keys:
                del self._declined[duid]

    def _keys_held(self, duid: bytes) -> tuple[int, ...]:
        keys = self._held.get(duid, b"")
        return tuple(self._many[duid]) if keys == b"" and duid in self._many else _unpack(keys)

    def _hold(self, duid: bytes, key: int) -> None:
        keys = self._held.get(duid)
        if keys is None:
            self._held[duid] = key
        elif keys == b"":
            insort(self._many[duid], key)
        else:
            self._put_held(duid, (*_unpack(keys), key))

    def _let_go(self, duid: bytes, key: int) -> None:
        many = self._many.get(duid)
        if many is not None and len(many) > FEW_KEYS // 2:
            del many[bisect_left(many, key)]
        else:
            self._put_held(duid, tuple([each for each in self._keys_held(duid) if each != key]))

    def _put_held(self, duid: bytes, keys: tuple[int, ...]) -> None:
        self._many.pop(duid, None)
        if len(keys) > FEW_KEYS:
            self._held[duid] = b""
            self._many[duid] = sorted(keys)
        elif keys:
            self._held[duid] = _pack(keys)
        else:
            del self._held[duid]


def _pack(keys: tuple[int, ...]) -> int | bytes:
    return keys[0] if len(keys) == 1 else b"".join([each.to_bytes(KEY_OCTETS, "big") for each in keys])


def _unpack(keys: int | bytes) -> tuple[int, ...]:
    if isinstance(keys, int):
        return (keys,)
    return tuple([int.from_bytes(keys[at : at + KEY_OCTETS], "big") for at in range(0, len(keys), KEY_OCTETS)])


def _has(keys: list[int], key: int) -> bool:
    at = bisect_left(keys, key)
    return at < len(keys) and keys[at] == key

"""One lease: an address or a delegated prefix, and who holds it until when.

In memory and on disk a lease is its packed octets, so that a million of them fit into little memory, and what
is made durable is byte for byte what the table holds. `Lease` is the value that one is read into.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import NamedTuple

from tandem.wire.options import IaNa, IaPd
from tandem.wire.received import ADDRESS_LENGTH
from tandem.wire.text import show_address, show_prefix

FOREVER = 0xFFFFFFFF
"""An expiration time, or a lifetime, that never comes (RFC 9915 7.7)."""

FIXED = Struct("!BIIIIIIIIB")
"""Status, IAID, three absolute times, four durations, and the size of the DUID behind them."""


class BindingStatus(IntEnum):
    """RFC 8156 5.5.1 and 7.2."""

    ACTIVE = 1
    EXPIRED = 2
    RELEASED = 3
    PENDING_FREE = 4
    FREE = 5
    FREE_BACKUP = 6
    ABANDONED = 7
    RESET = 8


class Lease(NamedTuple):
    """What is known of one lease. Absolute times are UTC seconds, `_s` are durations as the client was told.

    `key` is the address and its prefix length in one number: address << 8 | length, 128 for an address.
    The client stays named after its lease ended, so that it can be given the same again.
    `details` are encoded DHCP options that describe the client, such as its FQDN.
    """

    key: int
    status: int
    duid: bytes
    iaid: int
    start_time_of_state: int
    client_last_transaction_time: int
    expiration_time: int
    preferred_s: int
    valid_s: int
    t1_s: int
    t2_s: int
    details: bytes

    @property
    def address(self) -> bytes:
        """The address, or the prefix's first address, as 16 octets."""
        return address_of(self.key)

    @property
    def length(self) -> int:
        """The prefix length; 128 for an address."""
        return self.key & 0xFF

    @property
    def ia_code(self) -> int:
        """The option code of the IA type that this lease belongs to."""
        return ia_code_of(self.key)

    def pack(self) -> bytes:
        """Give all but the key as octets."""
        return b"".join((FIXED.pack(self.status, *self[3:11], len(self.duid)), self.duid, self.details))


def expiration_time_of(record: bytes) -> int:
    """Give the expiration time in a packed lease."""
    return int.from_bytes(record[13:17], "big")


def unpack(key: int, record: bytes) -> Lease:
    """Read what `Lease.pack` gave. The inverse, for every lease."""
    status, iaid, *times_and_durations, size = FIXED.unpack_from(record)
    end = FIXED.size + size
    return Lease._make((key, status, record[FIXED.size : end], iaid, *times_and_durations, record[end:]))


def key_of(address: int, length: int = ADDRESS_LENGTH) -> int:
    """Give the key of an address, or of a prefix."""
    return address << 8 | length


def address_of(key: int) -> bytes:
    """Give the 16 octets of a key's address."""
    return (key >> 8).to_bytes(16, "big")


def ia_code_of(key: int) -> int:
    """Give the option code of the IA type that a key's lease belongs to: IA_NA or IA_PD."""
    return IaNa.code if key & 0xFF == ADDRESS_LENGTH else IaPd.code


def show_key(key: int) -> str:
    """Show a key for people: an address, or a prefix with its length."""
    length = key & 0xFF
    address = address_of(key)
    return show_address(address) if length == ADDRESS_LENGTH else show_prefix(address, length)


def end_of(now_utc: int, lasts_s: int) -> int:
    """Give the UTC second at which something ends that lasts so long; FOREVER if it never does."""
    return FOREVER if lasts_s == FOREVER else min(now_utc + lasts_s, FOREVER - 1)


def is_held(lease: Lease, lapse_utc: int) -> bool:
    """Say whether a client may be using the lease now."""
    return lease.status == BindingStatus.ACTIVE and lease.expiration_time > lapse_utc

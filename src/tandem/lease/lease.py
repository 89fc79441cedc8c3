"""One lease: an address or a delegated prefix, and who holds it until when.

In memory and on disk a lease is its packed octets, so that a million of them fit into little memory, and what
is made durable is byte for byte what the table holds. `Lease` is the value that one is read into.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import Final, NamedTuple

from tandem.wire.octets import u32
from tandem.wire.options import IaNa, IaPd
from tandem.wire.received import ADDRESS_LENGTH
from tandem.wire.text import show_address, show_prefix

FOREVER: Final = 0xFFFFFFFF
"""An expiration time, or a lifetime, that never comes (RFC 9915 7.7)."""

KEY_OCTETS: Final = 17
"""What a lease's key takes where it is kept as octets."""

FIXED: Final = Struct("!?IBIIIIIIIIIIIB")
"""Owes-partner, acked-partner-lifetime, status, IAID, three absolute times, four durations, the three other times
that are kept for a partner, and the size of the DUID behind them."""
FIXED_OCTETS: Final = FIXED.size
FRONT: Final = Struct("!?IB")
"""What the partner's answers change: owes-partner, the acked-partner-lifetime, and maybe the status."""
OWING: Final = b"\1"
"""The first octet of a record that the partner is yet to acknowledge."""
CONTENT_AT: Final = 5
"""Where a record begins to say what a partner is told; in front of it is what the partner's answers change."""
STATUS_AT: Final = 5
STATE_EXPIRATION_AT: Final = STATUS_AT + 1 + 3 * 4


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


TIMED: Final = (BindingStatus.ACTIVE, BindingStatus.ABANDONED)
"""A lease with one of these ends by itself when its time comes, and is nobody else's until then."""


class Lease(NamedTuple):
    """What is known of one lease. Absolute times are UTC seconds, `_s` are durations as the client was told.

    `key` is the address and its prefix length in one number: address << 8 | length, 128 for an address.
    The client stays named after its lease ended, so that it can be given the same again.
    `details` are encoded DHCP options that describe the client, such as its FQDN, and what a partner sent that is
    not known here; what is said of the client and not of this lease stands in a Client Data option.
    The times from `acked_partner_lifetime` on are those of RFC 8156 7.3, 0 without a partner.
    """

    key: int
    status: int
    duid: bytes
    iaid: int
    start_time_of_state: int
    client_last_transaction_time: int
    state_expiration_time: int
    preferred_s: int
    valid_s: int
    t1_s: int
    t2_s: int
    details: bytes
    owes_partner: bool = False
    """Whether the partner has not yet acknowledged what this says."""
    acked_partner_lifetime: int = 0
    partner_raw_clt_time: int = 0
    expiration_time: int = 0
    partner_lifetime: int = 0

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

    def ended(self, status: BindingStatus, now_utc: int, until: int) -> Lease:
        """Give the lease as it is once its client has it no more; a status that itself ends does so at `until`."""
        start = self.next_start_time(now_utc)
        return Lease(  # in the order of its fields: by their names it would take twice as long
            self.key,
            status,
            self.duid,
            self.iaid,
            start,
            self.client_last_transaction_time,
            until if status in TIMED else start,
            self.preferred_s,
            self.valid_s,
            self.t1_s,
            self.t2_s,
            self.details,
            self.owes_partner,
            0,
            self.partner_raw_clt_time,
            self.expiration_time,
            max(self.partner_lifetime, self.acked_partner_lifetime),
        )

    def next_start_time(self, now_utc: int) -> int:
        """Give the start time of a status that begins now: later than that of the one before, even within a second.

        By it partners tell which of two statuses is the newer one.
        """
        return min(max(now_utc, self.start_time_of_state + 1), FOREVER - 1)

    def pack(self) -> bytes:
        """Give all but the key as octets."""
        # fmt: off
        (_, status, duid, iaid, start, clt, ends, preferred_s, valid_s, t1_s, t2_s, details,
         owes, acked, raw_clt, expiration, lifetime) = self
        return FIXED.pack(
            owes, acked, status, iaid, start, clt, ends, preferred_s, valid_s, t1_s, t2_s,
            raw_clt, expiration, lifetime, len(duid),
        ) + duid + details
        # fmt: on


def state_expiration_time_of(record: bytes) -> int:
    """Give the state-expiration-time in a packed lease."""
    return u32(record, STATE_EXPIRATION_AT)


def client_last_transaction_time_of(record: bytes) -> int:
    """Give the client-last-transaction-time in a packed lease."""
    return u32(record, STATE_EXPIRATION_AT - 4)


def start_time_of_state_of(record: bytes) -> int:
    """Return the start-time-of-state in a packed lease."""
    return u32(record, STATE_EXPIRATION_AT - 8)


def duid_of(record: bytes) -> bytes:
    """Give the client's DUID in a packed lease."""
    return record[FIXED_OCTETS : FIXED_OCTETS + record[FIXED_OCTETS - 1]]


def settled_record(record: bytes, status: int, acked_partner_lifetime: int) -> bytes:
    """Give a packed lease that no longer owes the partner anything, with this status and acked-partner-lifetime."""
    return FRONT.pack(False, acked_partner_lifetime, status) + record[FRONT.size :]


def unpack(key: int, record: bytes) -> Lease:
    """Read what `Lease.pack` gave. The inverse, for every lease."""
    # fmt: off
    (owes, acked, status, iaid, start, clt, ends, preferred_s, valid_s, t1_s, t2_s,
     raw_clt, expiration, lifetime, size) = FIXED.unpack_from(record)
    end = FIXED_OCTETS + size
    duid, details = record[FIXED_OCTETS:end], record[end:]
    # Each message reads a lease: by way of `Lease(...)` this would cost half as much again.
    return tuple.__new__(Lease, (
        key, status, duid, iaid, start, clt, ends, preferred_s, valid_s, t1_s, t2_s, details,
        owes, acked, raw_clt, expiration, lifetime,
    ))
    # fmt: on


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
    return lease.status == BindingStatus.ACTIVE and lease.state_expiration_time > lapse_utc

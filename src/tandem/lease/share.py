"""Which leases a server may give out beside a partner."""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple

from tandem.lease.holes import Holes
from tandem.lease.lease import BindingStatus, Lease
from tandem.lease.space import Role, address_owner, interval_of
from tandem.lease.table import LeaseTable
from tandem.wire.received import ADDRESS_LENGTH

ENDED: Final = (BindingStatus.EXPIRED, BindingStatus.RELEASED, BindingStatus.RESET)
"""Of a lease with one of these the partner is yet to acknowledge that its client is gone."""


class WithheldReason(Enum):
    """Why nothing is given out anew from space that is this server's to give; what ends it."""

    PARTNER_LACKS_POOL = "the partner does not have it in its pools"
    NOT_SYNCHRONIZED = "it joined the relationship, and the partner has yet to acknowledge the leases in it"
    ROLLED_BACK = "this server's disk lacks leases that it gave, until the MCLT has passed"


class Withheld(NamedTuple):
    """Space of which nothing is given out anew."""

    space: Holes
    reason: WithheldReason


class Share(NamedTuple):
    """One server's share of a relationship's leases (RFC 8156 4.2)."""

    role: Role
    table: LeaseTable
    mclt_s: int
    unsent_since: int | None = None
    """Since when nothing was sent to the partner; None while it may be sent to."""
    alone_since: int | None = None
    """Since when this server is in PARTNER-DOWN; None if it is not."""
    withheld: tuple[Withheld, ...] = ()
    are_reservations_agreed: bool = True
    """Whether the partner has the reservations of this server, and has told of all that it gave without them."""

    def owner(self, key: int, lease: Lease | None) -> Role | None:
        """Say who may give the lease out; None if nobody may, since it is a client's, or was one's until just now."""
        if lease is not None and lease.status not in (BindingStatus.FREE, BindingStatus.FREE_BACKUP):
            return None
        if key & 0xFF == ADDRESS_LENGTH:
            return address_owner(key)
        if lease is not None:
            return Role.SECONDARY if lease.status == BindingStatus.FREE_BACKUP else Role.PRIMARY
        pool = self.table.pool_of(key)
        return pool.gifts.owner(key >> 8) if pool is not None and pool.gifts is not None else Role.PRIMARY

    def may_give(self, key: int, lease: Lease | None, had_it: bool, lapse_utc: int) -> bool:
        """Say whether a lease that nobody holds may be given to somebody who had it last, or did not.

        RFC 8156 4.2.2.1, 8.4.1, 8.8.1.
        """
        if self.is_withheld(key):
            return False
        owner = self.owner(key, lease)
        if owner is self.role:
            return True
        is_prefix = key & 0xFF != ADDRESS_LENGTH
        if owner is not None:
            return is_prefix and self._has_waited(self.alone_since or 0, lapse_utc)
        if lease is None or lease.status not in ENDED:
            return False
        mine = is_prefix or address_owner(key) is self.role
        if had_it and self._is_still_its_clients(lease):
            return True
        promised = max(lease.state_expiration_time, lease.partner_lifetime, lease.acked_partner_lifetime)
        return mine and self._has_waited(max(self.alone_since or 0, promised, lease.expiration_time), lapse_utc)

    def may_give_reserved(self, key: int, lease: Lease | None, duid: bytes, lapse_utc: int) -> bool:
        """True if a lease that nobody holds may be given to the one client, of that DUID, that it is reserved for.

        Either server may: nobody else is given it, once the partner knows that.
        """
        if not self.are_reservations_agreed and not self._has_waited(self.alone_since or 0, lapse_utc):
            return False
        return lease is None or lease.duid == duid or self.owner(key, lease) is not None

    def is_withheld(self, key: int) -> bool:
        """True if a lease is not given out anew."""
        return bool(self.withheld) and self.why_withheld(*interval_of(key)) is not None

    def why_withheld(self, first: int, last: int) -> WithheldReason | None:
        """Return why any of the addresses first..last is not given out anew; None if all are."""
        for space, reason in self.withheld:
            if space.touches(first, last):
                return reason
        return None

    def may_be_partners(self, key: int, lease: Lease | None) -> bool:
        """Say whether the partner may have given the lease to a client without our knowing."""
        if lease is not None and lease.status == BindingStatus.ABANDONED:
            return False
        if key & 0xFF == ADDRESS_LENGTH:
            return address_owner(key) is not self.role
        return self.owner(key, lease) is not self.role

    def _is_still_its_clients(self, lease: Lease) -> bool:
        """The partner can have given it to nobody: it is not its to give, or it was not told that it is free."""
        if lease.key & 0xFF == ADDRESS_LENGTH and address_owner(lease.key) is self.role:
            return True
        return self.unsent_since is not None and lease.start_time_of_state > self.unsent_since

    def _has_waited(self, since_utc: int, lapse_utc: int) -> bool:
        return self.alone_since is not None and lapse_utc >= since_utc + self.mclt_s

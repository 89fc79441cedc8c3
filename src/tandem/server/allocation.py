"""Which leases an identity association gets. Decides and explains; changes nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Final, NamedTuple

from tandem.effects.reservations import Reservation
from tandem.effects.rules import Serve
from tandem.lease.lease import TIMED, BindingStatus, Lease, ia_code_of, is_held
from tandem.lease.pool import SCAN_MAX
from tandem.lease.space import Role
from tandem.lease.table import LeaseTable
from tandem.server.client import Client
from tandem.server.limits import Quotas
from tandem.server.offers import Offers
from tandem.server.places import Home, Place
from tandem.wire.message import MessageType
from tandem.wire.options import IaPd
from tandem.wire.received import Ia

OFFERS_REVISITED: Final = 8
"""Leases of a pool, offered to others longest ago, that are looked at once there is nothing else."""
WHOSE_LEASES: Final = {
    "leases-per-client": "the client holds",
    "leases-per-remote-id": "clients behind its Remote-ID hold",
    "leases-per-relay": "clients behind its relay agent hold",
    "leases-per-link": "clients of the link hold",
}
"""Of each limit on leases, who is at it."""


class Choice:
    """A lease for an identity association, where it belongs, and why just this one."""

    __slots__ = ("home", "key", "reason")

    def __init__(self, key: int, home: Home, reason: str) -> None:
        self.key = key
        self.home = home
        self.reason = reason


class Refusal(NamedTuple):
    """Why an identity association gets no lease, and the limit that keeps it from one, if one does."""

    reason: str
    limit: str = ""


class Allocator:
    """Chooses leases. The same client asking again is given the same lease while that is free."""

    def __init__(
        self,
        table: LeaseTable,
        offers: Offers,
        quotas: Quotas,
        secret: bytes,
        reuse_grace_s: int,
        own: Collection[int],
    ) -> None:
        self._table = table
        self._offers = offers
        self._quotas = quotas
        self._secret = secret
        self._reuse_grace_s = reuse_grace_s
        self._own = own
        """The server's own addresses, which are given to nobody (RFC 9915 13.1)."""

    def may_resume(self, client: Client, ia: Ia, taken: Collection[int]) -> bool:
        """Say whether the client names a lease that is over or unknown here, but still its.

        The partner may have given or extended it, and nobody else can have it: it is reserved for this client, or
        the partner has not acknowledged its end (RFC 8156 8.8.1, 8.9.1).
        """
        if client.rules.share is None or client.rules.serve is Serve.RENEW_OF_KNOWN or client.place is None:
            return False
        for key in ia.asked:
            lease = self._table.get(key)
            is_reserved = _is_for_it_alone(client, key)
            is_its = is_reserved if lease is None else (lease.duid, lease.iaid) == (client.duid, ia.iaid)
            is_open = is_reserved or self._open_home(client, key) is not None
            if is_its and is_open and self.is_free(client, ia, key, taken, despite_offers=True):
                return True
        return False

    def named(self, client: Client, ia: Ia, taken: Collection[int]) -> list[Choice]:
        """Return the leases that a client names and that anybody might be given now."""
        if client.place is None or client.rules.serve is not Serve.ALL or self._quotas.leases(client, taken)[0]:
            return []
        return [
            Choice(key, home, "named by the client, and nobody's")
            for key in ia.asked[: self._room(client, taken)]
            if (home := self._open_home(client, key)) and self.is_free(client, ia, key, taken, despite_offers=True)
        ]

    def adoptable(self, client: Client, ia: Ia, taken: Collection[int]) -> list[Choice]:
        """Give the leases that a client rebinds, and that only the partner can have given it: they are of its share.

        The partner gives none of them to another client before this server has acknowledged that it is over with
        this one; of that nothing is on record here.
        """
        share = client.rules.share
        if share is None or client.place is None or client.rules.serve is not Serve.ALL:
            return []
        found: list[Choice] = []
        for key in ia.asked[: self._room(client, taken)]:
            lease, home = self._table.get(key), self._open_home(client, key)
            is_free = lease is not None and lease.status in (BindingStatus.FREE, BindingStatus.FREE_BACKUP)
            is_unknown = lease is None or (is_free and lease.duid != client.duid)
            is_partners = is_unknown and share.may_be_partners(key, lease) and not share.is_withheld(key)
            if home and is_partners and key not in taken:
                found.append(Choice(key, home, "the partner may have given it to the client"))
        return found

    def choose(self, client: Client, ia: Ia, taken: Collection[int]) -> list[Choice] | Refusal:
        """Choose leases for an identity association; `taken` are what others of the same message were given.

        In this order: what is reserved for the client, what it was just offered, what it holds, what it held,
        what it asks for, and any free lease.
        """
        place = client.place
        if place is None:
            return Refusal("no subnet on this link")
        if client.rules.serve is Serve.RENEW_OF_KNOWN:
            named = [each for each in self._usable(client, ia, place) if each.key in ia.asked]
            return named or Refusal("nothing new is given out in this failover state")
        if client.reservation is not None:
            reserved = self._reserved(client, client.reservation, ia, place, taken)
            if reserved:
                return reserved
        held = [] if self._wants_other_length(client, ia, place) else self._usable(client, ia, place)
        if held and not ia.asked:
            return held
        limit, most = self._quotas.leases(client, taken)
        if limit:
            whose = WHOSE_LEASES[limit]
            return held or Refusal(f"{whose} {most} leases here already, which is the limit ({limit})", limit)
        offered = self._offered(client, ia, taken)[: self._room(client, taken)] if ia.asked else []
        return offered or held or self._new(client, ia, place, taken)

    def may_extend(self, client: Client, lease: Lease, home: Home) -> bool:
        """Say whether a lease that the client holds is still its to be extended."""
        if client.reservation is not None and lease.key in client.reservation.keys:
            return True
        if home.pool is None or not home.admits(client.classes):
            return False
        pool = self._table.pool_from(home.pool.range.first)
        return pool is not None and pool.holds(lease.key)

    def is_free(self, client: Client, ia: Ia, key: int, taken: Collection[int], despite_offers: bool = False) -> bool:
        """Say whether an identity association may be given a lease that it does not hold."""
        if key in taken or key in self._own:
            return False
        if not despite_offers and self._offers.holder(key, client.now.mono) not in (None, client.duid):
            return False
        lease = self._table.get(key)
        if lease is not None and lease.status in TIMED:
            is_over = lease.status == BindingStatus.ACTIVE and not is_held(lease, client.now.lapse_utc)
            return is_over and (lease.duid, lease.iaid) == (client.duid, ia.iaid)
        if not self._is_ours_to_give(client, ia, key, lease):
            return False
        if lease is None:
            return True
        is_shared = client.reservation is not None and key in client.reservation.shared
        grace_s = 0 if is_shared or lease.duid in (client.duid, b"") else self._reuse_grace_s
        return not grace_s or lease.start_time_of_state + grace_s <= client.now.lapse_utc

    def is_in_a_pool(self, key: int) -> bool:
        """True if the lease lies in a pool of any link."""
        return self._table.pool_of(key) is not None

    def lease(self, key: int) -> Lease | None:
        """Give what is on record of a lease."""
        return self._table.get(key)

    def _is_ours_to_give(self, client: Client, ia: Ia, key: int, lease: Lease | None) -> bool:
        """Say whether the partner has no say in it. What is reserved for one client alone is given by either."""
        share = client.rules.share
        if share is None:
            return True
        had_it = lease is not None and (lease.duid, lease.iaid) == (client.duid, ia.iaid)
        if _is_for_it_alone(client, key) and share.may_give_reserved(key, lease, client.duid, client.now.lapse_utc):
            return True
        return share.may_give(key, lease, had_it, client.now.lapse_utc)

    # -- the steps of `choose`

    def _room(self, client: Client, taken: Collection[int]) -> int:
        """Say how many more leases the client may be given on its link, beside those held and those just taken."""
        limit = client.place.limits.leases_per_client if client.place is not None else 0
        if not client.leases:
            return max(0, limit - len(taken))
        return max(0, limit - len(client.held_here().union(taken)))

    def _reserved(
        self, client: Client, reservation: Reservation, ia: Ia, place: Place, taken: Collection[int]
    ) -> list[Choice]:
        found = []
        room = self._room(client, taken)
        for key in reservation.keys:
            lease = self._table.get(key)
            bound = lease is not None and is_held(lease, client.now.lapse_utc) and lease.duid == client.duid
            if bound and lease is not None and lease.iaid != ia.iaid:
                continue  # another of its identity associations has it
            home = place.home_of(key)
            if ia_code_of(key) == ia.code and home and (bound or (room and self.is_free(client, ia, key, taken))):
                room -= not bound
                found.append(Choice(key, home, f"reserved by {reservation.where}"))
        return found

    def _usable(self, client: Client, ia: Ia, place: Place) -> list[Choice]:
        return [
            Choice(lease.key, home, "held by the client")
            for lease in client.held(ia)
            if (home := place.home_of(lease.key)) and self.may_extend(client, lease, home)
        ]

    def _offered(self, client: Client, ia: Ia, taken: Collection[int]) -> list[Choice]:
        return [
            Choice(key, home, "offered to the client before")
            for key in ia.asked
            if self._offers.holder(key, client.now.mono) == client.duid
            and (home := self._open_home(client, key))
            and self.is_free(client, ia, key, taken)
        ]

    def _new(self, client: Client, ia: Ia, place: Place, taken: Collection[int]) -> list[Choice] | Refusal:
        on_link = place.homes(ia.code == IaPd.code)
        homes = _by_hint([home for home in on_link if home.admits(client.classes)], _length_hint(ia))
        is_request = client.message.type != MessageType.SOLICIT
        for role in _shares(client):
            for key, reason in self._wished(client, ia) if client.leases or ia.asked else ():
                home_of_key = self._open_home(client, key)
                is_wished = home_of_key is not None and self._may_be_wished(client, key, role)
                if is_wished and home_of_key and self.is_free(client, ia, key, taken, despite_offers=is_request):
                    return [Choice(key, home_of_key, reason)]
            for home in homes:
                chosen = self._search(client, ia, home, role, taken)
                if chosen is not None:
                    return [Choice(chosen, home, f"free in {_where(home)}")]
        for home in homes:
            for key in self._offers.oldest(home.pool.range.first, OFFERS_REVISITED) if home.pool else ():
                if self.is_free(client, ia, key, taken, despite_offers=True):
                    return [Choice(key, home, f"offered to another client before, the last choice in {_where(home)}")]
        if homes:
            return Refusal(_why_withheld(client, homes) or "all pools are used up")
        return Refusal("no pool on this link is for its classes" if on_link else "no pool on this link")

    def _search(self, client: Client, ia: Ia, home: Home, role: Role | None, taken: Collection[int]) -> int | None:
        """Return a lease of a pool that nobody has and that is offered to nobody else, None if none is found."""
        if home.pool is None:
            return None
        first = home.pool.range.first
        pool = self._table.pool_from(first)
        if pool is None or self._offers.fill(first, pool.size - pool.in_use, client.duid, client.now.mono):
            return None
        chosen = pool.choose(
            self._secret + ia.code.to_bytes(2, "big") + ia.iaid.to_bytes(4, "big") + client.duid,
            lambda key: self.is_free(client, ia, key, taken),
            lambda key: self._table.record(key) is None,
            role,
            SCAN_MAX >> client.failed_searches,
        )
        if chosen is None:
            client.failed_searches += 1
        return chosen

    def _may_be_wished(self, client: Client, key: int, role: Role | None) -> bool:
        """Say whether a lease may be given while the share of that role is given from: the partner's comes last."""
        share, lease = client.rules.share, self._table.get(key)
        if share is None or role is not share.role:
            return True
        owner = share.owner(key, lease)
        if owner is None:  # it is over, and becomes the primary's
            return role is Role.PRIMARY or (lease is not None and lease.duid == client.duid)
        return owner is role

    def _wished(self, client: Client, ia: Ia) -> Iterator[tuple[int, str]]:
        """Give the keys that this client should rather have than any: what it had, and what it asks for."""
        if client.leases and not self._wants_other_length(client, ia, client.place):
            for lease in client.former(ia):
                if not self._offers.was_declined(lease.key, client.duid):
                    yield lease.key, "held by the client before"
        for key in ia.asked:
            yield key, "asked for by the client"

    def _open_home(self, client: Client, key: int) -> Home | None:
        """Give the lease's home if it lies in a pool that the client may be given leases from."""
        home = client.place.home_of(key) if client.place is not None else None
        if home is None or home.pool is None or not home.admits(client.classes):
            return None
        pool = self._table.pool_from(home.pool.range.first)
        return home if pool is not None and pool.holds(key) else None

    def _wants_other_length(self, client: Client, ia: Ia, place: Place | None) -> bool:
        """Say whether only a prefix length is asked for, one that we have and the client does not (RFC 8168 3.2)."""
        hint = _length_hint(ia)
        if hint is None or any(key >> 8 for key in ia.asked) or place is None:
            return False
        if any(lease.length == hint for lease in client.held(ia)):
            return False
        homes = place.homes(is_prefix=True)
        return any(home.pool and home.pool.range.length == hint and home.admits(client.classes) for home in homes)


def _is_for_it_alone(client: Client, key: int) -> bool:
    """True if the lease is reserved for the client and for no other."""
    reservation = client.reservation
    return reservation is not None and key in reservation.keys and key not in reservation.shared


def _shares(client: Client) -> tuple[Role | None, ...]:
    """Give the shares to choose from, in their order: one's own first, alone also the partner's (RFC 8156 8.4.1)."""
    share = client.rules.share
    if share is None:
        return (None,)
    return (share.role,) if share.alone_since is None else (share.role, share.role.partner)


def _why_withheld(client: Client, homes: Sequence[Home]) -> str:
    """Return why nothing new is given from any of these pools; empty if something is given from one."""
    share = client.rules.share
    ranges = [home.pool.range for home in homes if home.pool is not None]
    reasons = [share.why_withheld(first, last) for first, last, _ in ranges] if share is not None else []
    whys = [reason.value for reason in reasons if reason is not None]
    return f"nothing new is given from the pool: {whys[0]}" if whys and len(whys) == len(reasons) else ""


def _where(home: Home) -> str:
    return home.pool.where if home.pool is not None else home.subnet.where


def _length_hint(ia: Ia) -> int | None:
    """Give the prefix length that the client would like (RFC 8168), None if it did not say."""
    if ia.code != IaPd.code or not ia.asked:
        return None
    bare = [key & 0xFF for key in ia.asked if not key >> 8 and key & 0xFF]
    named = [key & 0xFF for key in ia.asked if key >> 8]
    return next(iter(bare or named), None)


def _by_hint(homes: Sequence[Home], hint: int | None) -> Sequence[Home]:
    """Order pools by what RFC 8168 3.2 asks: the length itself, then the next shorter ones, then longer ones."""
    if hint is None:
        return homes

    def distance(home: Home) -> tuple[bool, int]:
        length = home.pool.range.length if home.pool else 0
        return length > hint, abs(length - hint)

    return sorted(homes, key=distance)

"""What an identity association is told: granted, extended, running out, gone, or refused. Decides only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from tandem.effects.settings import Lifetimes
from tandem.lease.lease import FOREVER, Lease
from tandem.server.allocation import Allocator, Choice, Refusal
from tandem.server.client import Client
from tandem.server.places import Home
from tandem.wire.options import IaNa, StatusCode
from tandem.wire.received import Ia

NONE_FREE = {True: StatusCode.NO_ADDRS_AVAIL, False: StatusCode.NO_PREFIX_AVAIL}
STATUS_TEXTS = {
    StatusCode.NO_ADDRS_AVAIL: "No address is available for this identity association.",
    StatusCode.NO_PREFIX_AVAIL: "No prefix is available for this identity association.",
    StatusCode.NO_BINDING: "This server knows no binding for this identity association.",
    StatusCode.NOT_ON_LINK: "An address does not fit the link that you are on.",
    StatusCode.SUCCESS: "",
}


class Told(NamedTuple):
    """A lease as it is told to the client. With valid_s 0 the client must stop using it."""

    key: int
    preferred_s: int
    valid_s: int
    home: Home | None
    granted: bool
    """Whether these lifetimes are new, and to be recorded as the lease's."""
    reason: str


@dataclass(slots=True)
class Decision:
    """What one identity association is told: leases, or a status."""

    ia: Ia
    told: list[Told] = field(default_factory=list)
    status: StatusCode = StatusCode.SUCCESS
    reason: str = ""

    @property
    def granted(self) -> list[Told]:
        """The leases that are the client's from now on."""
        return [told for told in self.told if told.granted]


def assign(allocator: Allocator, client: Client, ia: Ia, taken: set[int]) -> Decision:
    """Decide what a Solicit's or Request's identity association gets (RFC 9915 18.3.2, 18.3.9)."""
    chosen = allocator.choose(client, ia, taken)
    if isinstance(chosen, Refusal):
        return Decision(ia, status=NONE_FREE[ia.code == IaNa.code], reason=chosen.reason)
    taken.update(choice.key for choice in chosen)
    return Decision(ia, [_grant(choice) for choice in chosen])


def extend(allocator: Allocator, client: Client, ia: Ia, taken: set[int], may_create: bool) -> Decision:
    """Decide what a Renew's or Rebind's identity association gets (RFC 9915 18.3.4, 18.3.5).

    Leases that are still the client's are extended, also those it did not name. Those that no longer are to be
    given run out: deprecated, with the time that is left. Those that do not fit the link, or are not this
    client's, get lifetimes of 0.
    """
    held = allocator.held_by(client, ia)
    if not held and not may_create:
        off_link = _gone(client, (key for key in ia.asked if not _fits_link(client, key)))
        status = StatusCode.SUCCESS if off_link else StatusCode.NO_BINDING
        return Decision(ia, off_link, status, "no binding, and none is made for this message")
    decision = assign(allocator, client, ia, taken)
    told = {each.key for each in decision.told}
    for lease in held:
        home = client.place.home_of(lease.key) if client.place else None
        if lease.key not in told and home:
            decision.told.append(_running_out(lease, home, client.now.lapse_utc))
            told.add(lease.key)
    decision.told += _gone(client, (key for key in ia.asked if key not in told and key >> 8))
    if decision.told:
        decision.status = StatusCode.SUCCESS
    return decision


def off_link_addresses(client: Client, ia: Ia) -> bool:
    """Say whether a Request's or Confirm's IA_NA names an address that does not fit the link."""
    return ia.code == IaNa.code and any(not _fits_link(client, key) for key in ia.asked if key >> 8)


def renewal_times(decisions: Iterable[Decision]) -> tuple[int, int]:
    """Give T1 and T2 for all identity associations of one reply, in seconds (RFC 9915 18.3.2, 21.4).

    They are those of the lease that has to be renewed first. If nothing can be extended, they are the time that is
    left (18.3.4); if nothing lives, 0.
    """
    t1 = t2 = left_s = FOREVER
    is_granted = lives = False
    for decision in decisions:
        for told in decision.told:
            if told.granted and told.home:
                is_granted = True
                lifetimes = told.home.subnet.lifetimes
                t1 = min(t1, lifetimes.renew_s)
                t2 = min(t2, lifetimes.rebind_s)
            elif told.valid_s:
                lives = True
                left_s = min(left_s, told.valid_s)
    if is_granted:
        return min(t1, t2), t2
    return (left_s, left_s) if lives else (0, 0)


def _grant(choice: Choice) -> Told:
    lifetimes: Lifetimes = choice.home.subnet.lifetimes
    return Told(choice.key, lifetimes.preferred_s, lifetimes.valid_s, choice.home, True, choice.reason)


def _running_out(lease: Lease, home: Home, lapse_utc: int) -> Told:
    left_s = FOREVER if lease.expiration_time == FOREVER else lease.expiration_time - lapse_utc
    return Told(lease.key, 0, left_s, home, False, "no longer given out; runs out")


def _gone(client: Client, keys: Iterable[int]) -> list[Told]:
    """Tell the client to stop using these; nothing, if we do not know the link that it is on."""
    if client.place is None:
        return []
    return [Told(key, 0, 0, None, False, "not this client's here") for key in keys]


def _fits_link(client: Client, key: int) -> bool:
    place = client.place
    return place is None or place.is_on_link(key) or place.home_of(key) is not None

"""What an identity association is told: granted, extended, running out, gone, or refused. Decides only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from tandem.effects.now import Moment
from tandem.effects.rules import Serve
from tandem.lease.lease import FOREVER, BindingStatus, Lease, is_held
from tandem.lease.promise import Lifetimes, promise
from tandem.lease.share import ENDED
from tandem.server.allocation import Allocator, Choice, Refusal
from tandem.server.client import Client
from tandem.server.places import Home
from tandem.wire.message import MessageType
from tandem.wire.options import IaNa, StatusCode
from tandem.wire.received import ADDRESS_LENGTH, Ia

NONE_FREE: Final = {True: StatusCode.NO_ADDRS_AVAIL, False: StatusCode.NO_PREFIX_AVAIL}
STATUS_TEXTS: Final = {
    StatusCode.NO_ADDRS_AVAIL: "No address is available for this identity association.",
    StatusCode.NO_PREFIX_AVAIL: "No prefix is available for this identity association.",
    StatusCode.NO_BINDING: "This server knows no binding for this identity association.",
    StatusCode.NOT_ON_LINK: "An address does not fit the link that you are on.",
    StatusCode.SUCCESS: "",
}


class Told:
    """A lease as it is told to the client. With valid_s 0 the client must stop using it."""

    __slots__ = ("granted", "home", "key", "lifetimes", "reason")

    def __init__(self, key: int, lifetimes: Lifetimes, home: Home | None, granted: bool, reason: str) -> None:
        self.key = key
        self.lifetimes = lifetimes
        self.home = home
        self.granted = granted
        """Whether these lifetimes are new, and to be recorded as the lease's."""
        self.reason = reason


class Decision:
    """What one identity association is told: leases, or a status."""

    __slots__ = ("ia", "left_to_partner", "limit", "reason", "status", "told")

    def __init__(
        self,
        ia: Ia,
        told: list[Told],
        status: StatusCode = StatusCode.SUCCESS,
        reason: str = "",
        left_to_partner: bool = False,
        limit: str = "",
    ) -> None:
        self.ia = ia
        self.told = told
        self.status = status
        self.reason = reason
        self.left_to_partner = left_to_partner
        """Nothing is to be said of the identity association: the partner may know better."""
        self.limit = limit
        """The limit that keeps it from a lease; empty if none does."""

    @property
    def granted(self) -> list[Told]:
        """The leases that are the client's from now on."""
        return [told for told in self.told if told.granted]


def decide(allocator: Allocator, client: Client) -> list[Decision]:
    """Decide what each identity association of a Solicit, Request, Renew or Rebind gets. Changes nothing."""
    taken: set[int] = set()
    message = client.message
    if message.type == MessageType.RENEW:  # a binding that is not known here is made again
        return [extend(allocator, client, ia, taken, may_create=True) for ia in message.ias]
    if message.type == MessageType.REBIND:  # one is made where a Solicit may be answered with a Reply
        may_create = client.place is not None and client.place.rapid_commit
        return [rebind(allocator, client, ia, taken, may_create) for ia in message.ias]
    if message.type == MessageType.REQUEST:
        return [
            Decision(ia, [], StatusCode.NOT_ON_LINK, reason="asked for an address of another link")
            if off_link_addresses(client, ia)
            else assign(allocator, client, ia, taken)
            for ia in message.ias
        ]
    return [assign(allocator, client, ia, taken) for ia in message.ias]


def assign(allocator: Allocator, client: Client, ia: Ia, taken: set[int]) -> Decision:
    """Decide what a Solicit's or Request's identity association gets (RFC 9915 18.3.2, 18.3.9)."""
    chosen = allocator.choose(client, ia, taken)
    if isinstance(chosen, Refusal):
        return Decision(ia, [], NONE_FREE[ia.code == IaNa.code], reason=chosen.reason, limit=chosen.limit)
    taken.update(choice.key for choice in chosen)
    return Decision(ia, [_grant(allocator, client, choice) for choice in chosen])


def adopt(allocator: Allocator, client: Client, ia: Ia, taken: set[int]) -> list[Told]:
    """Take over what a Rebind's identity association has from the partner, and nothing is known of here.

    For at most the MCLT, in any state: more was never agreed upon (docs/protocol-notes.md, 15).
    """
    share = client.rules.share
    if share is None:
        return []
    mclt_s = share.mclt_s if client.rules.mclt_s is None else client.rules.mclt_s
    adopted = allocator.adoptable(client, ia, taken)
    taken.update(choice.key for choice in adopted)
    return [
        Told(
            each.key,
            promise(each.home.subnet.lifetimes_of(client.classes), 0, client.now.utc, mclt_s),
            each.home,
            True,
            each.reason,
        )
        for each in adopted
    ]


def rebind(allocator: Allocator, client: Client, ia: Ia, taken: set[int], may_create: bool) -> Decision:
    """Decide what a Rebind's identity association gets (RFC 9915 18.3.5): as `extend`, with what is taken over.

    Who has something from the partner is given nothing beside that it does not name. A server that alone decides on
    its pools binds again what the client names there and nobody has: after both disks were lost, nobody else can.
    """
    adopted = adopt(allocator, client, ia, taken)
    if adopted and not any(lease.key in ia.asked for lease in client.held(ia)):
        return Decision(ia, adopted)
    if _is_authoritative(client) and not client.held(ia):
        named = allocator.named(client, ia, taken)
        if named:
            taken.update(choice.key for choice in named)
            bound = {choice.key for choice in named}
            others = (key for key in ia.asked if key >> 8 and key not in bound)
            gone = _gone(client, (key for key in others if not _may_be_partners(allocator, client, key)))
            return Decision(ia, [_grant(allocator, client, choice) for choice in named] + gone)
    decision = extend(allocator, client, ia, taken, may_create)
    decision.told += adopted
    return decision


def extend(allocator: Allocator, client: Client, ia: Ia, taken: set[int], may_create: bool) -> Decision:
    """Decide what a Renew's or Rebind's identity association gets (RFC 9915 18.3.4, 18.3.5).

    Leases that are still the client's are extended, also those it did not name. Those that no longer are to be
    given run out: deprecated, with the time that is left. Those that do not fit the link, or are not this
    client's, get lifetimes of 0.
    """
    held = client.held(ia)
    resumes = not held and allocator.may_resume(client, ia, taken)
    if not held and not resumes and _is_left_to_partner(allocator, client, ia):
        return Decision(ia, [], reason="nothing is known of it here, but the partner may know it", left_to_partner=True)
    if not held and not may_create and not resumes:
        if _may_be_adopted(allocator, client, ia):
            return Decision(ia, [], reason="the partner may have taken it over", left_to_partner=True)
        off_link = _gone(client, (key for key in ia.asked if not _fits_link(client, key)))
        status = StatusCode.SUCCESS if off_link else StatusCode.NO_BINDING
        return Decision(ia, off_link, status, "no binding, and none is made for this message")
    decision = assign(allocator, client, ia, taken)
    told = {each.key for each in decision.told}
    for lease in held:
        home = _home_of_held(allocator, client, lease.key)
        if lease.key not in told and home:
            decision.told.append(_running_out(lease, home, client.now))
            told.add(lease.key)
    unknown = (key for key in ia.asked if key not in told and key >> 8)
    if decision.told:
        decision.status = StatusCode.SUCCESS
    # What is told to be gone is no lease: of an identity association that gets none, the status says so (18.3.4).
    decision.told += _gone(client, (key for key in unknown if not _may_be_partners(allocator, client, key)))
    return decision


def _home_of_held(allocator: Allocator, client: Client, key: int) -> Home | None:
    """Return where a lease belongs that the client holds, None if it does not fit the link.

    A prefix that is in no pool of any link is of one that was taken out: it runs out as addresses do.
    """
    place = client.place
    if place is None:
        return None
    home = place.home_of(key)
    if home is None and key & 0xFF != ADDRESS_LENGTH and not allocator.is_in_a_pool(key):
        return Home(place.subnets[0], None)
    return home


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
                t1 = min(t1, told.lifetimes.renew_s)
                t2 = min(t2, told.lifetimes.rebind_s)
            elif told.lifetimes.valid_s:
                lives = True
                left_s = min(left_s, told.lifetimes.valid_s)
    if is_granted:
        return min(t1, t2), t2
    return (left_s, left_s) if lives else (0, 0)


def _grant(allocator: Allocator, client: Client, choice: Choice) -> Told:
    lifetimes = choice.home.subnet.lifetimes_of(client.classes)
    if client.rules.mclt_s is not None:
        lease = allocator.lease(choice.key)
        goes_on = lease is not None and lease.status == BindingStatus.ACTIVE and lease.duid == client.duid
        acked = lease.acked_partner_lifetime if lease is not None and goes_on else 0
        lifetimes = promise(lifetimes, acked, client.now.utc, client.rules.mclt_s)
    return Told(choice.key, lifetimes, choice.home, True, choice.reason)


def _running_out(lease: Lease, home: Home, now: Moment) -> Told:
    """Tell the time that is left: by the wall clock, as the partner counts it; if by that it is over, as we hold it."""
    left_s = lease.state_expiration_time - now.utc
    if left_s <= 0:
        left_s = lease.state_expiration_time - now.lapse_utc
    if lease.state_expiration_time == FOREVER:
        left_s = FOREVER
    return Told(lease.key, Lifetimes(0, left_s, 0, 0), home, False, "no longer given out; runs out")


def _gone(client: Client, keys: Iterable[int]) -> list[Told]:
    """Tell the client to stop using these; nothing, if we do not know the link that it is on."""
    if client.place is None:
        return []
    return [Told(key, Lifetimes(0, 0, 0, 0), None, False, "not this client's here") for key in keys]


def _is_authoritative(client: Client) -> bool:
    """True if no partner may give out leases of the link now: there is none, or this server took over from it."""
    share = client.rules.share
    return share is None or share.alone_since is not None


def _is_left_to_partner(allocator: Allocator, client: Client, ia: Ia) -> bool:
    """Say whether to keep silent on an identity association of which nothing is held here."""
    if client.rules.serve is Serve.RENEW_OF_KNOWN:
        return True
    return any(_may_be_partners(allocator, client, key) for key in ia.asked if key >> 8)


def _may_be_partners(allocator: Allocator, client: Client, key: int) -> bool:
    """Say whether the partner may have given the lease to this client, where it is, without our knowing it yet."""
    share = client.rules.share
    if share is None or not _fits_link(client, key):
        return False
    lease = allocator.lease(key)
    if lease is not None and lease.duid != client.duid and is_held(lease, client.now.lapse_utc):
        return False
    if lease is not None and lease.duid == client.duid and lease.status in ENDED:
        return True
    return share.may_be_partners(key, lease)


def _may_be_adopted(allocator: Allocator, client: Client, ia: Ia) -> bool:
    """Say whether the partner may have taken over what is ours and free here, as `adopt` does, out of our hearing."""
    share = client.rules.share
    if share is None or share.unsent_since is None or share.alone_since is not None:
        return False
    named = [key for key in ia.asked if key >> 8 and _fits_link(client, key)]
    return any(share.owner(key, allocator.lease(key)) is share.role for key in named)


def _fits_link(client: Client, key: int) -> bool:
    place = client.place
    return place is None or place.is_on_link(key) or place.home_of(key) is not None

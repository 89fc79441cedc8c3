"""How long a lease may be promised. Every promise to a client goes through here."""

from __future__ import annotations

from typing import NamedTuple


class Lifetimes(NamedTuple):
    """Preferred and valid lifetime, T1 and T2; 0xffffffff is for ever (RFC 9915 7.7, 21.4)."""

    preferred_s: int
    valid_s: int
    renew_s: int
    rebind_s: int


def promise(desired: Lifetimes, acked_partner_lifetime: int, now_utc: int, mclt_s: int | None) -> Lifetimes:
    """Shrink what a client would be told to what may be promised (RFC 8156 4.4).

    The lease may end no later than `mclt_s` after the later of now and what the partner has acknowledged;
    `mclt_s` None is no limit. The other times shrink in proportion.
    """
    if mclt_s is None:
        return desired
    limit_s = max(acked_partner_lifetime, now_utc) + mclt_s - now_utc
    if desired.valid_s <= limit_s:
        return desired
    preferred_s, valid_s, renew_s, rebind_s = desired
    promised = Lifetimes(
        preferred_s * limit_s // valid_s, limit_s, renew_s * limit_s // valid_s, rebind_s * limit_s // valid_s
    )
    assert now_utc + promised.valid_s <= max(acked_partner_lifetime, now_utc) + mclt_s
    return promised

"""The `[lifetimes]` tables: how long leases last, for the whole file, for a subnet, and for members of a class."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tandem.config.table import Table
from tandem.config.values import Duration
from tandem.lease import promise
from tandem.lease.lease import FOREVER

DEFAULT_PREFERRED_S = 2700
DEFAULT_VALID_S = 3600
LIFETIME_MAX_S = 10 * 365 * 86400
"""Finite lifetimes end before 2106, where absolute times in 32 bits do."""
FAILOVER_VALID_MIN_S = 30


class Lifetimes(Table):
    """How long leases last."""

    preferred_lifetime: Duration | None = None
    valid_lifetime: Duration | None = None
    renew_timer: Duration | None = None
    rebind_timer: Duration | None = None


class Effective(NamedTuple):
    """Lifetimes as they hold somewhere; a timer is None if it follows from the preferred lifetime."""

    preferred_s: int
    valid_s: int
    renew_s: int | None
    rebind_s: int | None

    def complete(self) -> promise.Lifetimes:
        """Return them with T1 and T2: half, and eight tenths, of the preferred lifetime (RFC 9915 21.4)."""
        return promise.Lifetimes(
            self.preferred_s, self.valid_s, self._share(self.renew_s, 5), self._share(self.rebind_s, 8)
        )

    def _share(self, configured_s: int | None, tenths: int) -> int:
        if configured_s is not None:
            return configured_s
        return FOREVER if self.preferred_s == FOREVER else self.preferred_s * tenths // 10

    def faults(self, with_failover: bool) -> Iterator[str]:
        """Return what is wrong with them, in sentences."""
        preferred_s, valid_s, renew_s, rebind_s = self
        if valid_s == 0 or preferred_s == 0:
            yield "a lifetime of 0 would end each lease as it begins"
        if LIFETIME_MAX_S < valid_s < FOREVER or LIFETIME_MAX_S < preferred_s < FOREVER:
            yield 'a lifetime of more than ten years is to be written as "forever"'
        if with_failover and valid_s < FAILOVER_VALID_MIN_S:
            yield f"with failover, leases last at least {FAILOVER_VALID_MIN_S} s (RFC 8156 section 1)"
        if with_failover and FOREVER in (valid_s, preferred_s):
            yield "with failover, no lifetime can be for ever"
        if preferred_s > valid_s:
            yield f"the preferred lifetime, {preferred_s} s, is longer than the valid one, {valid_s} s"
        if renew_s is not None and renew_s > (rebind_s if rebind_s is not None else valid_s):
            yield f"the renew-timer, {renew_s} s, comes after the rebind-timer or the end of the lease"
        if rebind_s is not None and rebind_s > valid_s:
            yield f"the rebind-timer, {rebind_s} s, comes after the end of the lease, {valid_s} s"


def effective(subnet: Lifetimes, general: Lifetimes) -> Effective:
    """Return the lifetimes of a subnet: its own, else those of the file, else the defaults."""

    def pick(name: str) -> int | None:
        own: int | None = getattr(subnet, name)
        whole: int | None = getattr(general, name)
        return own if own is not None else whole

    valid = pick("valid_lifetime")
    valid_s = DEFAULT_VALID_S if valid is None else valid
    preferred = pick("preferred_lifetime")
    preferred_s = min(DEFAULT_PREFERRED_S, valid_s) if preferred is None else preferred
    return Effective(preferred_s, valid_s, pick("renew_timer"), pick("rebind_timer"))


def of_class(own: Lifetimes, around: Effective) -> Effective:
    """Return the lifetimes of a class's members in a subnet; timers follow from them unless the class has its own."""
    preferred, valid = own.preferred_lifetime, own.valid_lifetime
    is_changed = preferred is not None or valid is not None
    return Effective(
        around.preferred_s if preferred is None else preferred,
        around.valid_s if valid is None else valid,
        own.renew_timer if is_changed or own.renew_timer is not None else around.renew_s,
        own.rebind_timer if is_changed or own.rebind_timer is not None else around.rebind_s,
    )

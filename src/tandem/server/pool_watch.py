"""Which pools have few leases left that this server may give, or none.

What counts is what *this* server may give now: beside a partner its own share (RFC 8156 4.2), alone also the
partner's once it has waited for the MCLT. Looking at a pool costs the same however many leases are in it; each call of
`look` examines a bounded number of pools, so that no answer waits for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Final, NamedTuple

from tandem.effects.problem import Problem, problem
from tandem.effects.rules import Rules, Serve
from tandem.effects.settings import Link, PoolSettings, Settings, SubnetSettings
from tandem.lease.pool import Pool
from tandem.lease.share import Share
from tandem.lease.table import LeaseTable

POOLS_PER_LOOK: Final = 500
LOW_SHARE: Final = 10
"""A pool is low when at most one in so many of its leases can still be given."""


class Watched(NamedTuple):
    """A configured pool and where it belongs."""

    link: Link
    subnet: SubnetSettings
    settings: PoolSettings


class PoolWatch:
    """The problems of a server's pools, kept up to date a part at a time."""

    def __init__(self, settings: Settings, table: LeaseTable) -> None:
        self._table = table
        self._links = settings.links
        self._left = _pools_of(self._links)
        """The pools that are to be examined before it is the first one's turn again."""
        self._problems: dict[int, tuple[Watched, Problem]] = {}
        """What is wrong with a pool, by the pool's first address."""

    def look(self, rules: Mapping[str | None, Rules], lapse_utc: int, is_thorough: bool) -> None:
        """Examine pools: all of them, or else the next POOLS_PER_LOOK and those with a problem."""
        if is_thorough:
            due = list(_pools_of(self._links))
        else:
            due = [*(watched for watched, _ in self._problems.values()), *islice(self._left, POOLS_PER_LOOK)]
            if len(due) - len(self._problems) < POOLS_PER_LOOK:
                self._left = _pools_of(self._links)
        for watched in due:
            first = watched.settings.range.first
            pool = self._table.pool_from(first)
            wrong = (
                _problem_of(watched, pool, rules[watched.link.relationship], lapse_utc) if pool is not None else None
            )
            if wrong is not None:
                self._problems[first] = watched, wrong
            else:
                self._problems.pop(first, None)

    def problems(self) -> Iterator[Problem]:
        """Return what was found."""
        return (wrong for _, wrong in self._problems.values())

    @property
    def closed_links(self) -> frozenset[str]:
        """Return the links with a pool from which nothing can be given."""
        return frozenset(watched.link.name for watched, wrong in self._problems.values() if wrong.id in CLOSED)


def _pools_of(links: Sequence[Link]) -> Iterator[Watched]:
    """Return the pools, one after the other: a list of all of them would hold a reload up."""
    return (Watched(link, subnet, pool) for link in links for subnet in link.subnets for pool in subnet.pools)


CLOSED: Final = frozenset(("pool-exhausted", "share-exhausted", "pool-withheld"))


def may_give(pool: Pool, share: Share | None, lapse_utc: int) -> int:
    """Return how many leases of a pool this server may give to clients that hold none."""
    if share is None:
        return pool.size - pool.in_use
    own = pool.free(share.role)
    alone_since = share.alone_since
    is_all_ours = alone_since is not None and lapse_utc >= alone_since + share.mclt_s
    return own + pool.free(share.role.partner) if is_all_ours else own


def _problem_of(watched: Watched, pool: Pool, rules: Rules, lapse_utc: int) -> Problem | None:
    where, share = watched.settings.where, rules.share
    about = f"{where} ({watched.subnet.name})"
    first, last, _ = watched.settings.range
    why = share.why_withheld(first, last) if share is not None else None
    if why is not None:
        what = f"Nothing new is given of {where} in subnet {watched.subnet.name}, or of a part of it: {why.value}."
        return problem("pool-withheld", what, about=about)
    left = may_give(pool, share, lapse_utc)
    used = f"{pool.in_use} of {pool.size} leases of {where} in subnet {watched.subnet.name} are in use"
    if share is None or pool.in_use >= pool.size:
        if left <= 0 and pool.size != 1:  # one lease for one client is no pool that could be exhausted
            return problem("pool-exhausted", f"{used}: a new client gets none.", about=about)
        if left * LOW_SHARE <= pool.size and pool.size != 1:
            return problem("pool-low", f"{used}.", about=about)
        return None
    theirs = pool.free(share.role.partner)
    used += f"; this server may give {max(0, left)} more, the partner {theirs}"
    if left <= 0:
        serves = (
            "a new client gets none."
            if rules.serve is Serve.ALL
            else "if it had to serve alone, new clients would get none."
        )
        return problem("share-exhausted", f"{used}: {serves}", about=about)
    if left * LOW_SHARE <= pool.size // 2 if pool.gifts is None else (left + theirs) * LOW_SHARE <= pool.size:
        return problem("share-low", f"{used}.", about=about)
    return None

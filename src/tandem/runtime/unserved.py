"""Remembers clients that were not served and that somebody may miss, from the notes of the node, with examples."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any

from tandem.effects.effects import Note
from tandem.effects.problem import Problem, problem
from tandem.effects.settings import Link, Settings
from tandem.runtime.occurrences import Occurrences
from tandem.wire.options import IaPd, StatusCode
from tandem.wire.text import show_address, show_octets

REFUSALS = frozenset((StatusCode.NO_ADDRS_AVAIL, StatusCode.NO_PREFIX_AVAIL))
WAITED_MIN = 10
"""From how many messages on that waited too long the server counts as overloaded: single ones are sent again."""
LINKS_MAX = 64
"""Links for which refused clients are remembered at the same time."""


class Unserved:
    """Messages from unknown links or that waited too long, clients without a lease or at a limit, refused partners."""

    def __init__(self) -> None:
        self._unknown_links = Occurrences()
        self._waited = Occurrences()
        self._connects = Occurrences()
        self._refused: dict[str, Occurrences] = {}
        self._limits: dict[tuple[str, str], Occurrences] = {}
        self._links: dict[str, Link] = {}

    def use(self, settings: Settings) -> None:
        """Take over which links have pools of which kind: who asks for what no pool is for, is refused rightly."""
        self._links = {link.name: link for link in settings.links}
        self._refused = {link: each for link, each in self._refused.items() if link in self._links}

    def add(self, notes: Iterable[Note]) -> None:
        """Take in the notes of one call of the node."""
        for note in notes:
            if note.event == "answered":
                for decision in note.values.get("decisions", ()):
                    if decision.status in REFUSALS:
                        self._add_refused(note.values, decision)
            elif note.event == "dropped":
                reason = note.values["reason"]
                if reason == "unknown-link":
                    self._add_unknown_link(note.values)
                elif reason == "waited-too-long":
                    self._waited.add(int(time.time()), f"from {note.values['peer']}", "")
            elif note.event == "limit-reached":
                self._add_limit(note.values)
            elif note.event == "connect-refused":
                subject = note.values.get("relationship") or note.values.get("peer", "")
                self._connects.add(int(time.time()), subject, note.values["why"])

    def problems(self, closed_links: frozenset[str], all_partners_heard: bool) -> Iterator[Problem]:
        """Return which clients were not served lately; those of `closed_links` lack leases to be given."""
        now = int(time.time())
        since = self._unknown_links.since(now)
        if since is not None:
            links = ", ".join(self._unknown_links.subjects())
            count = self._unknown_links.count
            what = f"{count} messages came from links that are in no subnet, and got no answer: {links}."
            yield _of("unknown-link", what, self._unknown_links, since)
        since = self._waited.since(now)
        if since is not None and self._waited.count >= WAITED_MIN:
            what = f"{self._waited.count} messages lay unread for more than a second and were dropped."
            yield _of("overloaded", what, self._waited, since)
        since = self._connects.since(now)
        if since is not None and not all_partners_heard:
            what = f"{self._connects.count} attempts to connect were refused, by this server or by its partner."
            yield _of("connect-refused", what, self._connects, since, "failover")
        for link, each in self._refused.items():
            since = each.since(now)
            if since is not None and link in closed_links:
                what = f"{each.count} requests on link {link} were refused a lease, since no pool has one to give."
                yield _of("clients-refused", what, each, since, link)

        for (limit, link), each in self._limits.items():
            since = each.since(now)
            if since is not None:
                what = f"{limit} was reached {each.count} times on link {link}."
                yield _of("limit-reached", what, each, since, f"{limit} on {link}")

    def _add_limit(self, values: Any) -> None:
        key = values["limit"], values["link"]
        if key not in self._limits and len(self._limits) >= LINKS_MAX:
            del self._limits[next(iter(self._limits))]
        duid, remote_id = values["duid"], values.get("remote_id", b"")
        client = f"client {show_octets(duid)}, " if duid else ""
        line = f", Remote-ID {show_octets(remote_id)}" if remote_id else ""
        reached = self._limits.setdefault(key, Occurrences())
        reached.add(int(time.time()), f"{client}from {values['peer']}{line}", "")

    def _add_unknown_link(self, values: Any) -> None:
        relays = values.get("relays", ())
        named = [show_address(each.link_address) for each in reversed(relays) if any(each.link_address)]
        link = f"link-address {named[0]}" if named else f"interface {values.get('interface') or 'unknown'}"
        duid = values.get("duid") or b""
        client = f"client {show_octets(duid)}, " if duid else ""
        self._unknown_links.add(int(time.time()), link, f"{client}from {values['peer']}")

    def _add_refused(self, values: Any, decision: Any) -> None:
        link = values.get("link", "")
        if link not in self._links or not _has_pool(self._links[link], decision.ia.code == IaPd.code):
            return
        if link not in self._refused and len(self._refused) >= LINKS_MAX:
            del self._refused[next(iter(self._refused))]
        refused = self._refused.setdefault(link, Occurrences())
        refused.add(int(time.time()), f"client {show_octets(values['duid'])}", decision.reason)


def _has_pool(link: Link, is_of_prefixes: bool) -> bool:
    """True if there is a pool of prefixes, or of addresses, on a link."""
    return any(pool.is_of_prefixes is is_of_prefixes for subnet in link.subnets for pool in subnet.pools)


def _of(id_: str, what: str, found: Occurrences, since: int, about: str = "") -> Problem:
    return problem(id_, what, about=about, since=since, until=found.until, examples=found.examples())

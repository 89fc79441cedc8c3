"""Keeps what clients take within the file's limits: each client, and all behind one Remote-ID, relay agent or link."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from typing import Final

from tandem.effects.effects import Effects
from tandem.effects.settings import Limits
from tandem.lease.table import LeaseTable
from tandem.server.client import Client
from tandem.server.places import Place

SENDERS_MAX: Final = 65_536
"""Senders whose messages are counted at the same time; the one not heard for longest is forgotten first."""
ALARMS_MAX: Final = 1024
ALARM_EVERY_S: Final = 60.0
"""A limit that is reached again and again is a warning so often, for each link; between that it is counted."""
MINUTE_S: Final = 60.0
MESSAGE_OCTETS: Final = 1280
"""A message counts once more for each so many octets, since what it costs grows with them."""
ELSEWHERE: Final = Limits()
"""For clients on no link that is known, who are told options only."""

Sender = tuple[str, bytes | str]
"""The kind of sender, and its address or identifier."""


class Rates:
    """How many messages each sender may send now: a token bucket that holds a minute's allowance."""

    def __init__(self) -> None:
        self._left: OrderedDict[tuple[str, Sender], tuple[float, float]] = OrderedDict()

    def is_exceeded(
        self, link: str, sender: Sender, per_minute: int, now_mono: float, messages: int = 1, is_counted: bool = True
    ) -> bool:
        """Count one message, or more, of a sender on a link; True if its allowance is used up. 0 is no limit."""
        if not per_minute:
            return False
        key = (link, sender)
        before = self._left.get(key)
        left = float(per_minute)
        if before is not None:
            left = min(left, before[0] + (now_mono - before[1]) * per_minute / MINUTE_S)
        is_exceeded = left < 1.0
        if is_counted:
            self._left[key] = (left if is_exceeded else left - messages, now_mono)
            self._left.move_to_end(key)
            if len(self._left) > SENDERS_MAX:
                self._left.popitem(last=False)
        return is_exceeded

    def exceeded_by(self, client: Client, is_counted: bool = True) -> str:
        """Count a message for each of its senders, up to one that sent too much; return that one's limit."""
        place, mono, source = client.place, client.now.mono, client.source
        limits, link = (ELSEWHERE, "") if place is None else (place.limits, place.name)
        who = client.duid or (client.relays[-1].peer_address if client.relays else source)
        messages = 1 + len(client.message.data) // MESSAGE_OCTETS
        if self.is_exceeded(link, ("client", who), limits.messages_per_client, mono, messages, is_counted):
            return "messages-per-client"
        if not client.relays:
            return ""
        remote_id, of_line = client.remote_id(), limits.messages_per_remote_id
        if remote_id and self.is_exceeded(link, ("remote-id", remote_id), of_line, mono, messages, is_counted):
            return "messages-per-remote-id"
        if self.is_exceeded(link, ("relay", source), limits.messages_per_relay, mono, messages, is_counted):
            return "messages-per-relay"
        return ""


class Quotas:
    """What clients behind one relay agent, or one Remote-ID (RFC 4649), have together. A relay agent is its address."""

    def __init__(self, table: LeaseTable) -> None:
        self._table = table

    def count(self, client: Client, key: int) -> None:
        """Count a lease that a client holds for its relay agent and its Remote-ID, where they are limited."""
        place = client.place
        if place is None or not client.relays:
            return
        limits, (relay, remote_id) = place.limits, client.behind()
        self._table.by_relay.put(key, relay if limits.leases_per_relay or limits.declines_per_relay else b"")
        is_limited = limits.leases_per_remote_id or limits.declines_per_remote_id
        self._table.by_remote_id.put(key, remote_id if is_limited else b"")

    def leases(self, client: Client, taken: Collection[int]) -> tuple[str, int]:
        """Return which limit on leases keeps a client from a new one, and how high it is; "" if none does.

        `taken` is what was chosen for the client just now.
        """
        place = client.place
        if place is None:
            return "", 0
        limits, new = place.limits, len(taken)
        if client.leases:
            held = client.held_here()
            new = sum(key not in held for key in taken)
            if len(held) + new >= limits.leases_per_client:
                return "leases-per-client", limits.leases_per_client
        elif new >= limits.leases_per_client:
            return "leases-per-client", limits.leases_per_client
        if client.relays:
            relay, remote_id = client.behind()
            if _is_reached(self._table.by_remote_id.held(remote_id) + new, limits.leases_per_remote_id):
                return "leases-per-remote-id", limits.leases_per_remote_id
            if _is_reached(self._table.by_relay.held(relay) + new, limits.leases_per_relay):
                return "leases-per-relay", limits.leases_per_relay
        return ("leases-per-link", limits.leases_per_link) if self._is_full(place, new) else ("", 0)

    def declines(self, client: Client) -> str:
        """Return the limit that keeps what a client declines from being set aside; "" if none does.

        The pools count for a client and for its link, which is known again after a restart.
        """
        place = client.place
        if place is None:
            return ""
        limits, by_client, by_all = place.limits, 0, 0
        for home in place.homes(is_prefix=False):
            pool = self._table.pool_from(home.pool.range.first) if home.pool is not None else None
            if pool is not None:
                by_client += pool.abandoned.get(client.duid, 0)
                by_all += pool.abandoned_count
        if _is_reached(by_client, limits.declines_per_client):
            return "declines-per-client"
        relay, remote_id = client.behind()
        if _is_reached(self._table.by_remote_id.declined(remote_id), limits.declines_per_remote_id):
            return "declines-per-remote-id"
        if _is_reached(self._table.by_relay.declined(relay), limits.declines_per_relay):
            return "declines-per-relay"
        return "declines-per-link" if _is_reached(by_all, limits.declines_per_link) else ""

    def _is_full(self, place: Place, new: int) -> bool:
        limit = place.limits.leases_per_link
        if not limit or len(self._table) + new < limit:
            return False
        firsts = (home.pool.range.first for home in place.pool_homes if home.pool is not None)
        pools = map(self._table.pool_from, firsts)
        return sum(pool.in_use for pool in pools if pool is not None) + new >= limit


def _is_reached(count: int, limit: int) -> bool:
    return 0 < limit <= count


class LimitAlarms:
    """Notes limits that are reached: a warning once in a while, and a count in between."""

    def __init__(self) -> None:
        self._noted_mono: dict[tuple[str, str], float] = {}

    def reached(self, limit: str, client: Client, effects: Effects) -> None:
        """Note that a client, or who it shares a limit with, is at the limit of that name."""
        link = client.place.name if client.place is not None else ""
        last = self._noted_mono.get((limit, link))
        is_new = last is None or client.now.mono >= last + ALARM_EVERY_S
        if is_new:
            if len(self._noted_mono) >= ALARMS_MAX:
                self._noted_mono.clear()
            self._noted_mono[limit, link] = client.now.mono
        values: dict[str, object] = {"limit": limit, "link": link, "duid": client.duid, "peer": client.source}
        remote_id = client.remote_id()
        if remote_id:
            values["remote_id"] = remote_id
        effects.note("limit-reached", "warning" if is_new else "debug", **values)

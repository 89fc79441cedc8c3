"""Keeps what clients take within the limits of the file: how often they ask, and what is held behind one Remote-ID."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from tandem.effects.effects import Effects
from tandem.lease.lease import is_held
from tandem.lease.table import LeaseTable
from tandem.server.client import Client
from tandem.wire.options import RemoteId
from tandem.wire.received import body_of

SENDERS_MAX: Final = 65_536
"""Senders whose messages are counted at the same time; the one not heard for longest is forgotten first."""
ALARMS_MAX: Final = 1024
ALARM_EVERY_S: Final = 60.0
"""A limit that is reached again and again is a warning so often, for each link; between that it is counted."""
MINUTE_S: Final = 60.0


class Rates:
    """How many messages each sender may send now: a token bucket that holds a minute's allowance."""

    def __init__(self) -> None:
        self._left: OrderedDict[tuple[str, bytes | str], tuple[float, float]] = OrderedDict()

    def is_exceeded(self, link: str, sender: bytes | str, per_minute: int, now_mono: float) -> bool:
        """Count one message of a sender on a link; True if it sent more than its allowance. 0 is no limit."""
        if not per_minute:
            return False
        key = (link, sender)
        before = self._left.get(key)
        left = float(per_minute)
        if before is not None:
            left = min(left, before[0] + (now_mono - before[1]) * per_minute / MINUTE_S)
        is_exceeded = left < 1.0
        self._left[key] = (left if is_exceeded else left - 1.0, now_mono)
        self._left.move_to_end(key)
        if len(self._left) > SENDERS_MAX:
            self._left.popitem(last=False)
        return is_exceeded


class RemoteIds:
    """Which leases were given to clients behind each Remote-ID (RFC 4649), since this server started."""

    def __init__(self, table: LeaseTable) -> None:
        self._table = table
        self._keys: dict[bytes, set[int]] = {}

    def add(self, client: Client, key: int) -> None:
        """Take over that a lease was given to the client, where that is limited."""
        if client.place is not None and client.place.limits.leases_per_remote_id:
            remote_id = remote_id_of(client)
            if remote_id:
                self._keys.setdefault(remote_id, set()).add(key)

    def are_exhausted(self, client: Client, taken: int) -> bool:
        """True if clients behind the client's Remote-ID hold as many leases as they may, with those just taken."""
        limit = client.place.limits.leases_per_remote_id if client.place is not None else 0
        remote_id = remote_id_of(client) if limit else b""
        keys = self._keys.get(remote_id, set()) if remote_id else set()
        if len(keys) + taken < limit or not remote_id:
            return False
        for key in list(keys):
            lease = self._table.get(key)
            if lease is None or not is_held(lease, client.now.lapse_utc):
                keys.discard(key)
        if not keys:
            self._keys.pop(remote_id, None)
        return len(keys) + taken >= limit


def remote_id_of(client: Client) -> bytes:
    """Return the Remote-ID that the relay agent nearest to the client gave; b"" if none did."""
    for relay in reversed(client.relays):
        found = body_of(client.message.data, relay.options, RemoteId.code)
        if found:
            return found
    return b""


class LimitAlarms:
    """Notes limits that are reached: a warning once in a while, and a count in between."""

    def __init__(self) -> None:
        self._noted_mono: dict[tuple[str, str], float] = {}

    def reached(self, limit: str, client: Client, effects: Effects) -> None:
        """Note that a client, or its link, is at the limit of that name."""
        link = client.place.name if client.place is not None else ""
        last = self._noted_mono.get((limit, link))
        is_new = last is None or client.now.mono >= last + ALARM_EVERY_S
        if is_new:
            if len(self._noted_mono) >= ALARMS_MAX:
                self._noted_mono.clear()
            self._noted_mono[limit, link] = client.now.mono
        level = "warning" if is_new else "debug"
        effects.note("limit-reached", level, limit=limit, link=link, duid=client.duid, peer=client.source)

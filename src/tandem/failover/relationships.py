"""All relationships of one server, and the connections that belong to them or are yet to say so (RFC 8156 6.2)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from math import inf
from typing import Any, Final

from tandem.effects.effects import Effects, Hangup
from tandem.effects.events import ConnectionFailed, PartnerGone, PartnerOctets, PartnerUp, Shutdown
from tandem.effects.now import Moment
from tandem.effects.problem import Problem
from tandem.effects.rules import Rules
from tandem.effects.settings import Link, Relationship
from tandem.failover import operator, service
from tandem.failover.clockwork import tick
from tandem.failover.endpoint import Endpoint, Memory
from tandem.failover.handshake import read_terms_name, write_status
from tandem.failover.health import problems_of
from tandem.failover.history import HEARD_FACT_PREFIX, History, Own, read_position
from tandem.failover.membership import Membership
from tandem.failover.record import FACT_PREFIX, HEARTBEAT_FACT, HEARTBEAT_S, read_record
from tandem.failover.session import Session
from tandem.lease.change import RESTORED_FACT, Fact, Put
from tandem.lease.space import Interval
from tandem.lease.table import LeaseTable
from tandem.wire.failover import FailoverMessage, FailoverType, UnknownMessageType, read_failover_message
from tandem.wire.failover_options import FailoverStatus
from tandem.wire.octets import TooLong
from tandem.wire.reader import WireError

PartnerEvent = PartnerUp | PartnerOctets | PartnerGone | ConnectionFailed | Shutdown
STRANGERS_MAX: Final = 16
"""Connections whose CONNECT is awaited; with one more, the oldest one is closed."""
CONNECT_S: Final = 5
"""How long a connection may be silent before its CONNECT."""
NAME_SHOWN: Final = 40
ASLEEP_S: Final = 1.5 * HEARTBEAT_S
"""A server that did not look for so long was asleep: its machine was stopped, or overloaded."""
REASONS: Final = {
    "disk": "its disk takes nothing",
    "clock": "its clock is behind the newest lease on record",
    "link": "none of its interfaces to clients is there",
}


class Relationships:
    """The endpoints by name."""

    def __init__(
        self,
        wanted: Sequence[Relationship],
        table: LeaseTable,
        facts: Mapping[str, bytes],
        duid: bytes,
        incarnation: bytes,
        now: Moment,
    ) -> None:
        self._table = table
        self._facts = dict(facts)
        self._last_operation = max(table.newest_time, int(facts.get(HEARTBEAT_FACT, b"0")))
        self._own = Own(duid, History(facts, incarnation))
        self._is_restored = bool(facts.get(RESTORED_FACT))
        self._heard = {name: fact for name, fact in facts.items() if name.startswith(HEARD_FACT_PREFIX)}
        """The partners' positions as they are on disk."""
        self._endpoints = {each.name: self._endpoint(each, now) for each in wanted}
        self._membership = Membership(table, facts)
        self._by_connection: dict[int, Endpoint] = {}
        self._strangers: dict[int, tuple[Session, tuple[str, ...]]] = {}
        self._without_link: set[str] = set()
        self._beat_at = now.mono
        self._looked_mono = self._awake_since_mono = now.mono

    def _endpoint(self, relationship: Relationship, now: Moment) -> Endpoint:
        fact = self._facts.get(FACT_PREFIX + relationship.name)
        heard = read_position(self._heard.get(HEARD_FACT_PREFIX + relationship.name, b""))
        last_operation = max(self._last_operation, self._table.newest_time)
        memory = Memory(None if fact is None else read_record(fact), last_operation, heard)
        return Endpoint(relationship, self._table, self._own, memory, now)

    def use(self, wanted: Sequence[Relationship], now: Moment, effects: Effects) -> None:
        """Go on with changed settings: what was agreed with a partner is agreed anew where it changed."""
        reason = "the configuration was read again"
        for each in wanted:
            endpoint = self._endpoints.get(each.name)
            if endpoint is None:
                self._endpoints[each.name] = self._endpoint(each, now)
            elif endpoint.relationship != each:
                endpoint.use(each, now, effects)
        for name in sorted(self._endpoints.keys() - {each.name for each in wanted}):
            removed = self._endpoints.pop(name)
            removed.hang_up(now, effects, reason, _goodbye(reason))
            fact = removed.machine.record.as_fact(name)  # should it come back, it goes on from here
            self._facts[fact.name] = fact.value

    def prepare_ranges(self, wanted: Sequence[Relationship], own: Iterable[Interval]) -> Iterator[None]:
        """Do most of what `use_ranges` will do for these relationships, a bounded part with each step."""
        return self._membership.prepare(wanted, own)

    def use_ranges(self, own: Iterable[Interval]) -> None:
        """Follow what joined or left a relationship; `own` is what this server serves without a partner."""
        in_step = [name for name, endpoint in self._endpoints.items() if endpoint.machine.record.communicated]
        self._membership.use([endpoint.relationship for endpoint in self._endpoints.values()], own, in_step)
        self._use_unsynchronized()

    def _use_unsynchronized(self) -> None:
        for name, endpoint in self._endpoints.items():
            endpoint.unsynchronized = self._membership.unsynchronized(name)

    def use_links(self, links: Sequence[Link], by_index: Mapping[int, tuple[str, tuple[int, ...]]]) -> None:
        """Note for which relationships no client can be heard: all their links are on interfaces that are gone."""
        present = {name for name, _ in by_index.values()}
        needed: dict[str, list[str | None]] = {}
        for link in links:
            if link.relationship is not None:
                needed.setdefault(link.relationship, []).extend(subnet.interface for subnet in link.subnets)
        self._without_link = {
            name for name, names in needed.items() if all(each is not None and each not in present for each in names)
        }

    def rules(self) -> dict[str | None, Rules]:
        """Give what may be done for the clients of each relationship."""
        return {name: endpoint.rules() for name, endpoint in self._endpoints.items()}

    def describe(self, now: Moment) -> list[dict[str, Any]]:
        """Give all that is known of each relationship."""
        return [operator.describe(endpoint, now) for endpoint in self._endpoints.values()]

    @property
    def any(self) -> bool:
        """True if there is a relationship."""
        return bool(self._endpoints)

    @property
    def hear_all(self) -> bool:
        """True if communications are OK in every relationship."""
        return all(each.machine.ok for each in self._endpoints.values())

    def problems(self) -> Iterator[Problem]:
        """Return what is wrong with the relationships."""
        for endpoint in self._endpoints.values():
            yield from problems_of(endpoint)

    def obey(self, now: Moment, name: str, arguments: Mapping[str, Any], effects: Effects) -> dict[str, Any] | None:
        """Obey an operator's command about a relationship; None if it is none. CannotObey says why not."""
        command = operator.COMMANDS.get(name)
        if command is None:
            return None
        wanted = arguments.get("relationship")
        if wanted is None and len(self._endpoints) == 1:
            wanted = next(iter(self._endpoints))
        endpoint = self._endpoints.get(wanted) if isinstance(wanted, str) else None
        if endpoint is None:
            known = ", ".join(self._endpoints) or "none in the file"
            raise operator.CannotObey(f"Name a relationship; there are: {known}.")
        return {"relationship": wanted, **command(endpoint, now, arguments, effects)}

    # -- time

    def tick(self, now: Moment, why_not: str, effects: Effects) -> None:
        """Do what is due; `why_not` is why this server can serve nobody, if it cannot."""
        if self._is_restored:
            self._restore(now, effects)
        if now.mono - self._looked_mono > ASLEEP_S:
            self._awake_since_mono = now.mono
        self._looked_mono = now.mono
        for endpoint in self._endpoints.values():
            tick(endpoint, now, self._awake_since_mono, effects)
        for connection, (session, _) in list(self._strangers.items()):
            if now.mono >= session.opened_mono + CONNECT_S:
                del self._strangers[connection]
                effects.lines.append(Hangup(connection))
        if now.mono < self._beat_at:
            return
        self._beat_at = now.mono + HEARTBEAT_S
        if self._endpoints and not why_not:
            effects.commit.append(Fact(HEARTBEAT_FACT, b"%d" % now.utc))
            for endpoint in self._endpoints.values():
                endpoint.tell_position(effects)

    def _restore(self, now: Moment, effects: Effects) -> None:
        """Recover in every relationship, for the store says that this is a backup or that commits are missing."""
        self._is_restored = False
        for endpoint in self._endpoints.values():
            endpoint.roll_back(now, "the store was restored from a backup, or has lost commits", effects)
        effects.commit.append(Fact(RESTORED_FACT, b""))

    def mind_service(self, now: Moment, why_not: str, effects: Effects) -> None:
        """Have endpoints step aside that cannot serve, and come back when they can."""
        for name, endpoint in self._endpoints.items():
            reason = why_not or ("link" if name in self._without_link else "")
            sentence = f"this server cannot serve: {REASONS[reason]}" if reason else ""
            service.update_service(endpoint, now, sentence, reason == "disk", effects)

    def next_wake(self, now: Moment) -> float:
        """Give the monotonic time at which something may be due, infinite if there is no relationship."""
        due = self._beat_at if self._endpoints else inf
        for endpoint in self._endpoints.values():
            due = min(due, endpoint.next_wake(now))
        for session, _ in self._strangers.values():
            due = min(due, session.opened_mono + CONNECT_S)
        return due

    def pump(self, now: Moment, effects: Effects) -> bool:
        """Send partners what is due, also of what was just committed; say whether there is more right away."""
        for line in effects.lines:
            if isinstance(line, Hangup):
                self._by_connection.pop(line.connection, None)
        for endpoint in self._endpoints.values():
            if endpoint.is_synchronized:
                endpoint.is_synchronized = False
                self._membership.synchronized(endpoint.relationship.name)
                self._use_unsynchronized()
        marks = self._membership.step(effects)
        if not self._endpoints:
            return marks
        for endpoint in self._endpoints.values():
            endpoint.exchange.owes_everything = self._membership.is_busy
        for change in effects.commit:
            if isinstance(change, Put) and change.record and change.record[0]:
                name = self._table.relationship_of(change.key)
                if name in self._endpoints:
                    self._endpoints[name].exchange.updates.changed(change.key)
        more = [endpoint.pump(now, effects) for endpoint in self._endpoints.values()]
        for endpoint in self._endpoints.values():
            service.suspend_if_told(endpoint, now, effects)
        self._record_positions(effects)
        return any(more) or marks

    def _record_positions(self, effects: Effects) -> None:
        """Add the partners' positions to a batch, and count it. No batch is made for their sake alone."""
        if effects.commit:
            for name, endpoint in self._endpoints.items():
                fact = Fact(HEARD_FACT_PREFIX + name, endpoint.heard.pack() if endpoint.heard is not None else b"")
                if self._heard.get(fact.name, b"") != fact.value:
                    self._heard[fact.name] = fact.value
                    effects.commit.append(fact)
        self._own.history.record(effects)

    # -- connections

    def take(self, now: Moment, event: PartnerEvent, effects: Effects) -> None:
        """Take in what happened on a connection."""
        match event:
            case PartnerUp():
                self._up(now, event, effects)
            case PartnerOctets():
                self._octets(now, event, effects)
            case PartnerGone():
                self._strangers.pop(event.connection, None)
                endpoint = self._by_connection.pop(event.connection, None)
                if endpoint is not None and endpoint.holds(event.connection):
                    endpoint.lost(now, event.reason, effects)
            case ConnectionFailed():
                if event.relationship in self._endpoints:
                    self._endpoints[event.relationship].dial_failed(now, event.reason, event.partner_was_there)
            case Shutdown():
                for endpoint in self._endpoints.values():
                    endpoint.hang_up(now, effects, "this server stops", _goodbye("the server is stopping"))

    def _up(self, now: Moment, event: PartnerUp, effects: Effects) -> None:
        dialed = [self._endpoints[name] for name in event.relationships if name in self._endpoints]
        if event.is_dialed and dialed:
            self._by_connection[event.connection] = dialed[0]
            dialed[0].connected(now, event.connection, event.peer, effects)
        elif event.is_dialed:
            effects.lines.append(Hangup(event.connection))
        else:
            if len(self._strangers) >= STRANGERS_MAX:  # silent connections must not keep the partner out
                oldest = next(iter(self._strangers))
                del self._strangers[oldest]
                effects.lines.append(Hangup(oldest))
            self._strangers[event.connection] = (Session(event.connection, event.peer, now), event.relationships)

    def _octets(self, now: Moment, event: PartnerOctets, effects: Effects) -> None:
        """Hand on the messages in the octets that came. Whoever breaks the protocol is hung up on."""
        endpoint = self._by_connection.get(event.connection)
        stranger = self._strangers.get(event.connection)
        session = endpoint.session if endpoint is not None else stranger[0] if stranger is not None else None
        if session is None or session.connection != event.connection:
            return
        frames = iter(session.frames.feed(event.octets))
        if endpoint is None and stranger is not None:
            for frame in islice(frames, 1):
                endpoint = self._introduced(now, stranger, frame, event.received_utc, effects)
        for frame in frames:
            if endpoint is None or not endpoint.holds(event.connection):
                return
            try:
                endpoint.take(now, read_failover_message(frame), event.received_utc, effects)
            except UnknownMessageType as unknown:  # of a later version: it must not end the connection
                name = endpoint.relationship.name
                effects.note("failover-unknown-message", "warning", relationship=name, why=str(unknown))
            except (WireError, TooLong) as error:
                why = f"the partner sent what cannot be read: {error}"
                effects.note("partner-garbled", "error", relationship=endpoint.relationship.name, why=str(error))
                endpoint.hang_up(now, effects, why, _goodbye(why))

    def _introduced(
        self, now: Moment, stranger: tuple[Session, tuple[str, ...]], frame: bytes, received_utc: int, effects: Effects
    ) -> Endpoint | None:
        """Find out whose connection it is, from the CONNECT that must come first (6.1.2, 6.2)."""
        session, candidates = stranger
        del self._strangers[session.connection]
        try:
            message = read_failover_message(frame)
            if message.type is not FailoverType.CONNECT:
                raise WireError(f"{message.type.name} before CONNECT")
            name = read_terms_name(message)
        except WireError as error:
            effects.note("stranger-garbled", "warning", peer=session.peer, why=str(error))
            effects.lines.append(Hangup(session.connection))
            return None
        if name is None and len(candidates) == 1:
            name = candidates[0]
        endpoint = self._endpoints.get(name) if name in candidates and name is not None else None
        if endpoint is None:
            shown = repr(name[:NAME_SHOWN]) if name else "without a name"
            self._refuse(session, message, f"there is no relationship {shown} with this partner here", effects)
            return None
        self._by_connection[session.connection] = endpoint
        endpoint.accept(now, session, message, received_utc, effects)
        return endpoint

    def _refuse(self, session: Session, message: FailoverMessage, why: str, effects: Effects) -> None:
        effects.note("connect-refused", "warning", peer=session.peer, why=why)
        options = write_status(FailoverStatus.CONFIGURATION_CONFLICT, why)
        session.answer(FailoverType.CONNECTREPLY, message.transaction_id, options, effects.at_once)
        effects.lines.append(Hangup(session.connection))


def _goodbye(reason: str) -> bytes:
    return write_status(FailoverStatus.SERVER_SHUTTING_DOWN, reason)

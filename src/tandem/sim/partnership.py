"""Judges what partners tell each other: it is on disk, it is told seldom, and an UPDDONE means what it says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tandem.effects.events import PartnerOctets
from tandem.failover.history import split_position
from tandem.failover.states import State
from tandem.failover.updates import RETRY_LAST_S
from tandem.lease.change import Change, Put
from tandem.lease.lease import CONTENT_AT, TIMED, BindingStatus, show_key, unpack
from tandem.sim.explore import why_not_beside
from tandem.sim.host import Host
from tandem.sim.plan import Pair
from tandem.sim.scene import Scene
from tandem.sim.streams import Stream
from tandem.sim.subnets import Subnets
from tandem.wire.binding import Update, read_reply, read_update
from tandem.wire.failover import FailoverMessage, FailoverType, Frames, find, read_failover_message
from tandem.wire.failover_options import MaxUnackedBndupd, ServerState

SLACK_S = 3.0
REPEATS_MAX = 40
"""How often a lease may be told on one stream without having changed on either disk."""
QUEUE_OCTETS_MAX = 1 << 20
"""How much may wait between two partners, whatever keeps it from arriving."""
ACTIVE = BindingStatus.ACTIVE

At = tuple[str, int]
"""A server's name, and a lease."""


class Told:
    """A BNDUPD that was sent: what it says, and which bindings and records it was of."""

    def __init__(self, update: Update, bindings: dict[int, int], records: dict[int, bytes]) -> None:
        self.update, self.bindings, self.records = update, bindings, records


class Partnership:
    """What goes over the streams between partners, and what it obliges them to."""

    def __init__(self, scene: Scene, subnets: Subnets) -> None:
        self._scene = scene
        self._subnets = subnets
        self.acked: dict[At, int] = {}
        """Until when a lease was acknowledged by the partner, as the RFC's acked-partner-lifetime."""
        self.is_agreed: set[At] = set()
        """What ended, and the partner of that server knows so, or said so itself."""
        self._bindings: dict[At, int] = {}
        """Counts the bindings that a lease had."""
        self._repeats: dict[At, tuple[int, float]] = {}
        """How often a server told what has not changed since, and from when on."""
        self._must_notice: dict[tuple[str, str], int] = {}
        """Of each server that went back to a copy of its disk and has not noticed: when its state there began."""
        self._settled: dict[At, bytes] = {}
        """What of a lease a partner has acknowledged last."""
        self._states: dict[tuple[str, str], list[tuple[float, State]]] = {}
        self._frames: dict[tuple[Stream, str], Frames] = {}
        self._unanswered: dict[tuple[Stream, str], dict[int, Told]] = {}
        self._heard: dict[tuple[Stream, str], dict[int, Update]] = {}
        self._decided: dict[tuple[Stream, str], set[int]] = {}
        """What a server has answered the partner's updates about, on a stream."""
        self._asked: dict[tuple[Stream, str], dict[int, set[int]]] = {}
        """By the transaction of an UPDREQ to a server, what was owed when it came."""
        self._room: dict[tuple[Stream, str], int] = {}
        """How many updates a server may leave unanswered on a stream, by what its partner said."""

    def look(self) -> None:
        """See that no two states stay beside each other that may not, once all is said (docs/failover-pairs.md)."""
        for pair in self._scene.plan.pairs:
            hosts, streams = self._scene.both(pair), self._scene.streams[pair.name]
            if streams.octets > QUEUE_OCTETS_MAX:
                self._scene.broken("queue", f"{streams.octets} octets wait between the partners of {pair.name}")
            for host in hosts:
                if not streams.is_open(host.name) and not self._is_busy(host):
                    self._is_apart(host, pair)
            if streams.current() is None or not streams.is_quiet or any(map(self._is_busy, hosts)):
                continue
            mine, theirs = (host.record(pair.name) for host in hosts)
            if mine is None or theirs is None or theirs.state is not mine.partner_state:
                continue
            why = why_not_beside(mine.state, theirs.state)
            if mine.state is theirs.partner_state and why:
                states = f"{mine.state.words} and {theirs.state.words}"
                self._scene.broken("illegal pair", f"{pair.name} is in {states}, and nothing more is said: {why}")

    def _is_apart(self, host: Host, pair: Pair) -> None:
        """RFC 8156 8.8.2, 8.10.2: two states are left as soon as the partner is out of touch."""
        state = host.state(pair.name)
        if state in (State.NORMAL, State.POTENTIAL_CONFLICT):
            self._scene.broken("illegal alone", f"{host.name} is in {state.words}, and out of touch with its partner")

    def _is_busy(self, host: Host) -> bool:
        """Say whether a server may be in STARTUP, or has something to say yet."""
        since_s = self._scene.agenda.now - host.well_since
        return not host.is_well or not host.is_idle or since_s < self._scene.plan.numbers.startup_s + SLACK_S

    # -- the disks

    def kept(self, host: Host, change: Change, before: bytes | None) -> None:
        """Look at a change that just became durable."""
        if not isinstance(change, Put):
            for pair in self._scene.pairs_of(host):
                self._see_whether_it_noticed(host, pair)
                state = host.state(pair.name)
                states = self._states.setdefault((host.name, pair.name), [])
                if state is not None and (not states or states[-1][1] is not state):
                    states.append((self._scene.agenda.now, state))
            return
        at = host.name, change.key
        was = unpack(change.key, before) if before else None
        lease = unpack(change.key, change.record) if change.record else None
        if (before or b"")[CONTENT_AT:] != (change.record or b"")[CONTENT_AT:]:
            partner = self._scene.partner(host, self._scene.pair_of(change.key))
            self._repeats.pop(at, None)
            self._repeats.pop((partner.name, change.key), None)
        is_same = was is not None and was.status == ACTIVE and lease is not None and was.duid == lease.duid
        if lease is None or lease.status != ACTIVE or not is_same:
            self.acked.pop(at, None)
            self._bindings[at] = self._bindings.get(at, 0) + 1
        if lease is not None and lease.status == ACTIVE and not is_same:
            self.is_agreed.discard(at)

    def rolled_back(self, host: Host) -> None:
        """Note that a server goes back to a copy of its disk, and that its partner can tell it so."""
        for pair in self._scene.pairs_of(host):
            record = host.record(pair.name)
            self._must_notice[host.name, pair.name] = record.start_time_of_state if record is not None else 0

    def must_notice(self, host: Host, pair: Pair) -> bool:
        """True if a server was rolled back, and nobody has told it so yet."""
        return (host.name, pair.name) in self._must_notice

    def _see_whether_it_noticed(self, host: Host, pair: Pair) -> None:
        """See that a server that was rolled back recovers before it is in NORMAL."""
        at, record = (host.name, pair.name), host.record(pair.name)
        if at not in self._must_notice or record is None:
            return
        if record.rolled_back or record.untrusted_until or record.state is State.RECOVER:
            del self._must_notice[at]
        elif record.state is State.NORMAL and record.start_time_of_state > self._must_notice[at]:
            self._scene.broken("rollback unnoticed", f"{host.name} went back to a copy of its disk, and is in NORMAL")

    # -- what leaves

    def message_leaves(self, host: Host, pair: Pair, stream: Stream, message: FailoverMessage) -> None:
        """Look at a message that a server lets out."""
        _, message = split_position(message)
        match message.type:
            case FailoverType.STATE:
                self._state_leaves(host, pair, message)
            case FailoverType.BNDREPLY:
                self._answer_leaves(host, stream, message)
            case FailoverType.BNDUPD:
                self._update_leaves(host, stream, message)
            case FailoverType.CONNECT | FailoverType.CONNECTREPLY:
                room = find(message.read_options(), MaxUnackedBndupd)
                if room is not None:
                    self._room[stream, self._scene.partner(host, pair).name] = room.messages

    def _state_leaves(self, host: Host, pair: Pair, message: FailoverMessage) -> None:
        """See that a state that is told is on disk, or was until just now."""
        told = find(message.read_options(), ServerState)
        assert told is not None
        now = self._scene.agenda.now
        kept = self._states.get((host.name, pair.name), [])
        older = [state for at, state in kept if now - at >= SLACK_S]
        recent = [*older[-1:], *(state for at, state in kept if now - at < SLACK_S)]
        if told.state not in (host.state(pair.name) or State.RECOVER, *recent):
            said, state = State(told.state).words, host.state(pair.name)
            self._scene.broken("state not on disk", f"{host.name} tells {said}, and its disk says {state!r}")

    def _answer_leaves(self, host: Host, stream: Stream, message: FailoverMessage) -> None:
        """See that what a BNDREPLY accepts is on disk."""
        end = stream, host.name
        update = self._heard.get(end, {}).pop(message.transaction_id, None)
        reply = read_reply(message.options)
        if update is None:
            return
        self._decided.setdefault(end, set()).update(each.key for each in update.leases)
        refused = {each.key for each in reply.verdicts if each.code}
        for theirs in update.leases if not reply.code else ():
            lease = host.lease(theirs.key)
            if theirs.key in refused or not update.duid:
                continue
            if lease is None or lease.start_time_of_state < theirs.start_time_of_state:
                what = f"{host.name} accepts {show_key(theirs.key)}, and its disk does not have it"
                self._scene.broken("accepted, not on disk", what)

    def _update_leaves(self, host: Host, stream: Stream, message: FailoverMessage) -> None:
        update = read_update(message.options)
        keys = [each.key for each in update.leases]
        for key in keys:
            at = host.name, key
            now = self._scene.agenda.now
            times, since = self._repeats.get(at, (0, now))
            self._repeats[at] = times + 1, since
            # What the partner may refuse for a day (RFC 8156 7.5.4, time(1)) is tried again all day long, but slowly.
            if times >= REPEATS_MAX + (now - since) / RETRY_LAST_S:
                self._scene.broken("storm", f"{host.name} tells {show_key(key)} for the {times + 1}th time")
        unanswered = self._unanswered.setdefault((stream, host.name), {})
        unanswered[message.transaction_id] = Told(
            update,
            {key: self._bindings.get((host.name, key), 0) for key in keys},
            {key: host.leases.get(key, b"")[CONTENT_AT:] for key in keys},
        )
        room = self._room.get((stream, host.name))
        if room is not None and len(unanswered) > room:
            self._scene.broken("too many updates", f"{host.name} has {len(unanswered)} unanswered, and room for {room}")

    # -- what arrives

    def reads(self, host: Host, octets: PartnerOctets) -> None:
        """Look at octets that a server is about to be given."""
        for pair in self._scene.pairs_of(host):
            stream = self._scene.streams[pair.name].owner(host.name, octets.connection)
            if stream is None:
                continue
            frames = self._frames.setdefault((stream, host.name), Frames())
            for frame in frames.feed(octets.octets):
                self._message_arrives(host, pair, stream, read_failover_message(frame))

    def _message_arrives(self, host: Host, pair: Pair, stream: Stream, message: FailoverMessage) -> None:
        _, message = split_position(message)
        end, id_ = (stream, host.name), message.transaction_id
        match message.type:
            case FailoverType.CONNECTREPLY:
                self._forget_old_streams(pair)
            case FailoverType.BNDUPD:
                update = read_update(message.options)
                self._heard.setdefault(end, {})[id_] = update
                self.is_agreed.update((host.name, each.key) for each in update.leases if each.status not in TIMED)
            case FailoverType.BNDREPLY:
                self._answer_arrives(host, end, message)
            case FailoverType.UPDREQ:
                self._asked.setdefault(end, {})[id_] = set(self._owed(host, pair))
            case FailoverType.UPDREQALL:
                self._asked.setdefault(end, {})[id_] = set(self._all(host, pair))
            case FailoverType.UPDDONE:
                self._updates_are_done(host, pair, stream, id_)

    def _answer_arrives(self, host: Host, end: tuple[Stream, str], message: FailoverMessage) -> None:
        told = self._unanswered.get(end, {}).pop(message.transaction_id, None)
        reply = read_reply(message.options)
        if told is None or reply.code:
            return
        of_key = {each.key: each for each in told.update.leases}
        for verdict in reply.verdicts:
            at = host.name, verdict.key
            theirs = of_key.get(verdict.key)
            if verdict.code or theirs is None:
                continue
            self._settled[at] = told.records[verdict.key]
            if told.bindings[verdict.key] != self._bindings.get(at, 0):
                continue
            if theirs.status == ACTIVE:
                self.acked[at] = max(verdict.partner_lifetime_sent, self.acked.get(at, 0))
            else:
                self.is_agreed.add(at)

    def _owed(self, host: Host, pair: Pair) -> Iterator[int]:
        """Give what a disk says is owed to the partner, and was not acknowledged since."""
        for key in self._all(host, pair):
            record = host.leases[key]
            if record[0] and self._settled.get((host.name, key)) != record[CONTENT_AT:]:
                yield key

    def _all(self, host: Host, pair: Pair) -> Iterator[int]:
        """Give all that a disk has of a pair and that can be told: not an address that is nobody's."""
        for key, record in host.leases.items():
            lease = unpack(key, record)
            is_shared = self._scene.pair_of(key) is pair and not self._subnets.is_changing(key)
            if is_shared and (lease.duid or lease.length != 128):
                yield key

    def _updates_are_done(self, host: Host, pair: Pair, stream: Stream, id_: int) -> None:
        """See that the one who asked has decided on all that was owed when its request came."""
        partner = self._scene.partner(host, pair)
        owed = self._asked.get((stream, partner.name), {}).pop(id_, set())
        undecided = owed - self._decided.get((stream, host.name), set()) - self._on_the_way(stream, host)
        undecided = {key for key in undecided if not self._subnets.is_changing(key)}
        left = [key for key in undecided if key in partner.leases and unpack(key, partner.leases[key]).duid]
        if left:
            what = f"{partner.name} tells {host.name} UPDDONE, which was never told of {show_key(min(left))}"
            self._scene.broken("UPDDONE too early", what)

    def _on_the_way(self, stream: Stream, host: Host) -> set[int]:
        return {lease.key for update in self._heard.get((stream, host.name), {}).values() for lease in update.leases}

    def _forget_old_streams(self, pair: Pair) -> None:
        """Begin anew with a new stream of a pair, so that old ones take no room."""
        self._repeats = {at: told for at, told in self._repeats.items() if self._scene.pair_of(at[1]) is not pair}
        gone = [end for end in self._frames if not end[0].stands and not any(end[0].is_open.values())]
        tables: tuple[dict[tuple[Stream, str], Any], ...]
        tables = self._frames, self._unanswered, self._heard, self._decided, self._asked, self._room
        for table in tables:
            for end in gone:
                table.pop(end, None)

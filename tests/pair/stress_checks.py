"""What must hold of a stressed pair, judged from answers to clients, the wire and the disks alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pair.stress_client import Client, Hold, unbound_in
from pair.stress_host import Host
from pair.stress_wire import other
from tandem.failover.states import State
from tandem.lease.change import Change, Put
from tandem.lease.lease import BindingStatus, Lease, ia_code_of, show_key, unpack
from tandem.lease.space import Role, interval_of
from tandem.sim.client import leases_in
from tandem.wire.binding import Update, read_reply, read_update
from tandem.wire.failover import FailoverMessage, FailoverType, find, read_failover_message
from tandem.wire.failover_options import ServerState
from tandem.wire.message import Message, MessageType
from tandem.wire.received import ADDRESS_LENGTH

if TYPE_CHECKING:
    from pair.stress import World

CLOSE_CALL_S = 6.0
"""A lease that ends so soon may be over by a server's clock."""
SLACK_S = 3
REPEATS_MAX = 40
"""How often a lease may be told on one stream without having changed."""
ACTIVE, FREE, FREE_BACKUP = BindingStatus.ACTIVE, BindingStatus.FREE, BindingStatus.FREE_BACKUP
SERVING = (
    State.NORMAL,
    State.COMMUNICATIONS_INTERRUPTED,
    State.PARTNER_DOWN,
    State.RESOLUTION_INTERRUPTED,
    State.CONFLICT_DONE,
)


class Broken(AssertionError):
    """Something that must hold does not."""


class Checks:
    """The checkers of one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.is_tainted = False
        """Whether a server was taken to be down that served: then RFC 8156 promises little."""
        self.wiped: set[str] = set()
        self._states: dict[str, list[tuple[float, State]]] = {"a": [], "b": []}
        self._heard: dict[tuple[str, int, int], Update] = {}
        self._told: dict[tuple[str, int, int], tuple[Update, dict[int, int]]] = {}
        self._acked: dict[tuple[str, int], int] = {}
        self._ends: dict[tuple[str, int], int] = {}
        self._repeats: dict[tuple[str, int], int] = {}
        self._alone_at = {"a": -1e9, "b": -1e9}

    def broken(self, what: str) -> None:
        raise Broken(f"at {self._world.now:.2f}: {what}")

    # -- the disks

    def kept(self, host: Host, change: Change, before: bytes | None) -> None:
        """Look at a change that just became durable."""
        if host.state is State.PARTNER_DOWN:
            self._alone_at[host.name] = self._world.now
        if not isinstance(change, Put):
            self._states[host.name] += [(self._world.now, host.state)] if host.state is not None else []
            return
        at = host.name, change.key
        was = unpack(change.key, before) if before else None
        lease = unpack(change.key, change.record) if change.record else None
        self._repeats[at] = 0 if (before or b"")[5:] != (change.record or b"")[5:] else self._repeats.get(at, 0)
        is_same = was is not None and was.status == ACTIVE and lease is not None and was.duid == lease.duid
        if lease is None or lease.status != ACTIVE or not is_same:
            self._acked.pop(at, None)
            self._ends[at] = self._ends.get(at, 0) + 1
        if lease is not None and lease.status == ACTIVE and lease.owes_partner and not is_same:
            self._given_anew(host, lease, was)

    def is_alone(self, host: Host) -> bool:
        """Say whether the server is in PARTNER-DOWN, or was until just now."""
        return self._world.now - self._alone_at[host.name] < SLACK_S or host.state is State.PARTNER_DOWN

    def _given_anew(self, host: Host, lease: Lease, was: Lease | None) -> None:
        self._mind_taint(host)
        if self.is_tainted or (was is not None and was.duid == lease.duid):
            return
        what = f"{host.name} gives {show_key(lease.key)} to c{lease.duid[-1]}"
        if lease.length == ADDRESS_LENGTH:
            if lease.key >> 8 & 1 != host.role:
                self.broken(f"{what}, an address of its partner's")
        elif not self.is_alone(host) and owner(host.leases, lease.key, was) is not host.role:
            self.broken(f"{what}, a prefix of its partner's share")
        if self.is_alone(host):
            return
        if was is not None and was.status not in (FREE, FREE_BACKUP):
            self.broken(f"{what}, but it was {BindingStatus(was.status).name} of c{was.duid[-1]}")
        theirs = self._world.hosts[other(host.name)].lease(lease.key)
        if theirs is not None and theirs.status == ACTIVE and theirs.duid != lease.duid:
            self.broken(f"{what}, but its partner has it for c{theirs.duid[-1]}")

    def shares(self) -> None:
        """See that no prefix is both servers' to give."""
        hosts = [self._world.hosts[name] for name in "ab"]
        serving = (State.NORMAL, State.COMMUNICATIONS_INTERRUPTED)
        if self.is_tainted or any(host.state not in serving for host in hosts):
            return
        for key in self._world.prefixes():
            if all(owner(host.leases, key, host.lease(key)) is host.role for host in hosts):
                self.broken(f"{show_key(key)} is both servers' to give")

    # -- the wire

    def message_leaves(self, host: Host, number: int, message: FailoverMessage) -> None:
        match message.type:
            case FailoverType.STATE:
                self._state_leaves(host, message)
            case FailoverType.BNDREPLY:
                self._acceptance_leaves(host, number, message)
            case FailoverType.BNDUPD:
                self._update_leaves(host, number, message)

    def _state_leaves(self, host: Host, message: FailoverMessage) -> None:
        """See that a state that is told is on disk, or was until just now."""
        told = find(message.read_options(), ServerState)
        assert told is not None
        kept = self._states[host.name]
        older = [state for at, state in kept if self._world.now - at >= SLACK_S]
        recent = [*older[-1:], *(state for at, state in kept if self._world.now - at < SLACK_S)]
        if told.state not in (host.state or State.RECOVER, *recent):
            self.broken(f"{host.name} tells {State(told.state).words}, and its disk says {host.state!r}")

    def _acceptance_leaves(self, host: Host, number: int, message: FailoverMessage) -> None:
        """See that what a BNDREPLY accepts is on disk."""
        update = self._heard.pop((host.name, number, message.transaction_id), None)
        reply = read_reply(message.options)
        refused = {each.key for each in reply.verdicts if each.code}
        for theirs in update.leases if update is not None and update.duid and not reply.code else ():
            lease = host.lease(theirs.key)
            if theirs.key not in refused and (lease is None or lease.start_time_of_state < theirs.start_time_of_state):
                self.broken(f"{host.name} accepts {show_key(theirs.key)}, and its disk does not have it")

    def _update_leaves(self, host: Host, number: int, message: FailoverMessage) -> None:
        update = read_update(message.options)
        ends = {each.key: self._ends.get((host.name, each.key), 0) for each in update.leases}
        self._told[host.name, number, message.transaction_id] = update, ends
        for key in ends:
            at = host.name, key
            self._repeats[at] = self._repeats.get(at, 0) + 1
            if self._repeats[at] > REPEATS_MAX:
                self.broken(f"{host.name} tells {show_key(key)} for the {REPEATS_MAX}th time")

    def message_arrives(self, to: str, number: int, octets: bytes) -> None:
        message = read_failover_message(octets[2:])
        if message.type is FailoverType.CONNECTREPLY:
            self._repeats = {}
        if message.type is FailoverType.BNDUPD:
            self._heard[to, number, message.transaction_id] = read_update(message.options)
        if message.type is not FailoverType.BNDREPLY:
            return
        told = self._told.pop((to, number, message.transaction_id), None)
        reply = read_reply(message.options)
        if told is None or reply.code:
            return
        update, ends = told
        for verdict in reply.verdicts:
            at = to, verdict.key
            if not verdict.code and ends.get(verdict.key) == self._ends.get(at, 0) and update.duid:
                self._acked[at] = max(verdict.partner_lifetime_sent, self._acked.get(at, 0))

    # -- the clients

    def reply_leaves(self, host: Host, client: Client, message: Message) -> None:
        """Look at a REPLY that a server lets out."""
        self._mind_taint(host)
        for key, valid_s in leases_in(message):
            if not valid_s:
                continue
            lease = host.lease(key)
            what = f"{host.name} promises {show_key(key)} to c{client.number} for {valid_s} s"
            late_s = int(host.disk_latency_s) + SLACK_S
            if lease is None or lease.status != ACTIVE or lease.duid != client.duid:
                self.broken(f"{what}, and its disk does not have it")
            elif lease.state_expiration_time < host.utc() + valid_s - late_s:
                self.broken(f"{what}, and its disk has less")
            limit = max(self._acked.get((host.name, key), 0), host.utc()) + self._world.drawn.mclt_s
            if not self.is_alone(host) and host.utc() + valid_s > limit + late_s:
                self.broken(f"{what}, {host.utc() + valid_s - limit} s beyond what RFC 8156 4.4 allows")

    def client_hears(
        self, client: Client, name: str, message: Message, asked: MessageType, before: dict[int, Hold]
    ) -> None:
        """Look at a REPLY that a client takes in; `before` is what it holds."""
        if asked is MessageType.REQUEST or self.is_tainted:
            return
        safe = [key for key, hold in before.items() if self._is_safe(hold)]
        for key, valid_s in leases_in(message):
            if not valid_s and key in safe:
                self.broken(f"{name} takes {show_key(key)} from c{client.number}, which {asked.name}s it in time")
        for code in unbound_in(message):
            if code in map(ia_code_of, safe):
                self.broken(f"{name} says NoBinding to c{client.number}, which {asked.name}s in time")

    def _mind_taint(self, host: Host) -> None:
        """Note that a server serves whose partner takes it to be down."""
        partner = self._world.hosts[other(host.name)]
        if host.state in SERVING and partner.state is State.PARTNER_DOWN:
            self.is_tainted = True

    def _is_safe(self, hold: Hold) -> bool:
        return not hold.is_void and hold.until - self._world.now > CLOSE_CALL_S

    def in_hands(self, client: Client, name: str, key: int) -> None:
        """See that nobody else has what a client was just given."""
        for each in self._world.clients:
            hold = each.holds.get(key)
            if each is client or hold is None or hold.is_void or self.is_tainted:
                continue
            if hold.until > self._world.now:
                left_s = hold.until - self._world.now
                self.broken(
                    f"{name} gives {show_key(key)} to c{client.number}, c{each.number} has it for {left_s:.1f} s more"
                )

    def asked_to_extend(self, client: Client, host: Host, type_: MessageType) -> None:
        """Expect an answer, if that server knows the client's lease and may answer."""
        if self.is_tainted or not self._may_answer(host, type_):
            return
        known = [
            key
            for key, hold in client.holds.items()
            if self._is_safe(hold)
            and (lease := host.lease(key)) is not None
            and (lease.status, lease.duid) == (ACTIVE, client.duid)
            and lease.state_expiration_time > host.utc() + CLOSE_CALL_S
        ]
        exchange, well_since = client.exchange, host.well_since
        if not known:
            return

        def see() -> None:
            is_well = host.well_since == well_since and self._may_answer(host, type_)
            if is_well and client.is_on and client.exchange == exchange and exchange not in client.answered:
                leases = ", ".join(map(show_key, known))
                self.broken(f"{host.name} does not answer {type_.name} of c{client.number}, which has {leases}")

        self._world.at(self._world.now + 2.2, see)

    def _may_answer(self, host: Host, type_: MessageType) -> bool:
        is_well = host.is_up and not host.is_full and not host.dies_at_commit
        if not is_well or self._world.now < host.well_since + self._world.drawn.startup_s + SLACK_S:
            return False
        if host.state is State.NORMAL:
            return host.role is Role.PRIMARY or type_ is MessageType.RENEW
        return host.state in SERVING

    def disk_is_lost(self, host: Host) -> None:
        """Know what nobody can be held to, since only that disk knew of it."""
        self.wiped.add(host.name)
        partner = self._world.hosts[other(host.name)]
        for client in self._world.clients:
            for key, hold in client.holds.items():
                mine, theirs = host.lease(key), partner.lease(key)
                if mine is None or mine.duid != client.duid:
                    continue
                is_known = theirs is not None and (theirs.status, theirs.duid) == (ACTIVE, client.duid)
                if theirs is None or not is_known or theirs.state_expiration_time < mine.state_expiration_time:
                    hold.is_void = True


def owner(leases: dict[int, bytes], key: int, lease: Lease | None) -> Role | None:
    """Say whose a prefix is to give by what a disk says: what was decided last counts; None if it is a client's."""
    if lease is not None:
        return {FREE: Role.PRIMARY, FREE_BACKUP: Role.SECONDARY}.get(BindingStatus(lease.status))
    first, last = interval_of(key)
    latest = (-1, Role.PRIMARY)
    for each, record in leases.items():
        if each & 0xFF < key & 0xFF:
            low, high = interval_of(each)
            if low <= first and last <= high:
                gift = unpack(each, record)
                who = Role.SECONDARY if gift.status == FREE_BACKUP else Role.PRIMARY
                latest = max(latest, (gift.start_time_of_state, who))
    return latest[1]

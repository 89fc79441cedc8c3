"""Judges what servers promise clients: it is on disk, it is no longer than allowed, and it waits for nobody."""

from __future__ import annotations

from typing import NamedTuple

from tandem.effects.effects import Effects, Send
from tandem.effects.events import Datagram, Event
from tandem.failover.record import FACT_PREFIX, Record
from tandem.failover.states import State
from tandem.lease.change import Change, Fact, Put
from tandem.lease.lease import BindingStatus, Lease, key_of, show_key, unpack
from tandem.lease.space import Role
from tandem.sim.client import leases_in, unwrap
from tandem.sim.configuration import is_reserved, link_of, subnet_of
from tandem.sim.holdings import CLOSE_CALL_S, Holdings
from tandem.sim.host import Host
from tandem.sim.ownership import AVAILABLE, owner
from tandem.sim.partnership import Partnership
from tandem.sim.plan import Pair
from tandem.sim.scene import SERVING, Resident, Scene
from tandem.sim.subnets import Subnets
from tandem.sim.subscriber import EXTENDING
from tandem.wire.message import Message, MessageType
from tandem.wire.options import ClientId, ServerId
from tandem.wire.received import ADDRESS_LENGTH

SLACK_S = 3.0
LONG_WAY_S = 20.0
"""How long a datagram is on its way at most."""
ROUNDING_S = 1
"""A lease that runs out does so by a clock that may be a second behind the wall clock, since both count whole ones."""
CLOCK_STEP_MAX_S = 5
"""How far its clock may lie behind the newest lease on its disk for a server to serve."""


class Decision(NamedTuple):
    """When a server made an answer: in true time, and by its own clock; and how each of its pairs was then."""

    at: float
    utc: int
    records: dict[str, Record | None]
    voids: dict[str, str]
    """Why what it promised counts for nothing, where it does."""


class Promises:
    """What was promised, when, by which disk."""

    def __init__(self, scene: Scene, partnership: Partnership, holdings: Holdings, subnets: Subnets) -> None:
        self._scene = scene
        self._subnets = subnets
        self._partnership = partnership
        self._holdings = holdings
        self._decisions: dict[str, dict[int, tuple[Send, Decision]]] = {name: {} for name in scene.hosts}
        self._versions: dict[tuple[str, int], tuple[float, list[Lease]]] = {}
        """What a lease was on a disk at the last moment at which it changed: more than once in one batch, maybe."""
        self._alone_at: dict[tuple[str, str], float] = {}
        """When a server was last seen to enter PARTNER-DOWN, maybe to leave it in the same batch."""
        self.newest: dict[str, int] = dict.fromkeys(scene.hosts, 0)
        """When a server last heard a client, by its disk."""

    # -- the disk

    def kept(self, host: Host, change: Change, before: bytes | None) -> None:
        """Remember what a lease is and was at this moment, and who was alone then."""
        if not isinstance(change, Put):
            for pair in self._scene.pairs_of(host):
                if host.state(pair.name) is State.PARTNER_DOWN:
                    self._alone_at[host.name, pair.name] = self._scene.agenda.now
            return
        at, now = (host.name, change.key), self._scene.agenda.now
        when, versions = self._versions.get(at, (-1.0, []))
        if when != now:
            versions = [unpack(change.key, before)] if before else []
        if change.record:
            lease = unpack(change.key, change.record)
            versions.append(lease)
            self.newest[host.name] = max(self.newest[host.name], lease.client_last_transaction_time)
        self._versions[at] = now, versions

    def died(self, host: Host) -> None:
        """Forget what was never sent."""
        self._decisions[host.name].clear()

    # -- answers

    def decided(self, host: Host, events: tuple[Event, ...], effects: Effects) -> None:
        """Note when an answer was made, and see that who must be answered is."""
        if self.is_clock_behind(host):
            host.well_since = self._scene.agenda.now  # it will serve only once it has been through STARTUP again
        sends = [each for each in (*effects.at_once, *effects.then) if isinstance(each, Send)]
        if sends:
            pairs = list(self._scene.pairs_of(host))
            records = {pair.name: host.record(pair.name) for pair in pairs}
            voids = {pair.name: self._holdings.why_void(pair) for pair in pairs}
            decision = Decision(self._scene.agenda.now, host.clock.utc(), records, voids)
            self._decisions[host.name].update((id(each), (each, decision)) for each in sends)
        moves = any(isinstance(change, Fact) and change.name.startswith(FACT_PREFIX) for change in effects.commit)
        for event in events:
            if isinstance(event, Datagram):
                self._answers_in_its_turn(host, event, sends, moves)
                self._keeps_what_it_has(host, event, sends)

    def left(self, host: Host, send: Send) -> Decision:
        """See that an answer was held up by nothing but its own disk, and say when it was made."""
        _, decision = self._decisions[host.name].pop(id(send))
        waited_s = self._scene.agenda.now - decision.at
        if host.well_since <= decision.at and waited_s > 2 * host.slowest_s + 1e-6:
            self._scene.broken("made to wait", f"{host.name} held an answer back for {waited_s:.3f} s")
        return decision

    def reply_leaves(self, host: Host, duid: bytes, message: Message, decision: Decision) -> None:
        """Look at a REPLY that a server lets out."""
        for key, valid_s in leases_in(message):
            if not valid_s:
                continue
            pair = self._scene.pair_of(key)
            what = f"{host.name} promises {show_key(key)} to c{duid[-1]} for {valid_s} s"
            self._is_on_disk(host, key, duid, decision, valid_s, what)
            if not self._subnets.is_settled(host, key):
                continue
            if host.name not in (pair.primary, pair.secondary):
                self._scene.broken("not its lease", f"{host.name} promises {show_key(key)}")
            self.mind_taint(host, pair)
            self._is_no_longer_than_allowed(host, pair, key, valid_s, decision, what)

    def _is_on_disk(self, host: Host, key: int, duid: bytes, decision: Decision, valid_s: int, what: str) -> None:
        """What only runs out does so by a clock that cannot run ahead, and may be behind the wall clock by far."""
        when, versions = self._versions.get((host.name, key), (-1.0, []))
        if when != self._scene.agenda.now:
            versions = versions[-1:]
        mine = [each for each in versions if (each.status, each.duid) == (BindingStatus.ACTIVE, duid)]
        if not mine:
            self._scene.broken("not on disk", f"{what}, and its disk does not have it")
        until = decision.utc + valid_s - ROUNDING_S
        if when >= decision.at and max(each.state_expiration_time for each in mine) < until:
            self._scene.broken("less on disk", f"{what}, and its disk has less")

    def _is_no_longer_than_allowed(
        self, host: Host, pair: Pair, key: int, valid_s: int, decision: Decision, what: str
    ) -> None:
        """RFC 8156 4.4. What only runs out was promised before."""
        records = [each for each in (decision.records.get(pair.name), host.record(pair.name)) if each is not None]
        if any(each.state is State.PARTNER_DOWN for each in records) or self._was_alone(host, pair):
            return
        if self._partnership.must_notice(
            host, pair
        ):  # it goes by what its partner acknowledged before the copy was made
            return
        acked = self._partnership.acked.get((host.name, key), 0)
        limit = max(acked, decision.utc) + max((each.mclt_s for each in records), default=0)
        is_new = self._versions[host.name, key][0] >= decision.at
        if decision.utc + valid_s > limit and is_new:
            beyond_s = decision.utc + valid_s - limit
            self._scene.broken("beyond the MCLT", f"{what}, {beyond_s} s beyond what RFC 8156 4.4 allows")

    def _was_alone(self, host: Host, pair: Pair) -> bool:
        return self._alone_at.get((host.name, pair.name)) == self._scene.agenda.now

    def mind_taint(self, host: Host, pair: Pair) -> None:
        """Note that a server serves whose partner takes it to be down, or that was rolled back and has not heard so."""
        partner = self._scene.partner(host, pair)
        is_wrong = partner.state(pair.name) is State.PARTNER_DOWN or self._partnership.must_notice(host, pair)
        if host.state(pair.name) in SERVING and is_wrong:
            self._holdings.taint(pair)

    # -- questions

    def _answers_in_its_turn(self, host: Host, datagram: Datagram, sends: list[Send], moves: bool) -> None:
        """RFC 8156 8.1: see that whom another server is to answer is not answered by this one."""
        if not sends or not host.is_idle or moves:  # a state that is not on disk yet counts already
            return
        question = unwrap(datagram.data)
        resident = self._scene.resident(next(each.duid for each in question.options if isinstance(each, ClientId)))
        if resident is None or self._may_come_from_elsewhere(resident):
            return
        pair = self._scene.pairs[self._scene.links[resident.link].pair]
        subnet = key_of(subnet_of(self._scene.links[resident.link]))
        if host.name not in (pair.primary, pair.secondary) or not self._subnets.is_settled(host, subnet):
            return
        state = host.state(pair.name)
        is_its = any(isinstance(each, ServerId) for each in question.options)
        is_spare = state is State.NORMAL and self._scene.role(host, pair) is Role.SECONDARY
        may_answer = state in SERVING if not is_spare else is_its
        if state is State.RECOVER_DONE:
            may_answer = is_its and question.type is MessageType.RENEW
        if not may_answer:
            said = state.words if state is not None else "no state"
            self._scene.broken("out of turn", f"{host.name} in {said} answers {question.type.name} of {resident.name}")

    def _may_come_from_elsewhere(self, resident: Resident) -> bool:
        """Say whether a datagram may be one that a client sent from the link that it was on before."""
        return self._scene.agenda.now - resident.moved_at < LONG_WAY_S

    def _keeps_what_it_has(self, host: Host, datagram: Datagram, sends: list[Send]) -> None:
        """See that a client that must be able to keep its leases is told so: this server may extend them."""
        question = unwrap(datagram.data)
        if question.type not in EXTENDING:
            return
        servers = [each.duid for each in question.options if isinstance(each, ServerId)]
        resident = self._scene.resident(next(each.duid for each in question.options if isinstance(each, ClientId)))
        if resident is None or (servers and servers[0] != host.duid):
            return
        if self._may_come_from_elsewhere(resident):
            return
        due = [key for key, _ in leases_in(question) if self._must_extend(host, resident, key, question.type)]
        told = {key for send in sends for key, valid_s in leases_in(unwrap(send.data)) if valid_s} if due else set()
        if not told.issuperset(due):
            lost = show_key(next(key for key in due if key not in told))
            what = f"{host.name} does not extend {lost}, which {resident.name} {question.type.name}s in time"
            self._scene.broken("not extended", what)

    def _must_extend(self, host: Host, resident: Resident, key: int, type_: MessageType) -> bool:
        hold, lease, pair = resident.subscriber.holds.get(key), host.lease(key), self._scene.pair_of(key)
        if hold is None or not self._holdings.is_safe(hold) or self._subnets.is_changing(key):
            return False
        if self._scene.links[resident.link].number != link_of(key) or not self.may_answer(host, pair, type_):
            return False
        if lease is None or lease.status in AVAILABLE:
            # Only the partner can have given it, unless the end of just this binding is what is known here.
            is_known = lease is not None and lease.duid == resident.subscriber.duid
            is_its = self._is_partners(host, pair, key)
            return type_ is MessageType.REBIND and not is_known and is_its and not is_reserved(key)
        is_its = (lease.duid, lease.iaid) == (resident.subscriber.duid, hold.ia[1])
        return (
            is_its
            and lease.status == BindingStatus.ACTIVE
            and lease.state_expiration_time > host.clock.utc() + CLOSE_CALL_S
        )

    def _is_partners(self, host: Host, pair: Pair, key: int) -> bool:
        role = self._scene.role(host, pair)
        return key >> 8 & 1 != role if key & 0xFF == ADDRESS_LENGTH else owner(host.leases, key) is not role

    def may_answer(self, host: Host, pair: Pair, type_: MessageType) -> bool:
        """Say whether a server is sure to answer clients of a pair, by all that can be seen from outside."""
        if not host.is_well or not host.is_idle or pair.name in host.asides or self.is_clock_behind(host):
            return False
        if self._holdings.tainted[pair.name]:
            return False
        if self._scene.agenda.now < host.well_since + self._scene.plan.numbers.startup_s + SLACK_S:
            return False
        state = host.state(pair.name)
        if state is State.NORMAL:
            return self._scene.role(host, pair) is Role.PRIMARY or type_ is MessageType.RENEW
        return state in SERVING

    def is_clock_behind(self, host: Host) -> bool:
        """Say whether a server's clock is behind the newest lease on its disk, so that it serves nobody."""
        return host.clock.utc() + CLOCK_STEP_MAX_S < self.newest[host.name]

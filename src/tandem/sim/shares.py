"""Judges who gives out what: only what is one's own, and only once it is nobody's on either disk."""

from __future__ import annotations

from tandem.effects.effects import Effects
from tandem.failover.states import State
from tandem.lease.change import Change, Put
from tandem.lease.lease import STATUS_AT, BindingStatus, Lease, show_key, unpack
from tandem.sim.configuration import is_reserved, prefixes
from tandem.sim.holdings import Holdings
from tandem.sim.host import Host
from tandem.sim.ownership import AVAILABLE, giver, owner
from tandem.sim.partnership import Partnership
from tandem.sim.plan import Pair
from tandem.sim.promises import Promises
from tandem.sim.scene import Scene
from tandem.sim.subnets import Subnets
from tandem.wire.received import ADDRESS_LENGTH

ALONE_S = 3.0
"""For how long after PARTNER-DOWN what was given in it may still be on its way to the disk."""
ACTIVE = BindingStatus.ACTIVE


class Shares:
    """Whose what is, by what the disks say."""

    def __init__(
        self, scene: Scene, partnership: Partnership, promises: Promises, holdings: Holdings, subnets: Subnets
    ) -> None:
        self._scene = scene
        self._subnets = subnets
        self._partnership = partnership
        self._promises = promises
        self._holdings = holdings
        self._alone_at: dict[tuple[str, str], float] = {}
        self._ended_utc: dict[tuple[str, int], int] = {}
        """What a server's clock said when it last decided that a lease is over."""

    def decided(self, host: Host, effects: Effects) -> None:
        """Note when a server decides that leases are over; it may be a while until that is on disk."""
        for change in effects.commit:
            if isinstance(change, Put) and change.record and change.record[STATUS_AT] == BindingStatus.EXPIRED:
                self._ended_utc[host.name, change.key] = host.clock.utc()

    def kept(self, host: Host, change: Change, before: bytes | None) -> None:
        """Look at a change that just became durable."""
        for pair in self._scene.pairs_of(host):
            if host.state(pair.name) is State.PARTNER_DOWN:
                self._alone_at[host.name, pair.name] = self._scene.agenda.now
        if not isinstance(change, Put):
            self._mind_who_is_alone(host)
            return
        if change.record is None:
            return
        pair = self._scene.pair_of(change.key)
        was = unpack(change.key, before) if before else None
        lease = unpack(change.key, change.record)
        is_same = was is not None and was.status == ACTIVE and was.duid == lease.duid
        if lease.status == ACTIVE and lease.owes_partner and not is_same:
            self._given_anew(host, pair, lease, was)
        if lease.status == BindingStatus.EXPIRED and was is not None and lease.owes_partner:
            self._ended(host, was)
        if lease.status in AVAILABLE and was is not None and was.status not in AVAILABLE:
            self._freed(host, pair, lease, was)

    def _mind_who_is_alone(self, host: Host) -> None:
        """Know of a server that serves alone without ever having fetched what it lost."""
        for pair in self._scene.pairs_of(host):
            record, partner = host.record(pair.name), self._scene.partner(host, pair).record(pair.name)
            is_alone = record is not None and record.state is State.PARTNER_DOWN
            if is_alone and record and not record.communicated and partner is not None and partner.communicated:
                self._holdings.taint(pair)

    def is_alone(self, host: Host, pair: Pair) -> bool:
        """Say whether the server is in PARTNER-DOWN, or was until just now."""
        slack_s = max(ALONE_S, 2 * host.slowest_s)
        return self._scene.agenda.now - self._alone_at.get((host.name, pair.name), -1e9) < slack_s

    def look(self) -> None:
        """See that no prefix is both servers' to give."""
        serving = (State.NORMAL, State.COMMUNICATIONS_INTERRUPTED)
        for link in self._scene.links.values():
            pair = self._scene.pairs[link.pair]
            hosts = self._scene.both(pair)
            if self._holdings.tainted[pair.name] or any(host.state(pair.name) not in serving for host in hosts):
                continue
            if any(self._partnership.must_notice(host, pair) for host in hosts):
                continue
            for key in prefixes(link):
                if self._subnets.is_changing(key):
                    break
                if all(owner(host.leases, key) is self._scene.role(host, pair) for host in hosts):
                    self._scene.broken("both own", f"{show_key(key)} is both servers' to give")

    def _given_anew(self, host: Host, pair: Pair, lease: Lease, was: Lease | None) -> None:
        """RFC 8156 4.2: a lease is given to a client that did not have it."""
        self._promises.mind_taint(host, pair)
        if self._holdings.tainted[pair.name] or (was is not None and was.duid == lease.duid):
            return
        if self._subnets.is_changing(lease.key) and not self._subnets.is_settled(host, lease.key):
            return
        what = f"{host.name} gives {show_key(lease.key)} to c{lease.duid[-1]}"
        is_alone, role = self.is_alone(host, pair), self._scene.role(host, pair)
        if is_reserved(lease.key) or self._is_adopted(lease):
            pass
        elif lease.length == ADDRESS_LENGTH:
            if lease.key >> 8 & 1 != role:
                self._scene.broken("not its share", f"{what}, an address of its partner's")
        elif not is_alone and giver(host.leases, lease.key, was) is not role:
            self._scene.broken("not its share", f"{what}, a prefix of its partner's share")
        if is_alone:
            return
        if was is not None and was.status not in AVAILABLE:
            self._scene.broken("not free", f"{what}, but it was {BindingStatus(was.status).name} of c{was.duid[-1]}")
        theirs = self._scene.partner(host, pair).lease(lease.key)
        if theirs is not None and theirs.status == ACTIVE and theirs.duid != lease.duid:
            self._scene.broken("its partner's client's", f"{what}, but its partner has it for c{theirs.duid[-1]}")

    def _is_adopted(self, lease: Lease) -> bool:
        """Say whether the client has or had the lease: it names it in a Rebind, maybe one that was long on its way.

        Whether it is another's by now is seen from the partner's disk.
        """
        return (lease.duid, lease.key) in self._holdings.ever

    def _ended(self, host: Host, was: Lease) -> None:
        """See that a server ends no lease before the end that it has on record, by its clock when it did so."""
        early_s = was.state_expiration_time - self._ended_utc[host.name, was.key]
        if was.status == ACTIVE and early_s > 0:
            self._scene.broken("ended early", f"{host.name} ends {show_key(was.key)} {early_s} s before its end")

    def _freed(self, host: Host, pair: Pair, lease: Lease, was: Lease) -> None:
        """RFC 8156 4.2.2.1: what a client had is free once both servers know that it is over."""
        if self._holdings.tainted[pair.name] or not self._subnets.is_settled(host, lease.key):
            return
        if (host.name, lease.key) not in self._partnership.is_agreed:
            before = BindingStatus(was.status).name
            what = f"{show_key(lease.key)} from {before} of c{was.duid[-1]} to free, and its partner did not agree"
            self._scene.broken("freed too early", f"{host.name} sets {what}")

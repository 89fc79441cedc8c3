"""Judges what clients have in their hands: nobody has what another has, and who asks in time keeps what it has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tandem.failover.states import State
from tandem.lease.lease import BindingStatus, show_key
from tandem.lease.space import interval_of
from tandem.sim.configuration import is_reserved, link_of
from tandem.sim.host import Host
from tandem.sim.plan import Pair
from tandem.sim.scene import Resident, Scene
from tandem.sim.subnets import OWN, Subnets
from tandem.sim.subscriber import EXTENDING, Heard, Hold

CLOSE_CALL_S = 6.0
"""A lease that ends so soon may be over by a server's clock."""
CLOSE_S = 12.0
"""Who gives a lease up and takes it again so soon may be heard in the wrong order by two clocks (RFC 8156 7.5.1)."""
CLOCK_MAX_S = 5.0
"""How far partners' clocks may be apart, or wrong, for what they promise to hold."""
DELAY_S = 0.3
"""How late an answer may come without `reuse-grace`: servers count whole seconds."""


class Holdings:
    """Who has which lease, and what nobody can be held to."""

    def __init__(self, scene: Scene, subnets: Subnets) -> None:
        self._scene = scene
        self._subnets = subnets
        self._given_up: dict[tuple[int, int], float] = {}
        """When a client last gave a lease up, by its number and the lease."""
        self._declined: set[tuple[int, int]] = set()
        self._disk_lost: dict[str, float] = {}
        """When a server last lost its disk."""
        self._released: dict[int, float] = {}
        """When an operator last released a lease."""
        self.ever: set[tuple[bytes, int]] = set()
        """Which client ever had which lease in its hands."""
        self.tainted: dict[str, bool] = {pair.name: False for pair in scene.plan.pairs}
        """Where a server serves whose partner takes it to be down: then RFC 8156 promises little."""

    def holds(self, pair: Pair) -> Iterator[tuple[Resident, Hold]]:
        """Give what clients hold of a pair's leases."""
        for resident in self._scene.residents:
            for hold in resident.subscriber.holds.values():
                if self._scene.pair_of(hold.key) is pair:
                    yield resident, hold

    # -- what nobody can be held to

    def why_void(self, pair: Pair) -> str:
        """Say why what is promised in a pair right now counts for nothing; empty if it counts."""
        if self.tainted[pair.name]:
            return "both served and one took the other to be down, or one served without leases that it had lost"
        errors = [host.clock.error_s() for host in self._scene.both(pair)]
        if max(errors) - min(errors) > CLOCK_MAX_S or max(map(abs, errors)) > CLOCK_MAX_S:
            return "a clock was wrong by more than 5 s"
        return ""

    def void_all(self, pair: Pair) -> None:
        """Let nothing that is held count any more, if there is a reason."""
        pairs_why = self.why_void(pair)
        for _, hold in self.holds(pair):
            why = pairs_why or self._subnets.why_loose(hold.key)
            if why:
                self._void(hold, why)

    def taint(self, pair: Pair) -> None:
        """Know that both give out leases and one believes that it is alone, or that one is, without its leases."""
        if not self.tainted[pair.name]:
            self._scene.log(f"{pair.name}: from here on RFC 8156 does not keep two clients apart")
            self.tainted[pair.name] = True
            self.void_all(pair)

    def clear(self, pair: Pair) -> None:
        """Know that the partners have settled all that they gave out."""
        if self.tainted[pair.name]:
            self._scene.log(f"{pair.name}: from here on it does again")
            self.tainted[pair.name] = False

    def disk_is_lost(self, host: Host, copy: Mapping[int, bytes] | None = None) -> None:
        """Know what nobody can be held to, since only that disk knew of it.

        Who recovers waits until what it may have given out and forgotten is over (RFC 8156 8.6); so that is nobody
        else's. But a partner that knows of a lease, and of an earlier end, goes by that; and what was promised alone
        may last for longer than anybody waits. Partners that never met wait for nothing, like a server without one.
        `copy` is what is left, by key.
        """
        self._disk_lost[host.name] = self._scene.agenda.now
        waits_until = self._scene.agenda.now + self._scene.plan.numbers.mclt_s
        for pair in self._scene.pairs_of(host):
            partner = self._scene.partner(host, pair)
            record = partner.record(pair.name)
            have_met = record is not None and (record.communicated or record.state is not State.RECOVER)
            for resident, hold in self.holds(pair):
                mine, theirs = host.lease(hold.key), partner.lease(hold.key)
                duid = resident.subscriber.duid
                if mine is None or mine.duid != duid or host.leases[hold.key] == (copy or {}).get(hold.key):
                    continue
                if self._subnets.relationship(host, hold.key) == OWN:
                    is_forgotten = False
                elif theirs is None or theirs.duid != duid:
                    is_forgotten = have_met and hold.until <= waits_until
                elif (
                    theirs.status == BindingStatus.ACTIVE and theirs.state_expiration_time >= mine.state_expiration_time
                ):
                    continue
                else:
                    is_forgotten = False
                hold.is_forgotten = is_forgotten
                if not is_forgotten:
                    self._void(hold, "only a disk that was lost knew of it")

    def released_by_operator(self, key: int) -> None:
        """Know that a lease was taken from its client, which was not told, and may yet hear what was said before."""
        self._released[key] = self._scene.agenda.now
        for resident in self._scene.residents:
            hold = resident.subscriber.holds.get(key)
            if hold is not None:
                self._void(hold, "the operator released it")

    def given_up(self, resident: Resident, keys: list[int], is_declined: bool) -> None:
        """Hear that a client gives leases up."""
        number = resident.subscriber.number
        for key in keys:
            self._given_up[number, key] = self._scene.agenda.now
            self._declined.update([(number, key)] if is_declined else [])

    def _void(self, hold: Hold, why: str) -> None:
        if not hold.void:
            hold.void = why
            self._scene.void(why)

    # -- what clients hear

    def is_safe(self, hold: Hold) -> bool:
        """Say whether a client that asks now must be able to keep a lease."""
        return not hold.void and not hold.is_forgotten and hold.until - self._scene.agenda.now > CLOSE_CALL_S

    def heard(self, resident: Resident, host: Host, heard: Heard, decided: float, voids: Mapping[str, str]) -> None:
        """Look at what a client makes of a REPLY; when that was made, `voids` said why it counts for nothing."""
        if heard.asked in EXTENDING:
            self._nothing_is_taken(resident, host, heard)
        for hold in resident.subscriber.holds.values():
            if heard.told.get(hold.key) and heard.before.get(hold.key) is not hold:
                self._is_new(resident, host, hold, decided, voids)

    def _nothing_is_taken(self, resident: Resident, host: Host, heard: Heard) -> None:
        safe = [
            hold
            for hold in heard.before.values()
            if self.is_safe(hold)
            and link_of(hold.key) == resident.link
            and not self._is_ambiguous(resident, hold)
            and (not self._subnets.is_changing(hold.key) or self._is_known(host, resident, hold))
        ]
        for hold in safe:
            what = f"{show_key(hold.key)} of {resident.name}, which {heard.asked.name}s it in time"
            if heard.told.get(hold.key) == 0:
                self._scene.broken("taken", f"{host.name} takes {what}")
            if hold.ia in heard.unbound:
                self._scene.broken("unbound", f"{host.name} says NoBinding for {what}")

    def _is_known(self, host: Host, resident: Resident, hold: Hold) -> bool:
        """True if a server has a subnet, and has on its disk that a client has a lease in it."""
        lease = host.lease(hold.key)
        return (
            self._subnets.relationship(host, hold.key) is not None
            and lease is not None
            and (lease.duid, lease.iaid, lease.status) == (resident.subscriber.duid, hold.ia[1], BindingStatus.ACTIVE)
            and lease.state_expiration_time > host.clock.utc() + CLOSE_CALL_S
        )

    @staticmethod
    def _is_ambiguous(resident: Resident, hold: Hold) -> bool:
        """Say whether a lease is reserved for a client with several IAs: each server may have chosen another."""
        alike = [ia for ia in resident.subscriber.ias if ia[0] == hold.ia[0]]
        return is_reserved(hold.key) and len(alike) > 1

    def _is_new(self, resident: Resident, host: Host, hold: Hold, decided: float, voids: Mapping[str, str]) -> None:
        now, pair = self._scene.agenda.now, self._scene.pair_of(hold.key)
        number = resident.subscriber.number
        self.ever.add((resident.subscriber.duid, hold.key))
        why = voids.get(pair.name, "") or self.why_void(pair) or self._subnets.why_loose(hold.key)
        if (number, hold.key) in self._declined:
            why = "its client once declined it"
        elif decided <= self._disk_lost.get(host.name, -1e9):
            why = "only a disk that was lost knew of it"
        elif decided <= self._released.get(hold.key, -1e9):
            why = "the operator released it"
        elif now - self._given_up.get((number, hold.key), -1e9) < CLOSE_S:
            why = "its client gave it up and took it again at once"
        elif now - decided > max(self._scene.plan.numbers.grace_s, DELAY_S):
            why = "the answer came later than reuse-grace allows"
        if why:
            self._void(hold, why)
            return
        self._nobody_else_has_it(resident, host, hold)

    def _nobody_else_has_it(self, resident: Resident, host: Host, hold: Hold) -> None:
        now = self._scene.agenda.now
        first, last = interval_of(hold.key)
        for each in self._scene.residents:
            for other in each.subscriber.holds.values():
                if other.until <= now or other.void or (each is resident and other.key == hold.key):
                    continue
                low, high = interval_of(other.key)
                if low <= last and first <= high:
                    self._scene.broken(
                        "two holders",
                        f"{host.name} gives {show_key(hold.key)} to {resident.name}, and {each.name} has "
                        f"{show_key(other.key)} for {other.until - now:.1f} s more",
                    )

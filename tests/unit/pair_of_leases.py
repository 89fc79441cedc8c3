"""One lease as two partners have it: what happens to it on either side, and the updates that cross between them.

Only the rules of `tandem.failover` are used, no connection and no clock; what is lost on the way is said in so many
words.
"""

from __future__ import annotations

from tandem.failover.bindings import accepted, client_update, settled
from tandem.failover.verdict import Verdict, judge
from tandem.lease.lease import CONTENT_AT, BindingStatus, Lease
from tandem.lease.share import ENDED
from tandem.lease.space import Role
from tandem.wire.binding import Update, read_update, write_update

ODD, EVEN = 7 << 8 | 128, 8 << 8 | 128
"""An address of the primary's, and one of the secondary's."""
START = 1_800_000_000
EXPIRY_DELAYS_S = {True: 5, False: 35}
"""How long after its end a server ends a lease: its own, or its partner's."""
AVAILABLE = (BindingStatus.FREE, BindingStatus.FREE_BACKUP)


class Side:
    """One server's record of the lease."""

    def __init__(self, role: Role, key: int, skew_s: int = 0) -> None:
        self.role = role
        self.key = key
        self.skew_s = skew_s
        self.lease: Lease | None = None

    @property
    def owes(self) -> bool:
        """Whether the partner is yet to acknowledge what is on record."""
        return self.lease is not None and self.lease.owes_partner

    def grant(self, now: int, duid: bytes, lasts_s: int) -> None:
        """Give or extend the lease, unless it is another client's."""
        before = self.lease
        if before is not None and before.duid != duid and before.status not in AVAILABLE:
            return
        if before is not None and before.status == BindingStatus.ABANDONED:
            return
        goes_on = before is not None and before.status == BindingStatus.ACTIVE
        lease = Lease(self.key, BindingStatus.ACTIVE, duid, 1, now, now, now + lasts_s, 3, 4, 1, 2, b"", True)
        if before is not None:
            lease = lease._replace(partner_raw_clt_time=before.partner_raw_clt_time)
            if goes_on:
                lease = lease._replace(start_time_of_state=before.start_time_of_state)
        self.lease = lease

    def release(self, now: int) -> None:
        """End the lease because its client says so."""
        if self.lease is not None and self.lease.status == BindingStatus.ACTIVE:
            ended = self.lease.ended(BindingStatus.RELEASED, now, self.lease.state_expiration_time)
            self.lease = ended._replace(client_last_transaction_time=now, owes_partner=True)

    def decline(self, now: int, lasts_s: int) -> None:
        """Set the lease aside because its client found it in use."""
        if self.lease is not None and self.lease.status == BindingStatus.ACTIVE:
            ended = self.lease.ended(BindingStatus.ABANDONED, now, now + lasts_s)
            self.lease = ended._replace(client_last_transaction_time=now, owes_partner=True)

    def lapse(self, now: int) -> None:
        """End the lease if its time is over."""
        lease = self.lease
        if lease is None or lease.status not in (BindingStatus.ACTIVE, BindingStatus.ABANDONED):
            return
        delay_s = EXPIRY_DELAYS_S[(self.key >> 8 & 1) == self.role]
        if now >= lease.state_expiration_time + delay_s:
            status = BindingStatus.EXPIRED if lease.status == BindingStatus.ACTIVE else BindingStatus.RESET
            self.lease = lease.ended(status, now, lease.state_expiration_time)._replace(owes_partner=True)

    def told(self, now: int) -> Update:
        """Give what this side says of the lease, as it arrives."""
        assert self.lease is not None
        return read_update(write_update(client_update([self.lease]), now))

    def judge(self, update: Update, now: int) -> Verdict:
        """Decide on what the partner says."""
        return judge(self.lease, update.leases[0], update.duid, self.role, now)

    def take(self, update: Update, now: int) -> Verdict:
        """Decide on what the partner says, and record what follows."""
        verdict = self.judge(update, now)
        if verdict.code is None:
            self.lease = accepted(self.lease, update.leases[0], update, now, True)
        elif verdict.tell_partner and self.lease is not None:
            self.lease = self.lease._replace(owes_partner=True)
        return verdict

    def hear(self, sent: Lease, verdict: Verdict) -> None:
        """Take in the partner's answer to what was sent."""
        if (
            verdict.code is None
            and self.lease is not None
            and self.lease.pack()[CONTENT_AT:] == sent.pack()[CONTENT_AT:]
        ):
            status, acked = settled(self.lease, sent.partner_lifetime)
            self.lease = self.lease._replace(owes_partner=False, status=status, acked_partner_lifetime=acked)

    @property
    def shown(self) -> tuple[bytes, str] | None:
        """Give client and status as both sides should end up with; ended is available for whoever may give it."""
        if self.lease is None:
            return None
        ended = self.lease.status in (*ENDED, *AVAILABLE)
        return self.lease.duid, "AVAILABLE" if ended else BindingStatus(self.lease.status).name


def cross(one: Side, other: Side, now: int) -> tuple[Verdict | None, Verdict | None]:
    """Let both sides that owe the other an update send it at the same time; give what each decided on the other's."""
    sent = [(side.lease, side.told(now + side.skew_s)) if side.owes else None for side in (one, other)]
    verdicts: list[Verdict | None] = []
    for side, message in zip((one, other), reversed(sent), strict=True):
        verdicts.append(side.take(message[1], now + side.skew_s) if message else None)
    for side, message, verdict in zip((one, other), sent, reversed(verdicts), strict=True):
        if message is not None and message[0] is not None and verdict is not None:
            side.hear(message[0], verdict)
    return verdicts[0], verdicts[1]

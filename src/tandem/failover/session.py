"""One connection to the partner: transaction-ids, keepalive and time skew (RFC 8156 5.4, 6.5, 6.6, 7.1)."""

from __future__ import annotations

from typing import Final

from tandem.effects.effects import Effects, Out, ToPartner
from tandem.effects.now import Moment
from tandem.failover.history import History
from tandem.wire.failover import FailoverType, Frames, write_failover_message

CONTACT_PER_KEEPALIVE: Final = 4
SKEW_MAX_S: Final = 5
SKEW_WARN_S: Final = 2
SKEW_LASTS_S: Final = 30
"""How long every message must look old, or new, before the partner's clock is to blame and not the network."""
MAX_UNACKED: Final = 1000
"""How many BNDUPDs the partner may send without waiting for an answer."""
HANDSHAKE_S: Final = 10


class Session:
    """What is known of one connection. It is established once CONNECT and CONNECTREPLY agreed."""

    def __init__(self, connection: int, peer: str, now: Moment) -> None:
        self.connection = connection
        self.peer = peer
        self.frames = Frames()
        self.established = False
        self.opened_mono = now.mono
        self.heard_mono = now.mono
        self.sent_mono = now.mono
        self.partner_keepalive_s = HANDSHAKE_S
        self.max_unacked = 1
        """How many BNDUPDs the partner takes without waiting for an answer."""
        self.skew_s = 0
        """How far the partner's clock runs ahead of ours, by the last message; its way here makes it seem behind."""
        self.details_due = False
        """Whether the partner is to be told in detail what this server serves."""
        self.skew_told = False
        """Whether it was said that the partner's clock runs away."""
        self.history: History | None = None
        """This server's history, if the partner wants its position told."""
        self._skewed_since: float | None = None
        self.requested_mono: float | None = None
        """When UPDREQ or UPDREQALL was sent whose UPDDONE is awaited; None if none is."""
        self._last_id = 0
        self._request_id = 0

    def position(self, effects: Effects) -> bytes:
        """Return the option that tells this server's position, for a message that will go into `effects.then`."""
        return b"" if self.history is None else self.history.write_position(effects)

    def send(self, type_: FailoverType, options: bytes, out: Out, now: Moment | None) -> int:
        """Begin an exchange and return its transaction-id.

        With `now` None the message does not postpone the next CONTACT, since the disk may hold it up.
        """
        self._last_id = self._last_id % 0xFFFFFF + 1
        if self._last_id == self._request_id:  # an exchange that takes long, so that the numbers may come round
            self._last_id = self._last_id % 0xFFFFFF + 1
        if now is not None:
            self.sent_mono = now.mono
        out.append(ToPartner(self.connection, write_failover_message(type_, self._last_id, options)))
        return self._last_id

    def answer(self, type_: FailoverType, transaction_id: int, options: bytes, out: Out) -> None:
        """Answer a message of the partner."""
        out.append(ToPartner(self.connection, write_failover_message(type_, transaction_id, options)))

    def request_updates(self, everything: bool, out: Out, now: Moment) -> None:
        """Ask the partner for what it has not told, or for everything (RFC 8156 5.3.5, 5.3.6)."""
        type_ = FailoverType.UPDREQALL if everything else FailoverType.UPDREQ
        self._request_id = self.send(type_, b"", out, now)
        self.requested_mono = now.mono

    def is_request_done(self, transaction_id: int) -> bool:
        """True if that UPDDONE answers the request that is awaited."""
        return self.requested_mono is not None and transaction_id == self._request_id

    def forget_request(self) -> None:
        """Wait no more for an UPDDONE: it came, or was for a state that is over, and says nothing for the next one."""
        self.requested_mono = None
        self._request_id = 0

    def heard(self, now: Moment, sent_time: int, received_utc: int) -> None:
        """Note that a message came in, and what it says of the partner's clock."""
        self.heard_mono = now.mono
        self.skew_s = sent_time - received_utc
        if abs(self.skew_s) <= SKEW_MAX_S:
            self._skewed_since = None
        elif self._skewed_since is None:
            self._skewed_since = now.mono

    def is_skewed(self, now: Moment) -> bool:
        """Say whether the partner's clock has been wrong for too long for a delay to explain it."""
        return self._skewed_since is not None and now.mono - self._skewed_since >= SKEW_LASTS_S

    def next_contact_mono(self) -> float:
        """Give when a CONTACT is due, if nothing else is sent before."""
        return self.sent_mono + self.partner_keepalive_s / CONTACT_PER_KEEPALIVE

    def dead_mono(self, keepalive_s: int) -> float:
        """Give when the connection is dead, if nothing is heard before."""
        return self.heard_mono + (keepalive_s if self.established else HANDSHAKE_S)

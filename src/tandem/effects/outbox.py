"""Keeps the order: first durable, then sent. One batch is at the disk, one is being collected.

What waits for the disk waits for every earlier commit, whether or not it brought one of its own. A change that nothing
waits for, such as a partner's acknowledgement, goes with the next batch, or soon by itself: losing it in a crash
loses no promise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tandem.effects.effects import Answer, Effects, Out
from tandem.lease.change import Change

COLLECTED_MAX: Final = 256
"""Changes in the batch being collected from which on no more datagrams are taken in."""
WAITING_MAX: Final = 4096
"""Messages that wait for the batch being collected, from which on nothing more is taken in."""
LAZY_S: Final = 0.05
"""How long a change that nothing waits for may wait for company on its way to the disk."""


class Outbox:
    """Takes effects in and lets them out in their order. Used by one thread only.

    `send` lets things out now. `refused` is told that the disk takes nothing, with the reason; what waited for
    it is given up, and its batch is tried again by `retry`. `accepted` is told that it does again. `soon` is to
    have `flush` called in LAZY_S.
    """

    def __init__(
        self,
        commit: Callable[[list[Change]], None],
        send: Callable[[Out], None],
        refused: Callable[[str], None],
        accepted: Callable[[], None],
        soon: Callable[[], object],
    ) -> None:
        self._commit = commit
        self._send = send
        self._refused = refused
        self._accepted = accepted
        self._soon = soon
        self._is_soon = False
        self._at_disk: list[Change] = []
        self._waiting: Out = []
        self._collected: list[Change] = []
        self._behind: Out = []
        self.is_full = False
        """The disk takes nothing at the moment."""

    @property
    def has_room(self) -> bool:
        """True if more datagrams and octets of partners should be taken in."""
        return len(self._collected) < COLLECTED_MAX and len(self._behind) < WAITING_MAX

    @property
    def is_empty(self) -> bool:
        """Whether everything is durable and sent."""
        return not self._at_disk and not self._collected

    def put(self, effects: Effects) -> None:
        """Take in the effects of one call."""
        self._collected += effects.commit
        out = effects.at_once
        if self.is_full:
            if out:
                self._send(out)
            self._give_up(effects.then)
            return
        self._behind += effects.then
        if not self._at_disk:
            out = out + self._go_on()  # the disk begins first, and works while things are sent
        if out:
            self._send(out)

    def full(self, reason: str) -> None:
        """Hear that the disk took nothing of the batch."""
        if not self.is_full:
            self.is_full = True
            self._refused(reason)
        self._give_up(self._waiting + self._behind)
        self._waiting, self._behind = [], []

    def done(self) -> None:
        """Hear that the batch at the disk is durable."""
        if self.is_full:
            self.is_full = False
            self._accepted()
        sent, self._waiting, self._at_disk = self._waiting, [], []
        sent += self._go_on()
        if sent:
            self._send(sent)

    def flush(self) -> None:
        """Have what is collected made durable, if nothing else is being."""
        self._is_soon = False
        if self._collected and not self._at_disk:
            self._start()

    def retry(self) -> None:
        """Try the refused batch again."""
        self._commit(self._at_disk)

    def _go_on(self) -> Out:
        """Begin with what is collected, if something waits for it, and give what need not wait any longer."""
        if not self._collected:
            free, self._behind = self._behind, []
            return free
        if self._behind or not self.has_room:
            self._start()
        elif not self._is_soon:
            self._is_soon = True
            self._soon()
        return []

    def _start(self) -> None:
        self._at_disk, self._waiting = self._collected, self._behind
        self._collected, self._behind = [], []
        self._commit(self._at_disk)

    def _give_up(self, out: Out) -> None:
        """Drop answers to clients, who will ask again; tell operators."""
        self._send(
            [
                Answer(each.ticket, None, "The disk takes nothing at the moment.")
                for each in out
                if isinstance(each, Answer)
            ]
        )

"""Watches a node from outside and says when it breaks a promise that holds whatever anybody sends.

It has its own book of who holds what, kept only from what the node asks to have made durable.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from served import EVERYTHING, reasons_to_drop, sends
from tandem.config.load import load
from tandem.effects.effects import Effects, Send
from tandem.effects.now import Now
from tandem.effects.settings import Limits
from tandem.lease.change import Put
from tandem.lease.lease import FOREVER, BindingStatus, Lease, key_of, show_key, unpack
from tandem.server.places import Place
from tandem.stores.batch import read_batch, write_batch
from tandem.wire.message import Message, MessageType, Relayed, read_message
from tandem.wire.options import ClientId, IaAddress, IaNa, IaPd, IaPrefix
from tandem.wire.received import ADDRESS_LENGTH

RECORD_OCTETS_MAX = 512
"""What one lease may take on disk and in memory: its times, the longest DUID and the longest name."""
LINKS = [Place(link) for link in load(EVERYTHING, None).settings.links]
ANSWERS = (MessageType.ADVERTISE, MessageType.REPLY)


class Watch:
    """Everything that has happened to one node, and that it was right."""

    def __init__(self) -> None:
        self._active: dict[int, Lease] = {}
        self._keys_of_client: dict[bytes, set[int]] = {}
        self.answered = 0
        self.dropped = 0

    def see(self, now: Now, effects: Effects) -> list[Send]:
        """Take in what one datagram led to; AssertionError unless all is well. Gives what is sent."""
        assert list(read_batch(write_batch(effects.commit))) == effects.commit, "what cannot be stored is no promise"
        for change in effects.commit:
            assert isinstance(change, Put)
            self._record(now, change)
        found, reasons = sends(effects), reasons_to_drop(effects)
        assert len(found) + len(reasons) == 1, f"{len(found)} answers and the reasons {reasons}"
        assert all(reasons), "a reason has a name"
        self.answered += len(found)
        self.dropped += len(reasons)
        for send in found:
            self._check_answer(now, send, promised=send in effects.then)
        return found

    def check_space(self) -> None:
        """No two active leases share an address."""
        spaces = sorted((key >> 8, (key >> 8) + (1 << 128 - (key & 0xFF)) - 1, key) for key in self._active)
        for (_, last, key), (first, _, other) in pairwise(spaces):
            assert last < first, f"{show_key(key)} and {show_key(other)} overlap, and both are held"

    def _record(self, now: Now, change: Put) -> None:
        before = self._active.pop(change.key, None)
        if before is not None:
            self._keys_of_client[before.duid].discard(change.key)
        lease = None if change.record is None else unpack(change.key, change.record)
        if before is not None and before.state_expiration_time > now.utc:
            told = f"{show_key(change.key)} is {before.duid.hex()}'s until {before.state_expiration_time}"
            assert lease is not None, f"{told}, and was forgotten"
            assert lease.duid == before.duid, f"{told}, and was given to {lease.duid.hex()}"
        if lease is None or lease.status != BindingStatus.ACTIVE:
            return
        assert len(change.record or b"") <= RECORD_OCTETS_MAX, f"a record of {len(change.record or b'')} octets"
        self._active[change.key] = lease
        keys = self._keys_of_client.setdefault(lease.duid, set())
        keys.add(change.key)
        held = [key for key in keys if self._active[key].state_expiration_time > now.utc]
        for link in LINKS:
            here = sum(link.home_of(key) is not None for key in held)
            assert here <= Limits().leases_per_client, f"{lease.duid.hex()} holds {here} leases on {link.name}"

    def _check_answer(self, now: Now, send: Send, promised: bool) -> None:
        message = read_message(send.data)
        while isinstance(message, Relayed):
            assert message.type is MessageType.RELAY_REPL
            message = message.message
        assert message.type in ANSWERS, f"a server does not send {message.type.name}"
        assert promised is (message.type is MessageType.REPLY), "a Reply waits for the disk, an Advertise does not"
        leases = list(told(message))
        assert len(dict(leases)) == len(leases), "a lease stands in two identity associations"
        if promised:
            duid = next((each.duid for each in message.options if isinstance(each, ClientId)), b"")
            for key, valid_s in leases:
                self._check_promise(now, duid, key, valid_s)

    def _check_promise(self, now: Now, duid: bytes, key: int, valid_s: int) -> None:
        lease = self._active.get(key)
        assert lease is not None, f"{show_key(key)} is promised and not on record"
        assert lease.duid == duid, f"{show_key(key)} is promised to {duid.hex()} and {lease.duid.hex()}'s"
        if lease.state_expiration_time != FOREVER:
            until = FOREVER if valid_s == FOREVER else now.utc + valid_s
            assert lease.state_expiration_time >= until, f"{show_key(key)} is promised longer than it is recorded"


def told(message: Message) -> Iterator[tuple[int, int]]:
    """Give the leases that a client may use by this message, with their valid lifetimes."""
    for ia in message.options:
        for each in ia.options if isinstance(ia, IaNa | IaPd) else ():
            if isinstance(each, IaAddress) and each.valid:
                assert isinstance(ia, IaNa)
                yield key_of(int.from_bytes(each.address, "big")), each.valid
            elif isinstance(each, IaPrefix) and each.valid:
                assert isinstance(ia, IaPd)
                prefix = int.from_bytes(each.prefix, "big")
                assert each.length < ADDRESS_LENGTH, "an address is not delegated"
                assert not prefix & (1 << ADDRESS_LENGTH - each.length) - 1, "a prefix has bits behind its length"
                yield key_of(prefix, each.length), each.valid

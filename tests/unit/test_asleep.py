"""A server that slept looks at what came meanwhile before it takes its partner to be down (RFC 8156 8.9.2)."""

from __future__ import annotations

from pathlib import Path

from tandem.config.load import load
from tandem.effects.events import ConnectionFailed, Event, Interfaces
from tandem.effects.now import Now
from tandem.failover.record import FACT_PREFIX, Record, read_record
from tandem.failover.states import State
from tandem.lease.change import Fact
from tandem.lease.table import LeaseTable
from tandem.node import Identity, Node

FILE = Path(__file__).parent.parent / "pair" / "auto.toml"
BEGIN_UTC = 1_800_000_000
CAMPUS = FACT_PREFIX + "campus"


class Alone:
    """Server b of a pair that was cut off before it was started."""

    def __init__(self) -> None:
        settings = load(FILE, "b").settings
        (relationship,) = settings.relationships
        assert relationship.auto_partner_down_s is not None
        self.auto_s = relationship.auto_partner_down_s
        self.keepalive_s = relationship.keepalive_s
        apart = Record(State.COMMUNICATIONS_INTERRUPTED, State.NORMAL, BEGIN_UTC, 3600, 3600, communicated=True)
        self.record = apart
        self.passed_s = 0
        self._node = Node(
            settings, Identity(b"\0\4b", b"b"), LeaseTable(), self.now, {CAMPUS: apart.as_fact("campus").value}
        )
        self.happen(Interfaces({1: ("eth0", ())}))

    @property
    def state(self) -> str:
        return self.record.state.words

    @property
    def now(self) -> Now:
        return Now(1000.0 + self.passed_s, BEGIN_UTC + self.passed_s)

    def happen(self, *events: Event) -> None:
        for change in self._node.handle(self.now, events).commit:
            if isinstance(change, Fact) and change.name == CAMPUS:
                self.record = read_record(change.value)

    def live(self, seconds: int) -> None:
        for _ in range(seconds):
            self.passed_s += 1
            self.happen()

    def sleep(self, seconds: int) -> None:
        self.passed_s += seconds
        self.happen()


def test_awake_it_goes_on_alone_in_time() -> None:
    server = Alone()
    server.live(server.auto_s + 30)
    assert server.state == "PARTNER-DOWN"


def test_who_wakes_up_listens_first() -> None:
    server = Alone()
    server.live(20)
    server.sleep(2 * server.auto_s)
    assert server.state == "COMMUNICATIONS-INTERRUPTED"
    server.live(server.keepalive_s - 1)
    assert server.state == "COMMUNICATIONS-INTERRUPTED"
    server.live(2)
    assert server.state == "PARTNER-DOWN"


def test_a_partner_that_was_heard_meanwhile_is_not_down() -> None:
    server = Alone()
    server.live(20)
    server.sleep(2 * server.auto_s)
    server.happen(ConnectionFailed("campus", "its clock is wrong", partner_was_there=True))
    server.live(server.auto_s - 5)
    assert server.state == "COMMUNICATIONS-INTERRUPTED"

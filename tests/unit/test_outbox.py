"""First durable, then sent: what may leave when, with a disk that is slow, full, or broken."""

from __future__ import annotations

from tandem.effects.effects import Answer, Effects, Out, Send
from tandem.effects.outbox import COLLECTED_MAX, Outbox
from tandem.lease.change import Change, Fact


class Desk:
    """An outbox whose disk finishes when it is told to."""

    def __init__(self) -> None:
        self.at_disk: list[list[Change]] = []
        self.out: Out = []
        self.said: list[str] = []
        self.outbox = Outbox(
            self.at_disk.append,
            self.out.extend,
            self.said.append,
            lambda: self.said.append("accepted"),
            lambda: self.said.append("soon"),
        )

    def put(self, commit: str = "", then: str = "", at_once: str = "", answer: int = 0) -> None:
        effects = Effects()
        effects.commit = [Fact(name, b"") for name in commit]
        effects.then = [send(name) for name in then]
        effects.then += [Answer(answer, None)] if answer else []
        effects.at_once = [send(name) for name in at_once]
        self.outbox.put(effects)

    @property
    def sent(self) -> str:
        return "".join(each.data.decode() for each in self.out if isinstance(each, Send))


def send(name: str) -> Send:
    return Send(name.encode(), "::1", 546, 1, 1, bytes(16), 7, 0.0)


def names(batch: list[Change]) -> str:
    return "".join(change.name for change in batch if isinstance(change, Fact))


def test_a_promise_waits_for_its_commit() -> None:
    desk = Desk()
    desk.put(commit="a", then="A", at_once="x")
    assert desk.sent == "x"
    desk.outbox.done()
    assert desk.sent == "xA"


def test_the_disk_begins_before_anything_is_sent() -> None:
    order: list[str] = []
    outbox = Outbox(
        lambda batch: order.append(f"commit {names(batch)}"),
        lambda out: order.append(f"send {len(out)}"),
        order.append,
        lambda: order.append("accepted"),
        lambda: order.append("soon"),
    )
    effects = Effects()
    effects.commit, effects.then, effects.at_once = [Fact("a", b"")], [send("A")], [send("x"), send("y")]
    outbox.put(effects)
    assert order == ["commit a", "send 2"]


def test_a_promise_without_a_commit_waits_for_every_earlier_one() -> None:
    desk = Desk()
    desk.put(commit="a", then="A")
    desk.put(then="B")
    assert desk.sent == ""
    desk.outbox.done()
    desk.outbox.done() if desk.at_disk[1:] else None
    assert desk.sent.startswith("A")


def test_what_comes_while_the_disk_works_shares_the_next_batch() -> None:
    desk = Desk()
    desk.put(commit="a", then="A")
    desk.put(commit="b", then="B")
    desk.put(commit="c", then="C")
    assert [names(batch) for batch in desk.at_disk] == ["a"]
    desk.outbox.done()
    assert desk.sent == "A"
    assert [names(batch) for batch in desk.at_disk] == ["a", "bc"]
    desk.outbox.done()
    assert desk.sent == "ABC"
    assert desk.outbox.is_empty


def test_what_nothing_waits_for_goes_with_the_next_batch() -> None:
    desk = Desk()
    desk.put(commit="a")
    desk.put(commit="b")
    assert desk.at_disk == []
    assert desk.said == ["soon"]
    desk.put(then="C")
    assert [names(batch) for batch in desk.at_disk] == ["ab"]
    assert desk.sent == ""
    desk.outbox.done()
    assert desk.sent == "C"


def test_what_nothing_waits_for_goes_soon_by_itself() -> None:
    desk = Desk()
    desk.put(commit="a", then="A")
    desk.put(commit="b")
    desk.outbox.done()
    assert [names(batch) for batch in desk.at_disk] == ["a"]
    assert not desk.outbox.is_empty
    desk.outbox.flush()
    assert [names(batch) for batch in desk.at_disk] == ["a", "b"]
    desk.outbox.flush()
    desk.outbox.done()
    assert desk.outbox.is_empty
    desk.put(commit="c")
    assert desk.said == ["soon", "soon"]


def test_a_full_batch_waits_for_nothing() -> None:
    desk = Desk()
    desk.put(commit="a" * COLLECTED_MAX)
    assert len(desk.at_disk) == 1


def test_nothing_outstanding_nothing_to_wait_for() -> None:
    desk = Desk()
    desk.put(then="A")
    assert desk.sent == "A"


def test_datagrams_wait_while_two_batches_are_not_durable() -> None:
    desk = Desk()
    desk.put(commit="a", then="A")
    desk.put(commit="b" * (COLLECTED_MAX - 1))
    assert desk.outbox.has_room
    desk.put(commit="c")
    assert not desk.outbox.has_room
    desk.outbox.done()
    assert desk.outbox.has_room


def test_full_disk_withholds_and_tries_again() -> None:
    desk = Desk()
    desk.put(commit="a", then="A", answer=7)
    desk.put(commit="b", then="B")
    desk.outbox.full("no room")
    assert desk.said == ["no room"]
    assert desk.sent == ""
    assert [(each.ticket, each.error is None) for each in desk.out if isinstance(each, Answer)] == [(7, False)]
    desk.outbox.retry()
    desk.outbox.full("no room")
    assert desk.said == ["no room"]
    desk.outbox.retry()
    desk.outbox.done()
    assert desk.said == ["no room", "accepted", "soon"]  # b's promise is given up, so it waits for company
    desk.put(commit="c", then="C")
    assert [names(batch) for batch in desk.at_disk] == ["a", "a", "a", "bc"]
    desk.outbox.done()
    assert desk.sent == "C"

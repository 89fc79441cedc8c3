"""What one message costs in the pure path, as multiples of a piece of work that is measured in the same run.

Both are the processor's time of this process alone, the least of several rounds in turns, so that a slow or busy
machine changes both alike. When the path becomes faster, lower the figure: `.venv/bin/pytest tests/speed -s` prints it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from struct import Struct

import pytest
from bench.pure import CLIENTS, handle, make_node

from tandem.sim.client import SimClient
from tandem.wire.message import Message, read_message

HEADER = Struct("!HH")
COSTS = {"solicit": 10.3, "request": 14.0, "renew": 14.5}
"""How many times the reference each message takes."""
TOLERATED = 1.25
ROUNDS = 12
SAMPLE = b"".join(HEADER.pack(code, size) + bytes(size) for code, size in ((1, 14), (2, 14), (3, 40), (6, 4), (8, 2)))


def reference() -> int:
    """Take a message's options apart and put them together again: what nobody can do without."""
    found, at = {}, 0
    while at < len(SAMPLE):
        code, size = HEADER.unpack_from(SAMPLE, at)
        found[code] = SAMPLE[at + 4 : at + 4 + size]
        at += 4 + size
    return len(b"".join(HEADER.pack(code, len(body)) + body for code, body in found.items()))


def microseconds(work: Callable[[], int], times: int) -> float:
    """Give what one call takes."""
    began = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - began) / times * 1e6


def run_round() -> dict[str, float]:
    """Let clients solicit, request and renew; give what each takes in multiples of the reference beside it."""
    node, clients = make_node(), [SimClient(number, with_prefix=False) for number in range(CLIENTS // 8)]
    took: dict[str, float] = {}
    for name in COSTS:
        before_us = microseconds(reference, 2000)
        answers, us = handle(node, [getattr(client, name)() for client in clients])
        took[name] = us / min(before_us, microseconds(reference, 2000))
        for client, answer in zip(clients, answers, strict=True):
            message = read_message(answer)
            assert isinstance(message, Message)
            assert client.take(message)
    return took


@pytest.mark.speed
def test_no_message_costs_a_quarter_more_than_it_should() -> None:
    rounds = [run_round() for _ in range(ROUNDS)]
    least = {name: min(each[name] for each in rounds) for name in COSTS}
    print({name: round(value, 1) for name, value in least.items()})
    assert {name: value for name, value in least.items() if value > TOLERATED * COSTS[name]} == {}

"""How much work one message is in the pure path, counted and not timed: the same on every machine, however busy.

Counted are the lines and the calls of Python that a message takes. When the path becomes shorter, lower the figures:
`.venv/bin/pytest tests/speed/test_pure_path.py -s` prints them. `python -m bench.pure` measures the time.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

import pytest
from bench.pure import handle, make_node

from tandem.sim.client import SimClient
from tandem.wire.message import Message, read_message

MESSAGES = ("solicit", "request", "renew")
CLIENTS = 64
WORK: dict[str, tuple[int, int]] = {"solicit": (573, 129), "request": (758, 173), "renew": (776, 174)}
"""The lines and the calls that each message takes."""
TOLERATED = 1.15


def count(work: Callable[[], Any]) -> tuple[int, int, Any]:
    """Return how many lines and how many calls of Python a piece of work takes, and what it returns."""
    lines = calls = 0

    def trace(_frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal lines, calls
        lines += event == "line"
        calls += event == "call"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        done = work()
    finally:
        sys.settrace(before)
    return lines, calls, done


def counted() -> dict[str, tuple[int, int]]:
    """Let clients solicit, request and renew; return the lines and calls per message of each."""
    node, clients = make_node(), [SimClient(number, with_prefix=False) for number in range(CLIENTS)]
    found: dict[str, tuple[int, int]] = {}
    for name in MESSAGES:
        questions = [getattr(client, name)() for client in clients]
        lines, calls, (answers, _) = count(partial(handle, node, questions))
        found[name] = (round(lines / CLIENTS), round(calls / CLIENTS))
        for client, answer in zip(clients, answers, strict=True):
            message = read_message(answer)
            assert isinstance(message, Message)
            assert client.take(message)
    return found


@pytest.mark.interpreted
def test_no_message_is_more_work_than_it_should_be() -> None:
    found = counted()
    print(found)
    too_much = {
        name: (work, WORK[name])
        for name, work in found.items()
        if any(now > TOLERATED * then for now, then in zip(work, WORK[name], strict=True))
    }
    assert too_much == {}


@pytest.mark.interpreted
def test_the_work_is_the_same_each_time() -> None:
    assert counted() == counted()

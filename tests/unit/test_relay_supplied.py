"""RFC 6422 section 6: what a relay supplies goes to who asks for it, unless the server has a value of its own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from served import answer_to, serve, through_relay
from tandem.wire.message import Message, MessageType, Relayed
from tandem.wire.option import Unknown, write_options
from tandem.wire.options import ClientId, IaNa, OptionRequest, RelaySuppliedOptions

CLIENT = ClientId(bytes.fromhex("0003000102000000000a"))
OURS, THEIRS, FORBIDDEN = 200, 65, 201  # everything.toml has 200, lets relays supply both, and no other


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ((THEIRS,), {THEIRS: b"relay"}),
        ((OURS,), {OURS: b"\1\2\3"}),
        ((THEIRS, OURS), {THEIRS: b"relay", OURS: b"\1\2\3"}),
        ((FORBIDDEN,), {}),
        ((), {}),
    ],
)
def test_what_relays_supply(asked: tuple[int, ...], told: dict[int, bytes]) -> None:
    question = through_relay(Message(MessageType.SOLICIT, 1, (CLIENT, OptionRequest(asked), IaNa(1))))
    supplied = RelaySuppliedOptions(tuple(Unknown(code, b"relay") for code in (OURS, THEIRS, FORBIDDEN)))
    answer = answer_to(serve(), replace(question, options=(supplied,)))
    assert isinstance(answer, Relayed)
    options = write_options(each for each in answer.message.options if each.code in (OURS, THEIRS, FORBIDDEN))
    expected = sorted(write_options((Unknown(code, body),)) for code, body in told.items())
    assert len(options) == sum(map(len, expected))
    assert all(each in options for each in expected)

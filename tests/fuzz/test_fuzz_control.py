"""Whatever a line on the control socket says: one answer, a result or a sentence, and the server goes on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest

from fuzz.corpus import read_corpus
from fuzz.mutate import Mutator
from fuzz.world import in_full
from served import START, answer_to, ask, serve
from tandem.effects.effects import Answer
from tandem.effects.events import Command
from tandem.lease.change import Put
from tandem.lease.lease import key_of
from tandem.runtime.control import LINE_MAX, Control
from tandem.wire.message import MessageType
from wire.answers import IAS, client, say

SHARDS = in_full(4, 1)
REQUESTS = in_full(10_000, 500)

COMMANDS = ("status", "lease-list", "lease-show", "lease-release", "explain", "no-such-command", "")
ARGUMENTS = (
    "lease",
    "duid",
    "client",
    "link",
    "status",
    "within",
    "from",
    "packet",
    "interface",
    "to",
    "relationship",
    "no-such-argument",
)
VALUES: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    10**4000,
    1.5,
    "",
    "eth0",
    "ACTIVE",
    "2001:db8:1::101",
    "2001:db9:0:ff00::/56",
    "::/0",
    "::/129",
    "2001:db8::1/64",
    "fe80::1%eth0",
    "00:03:00:01:02:00:00:00:00:09",
    "00:03",
    "ff" * 1000,
    "\0\n\ud800é",
    [],
    {},
    [[["eth0"]]],
    {"duid": "00"},
    "01000001",
    "01000001000100080003000102000001000300040000000103",
    "0b000001" + "0001000a00030001020000000001" + "fde80000",
)
ODD_LINES = (
    b"",
    b"null",
    b"[]",
    b'"status"',
    b"{}",
    b'{"command": null}',
    b'{"command": "lease-show", "arguments": []}',
    b'{"command": "status", "command": 1}',
    b'{"command": "status"} {}',
    b"\xff\xfe",
    b'{"command": "\xff"}',
    b"[" * 60_000,
    b'{"a":' * 10_000,
    b"9" * 60_000,
    b"NaN",
    b" " * (LINE_MAX - 2),
)


def requests(random: Random) -> Iterator[bytes]:
    """Give requests: of right words in any order, some with a few octets changed."""
    yield from ODD_LINES
    for _ in range(REQUESTS):
        arguments = {random.choice(ARGUMENTS): random.choice(VALUES) for _ in range(random.randrange(3))}
        request = {"command": random.choice(COMMANDS), "arguments": arguments}
        line = json.dumps(request, ensure_ascii=True).encode()
        for _ in range(random.choice((0, 0, 0, 1, 4))):
            at = random.randrange(len(line))
            line = line[:at] + random.randbytes(random.randrange(3)) + line[at + random.randrange(3) :]
        yield line.replace(b"\n", b" ")


class Desk:
    """A control socket in front of a node that has a client."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.control = Control(path, path.parent, self._command)
        self.node = serve()
        answer_to(self.node, say(MessageType.REQUEST, client(9), *IAS))

    def _command(self, command: Command) -> None:
        effects = self.node.handle(START, [command])
        for each in (*effects.at_once, *effects.then):
            assert isinstance(each, Answer)
            self.control.answer(each)

    async def ask_all(self, lines: Iterator[bytes]) -> None:
        """Ask one after the other on one connection; each must be answered before the next."""
        await self.control.start()
        reader, writer = await asyncio.open_unix_connection(self.path, limit=1 << 24)
        try:
            for line in lines:
                writer.write(line + b"\n")
                answered = await reader.readline()
                check(line, json.loads(answered or b"null"))
        finally:
            writer.close()
            self.control.stop()


def check(line: bytes, answer: Mapping[str, Any] | None) -> None:
    """There is an answer, and it is about the request."""
    asked = line[:300]
    assert isinstance(answer, dict), f"{asked!r} ended the connection"
    assert answer.keys() in ({"result"}, {"error"}), asked
    if "error" in answer:
        assert isinstance(answer["error"], str)
        assert answer["error"].endswith("."), asked
        assert "longer than" not in answer["error"], f"{asked!r} is not too long"


@pytest.mark.parametrize("odd", [[], {}, 1, True, "eth9", [["eth0"]]])
@pytest.mark.parametrize("name", ["interface", "to", "packet", "duid", "lease", "link"])
def test_odd_arguments_of_explain_are_answered(name: str, odd: object) -> None:
    node = serve()
    arguments = {"packet": "01000001", name: odd} if name in ("interface", "to", "packet") else {name: odd}
    (answer,) = node.handle(START, [Command(1, "explain", arguments)]).at_once
    assert isinstance(answer, Answer)
    assert "fault of the server" not in (answer.error or "")


def test_a_fault_in_a_command_is_answered_and_the_server_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    node = serve()
    monkeypatch.setattr("tandem.server.operator.explain", lambda *_: dict[str, str]()["fault"])
    effects = node.handle(START, [Command(1, "explain", {"duid": "00:03:00:01:02:00"})])
    (answer,) = effects.at_once
    assert isinstance(answer, Answer)
    assert "KeyError" in (answer.error or "")
    assert [note.event for note in effects.notes] == ["command-failed"]
    answer_to(node, say(MessageType.REQUEST, client(1), *IAS))


def test_any_datagram_is_explained() -> None:
    """Whatever a capture has in it; the engine that decides is the same, and a fault in it is not to be hidden."""
    mutator, node = Mutator(Random(7), read_corpus()), serve()
    for data in (*read_corpus().values(), *(mutator.datagram() for _ in range(REQUESTS))):
        effects = node.handle(START, [Command(1, "explain", {"packet": data.hex(), "interface": "eth0"})])
        (answer,) = effects.at_once
        assert isinstance(answer, Answer)
        assert answer.error is None, f"{answer.error}: {data.hex()}"
        steps = [step for link in answer.result["links"] for step in link["steps"]]
        assert steps


@pytest.mark.parametrize("shard", range(SHARDS))
def test_any_requests(shard: int, tmp_path: Path) -> None:
    asyncio.run(Desk(tmp_path / "s").ask_all(requests(Random(shard))))


def test_a_line_that_is_too_long_is_refused(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "s")
    with pytest.raises(AssertionError, match="is not too long"):
        asyncio.run(desk.ask_all(iter((b" " * (LINE_MAX + 1),))))


def test_the_node_still_has_its_lease(tmp_path: Path) -> None:
    """What was asked is answered from a node that serves: its client can renew afterwards."""
    desk = Desk(tmp_path / "s")
    lines = (line for line in requests(Random(0)) if b"lease-release" not in line)
    asyncio.run(desk.ask_all(lines))
    effects = ask(desk.node, say(MessageType.RENEW, client(9), *IAS))
    renewed = [change.key for change in effects.commit if isinstance(change, Put)]
    assert key_of(0x20010DB8000100000000000000000101) in renewed

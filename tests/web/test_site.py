"""Who is let in where, by a site as it is outside loopback; and many who look at once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from tandem.admin.client import CommandFailed
from tandem.admin.token import DEFAULT_FILE
from tandem.admin.web.access import Role, Tokens
from tandem.admin.web.app import CERTIFICATE, Site, Wanted
from tandem.admin.web.audit import Audit
from tandem.admin.web.link import Link, Unreachable
from tandem.admin.web.live import UNREAD_MAX, Live
from tandem.config.model import Web

Answering = Callable[[bytes], bytes]


def outside(folder: Path, operators: tuple[str, ...] = ()) -> Site:
    """Give a site that is not on loopback; there is no server behind it."""
    return Site(Wanted(folder / "control.sock", folder / "tokens", False, ("localhost",), operators), Audit())


def certificate(*names: str) -> dict[str, Any]:
    """Give what TLS says of a certificate: a common name, and mail addresses."""
    subject = tuple((("commonName", name),) for name in names[:1])
    return {"subject": subject, "subjectAltName": tuple(("email", name) for name in names[1:])}


def answer_of(
    site: Site, path: str, method: str = "GET", authorization: str = "", origin: str = "", shown: Any = None
) -> int:
    """Ask the site as an HTTP server would, and give the answer's code."""
    codes: list[int] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            codes.append(message["status"])

    given = {"host": "localhost", "authorization": authorization, "origin": origin}
    headers = [(name.encode(), value.encode()) for name, value in given.items() if value]
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": headers,
        "scheme": "https",
        "client": ("2001:db8::1", 1),
        "state": {CERTIFICATE: shown},
    }
    asyncio.run(site.app()(scope, receive, send))
    return codes[0]


@pytest.mark.parametrize("path", ["/", "/metrics", "/live", "/openapi.json", "/api/v1/status", "/api/v1/events/stream"])
def test_outside_loopback_nothing_is_had_without_credentials(tmp_path: Path, path: str) -> None:
    assert answer_of(outside(tmp_path), path) == 401
    assert answer_of(outside(tmp_path), path, authorization="Bearer wrong") == 401


def test_outside_loopback_a_token_opens(tmp_path: Path) -> None:
    token = Tokens(tmp_path / "tokens").new("me", Role.READ_ONLY)
    site = outside(tmp_path)
    assert answer_of(site, "/", authorization=f"Bearer {token}") == 200
    assert answer_of(site, "/metrics", authorization=f"Bearer {token}") == 200
    assert answer_of(site, "/api/v1/status", authorization=f"Bearer {token}") == 503  # there is no server


def test_who_has_a_certificate_may_read_and_act_only_as_an_operator(tmp_path: Path) -> None:
    site = outside(tmp_path, ("alice", "bob@example.net"))
    release = (site, "/api/v1/release/2001:db8::1", "POST")
    for shown in (certificate("grafana"), certificate("grafana", "carol@example.net"), certificate()):
        assert answer_of(site, "/metrics", shown=shown) == 200
        assert answer_of(*release, shown=shown) == 403
        assert answer_of(site, "/metrics", authorization="Bearer wrong", shown=shown) == 401
    for shown in (certificate("alice"), certificate("bobs laptop", "bob@example.net")):
        assert answer_of(*release, shown=shown) == 503  # there is no server
        assert answer_of(*release, authorization="Bearer ", shown=shown) == 503
    assert answer_of(site, "/metrics", shown={}) == answer_of(site, "/metrics") == 401


def test_a_page_elsewhere_does_not_act_by_its_readers_certificate(tmp_path: Path) -> None:
    site, alice = outside(tmp_path, ("alice",)), certificate("alice")
    release = (site, "/api/v1/release/2001:db8::1", "POST")
    assert answer_of(*release, origin="https://localhost", shown=alice) == 503
    for origin in ("https://elsewhere.example", "https://localhost:1", "null", "https://["):
        assert answer_of(*release, origin=origin, shown=alice) == 403


def test_the_command_line_and_the_file_agree_where_tokens_are() -> None:
    assert str(DEFAULT_FILE) == Web().tokens


# -- with something at the control socket


def beside(folder: Path, answer: Answering, act: Callable[[Path], Coroutine[Any, Any, None]]) -> None:
    """Do something beside a server that answers each line so."""
    ended: list[asyncio.Event] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ended.append(asyncio.Event())
        mine = ended[-1]
        while line := await reader.readline():
            writer.write(answer(line))
        writer.close()
        await writer.wait_closed()
        mine.set()

    async def run() -> None:
        server = await asyncio.start_unix_server(serve, folder / "control.sock")
        async with server:
            await act(folder / "control.sock")
            for each in ended:
                await each.wait()

    asyncio.run(run())


def result(value: Any) -> bytes:
    return json.dumps({"result": value}).encode() + b"\n"


def test_one_question_is_enough_for_all_who_scrape_at_once(tmp_path: Path) -> None:
    asked: list[str] = []

    def answer(line: bytes) -> bytes:
        asked.append(json.loads(line)["command"])
        return result(STATUS if asked[-1] == "status" else {"events": [], "last": 0})

    async def scrape(path: Path) -> None:
        link = Link(path)
        live = Live(link)
        found = await asyncio.gather(*(live.fresh(within_s=1000.0) for _ in range(20)))
        assert [each is not None for each in found] == [True] * 20
        await link.close()

    beside(tmp_path, answer, scrape)
    assert asked == ["status", "events"]


def test_who_does_not_read_is_sent_away_to_begin_anew(tmp_path: Path) -> None:
    events = iter(range(1, 100))

    def answer(line: bytes) -> bytes:
        if json.loads(line)["command"] == "status":
            return result(STATUS)
        number = next(events)
        return result({"events": [{"number": number}], "last": number})

    async def watch(path: Path) -> None:
        link = Link(path)
        live = Live(link)
        lazy, eager = live.listen("::1"), live.listen("::1")
        await anext(lazy)
        await anext(eager)
        seen = []
        for _ in range(UNREAD_MAX + 1):
            await live.look()
            seen += json.loads(await anext(eager))["events"]
        assert [each["number"] for each in seen] == list(range(1, UNREAD_MAX + 2))
        unread = [json.loads(told)["events"][0]["number"] async for told in lazy]  # it ends
        assert unread == list(range(2, UNREAD_MAX + 1))
        again = live.listen("::1")
        assert len(json.loads(await anext(again))["events"]) == UNREAD_MAX + 1
        for each in (eager, again):
            await each.aclose()
        await link.close()

    beside(tmp_path, answer, watch)


STATUS: dict[str, Any] = {
    "time": 1,
    "pid": 1,
    "disk": "ok",
    "problems": [],
    "links": [],
    "relationships": [],
    "counters": {"answered": {}, "dropped": {}},
    "times": {},
}


@pytest.mark.parametrize("said", [b"no JSON\n", b"\xff\n"])
def test_something_else_at_the_socket_is_told_and_left(tmp_path: Path, said: bytes) -> None:
    async def ask(path: Path) -> None:
        link = Link(path)
        for _ in range(2):
            with pytest.raises(Unreachable, match="is not a server of this program"):
                await link.ask("status")

    beside(tmp_path, lambda _: said, ask)


def test_what_the_server_refuses_is_its_own_sentence(tmp_path: Path) -> None:
    async def ask(path: Path) -> None:
        link = Link(path)
        with pytest.raises(CommandFailed, match="Not now") as refused:
            await link.ask("status")
        assert not isinstance(refused.value, Unreachable)
        await link.close()

    beside(tmp_path, lambda _: b'{"error": "Not now."}\n', ask)

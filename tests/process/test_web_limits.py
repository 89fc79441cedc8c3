"""The web process under people who keep connections: everybody else is served, and what is refused is logged."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from limits import limit
from process.server import Server, until
from process.web import Web, with_web
from tandem.admin.web import limits, live
from tandem.admin.web.limits import Connection, Limits, place_of

WITHIN_S = limit(15.0)


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    folder = tmp_path_factory.mktemp("web")
    with Server(folder, with_web(folder)) as server, Web(server.file, folder) as running:
        yield running


@contextlib.contextmanager
def connections(web: Web, count: int, first: bytes = b"") -> Iterator[list[socket.socket]]:
    """Open so many connections, and send something on each."""
    with contextlib.ExitStack() as opened:
        made = []
        for _ in range(count):
            each = opened.enter_context(socket.create_connection(("::1", web.port), timeout=WITHIN_S))
            with contextlib.suppress(OSError):  # it had to make room already
                each.sendall(first)
            made.append(each)
        yield made


def is_ended(connection: socket.socket) -> bool:
    """Read to the end of a connection that the other side is to end. TimeoutError if it does not."""
    with contextlib.suppress(ConnectionError):
        while connection.recv(65536):
            pass
    return True


STARTS = [b"", b"GET /metrics HTTP/1.1\r\nHost: [::1]\r\n", b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n"]


@pytest.mark.parametrize("first", STARTS, ids=["nothing", "headers", "body"])
def test_silent_connections_keep_nobody_out(web: Web, first: bytes) -> None:
    with connections(web, 300, first) as silent:
        for _ in range(20):
            for path in ("/metrics", "/", "/page/page.js"):
                assert web.ask("GET", path).code == 200
        assert web.ask("GET", "/api/v1/status", web.reader).code == 200
        assert is_ended(silent[0])


def test_answers_that_are_not_read_keep_nobody_out(web: Web) -> None:
    asked = b"GET /page/page.js HTTP/1.1\r\nHost: [::1]\r\n\r\n" * 200
    with connections(web, limits.PER_PLACE_MAX + 40, asked):
        for _ in range(20):
            assert web.ask("GET", "/metrics").code == 200


def stream(web: Web) -> socket.socket:
    """Open the page's stream, and read its beginning."""
    connection = socket.create_connection(("::1", web.port), timeout=WITHIN_S)
    connection.sendall(f"GET /live HTTP/1.1\r\nHost: [::1]:{web.port}\r\n\r\n".encode())
    assert connection.recv(12) == b"HTTP/1.1 200"
    return connection


def test_streams_keep_no_page_out(web: Web) -> None:
    with contextlib.ExitStack() as opened:
        streams = [opened.enter_context(stream(web)) for _ in range(60)]
        received = b""
        while not received.endswith(b"\r\n0\r\n\r\n"):  # the oldest made room
            received += streams[0].recv(65536)
        newest = streams[-live.PER_PLACE_MAX :]
        for each in newest:
            assert each.recv(1)
        assert web.ask("GET", "/metrics").code == 200


def test_a_request_that_does_not_come_whole_is_ended(web: Web) -> None:
    head = f"POST /api/v1/release/::1 HTTP/1.1\r\nHost: [::1]:{web.port}\r\n"
    auth = "".join(f"{name}: {value}\r\n" for name, value in web.operator.items())
    starts = [b"", head[:30].encode(), f"{head}{auth}Content-Length: 100\r\n\r\n{{".encode()]
    with contextlib.ExitStack() as opened:
        slow = [opened.enter_context(connections(web, 1, each))[0] for each in starts]
        stop = threading.Event()

        def trickle() -> None:
            while not stop.wait(0.5):
                for each in slow[1:]:
                    with contextlib.suppress(OSError):
                        each.sendall(b" ")

        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            assert all(is_ended(each) for each in slow)
        finally:
            stop.set()
            thread.join()


def refusals(web: Web) -> list[dict[str, Any]]:
    return [json.loads(line) for line in web.log if '"refused"' in line]


def test_refusals_are_logged_but_do_not_fill_the_log(tmp_path: Path) -> None:
    with Server(tmp_path, with_web(tmp_path)) as server, Web(server.file, tmp_path) as web:
        assert web.ask("GET", "/api/v1/status").code == 401
        assert web.ask("GET", "/api/v1/status", {"Authorization": "Bearer \x7fno"}).code == 401
        assert web.ask("POST", "/api/v1/release/::1", web.reader).code == 403
        elsewhere = {**web.operator, "Origin": "https://elsewhere.example"}
        assert web.ask("POST", "/api/v1/release/::1", elsewhere).code == 403
        found = until(lambda: len(refusals(web)) >= 4 and refusals(web), "the refusals are logged")
        assert [(each["level"], each["code"], each["from"]) for each in found] == [
            ("info", 401, "::1"),
            ("warning", 401, "::1"),
            ("warning", 403, "::1"),
            ("warning", 403, "::1"),
        ]
        assert found[2]["asked"] == "POST /api/v1/release/::1"
        assert "'grafana' has the role read-only" in found[2]["why"]
        for _ in range(30):
            assert web.ask("GET", "/api/v1/status").code == 401
        assert len(refusals(web)) == 10
        assert "advice" in refusals(web)[-1]


def unconnected(count: int) -> list[Connection]:
    return [Connection(socket.AF_INET6, socket.SOCK_STREAM) for _ in range(count)]


def test_only_where_all_are_busy_is_a_new_connection_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PER_PLACE_MAX", 3)
    monkeypatch.setattr(limits, "CONNECTIONS_MAX", 5)
    refused: list[str] = []
    all_ = Limits(refused.append)
    a, b = unconnected(5), unconnected(4)
    assert all(all_.admit(each, "a") for each in a[:3])
    for each in a[:2]:
        each.is_busy = True
    assert all_.admit(a[3], "a")  # a[2] made room, which waited
    assert all_.of(a[2].fileno()) is None
    a[3].is_busy = True
    assert not all_.admit(a[4], "a")
    assert refused == ["a"]
    assert all_.admit(b[0], "b")
    assert all_.admit(b[1], "b")
    a[0].is_busy = False
    assert all_.admit(b[2], "b")  # altogether there are too many, and most are from a
    assert all_.of(a[0].fileno()) is None
    a[1].close()
    assert all_.admit(b[3], "c")
    for each in (*a, *b):
        each.close()


def test_an_ipv6_host_is_one_place_whatever_address_it_uses() -> None:
    assert place_of("2001:db8:1::1") == place_of("2001:db8:1::ffff:1") == "2001:db8:1::"
    assert place_of("2001:db8:1:1::1") != place_of("2001:db8:1::1")
    assert place_of("fe80::1%eth0") != place_of("fe80::2%eth0")
    assert place_of("::ffff:192.0.2.1") == place_of("192.0.2.1") == "192.0.2.1"
    assert place_of("::1") == "::1"

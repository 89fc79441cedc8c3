"""A real `tandem web` beside a real server: page, API, metrics, who may do what, and a server that is gone."""

from __future__ import annotations

import base64
import http.client
import json
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from process.server import WITHIN_S, Server, get_leases
from process.web import Web, with_web
from tandem.admin.web.access import Role
from tandem.admin.web.operations import OPERATIONS

CLIENTS = 700
"""More than are on one page of a list."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("web")
    with Server(folder, with_web(folder)) as running:
        get_leases(running, *range(1, CLIENTS // 2 + 1))
        yield running


@pytest.fixture(scope="module")
def web(server: Server) -> Iterator[Web]:
    with Web(server.file, server.folder) as running:
        yield running


def test_the_page_and_its_parts(web: Web) -> None:
    page = web.ask("GET", "/")
    assert (page.code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    for part in ("page.js", "plots.js", "style.css", "icon.svg"):
        assert f"/page/{part}" in page.text
        assert web.ask("GET", f"/page/{part}").code == 200
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert web.ask("GET", "/page/../app.py").code == 404


def test_status_is_what_the_server_says(web: Web, server: Server) -> None:
    found = web.get("/api/v1/status")
    assert found["duid"] == server.ask("status")["duid"]
    assert web.get("/api/v1/pools")[0]["in-use"] == CLIENTS // 2


def test_leases_page_by_page_and_by_filters(web: Web) -> None:
    leases, path = [], "/api/v1/leases?status=ACTIVE"
    page = web.get(path)
    while page["next"] is not None:
        leases += page["leases"]
        page = web.get(f"{path}&from={page['next']}")
    leases += page["leases"]
    assert len({lease["lease"] for lease in leases}) == len(leases) == CLIENTS
    one = leases[0]
    assert one in web.get(f"/api/v1/leases?duid={one['duid']}")["leases"]
    assert one in web.get(f"/api/v1/leases?client={one['duid'][-11:]}")["leases"]
    assert web.get(f"/api/v1/leases?within={one['lease']}")["leases"] == [one]
    assert web.get(f"/api/v1/leases/{one['lease']}") == one
    in_record = one["valid-lifetime"].to_bytes(4, "big").hex(":")  # it is in each record, but in no DUID
    assert web.get(f"/api/v1/leases?client={in_record}")["leases"] == []
    inside = web.get("/api/v1/leases?within=2001:db8:1::/64")["leases"]
    assert {lease["type"] for lease in inside} == {"IA_NA"}
    prefix = next(lease["lease"] for lease in leases if lease["type"] == "IA_PD")
    assert web.get(f"/api/v1/leases/{prefix}")["lease"] == prefix
    assert web.get(f"/api/v1/leases/{prefix.replace('/', '%2F')}")["lease"] == prefix


def test_explain(web: Web) -> None:
    lease = web.get("/api/v1/leases?within=2001:db8:1::/64")["leases"][0]
    steps = web.get(f"/api/v1/explain?duid={lease['duid']}")["links"][0]["steps"]
    assert any("would be given" in step for step in steps)
    assert "belongs to" in web.get(f"/api/v1/explain?lease={lease['lease']}")["where"]


@pytest.mark.parametrize(
    ("path", "code", "sentence"),
    [
        ("leases?status=WONDERFUL", 400, "status must be one of ACTIVE, EXPIRED"),
        ("leases?colour=red", 400, "There is no parameter 'colour'; there are: status,"),
        ("leases?from=x", 400, "from must be a number"),
        ("leases?from=99999", 409, "That list is no longer open"),
        ("leases?duid=00&duid=01", 400, "duid is given twice"),
        ("leases?duid=zz", 400, "'zz' is not a DUID"),
        ("leases?within=here", 400, "'here' is not an IPv6 address"),
        ("leases/nonsense", 400, "'nonsense' is not an IPv6 address or prefix"),
        ("leases/2001:db8::ffff", 404, "Nothing is known of a lease 2001:db8::ffff"),
        ("explain", 400, "Give either duid or lease"),
        ("relationships/nobody", 404, "There is no relationship 'nobody'"),
        ("nothing", 404, "There is no GET /api/v1/nothing"),
        ("release/2001:db8::1", 405, "There is no GET /api/v1/release"),
    ],
)
def test_wrong_questions_get_a_sentence(web: Web, path: str, code: int, sentence: str) -> None:
    answer = web.ask("GET", f"/api/v1/{path}", web.reader)
    assert answer.code == code
    assert sentence in answer.json["error"]


@pytest.mark.parametrize("body", ["[]", "{", '"x"', '{"x": 1}', '{"dry-run": 1}', "[" * 5000, "9" * 70_000])
def test_wrong_bodies_get_a_sentence(web: Web, body: str) -> None:
    answer = web.ask("POST", "/api/v1/relationships/campus/handover", web.operator, body)
    assert answer.code == 400
    assert answer.json["error"].endswith(".")


def test_a_body_that_is_too_long_is_not_read_to_its_end(web: Web) -> None:
    body = '{"dry-run": true' + " " * 70_000 + "}"
    answer = web.ask("POST", "/api/v1/relationships/campus/handover", web.operator, body)
    assert (answer.code, answer.json["error"]) == (400, "The body is longer than 65536 octets.")


def test_an_act_is_done_and_logged(web: Web, server: Server) -> None:
    lease = web.get("/api/v1/leases?status=ACTIVE")["leases"][0]["lease"]
    before = len(web.log)
    answer = web.ask("POST", f"/api/v1/release/{lease}", web.operator)
    assert (answer.code, answer.json["status"]) == (200, "RELEASED")
    assert server.ask("lease-show", lease=lease)["status"] == "RELEASED"
    again = web.ask("POST", f"/api/v1/release/{lease}", web.operator)
    assert (again.code, "is not held" in again.json["error"]) == (409, True)
    acts = [json.loads(line) for line in web.log[before:]]
    assert [(each["who"], each["act"], each["given"]) for each in acts] == [
        ("me", "post-release-lease", {"lease": lease})
    ] * 2
    assert [each["outcome"] == "done" for each in acts] == [True, False]


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.id)
def test_nothing_of_the_api_without_credentials(web: Web, operation: Any) -> None:
    path = operation.path.replace("{lease:path}", "2001:db8::1").replace("{name}", "campus")
    wrong = {"Authorization": "Bearer wrong"}
    answers = [web.ask(operation.method, path, headers) for headers in ({}, wrong)]
    if operation.role is Role.OPERATOR:
        refused = web.ask(operation.method, path, web.reader)
        assert (refused.code, "has the role read-only" in refused.json["error"]) == (403, True)
    assert [answer.code for answer in answers] == [401, 401]
    assert [answer.headers["www-authenticate"].partition(" ")[0] for answer in answers] == ["Basic", "Bearer"]
    assert web.ask("GET", "/api/v1/events/stream").code == 401


def test_a_browser_may_give_the_token_as_a_password(web: Web) -> None:
    token = web.reader["Authorization"].removeprefix("Bearer ")
    given = {"Authorization": "Basic " + base64.b64encode(f"me:{token}".encode()).decode()}
    assert web.ask("GET", "/api/v1/status", given).code == 200


def test_a_name_that_was_made_to_point_here_is_refused(web: Web) -> None:
    assert web.ask("GET", "/metrics", {"Host": "evil.example"}).code == 400
    assert web.ask("GET", "/live", {"Host": "evil.example:80"}).code == 400
    assert web.ask("GET", "/metrics", {"Host": "localhost:1234"}).code == 200


def test_the_page_is_told_what_happens(web: Web, server: Server) -> None:
    connection = web.connection()
    connection.request("GET", "/live")
    stream = connection.getresponse()
    assert stream.headers["content-type"].startswith("text/event-stream")
    first = told(stream)
    assert (first["trouble"], first["status"]["pid"]) == ("", server.process.pid if server.process else 0)
    assert "serving" in [event["event"] for event in first["events"]]
    assert isinstance(first["history"], list)
    second, third = told(stream), told(stream)
    assert third["status"]["time"] >= second["status"]["time"] >= first["status"]["time"]
    connection.close()


def told(stream: http.client.HTTPResponse) -> Any:
    line = stream.readline()
    assert stream.readline() == b"\n"
    assert line.startswith(b"data: ")
    return json.loads(line.removeprefix(b"data: "))


def test_metrics(web: Web) -> None:
    text = web.ask("GET", "/metrics").text
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert lines["tandem_up"] == "1.0"
    assert float(lines['tandem_messages_answered_total{type="REQUEST"}']) >= CLIENTS // 2
    assert float(lines['tandem_answer_seconds_bucket{le="+Inf",type="reply"}']) >= CLIENTS // 2
    assert float(lines["tandem_commit_seconds_count"]) > 0
    openmetrics = web.ask("GET", "/metrics", {"Accept": "application/openmetrics-text; version=1.0.0"})
    assert openmetrics.text.endswith("# EOF\n")


def test_when_the_server_is_gone_the_page_says_so_and_goes_on_when_it_is_back(web: Web, server: Server) -> None:
    connection = web.connection()
    connection.request("GET", "/live")
    stream = connection.getresponse()
    told(stream)
    server.stop(signal.SIGKILL)
    message = told(stream)
    while not message["trouble"]:
        message = told(stream)
    while "left behind by a server that no longer runs" not in message["trouble"]:
        message = told(stream)  # for a moment a dying server's socket still takes connections, and ends them
    assert message["status"]["links"]  # what it said last is still shown
    assert "tandem_up 0.0" in web.ask("GET", "/metrics").text
    refused = web.ask("GET", "/api/v1/status", web.reader)
    assert (refused.code, "no longer runs" in refused.json["error"]) == (503, True)
    server.start()
    while message["trouble"]:
        message = told(stream)
    assert server.process is not None
    assert message["status"]["pid"] == server.process.pid
    assert "serving" in [event["event"] for event in message["events"]]
    assert web.get("/api/v1/status")["pid"] == server.process.pid
    connection.close()


def test_it_ends_when_told_to(server: Server, web: Web) -> None:
    connection = web.connection()
    connection.request("GET", "/live")
    told(connection.getresponse())
    web.process.send_signal(signal.SIGTERM)
    assert web.process.wait(WITHIN_S) in (0, -signal.SIGTERM)
    assert server.ask("status")
    assert not [line for line in web.log if "Traceback" in line], web.log
    connection.close()

"""How `tandem web` opens its door, or says why it cannot: TLS, certificates of clients, ports, tokens."""

from __future__ import annotations

import http.client
import json
import ssl
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from process.server import CONFIGURATION, WITHIN_S, Server, get_leases
from process.web import Web, web_table, with_web
from tandem.admin.pki import write_certificates

pytestmark = pytest.mark.thorough


def said(file: Path) -> str:
    """Run it, and give what it says as it ends."""
    command = [sys.executable, "-m", "tandem", "web", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=WITHIN_S, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1]


def written(folder: Path, more: str = "") -> Path:
    file = folder / "tandem.toml"
    file.write_text(CONFIGURATION.format(port=10547, folder=folder) + web_table(folder) + more)
    return file


def trusting(pki: Path, client: str | None = None) -> ssl.SSLContext:
    """Give what a client needs to know the server, and to be known by it."""
    context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
    context.check_hostname = False  # the certificate names a partner, not an address
    if client is not None:
        context.load_cert_chain(pki / f"{client}.crt", pki / f"{client}.key")
    return context


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with Server(tmp_path, with_web(tmp_path)) as server, Web(server.file, tmp_path) as web:
        assert said(server.file) == f"It cannot listen on [::1]:{web.port}: Address already in use."


def test_certificates_that_are_not_right(tmp_path: Path) -> None:
    (tmp_path / "web.key").write_text("no key")
    (tmp_path / "web.crt").write_text("no certificate")
    own = 'certificate = "{0}/web.crt"\nkey = "{0}/web.key"\n'
    assert "[web] cannot be used" in said(written(tmp_path, own.format(tmp_path)))
    assert "No such file" in said(written(tmp_path, own.format(tmp_path / "nowhere")))


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ('listen = "[2001:db8::1]:8547"', "is not loopback: give certificate and key"),
        ('listen = "0.0.0.0:8547"', "is not loopback: give certificate and key"),
        ('listen = "here"', "'here' is not an address with a port"),
        ('listen = "[::1]:0"', "has a port that does not exist"),
        ('certificate = "x"', "give both certificate and key, or neither"),
        ('client-ca = "x"', "client-ca is of use only with certificate and key"),
        ('operators = ["me"]', "operators and revoked are about clients' certificates: give client-ca"),
        ('revoked = ["0a"]', "operators and revoked are about clients' certificates: give client-ca"),
    ],
)
def test_a_file_that_would_open_too_much_is_refused(tmp_path: Path, more: str, sentence: str) -> None:
    file = tmp_path / "tandem.toml"
    file.write_text(CONFIGURATION.format(port=10547, folder=tmp_path) + f"[web]\n{more}\n")
    assert sentence in said(file)


def test_tokens_that_cannot_be_read_are_told_and_the_page_is_served(tmp_path: Path) -> None:
    with Server(tmp_path, with_web(tmp_path)) as server:
        web = Web(server.file, tmp_path)
        (tmp_path / "tokens").write_text("my diary")
        with web:
            assert web.ask("GET", "/").code == 200
            assert web.ask("GET", "/api/v1/status", web.operator).code == 401
            assert any("is not a file of tokens" in line and "Nobody can use the API" in line for line in web.log)


def test_only_who_has_a_certificate_is_let_in_and_may_act_if_it_names_an_operator(tmp_path: Path) -> None:
    pki = tmp_path / "pki"
    write_certificates(pki, ["web", "grafana", "alice"])
    own = f'certificate = "{pki}/web.crt"\nkey = "{pki}/web.key"\nclient-ca = "{pki}/ca.crt"\noperators = ["alice"]\n'
    with (
        Server(tmp_path, with_web(tmp_path) + own) as server,
        Web(server.file, tmp_path, tls=trusting(pki, "grafana")) as web,
    ):
        assert web.ask("GET", "/api/v1/status").json["server"] == "a"
        get_leases(server, 1)
        release = ("POST", f"/api/v1/release/{web.get('/api/v1/leases')['leases'][0]['lease']}")
        refused = web.ask(*release)
        assert (refused.code, refused.json["error"].partition(";")[0]) == (403, "'grafana' has the role read-only")
        assert web.ask(*release, web.operator).code == 200
        assert web.ask(*release, {"Authorization": "Bearer wrong"}).code == 401
        web.tls = trusting(pki, "alice")
        assert web.ask(*release).code == 409  # it is released
        assert web.ask(*release, {"Authorization": "Bearer "}).code == 409  # the page, before it has a token
        own_page = {"Origin": f"https://[::1]:{web.port}"}
        assert web.ask(*release, own_page).code == 409
        assert web.ask(*release, {"Origin": "https://elsewhere.example"}).code == 403
        acts = [json.loads(line) for line in web.log if '"act"' in line]
        assert [each["who"] for each in acts] == ["me", "alice", "alice", "alice"]
        unknown = http.client.HTTPSConnection("::1", web.port, timeout=WITHIN_S, context=trusting(pki))
        with closing(unknown), pytest.raises((ssl.SSLError, ConnectionError, http.client.HTTPException)):
            ask(unknown)


def ask(connection: http.client.HTTPConnection) -> None:
    connection.request("GET", "/")
    connection.getresponse()

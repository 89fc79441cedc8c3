"""Certificates that are taken back: a partner's, which ends its connection, and an operator's."""

from __future__ import annotations

import signal
import stat
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from process.pair import WITHIN_S, in_step
from process.server import Server as AloneServer
from process.test_web_door import trusting
from process.web import Web, with_web
from tandem.admin.cli import app
from tandem.admin.demo_pair import Server, until
from tandem.admin.pki import describe_certificate, write_certificates
from tandem.config.values import read_certificate_id


def relationship(server: Server) -> dict[str, Any]:
    found = server.relationship()
    assert found is not None
    return found


def revoke(server: Server, name: str) -> None:
    """Have a server read a file that names a certificate, or none if `name` is empty."""
    text = server.file.read_text().partition("\n[failover.demo.tls]")[0]
    if name:
        text += f'\n[failover.demo.tls]\nrevoked = ["{name}"]\n'
    server.file.write_text(text)
    server.tell(signal.SIGHUP)


@pytest.mark.parametrize("by", ["serial", "fingerprint"])
@pytest.mark.parametrize("who", ["a", "b"])
def test_a_partner_whose_certificate_is_revoked_is_cut_off_by_a_reload(tmp_path: Path, who: str, by: str) -> None:
    with in_step(tmp_path) as pair:
        server, other = (pair.a, pair.b) if who == "a" else (pair.b, pair.a)
        facts = describe_certificate(tmp_path / "pki" / f"{other.name}.crt")
        named = getattr(facts, by).upper()
        revoke(server, named)
        until(lambda: not relationship(server)["partner"]["in-touch"], WITHIN_S, "the connection is ended")
        until(
            lambda: (
                f"its certificate is revoked; its serial number is {facts.serial}"
                in (tmp_path / f"{who}.log").read_text()
            ),
            WITHIN_S,
            "the reason is in the log",
        )
        until(lambda: relationship(server)["state"] == "COMMUNICATIONS-INTERRUPTED", WITHIN_S, "it goes on alone")
        until(lambda: "is revoked" in str(relationship(server)["last-refusal"]), WITHIN_S, "an attempt is refused")
        revoke(server, "")
        until(pair.is_in_step, WITHIN_S, "they meet again")


def test_an_operator_whose_certificate_is_revoked_is_refused(tmp_path: Path) -> None:
    pki = tmp_path / "pki"
    write_certificates(pki, ["web", "alice", "bob"])
    facts = describe_certificate(pki / "bob.crt")
    own = f'certificate = "{pki}/web.crt"\nkey = "{pki}/web.key"\nclient-ca = "{pki}/ca.crt"\n'
    own += f'operators = ["alice", "bob"]\nrevoked = ["{facts.serial}"]\n'
    with (
        AloneServer(tmp_path, with_web(tmp_path) + own) as server,
        Web(server.file, tmp_path, tls=trusting(pki, "alice")) as web,
    ):
        assert web.ask("GET", "/api/v1/status").code == 200
        web.tls = trusting(pki, "bob")
        for path in ("/", "/metrics", "/live", "/api/v1/status"):
            answer = web.ask("GET", path, web.operator)
            assert (answer.code, "is revoked" in answer.text) == (403, True), path


def test_what_names_a_certificate_is_printed_and_read(tmp_path: Path) -> None:
    write_certificates(tmp_path, ["a"])
    shown = CliRunner().invoke(app, ["pki", "show", str(tmp_path / "a.crt")]).output
    facts = describe_certificate(tmp_path / "a.crt")
    assert shown.splitlines()[1:] == [f"  serial number {facts.serial}", f"  fingerprint   {facts.fingerprint}"]
    assert shown.startswith(f"{tmp_path}/a.crt: for a, until 20")
    colons = ":".join(facts.fingerprint[at : at + 2] for at in range(0, 64, 2)).upper()
    assert read_certificate_id(colons) == facts.fingerprint
    assert read_certificate_id("00:0A:b1") == "ab1"
    for wrong in ("", "xyz", "a" * 41, 5):
        with pytest.raises(ValueError, match="tandem pki show"):
            read_certificate_id(wrong)
    renewed = CliRunner().invoke(app, ["pki", "new", str(tmp_path), "a", "--renew"]).output
    assert facts.fingerprint in renewed
    assert describe_certificate(tmp_path / "a.crt").fingerprint != facts.fingerprint


@pytest.mark.parametrize(("content", "why"), [("no certificate", "is not a certificate"), (None, "cannot be read")])
def test_a_file_that_is_no_certificate(tmp_path: Path, content: str | None, why: str) -> None:
    if content is not None:
        (tmp_path / "a.crt").write_text(content)
    done = CliRunner().invoke(app, ["pki", "show", str(tmp_path / "a.crt")])
    assert why in str(done.exception)


def test_private_keys_are_their_owners_from_the_first_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: dict[str, int] = {}
    real = Path.rename

    def seen(self: Path, target: Path) -> Path:
        made[target.name] = stat.S_IMODE(self.stat().st_mode)
        return real(self, target)

    monkeypatch.setattr(Path, "rename", seen)
    write_certificates(tmp_path / "pki", ["a", "b"])
    assert {name: mode for name, mode in made.items() if name.endswith(".key")} == dict.fromkeys(
        ("ca.key", "a.key", "b.key"), 0o600
    )
    assert stat.S_IMODE((tmp_path / "pki").stat().st_mode) == 0o700


def test_a_key_that_others_may_read_is_reported(tmp_path: Path) -> None:
    with in_step(tmp_path) as pair:
        pair.a.kill(signal.SIGTERM)
        (pair.a.state_dir / "a.key").chmod(0o644)
        pair.a.start()
        until(lambda: '"key-exposed"' in (tmp_path / "a.log").read_text(), WITHIN_S, "the exposed key is reported")
        pair.a.kill(signal.SIGTERM)
        (pair.a.state_dir / "a.key").chmod(0o600)
        (tmp_path / "a.log").write_text("")
        pair.a.start()
        assert '"key-exposed"' not in (tmp_path / "a.log").read_text()

"""How partners make sure of each other: who is not who the file says is refused, with the reason, until put right.

What is on disk counts for each connection anew; no restart is needed.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from limits import limit
from system.needs import need_namespaces, need_program
from system.partners import CLIENTS_INTERFACE, Member, Pair, Settings, pair_of
from system.servers import Tandem
from system.street import Ledger, Street
from tandem.admin.pki import write_certificates

TRIES_PER_S = 1.5
"""How often a server that was refused may try again, with some room for the first time."""


@pytest.fixture(autouse=True)
def _needs() -> None:
    need_namespaces()
    need_program("ip")


@pytest.mark.system
def test_partners_use_tls_unless_told_otherwise(tmp_path: Path) -> None:
    """All that it takes is `tandem pki new`, and files in their places."""
    with pair_of(tmp_path) as pair:
        folder = tmp_path / "made"
        subprocess.run([Tandem.program, "pki", "new", str(folder), "a", "b"], check=True, timeout=limit(30))
        for member in pair.members:
            (member.state_dir / "ca.crt").write_bytes((folder / "ca.crt").read_bytes())
            pair.certify(member, folder)
        pair.start()
        for member in pair.members:
            found = member.relationship()
            assert (found["tls"], found["last-refusal"]) == (True, None)
            assert found["certificate-days-left"] > 1000


def another_authority(pair: Pair, member: Member, scratch: Path) -> None:
    """Give a server a certificate that is right in all but who made it."""
    write_certificates(scratch / "theirs", ["a", "b"])
    pair.certify(member, scratch / "theirs")


def another_name(pair: Pair, member: Member, _: Path) -> None:
    """Give a server a certificate of the pair's authority for a third server."""
    write_certificates(pair.authority, ["c"])
    pair.certify(member, shown="c")


def expired(pair: Pair, member: Member, scratch: Path) -> None:
    """Give a server a certificate of the pair's authority that was good until an hour ago."""
    authority = x509.load_pem_x509_certificate((pair.authority / "ca.crt").read_bytes())
    authority_key = serialization.load_pem_private_key((pair.authority / "ca.key").read_bytes(), None)
    assert isinstance(authority_key, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    end = datetime.now(UTC) - timedelta(hours=1)
    made = x509.CertificateBuilder(
        issuer_name=authority.subject,
        subject_name=x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, member.name)]),
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=end - timedelta(days=1),
        not_valid_after=end,
    ).add_extension(x509.SubjectAlternativeName([x509.DNSName(member.name)]), critical=False)
    pem = serialization.Encoding.PEM
    (scratch / f"{member.name}.crt").write_bytes(made.sign(authority_key, hashes.SHA256()).public_bytes(pem))
    (scratch / f"{member.name}.key").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    pair.certify(member, scratch)


def insecure(_: Pair, member: Member, scratch: Path) -> None:
    """Have a server's file say that it does without TLS."""
    member.file.write_text(Settings(insecure=True).text(scratch))


FAULTS = [
    (another_authority, "certificate is not good"),
    (another_name, "certificate is for c"),
    (expired, "has expired"),
    (insecure, "without TLS"),
]


@pytest.mark.system
@pytest.mark.parametrize("name", ["a", "b"])
@pytest.mark.parametrize(("spoil", "words"), FAULTS, ids=[spoil.__name__ for spoil, _ in FAULTS])
def test_who_is_not_right_is_refused_until_put_right(
    tmp_path: Path, spoil: Callable[[Pair, Member, Path], None], words: str, name: str
) -> None:
    """Both serve on their own and one says why; it does not knock all the time; put right, all is as before."""
    with pair_of(tmp_path) as pair, closing(Street(pair.near, CLIENTS_INTERFACE, Ledger())) as street:
        wrong = pair.a if name == "a" else pair.b
        pair.start()
        clients = street.settle_in(5)
        pair.settle()
        wrong.stop()
        spoil(pair, wrong, tmp_path)
        wrong.start()
        for member in pair.members:
            pair.wait_alone(member)
        pair.wait(lambda: any(words in member.refusal() for member in pair.members), f"a refusal: {words}")
        before, began = len(pair.b.events("partner-not-admitted")), time.monotonic()
        street.rebind(clients)
        clients += street.settle_in(3)
        street.listen_fully(2.0)
        assert pair.states() == ("COMMUNICATIONS-INTERRUPTED",) * 2
        refused, took_s = len(pair.b.events("partner-not-admitted")) - before, time.monotonic() - began
        assert refused <= took_s * TRIES_PER_S + 1

        pair.certify(wrong)
        if spoil is insecure:
            wrong.reload(Settings().text(tmp_path))
        street.ledger.check(pair.settle())
        street.rebind(clients)
        street.ledger.check(pair.settle())


@pytest.mark.system
def test_certificates_are_read_for_each_connection(tmp_path: Path) -> None:
    """What is renewed on disk counts from the next connection on, and not before."""
    with pair_of(tmp_path) as pair:
        pair.start()
        for member in pair.members:
            expired(pair, member, tmp_path)
            assert pair.states() == ("NORMAL", "NORMAL")
            break_connection(pair)
            pair.wait(lambda: any("has expired" in each.refusal() for each in pair.members), "a refusal")
            write_certificates(pair.authority, [member.name])
            pair.certify(member)
            pair.settle()
        assert {member.relationship()["last-refusal"] for member in pair.members} == {None}


def break_connection(pair: Pair) -> None:
    """Let the partners lose each other for a moment."""
    pair.lab.pull(pair.a.host, "sync0")
    for member in pair.members:
        pair.wait_alone(member)
    pair.lab.push(pair.a.host, "sync0", "sync")

"""Makes the authority and the certificates that partners show each other."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from tandem.admin.client import CommandFailed
from tandem.admin.console import echo

app = typer.Typer(help="Certificates for failover partners.", no_args_is_help=True, rich_markup_mode=None)

AUTHORITY = "ca"
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
AUTHORITY_DAYS = 7300
CERTIFICATE_DAYS = 1825
BACKDATED = timedelta(hours=1)
"""So that a partner whose clock is a little behind takes a new certificate."""


@app.command(epilog="Example: tandem pki new /etc/tandem/pki a b")
def new(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to write; made if it is not there.")],
    servers: Annotated[list[str], typer.Argument(metavar="SERVER...", help="The servers' names in the file.")],
    renew: Annotated[bool, typer.Option("--renew", help="Replace certificates that are there already.")] = False,
) -> None:
    """Make an authority (or use the one in DIR) and a certificate with its key for each server.

    Copy ca.crt, and a server's own .crt and .key, into that server's state-dir, for its user alone:
    `install -o tandem -g tandem -m 0600`. Keep ca.key away from the servers.
    """
    for name in servers:
        if name == AUTHORITY or not NAME.fullmatch(name):
            echo(f"No server can be called {name!r} here: the files are named after it.", err=True)
            raise typer.Exit(1)
    taken = [name for name in servers if (folder / f"{name}.crt").exists()]
    if taken and not renew:
        echo(f"{folder} has certificates of {', '.join(taken)} already; say --renew to replace them.", err=True)
        raise typer.Exit(1)
    replaced = {name: describe_certificate(folder / f"{name}.crt") for name in taken}
    try:
        write_certificates(folder, servers)
    except OSError as error:
        echo(f"{error.filename or folder} cannot be written: {error.strerror}.", err=True)
        raise typer.Exit(1) from error
    for name, facts in replaced.items():
        echo(
            f"Replaced: {name}'s with the fingerprint {facts.fingerprint}. Put it into `revoked` if its key was stolen."
        )
    for name in servers:
        echo(f"To server {name}'s state-dir: {folder}/{AUTHORITY}.crt {folder}/{name}.crt {folder}/{name}.key")


class Facts(NamedTuple):
    """What names a certificate, and how long it is good."""

    names: str
    expires: str
    serial: str
    fingerprint: str
    """SHA-256, in hexadecimal digits."""


@app.command(epilog="Example: tandem pki show /etc/tandem/pki/a.crt")
def show(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Certificates.")],
) -> None:
    """Print what is in certificates, and what names them in `revoked`."""
    for file in files:
        facts = describe_certificate(file)
        echo(
            f"{file}: for {facts.names}, until {facts.expires}",
            f"  serial number {facts.serial}",
            f"  fingerprint   {facts.fingerprint}",
        )


def describe_certificate(file: Path) -> Facts:
    """Return what is in a file with a certificate. CommandFailed if there is none in it."""
    from cryptography import x509  # imported here: it is slow, and no other command needs it
    from cryptography.hazmat.primitives import hashes

    try:
        found = x509.load_pem_x509_certificate(file.read_bytes())
        names = [str(each.value) for each in found.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)]
        for extension in found.extensions:
            if isinstance(extension.value, x509.SubjectAlternativeName):
                names += extension.value.get_values_for_type(x509.DNSName)
    except OSError as error:
        raise CommandFailed(f"{file} cannot be read: {error.strerror}.") from None
    except ValueError as error:
        raise CommandFailed(f"{file} is not a certificate: {error}.") from None
    return Facts(
        names=", ".join(dict.fromkeys(names)) or "nobody",
        expires=f"{found.not_valid_after_utc:%Y-%m-%d}",
        serial=f"{found.serial_number:x}",
        fingerprint=found.fingerprint(hashes.SHA256()).hex(),
    )


def write_certificates(folder: Path, servers: list[str]) -> None:
    """Write the files. An authority that is there is used again; OSError if something cannot be written."""
    # Imported here: it is slow, and no other command needs it.
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    start = datetime.now(UTC) - BACKDATED

    def builder(name: str, issuer: str, key: ec.EllipticCurvePublicKey, days: int) -> x509.CertificateBuilder:
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        issued = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer)])
        made = x509.CertificateBuilder().subject_name(subject).issuer_name(issued).public_key(key)
        made = made.serial_number(x509.random_serial_number())
        return made.not_valid_before(start).not_valid_after(start + timedelta(days=days))

    def write_key(name: str, key: ec.EllipticCurvePrivateKey) -> None:
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        _write(folder / f"{name}.key", pem, 0o600)

    title = "Tandem failover authority"
    authority_key_file = folder / f"{AUTHORITY}.key"
    if authority_key_file.exists():
        loaded = serialization.load_pem_private_key(authority_key_file.read_bytes(), None)
        if not isinstance(loaded, ec.EllipticCurvePrivateKey):
            raise OSError(0, "it is not a key that this command made", str(authority_key_file))
        authority_key = loaded
    else:
        authority_key = ec.generate_private_key(ec.SECP256R1())
        made = builder(title, title, authority_key.public_key(), AUTHORITY_DAYS)
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        write_key(AUTHORITY, authority_key)
        authority = made.sign(authority_key, hashes.SHA256())
        _write(folder / f"{AUTHORITY}.crt", authority.public_bytes(Encoding.PEM), 0o644)
    for name in servers:
        key = ec.generate_private_key(ec.SECP256R1())
        made = builder(name, title, key.public_key(), CERTIFICATE_DAYS)
        made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        made = made.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        write_key(name, key)
        certificate = made.sign(authority_key, hashes.SHA256())
        _write(folder / f"{name}.crt", certificate.public_bytes(Encoding.PEM), 0o644)


def _write(path: Path, data: bytes, mode: int) -> None:
    """Write a file under another name and move it into place: a server may read it at any moment."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_EXCL, mode), "wb") as file:
        file.write(data)
    draft.rename(path)

"""The certificates that partners show each other: TLS 1.3, both sides verified against the configured authority."""

from __future__ import annotations

import ssl
import time
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from tandem.config.partners import PartnerLine, Tls


class CertificateError(Exception):
    """A certificate, key or authority cannot be used; the message says which, and why."""


def tls_context(tls: Tls, server_side: bool) -> ssl.SSLContext:
    """Read the files anew, so that what was renewed on disk is used. CertificateError if one cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server_side else ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False  # the name that counts is the partner's in the file; see `Peer`
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        context.load_verify_locations(tls.ca)
    except (OSError, ssl.SSLError) as error:
        raise CertificateError(f"the authority {tls.ca} cannot be used: {_why(error)}") from error
    try:
        context.load_cert_chain(tls.certificate, tls.key)
    except (OSError, ssl.SSLError) as error:
        files = f"{tls.certificate} and its key {tls.key}"
        raise CertificateError(f"{files} cannot be used: {_why(error)}") from error
    return context


class Peer(NamedTuple):
    """What counts of the certificate that the other side of a connection has shown."""

    names: frozenset[str]
    """Its DNS names."""
    serial: str
    fingerprint: str
    """SHA-256, as `serial` in hexadecimal digits."""

    def is_among(self, revoked: frozenset[str]) -> bool:
        """True if a list of serial numbers and fingerprints names the certificate."""
        return self.serial in revoked or self.fingerprint in revoked

    def objection(self, line: PartnerLine) -> str:
        """Return why the certificate does not prove that its holder is a relationship's partner; "" if it does."""
        if line.partner not in self.names:
            return f"is for {', '.join(sorted(self.names)) or 'nobody'}"
        if line.tls is not None and self.is_among(line.tls.revoked):
            return f"is revoked; its serial number is {self.serial}"
        return ""


def peer_of(connection: ssl.SSLObject) -> Peer:
    """Return what the certificate says that the other side has shown."""
    shown: Any = connection.getpeercert() or {}
    names = frozenset(value for kind, value in shown.get("subjectAltName", ()) if kind == "DNS")
    serial = str(shown.get("serialNumber", "0")).lower().lstrip("0") or "0"
    return Peer(names, serial, sha256(connection.getpeercert(binary_form=True) or b"").hexdigest())


def is_exposed(key: str) -> bool:
    """True if others than a private key's owner may read it, or change it."""
    try:
        return bool(Path(key).stat().st_mode & 0o077)
    except OSError:
        return False


def expires_utc(certificate: str) -> int | None:
    """Give when a certificate file expires, in UTC seconds; None if it cannot be read."""
    try:
        return _expires_utc(certificate, Path(certificate).stat().st_mtime_ns)
    except OSError:
        return None


@lru_cache(maxsize=64)
def _expires_utc(certificate: str, _modified_ns: int) -> int | None:
    from cryptography import x509  # only where there are certificates: it is slow to import

    try:
        return int(x509.load_pem_x509_certificate(Path(certificate).read_bytes()).not_valid_after_utc.timestamp())
    except (OSError, ValueError):
        return None


def days_left(certificate: str) -> int | None:
    """Give for how many whole days a certificate is still good, None if it cannot be read."""
    expires = expires_utc(certificate)
    return None if expires is None else int((expires - time.time()) // 86400)


def _why(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)

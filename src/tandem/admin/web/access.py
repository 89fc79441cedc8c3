"""Who may do what: by a token, each of which has a role and which are in a file of their own, or by a certificate."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Collection, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

TOKEN_OCTETS = 32


class Role(StrEnum):
    """What a token is good for."""

    READ_ONLY = "read-only"
    OPERATOR = "operator"

    def includes(self, other: Role) -> bool:
        """Say whether who has this role may do what the other is needed for."""
        return self is Role.OPERATOR or other is Role.READ_ONLY


class Caller(NamedTuple):
    """Who asks."""

    name: str
    role: Role


def caller_by_certificate(certificate: Mapping[str, Any], operators: Collection[str]) -> Caller:
    """Say who has shown a certificate, as `ssl.SSLSocket.getpeercert` gives it: an operator if one of its names is."""
    names = tuple(_names(certificate))
    operator = next((name for name in names if name in operators), None)
    if operator is not None:
        return Caller(operator, Role.OPERATOR)
    return Caller(names[0] if names else "a certificate", Role.READ_ONLY)


def _names(certificate: Mapping[str, Any]) -> Iterator[str]:
    """Give a certificate's common name, host names and mail addresses."""
    for part in certificate.get("subject", ()):
        yield from (value for kind, value in part if kind == "commonName")
    yield from (value for kind, value in certificate.get("subjectAltName", ()) if kind in ("DNS", "email"))


class TokensError(Exception):
    """The file of tokens cannot be used; the message is a sentence."""


class Tokens:
    """A file of tokens, of which it holds only digests. It is read again when it has changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._callers: dict[bytes, Caller] = {}

    def caller(self, authorization: str) -> Caller | None:
        """Say who the value of an Authorization header stands for; None if nobody.

        The token is given as `Bearer TOKEN`, or as the password of `Basic`, which browsers ask for themselves.
        """
        scheme, _, given = authorization.partition(" ")
        match scheme.lower():
            case "bearer":
                token = given.strip()
            case "basic":
                token = _password(given)
            case _:
                return None
        digest = _digest(token)
        found = None
        for known, caller in self._known().items():  # all of them: how long it takes says nothing
            if hmac.compare_digest(known, digest):
                found = caller
        return found

    def new(self, name: str, role: Role) -> str:
        """Make a token under a name that is new, and give it: it is kept nowhere else. TokensError if that fails."""
        known = self._read()
        if name in known:
            raise TokensError(f"There is a token {name!r} already; remove it first.")
        token = secrets.token_urlsafe(TOKEN_OCTETS)
        self._write({**known, name: {"role": role, "sha256": _digest(token).hex()}})
        return token

    def remove(self, name: str) -> None:
        """Make a token worthless. TokensError if there is none of that name."""
        known = self._read()
        if name not in known:
            raise TokensError(f"There is no token {name!r}; there are: {', '.join(sorted(known)) or 'none'}.")
        self._write({each: known[each] for each in known if each != name})

    def names(self) -> dict[str, str]:
        """Give all names, each with its role. TokensError if the file is not one of tokens."""
        return {name: each["role"] for name, each in sorted(self._read().items())}

    def _known(self) -> Mapping[bytes, Caller]:
        try:
            found = self._path.stat()
            stamp = (found.st_mtime_ns, found.st_size)
            if stamp != self._stamp:
                self._callers = {
                    bytes.fromhex(each["sha256"]): Caller(name, Role(each["role"]))
                    for name, each in self._read().items()
                }
                self._stamp = stamp
        except (OSError, TokensError):
            self._callers, self._stamp = {}, None
        return self._callers

    def _read(self) -> dict[str, dict[str, str]]:
        try:
            text = self._path.read_bytes()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise TokensError(f"{self._path} cannot be read: {error.strerror}.") from None
        try:
            found = json.loads(text)
            for each in found.values():
                bytes.fromhex(each["sha256"])
                Role(each["role"])
        except (ValueError, AttributeError, KeyError, TypeError):
            raise TokensError(f"{self._path} is not a file of tokens. Move it away, and make new ones.") from None
        return dict(found)

    def _write(self, known: Mapping[str, Mapping[str, str]]) -> None:
        draft = self._path.with_name(self._path.name + ".new")
        try:
            draft.unlink(missing_ok=True)
            file = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o640)
            with os.fdopen(file, "w") as stream:
                stream.write(json.dumps(known, indent=1) + "\n")
            if self._path.exists():  # who may read it stays the same
                found = self._path.stat()
                os.chown(draft, found.st_uid, found.st_gid)
                draft.chmod(found.st_mode & 0o777)
            draft.replace(self._path)
        except OSError as error:
            raise TokensError(f"{self._path} cannot be written: {error.strerror}.") from None


def _password(given: str) -> str:
    try:
        return base64.b64decode(given, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()

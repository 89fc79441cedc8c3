"""dhcpd's leases file for DHCPv6, to which each change of a lease is appended."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from ipaddress import IPv6Address
from pathlib import Path

from tandem.imports.dhcpd_text import unescaped
from tandem.imports.leases import Imported, checked, cut_remark, key_in_range
from tandem.imports.report import ImportFailed
from tandem.lease.lease import FOREVER, BindingStatus
from tandem.wire.received import ADDRESS_LENGTH

IA = re.compile(r'ia-(na|ta|pd)\s+"((?:[^"\\]|\\.)*)"\s*\{')
HELD = re.compile(r"(?:iaaddr|iaprefix)\s+([0-9A-Fa-f:.]+(?:/\d+)?)\s*\{")
SAID = re.compile(r"(cltt|ends|preferred-life|max-life|binding state)\s+([^;]+);")
STATUSES = {"active": BindingStatus.ACTIVE, "abandoned": BindingStatus.ABANDONED}
IAID_OCTETS = 4
BYTE_ORDER = re.compile(r"authoring-byte-order\s+(little|big)-endian\s*;")


class _Ia:
    """An identity association as far as it was read."""

    def __init__(self, kind: str, iaid: int, duid: bytes) -> None:
        self.kind = kind
        self.iaid = iaid
        self.duid = duid
        self.heard_utc = 0


def read_dhcpd_leases(path: Path) -> Iterator[Imported]:
    """Give the leases that are held by the last word on each of them. ImportFailed if the file cannot be read."""
    last: dict[int, Imported | None] = {}
    try:
        with path.open(encoding="utf-8") as file:
            for lease in _read(file):
                last[lease.key] = lease if lease.status in STATUSES.values() else None
    except (OSError, UnicodeDecodeError) as error:
        raise ImportFailed(f"{path} cannot be read: {error}.") from error
    except ValueError as error:
        raise ImportFailed(f"{path}, {error}.") from error
    yield from (lease for lease in last.values() if lease is not None)


def _read(lines: Iterator[str]) -> Iterator[Imported]:
    """Give each change of a lease. ValueError names the line before which it is broken."""
    line = 0
    changes = _numbered(lines)
    while True:
        try:
            line, lease = next(changes)
        except StopIteration:
            return
        except ValueError as error:
            raise ValueError(f"after line {line}: {error}") from error
        yield lease


def _numbered(lines: Iterator[str]) -> Iterator[tuple[int, Imported]]:
    """Give each change of a lease with the line on which it ends."""
    order = "little"
    ia: _Ia | None = None
    held = ""
    said: dict[str, str] = {}
    for number, raw in enumerate(lines, 1):
        line = raw.strip()
        if found := IA.match(line):
            ia = _ia(found[1], found[2], order)
        elif found := HELD.match(line):
            held, said = found[1], {}
        elif found := SAID.match(line):
            if found[1] == "cltt" and ia is not None:
                ia.heard_utc = _utc(found[2]) or 0
            said[found[1]] = found[2].strip()
        elif found := BYTE_ORDER.match(line):
            order = found[1]
        elif line.startswith("}") and held and ia is not None:
            if ia.kind != "ta":
                yield number, _lease(ia, held, said, f"line {number}")
            held = ""
        elif line.startswith("}"):
            ia = None


def _ia(kind: str, text: str, order: str) -> _Ia:
    octets = unescaped(text).encode("latin-1")
    if len(octets) <= IAID_OCTETS:
        raise ValueError("an identity association has no DUID")
    iaid = int.from_bytes(octets[:IAID_OCTETS], "little" if order == "little" else "big")
    return _Ia(kind, iaid, octets[IAID_OCTETS:])


def _lease(ia: _Ia, held: str, said: dict[str, str], where: str) -> Imported:
    text, _, length = held.partition("/")
    address = int(IPv6Address(text))
    key = key_in_range(address, int(length or ADDRESS_LENGTH))
    ends_utc = _utc(said.get("ends", "never"))
    status = STATUSES.get(said.get("binding state", ""), BindingStatus.EXPIRED)
    valid_s = FOREVER if ends_utc is None else min(int(said.get("max-life", "0")), FOREVER)
    lease = Imported(
        key,
        ia.duid,
        ia.iaid,
        status,
        ia.heard_utc,
        FOREVER if ends_utc is None else ends_utc,
        min(int(said.get("preferred-life", "0")), FOREVER),
        valid_s,
        remark=cut_remark(address, key, where),
    )
    return checked(lease)


def _utc(text: str) -> int | None:
    """Read a date, `4 2026/11/26 09:00:00` or `epoch 1795684800`, in UTC seconds; None for never."""
    words = text.split()
    if words[:1] == ["never"]:
        return None
    if words[:1] == ["epoch"] and len(words) > 1:
        return int(words[1])
    if len(words) < 3:
        raise ValueError(f"{text!r} is not a date")
    return int(datetime.strptime(f"{words[1]} {words[2]}", "%Y/%m/%d %H:%M:%S").replace(tzinfo=UTC).timestamp())

"""Kea's lease file: a CSV to which each change of a lease is appended."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from ipaddress import IPv6Address
from pathlib import Path

from tandem.imports.leases import Imported, checked, cut_remark, key_in_range
from tandem.imports.report import ImportFailed
from tandem.lease.lease import FOREVER, BindingStatus
from tandem.wire.names import write_name
from tandem.wire.received import ADDRESS_LENGTH
from tandem.wire.text import read_octets

OLDER = (".completed", ".2", ".1", "")
"""What Kea's housekeeping puts behind the name of the file, the oldest first."""
ADDRESS, PREFIX = "0", "2"
DECLINED = "1"
STATUSES = {"0": BindingStatus.ACTIVE, DECLINED: BindingStatus.ABANDONED}
NEEDED = ("address", "duid", "valid_lifetime", "expire", "pref_lifetime", "lease_type", "iaid", "prefix_len")
UINT32 = 1 << 32
DUID_OCTETS_MIN = 3


def read_kea_leases(path: Path) -> Iterator[Imported]:
    """Give the leases that are held by the last word on each of them. ImportFailed if a file cannot be read."""
    last: dict[int, Imported | None] = {}
    files = [each for suffix in OLDER if (each := path.with_name(path.name + suffix)).exists()]
    if not files:
        raise ImportFailed(f"{path} cannot be read: there is no such file.")
    for each in files:
        for line, row in _rows(each):
            try:
                key, lease = _read(row, f"{each}, line {line}")
            except (ValueError, KeyError, TypeError) as error:
                raise ImportFailed(f"{each}, line {line}, is not a lease: {error}.") from error
            last[key] = lease
    yield from (lease for lease in last.values() if lease is not None)


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, str]]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            missing = [name for name in NEEDED if name not in (reader.fieldnames or ())]
            if missing:
                raise ImportFailed(f"{path} is not a lease file of Kea's DHCPv6 server: it has no {missing[0]}.")
            for row in reader:
                yield reader.line_num, row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ImportFailed(f"{path} cannot be read: {error}.") from error


def _read(row: Mapping[str, str], where: str) -> tuple[int, Imported | None]:
    """Give a lease by its key; None if it is not held any more."""
    kind = row["lease_type"]
    length = int(row["prefix_len"]) if kind == PREFIX else ADDRESS_LENGTH
    address = int(IPv6Address(row["address"]))
    key = key_in_range(address, length)
    valid_s, until_utc = int(row["valid_lifetime"]), int(row["expire"])
    status = STATUSES.get(row.get("state") or "0")
    if status is None or not valid_s or kind not in (ADDRESS, PREFIX):
        return key, None
    is_for_ever = valid_s == FOREVER
    duid = read_octets(row["duid"])
    if status is BindingStatus.ABANDONED:  # nobody has it: Kea writes one octet, later ones three, in place of a DUID
        duid = duid.ljust(DUID_OCTETS_MIN, b"\0")
    lease = Imported(
        key,
        duid,
        int(row["iaid"]) % UINT32,
        status,
        min(until_utc - valid_s, FOREVER),
        FOREVER if is_for_ever else min(until_utc, FOREVER),
        int(row["pref_lifetime"]),
        valid_s,
        _hostname(row.get("hostname") or ""),
        cut_remark(address, key, where),
    )
    return key, checked(lease)


def _hostname(text: str) -> str:
    """Give a name that can be kept; nothing, if it is none."""
    try:
        write_name(text)
    except ValueError:
        return ""
    return text

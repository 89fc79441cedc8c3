"""Our file, written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv6Network
from typing import Any

import tomli_w

HEAD = """# Made from {source}.
# Look at the report of what was not carried over; then `tandem check` says what this file does.

"""


def leases_reserved(reservation: Mapping[str, Any]) -> Iterator[IPv6Network]:
    """Give the addresses and prefixes of a `reservation` table."""
    for key in ("address", "prefix"):
        for each in reservation.get(key, ()):
            yield IPv6Network(each)


def reserved_for_several(subnets: list[dict[str, Any]]) -> set[IPv6Network]:
    """Give the leases that are reserved for different clients in `subnet` tables."""
    clients: dict[IPv6Network, tuple[Any, Any]] = {}
    found = set()
    for subnet in subnets:
        for each in subnet.get("reservation", ()):
            client = each.get("duid"), each.get("link-layer")
            found |= {lease for lease in leases_reserved(each) if clients.setdefault(lease, client) != client}
    return found


def write_file(file: dict[str, Any], source: str) -> str:
    """Give the text of a file of ours."""
    return HEAD.format(source=source) + tomli_w.dumps(file)

"""What is amiss with a server, by what it says of itself: for who looks at it in passing, and for scripts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

POOL_LOW_PERCENT = 90
SKEW_MAX_S = 3
CERTIFICATE_DAYS_MIN = 14
UNACKED_MAX = 1000

Found = Mapping[str, Any]


def amiss(status: Found) -> list[str]:
    """Give a sentence for each thing that somebody should look at, the worst first; none if all is well."""
    return [*_server(status), *_partners(status), *_pools(status)]


def _server(status: Found) -> Iterator[str]:
    if status["disk"] != "ok":
        yield "The disk is full: nothing is promised to clients. Make room in the state-dir."


def _partners(status: Found) -> Iterator[str]:
    for found in status["relationships"]:
        name, partner = found["name"], found["partner"]
        if found["stepped-aside"]:
            yield f"{name}: this server has stepped aside, {found['stepped-aside']}."
        elif found["state"] != "NORMAL":
            yield f"{name}: this server is in {found['state']}, not in NORMAL. {found['means']}"
        if not partner["in-touch"]:
            refusal = f": {found['last-refusal']}" if found["last-refusal"] else ""
            yield f"{name}: the partner {partner['name']} is not heard{refusal}."
        elif partner["cannot-serve"]:
            yield f"{name}: the partner {partner['name']} says that it cannot serve."
        yield from _details(found)


def _details(found: Found) -> Iterator[str]:
    name, updates, days = found["name"], found["updates"], found["certificate-days-left"]
    if found["clock-skew"] is not None and abs(found["clock-skew"]) > SKEW_MAX_S:
        yield f"{name}: the partners' clocks are {abs(found['clock-skew'])} s apart; beyond 5 s they stop talking."
    if days is not None and days < CERTIFICATE_DAYS_MIN:
        yield f"{name}: this server's certificate expires in {days} days. `tandem pki new --renew` makes a new one."
    if updates["unacked"] > UNACKED_MAX:
        yield f"{name}: {updates['unacked']} leases are not acknowledged by the partner."
    for each in updates["rejected"]:
        yield f"{name}: the partner rejects {each['lease']}: {each['why']}."
    for each in found["differences"]:
        yield f"{name}: the partner serves something else: {each}."


def _pools(status: Found) -> Iterator[str]:
    for link in status["links"]:
        for pool in link["pools"]:
            if pool["in-use"] * 100 >= pool["size"] * POOL_LOW_PERCENT:
                yield f"{pool['where']} ({pool['first']} and on): {pool['in-use']} of {pool['size']} leases are in use."

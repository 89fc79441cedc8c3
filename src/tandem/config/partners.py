"""The failover part of the file: relationships as one of their servers sees them, and how its partners are reached."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b, sha256
from typing import Any

from tandem.config import model
from tandem.effects.options import OptionSet
from tandem.effects.settings import RESERVATION, Link, Relationship, Settings
from tandem.lease.holes import Holes
from tandem.lease.space import Interval, Role, interval_of

DIGEST_OCTETS = 16
PATIENCE_MIN_S = 2
PATIENCE_MAX_S = 10


@dataclass(frozen=True, slots=True)
class Tls:
    """The files that prove who this server is, and who its partner may be."""

    ca: str
    certificate: str
    key: str
    revoked: frozenset[str] = frozenset()
    """Serial numbers and SHA-256 fingerprints of certificates that are not accepted any more."""


@dataclass(frozen=True, slots=True)
class PartnerLine:
    """Where the two ends of a relationship are. The primary dials the secondary's address and port."""

    relationship: str
    role: Role
    own_address: str
    partner_address: str
    port: int
    partner: str
    """The partner's name in the file, which its certificate must have."""
    patience_s: int
    """How long a connection may take to come about."""
    tls: Tls | None
    """None: without TLS, as the file says in so many words."""


def servers_of(file: model.File, subnet: model.Subnet) -> tuple[str, ...]:
    """Name the servers that serve a subnet."""
    if subnet.failover is not None:
        failover = file.failover[subnet.failover]
        return failover.primary, failover.secondary
    return (subnet.server or next(iter(file.server)),)


def _ends(file: model.File, server: str) -> Iterator[tuple[str, model.Failover, Role, str]]:
    for name, failover in file.failover.items():
        if failover.primary == server:
            yield name, failover, Role.PRIMARY, failover.secondary
        elif failover.secondary == server:
            yield name, failover, Role.SECONDARY, failover.primary


def partner_lines(file: model.File, server: str) -> Iterator[PartnerLine]:
    """Give the way to each partner of a server."""
    for name, failover, role, partner in _ends(file, server):
        own = file.server[server]
        yield PartnerLine(
            relationship=name,
            role=role,
            own_address=str(own.address),
            partner_address=str(file.server[partner].address),
            port=failover.port,
            partner=partner,
            patience_s=max(PATIENCE_MIN_S, min(failover.keepalive, PATIENCE_MAX_S)),
            tls=_tls(failover, own.state_dir, server) if failover.security == "tls" else None,
        )


def _tls(failover: model.Failover, state_dir: str, server: str) -> Tls:
    paths = failover.tls or model.Tls()
    ca, certificate, key = (
        each.replace("{state-dir}", state_dir).replace("{server}", server)
        for each in (paths.ca, paths.certificate, paths.key)
    )
    return Tls(ca, certificate, key, frozenset(paths.revoked))


def relationships(file: model.File, server: str, links: Iterable[Link]) -> Iterator[Relationship]:
    """Give the relationships of a server."""
    links = tuple(links)
    for name, failover, role, partner in _ends(file, server):
        mine = [link for link in links if link.relationship == name]
        summary = _summary(file, name, failover)
        yield Relationship(
            name=name,
            role=role,
            partner=partner,
            mclt_s=failover.mclt,
            keepalive_s=failover.keepalive,
            startup_s=failover.startup,
            auto_partner_down_s=failover.auto_partner_down,
            start_alone=failover.start_alone,
            secondary_share_percent=failover.secondary_share,
            fixed_pd_length=True,  # a pool of the file has one delegated-length
            territories=tuple(territories(mine)),
            pools=tuple(pool.range for link in mine for subnet in link.subnets for pool in subnet.pools),
            longest_lifetime_s=max((subnet.lifetimes.valid_s for link in mine for subnet in link.subnets), default=0),
            decline_time_s=file.decline_time,
            digest=blake2b(json.dumps(summary, sort_keys=True).encode(), digest_size=DIGEST_OCTETS).digest(),
            summary=summary,
            reservations=dict(reservations_in(summary.items())),
        )


def territories(links: Iterable[Link]) -> Iterator[Interval]:
    """Give all space that the links give leases from, lowest first, overlaps put together."""
    spaces: list[Interval] = []
    for link in links:
        spaces += [(subnet.first, subnet.last) for subnet in link.subnets]
        spaces += [(pool.range.first, pool.range.last) for subnet in link.subnets for pool in subnet.pools]
        spaces += [interval_of(key) for key in link.reservations.leases()]
    return Holes(spaces).intervals()


def _summary(file: model.File, name: str, failover: model.Failover) -> dict[str, str]:
    """Give a digest of each part of the file that both partners must have alike, by a path that people know."""
    found: dict[str, Any] = {
        "lifetimes": file.lifetimes.model_dump(mode="json"),
        "limits": file.limits.model_dump(mode="json"),
        "options": _hexed(file.options.encode(file.option_definition, file.always_send)),
        "classes": [
            {
                **each.model_dump(mode="json", exclude={"options", "always_send"}),
                "options": _hexed(each.options.encode(file.option_definition, each.always_send)),
                "name": class_,
            }
            for class_, each in file.class_.items()
        ],
        "option-definition": {name: each.model_dump(mode="json") for name, each in file.option_definition.items()},
        "decline-time": file.decline_time,
        "reuse-grace": file.reuse_grace,
        "link-layer-from-duid": file.link_layer_from_duid,
        "ip-reservations-unique": file.ip_reservations_unique,
        f"failover {name} secondary-share": failover.secondary_share,
        f"failover {name} mclt": failover.mclt,
        f"failover {name} keepalive": failover.keepalive,
        f"failover {name} startup": failover.startup,
        f"failover {name} auto-partner-down": failover.auto_partner_down,
        f"failover {name} start-alone": failover.start_alone,
    }
    for subnet in file.subnet:
        if subnet.failover == name:
            whole = subnet.model_dump(mode="json", exclude={"interface", "options", "reservation"})
            where = f"subnet {subnet.prefix}"
            for part in (
                "classes",
                "relay",
                "interface_id",
                "relays",
                "pools",
                "pd_pools",
                "lifetimes",
                "limits",
                "rapid_commit",
                "shared_network",
            ):
                found[f"{where} {part.replace('_', '-')}"] = whole[part]
            if subnet.reservation:
                found[where + RESERVATION] = [_shown(row, file) for row in subnet.reservation if row is not None]
            found[f"{where} options"] = _hexed(subnet.options.encode(file.option_definition, subnet.always_send))
    return {path: sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16] for path, value in found.items()}


def reservations_in(summary: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the parts of a summary that are about the reservations of a subnet."""
    return [(path, digest) for path, digest in summary if path.endswith(RESERVATION)]


def _hexed(options: OptionSet) -> dict[str, str]:
    """Return what a scope tells clients, in a form that can be digested."""
    found = {str(code): value.hex() for code, value in options.encoded.items()}
    for enterprise, suboptions in options.vendors.items():
        found |= {f"{enterprise}.{code}": value.hex() for code, value in suboptions.items()}
    if options.always or options.always_of_vendors:
        found["always-send"] = json.dumps((sorted(options.always), sorted(options.always_of_vendors)))
    return found


def _shown(row: model.ReservationRow, file: model.File) -> list[Any]:
    """Give a reservation as JSON has it."""
    identifiers = [None if each is None else each.hex() for each in (row.duid, row.link_layer)]
    exclude = None if row.exclude is None else str(row.exclude)
    options = {} if row.options is None else _hexed(row.options.encode(file.option_definition, row.always_send))
    return [*identifiers, row.keys, row.hostname, exclude, row.classes, options]


def what_moved(before: Settings, after: Settings) -> list[str]:
    """Say what a reload would change that the partner would have to change at the very same moment."""
    found = []
    for old in before.relationships:
        for new in after.relationships:
            if old.name == new.name and old.role is not new.role:
                found.append(
                    f"failover.{old.name}: the roles are swapped. Stop both servers, and start them with the new file."
                )
            if old.name != new.name and _meet(old.territories, new.territories):
                found.append(
                    f"failover.{new.name}: it has space that is {old.name}'s. Take the subnet out on both servers, "
                    "let its leases run out, and add it again."
                )
    return found


def _meet(some: Sequence[Interval], others: Sequence[Interval]) -> bool:
    """True if any of some intervals overlaps any of others. Both are sorted, and neither overlaps itself."""
    at = 0
    for first, last in some:
        while at < len(others) and others[at][1] < first:
            at += 1
        if at < len(others) and others[at][0] <= last:
            return True
    return False

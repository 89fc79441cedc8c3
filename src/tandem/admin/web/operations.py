"""What the HTTP API offers: each operation is declared once, and both the routes and the description follow."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import AddressValueError, IPv6Network
from typing import Any

from tandem.admin.client import CommandFailed
from tandem.admin.web.access import Role
from tandem.admin.web.link import Link, Unreachable

Given = Mapping[str, Any]
STATUSES = ("ACTIVE", "EXPIRED", "RELEASED", "PENDING-FREE", "FREE", "FREE-BACKUP", "ABANDONED", "RESET")
TEXT = {"type": "string"}
NUMBER = {"type": "integer"}
OCTETS = {"type": "string", "pattern": "^[0-9A-Fa-f]{2}(:?[0-9A-Fa-f]{2}){0,129}$"}
NETWORK = {"type": "string", "format": "ipv6-network", "description": "An address, or a prefix with its length."}
EMPTY_PAGES_MAX = 20
"""Pages of the server's without a lease, of 20,000 that were looked at each, that one answer passes over."""


class BadRequest(Exception):
    """What was given is not what is asked for; the message is a sentence."""


class NotFound(Exception):
    """There is no such thing; the message is a sentence."""


@dataclass(frozen=True)
class Parameter:
    """Something that may be given: in the path, the query, or the body."""

    name: str
    text: str
    where: str = "query"
    """`path`, `query` or `body`."""
    schema: Mapping[str, Any] = field(default_factory=lambda: TEXT)
    is_required: bool = False

    def read(self, text: str) -> Any:
        """Read its value as it stands in a path or a query. BadRequest if that is not one."""
        if self.schema["type"] == "integer":
            try:
                return int(text)
            except ValueError:
                raise BadRequest(f"{self.name} must be a number, not {text!r}.") from None
        if text not in self.schema.get("enum", (text,)):
            raise BadRequest(f"{self.name} must be one of {', '.join(self.schema['enum'])}, not {text!r}.")
        if not re.fullmatch(self.schema.get("pattern", ".*"), text, re.DOTALL):
            raise BadRequest(f"{text!r} is not a DUID, or a part of one, such as 00:03:00:01:02:00:5e:10:00:01.")
        if self.schema is NETWORK:
            try:
                IPv6Network(text)
            except (AddressValueError, ValueError):
                raise BadRequest(f"{text!r} is not an IPv6 address or prefix, such as 2001:db8::1.") from None
        return text


@dataclass(frozen=True)
class Operation:
    """One thing that the API does."""

    method: str
    path: str
    summary: str
    result: str
    """The name of the result's schema."""
    run: Callable[[Link, Given], Awaitable[Any]]
    parameters: tuple[Parameter, ...] = ()
    role: Role = Role.READ_ONLY

    @property
    def id(self) -> str:
        """A name that no other operation has."""
        words = re.sub(r"[^a-z]+", "-", self.path.removeprefix("/api/v1/").replace(":path", "").lower()).strip("-")
        return f"{self.method.lower()}-{words}"


LEASE = Parameter("lease", "An address, or a prefix with its length.", "path", NETWORK, True)
RELATIONSHIP = Parameter("name", "The relationship's name in the file.", "path", TEXT, True)
DRY_RUN = Parameter("dry-run", "Only say what would happen.", "body", {"type": "boolean"})


async def _status(link: Link, _: Given) -> Any:
    return await link.ask("status")


async def _pools(link: Link, _: Given) -> Any:
    found = await link.ask("status")
    return [{"link": each["name"], **pool} for each in found["links"] for pool in each["pools"]]


async def _relationships(link: Link, _: Given) -> Any:
    return (await link.ask("status"))["relationships"]


async def _relationship(link: Link, given: Given) -> Any:
    for each in await _relationships(link, given):
        if each["name"] == given["name"]:
            return each
    raise NotFound(f"There is no relationship {given['name']!r}.")


async def _leases(link: Link, given: Given) -> Any:
    """Give a page. The server's own are short, so that clients have their turn; empty ones are gone over here."""
    page = await link.ask("lease-list", **given)
    for _ in range(EMPTY_PAGES_MAX):
        if page["leases"] or page["next"] is None:
            break
        page = await link.ask("lease-list", **{**given, "from": page["next"]})
    return page


async def _lease(link: Link, given: Given) -> Any:
    return await _known(link.ask("lease-show", lease=given["lease"]))


async def _release(link: Link, given: Given) -> Any:
    await _lease(link, given)
    return await link.ask("lease-release", lease=given["lease"])


async def _known(asked: Awaitable[Any]) -> Any:
    try:
        return await asked
    except Unreachable:
        raise
    except CommandFailed as error:
        raise NotFound(str(error)) from None


async def _explain(link: Link, given: Given) -> Any:
    if ("duid" in given) == ("lease" in given):
        raise BadRequest("Give either duid or lease.")
    return await link.ask("explain", **given)


async def _events(link: Link, given: Given) -> Any:
    return await link.ask("events", **given)


def _act(command: str) -> Callable[[Link, Given], Awaitable[Any]]:
    async def act(link: Link, given: Given) -> Any:
        await _relationship(link, given)
        arguments = {name: value for name, value in given.items() if name != "name"}
        return await link.ask(command, relationship=given["name"], **arguments)

    return act


OPERATIONS = (
    Operation("GET", "/api/v1/status", "How the server is: all that `tandem status --json` gives.", "Status", _status),
    Operation("GET", "/api/v1/pools", "Every pool and how much of it is in use.", "Pools", _pools),
    Operation(
        "GET",
        "/api/v1/leases",
        "Leases, page by page, in no order that means anything.",
        "LeasePage",
        _leases,
        (
            Parameter(
                "status", "Only those of this binding status.", schema={"type": "string", "enum": list(STATUSES)}
            ),
            Parameter("duid", "Only this client's.", schema=OCTETS),
            Parameter(
                "client",
                "Only of clients in whose DUID these octets are, such as a link-layer address.",
                schema=OCTETS,
            ),
            Parameter("within", "Only those inside a prefix.", schema=NETWORK),
            Parameter("from", "What the page before gave as `next`.", schema=NUMBER),
        ),
    ),
    Operation("GET", "/api/v1/leases/{lease:path}", "One lease.", "Lease", _lease, (LEASE,)),
    Operation(
        "POST",
        "/api/v1/release/{lease:path}",
        "End a lease as if its client had released it. The client is not told, and may go on using it.",
        "Lease",
        _release,
        (LEASE,),
        Role.OPERATOR,
    ),
    Operation(
        "GET",
        "/api/v1/explain",
        "Why a client gets what it gets, or where a lease belongs and who has it.",
        "Explanation",
        _explain,
        (
            Parameter("duid", "A client.", schema=OCTETS),
            Parameter("lease", "An address or a prefix.", schema=NETWORK),
            Parameter("link", "Only this link, by its name in the status."),
        ),
    ),
    Operation(
        "GET",
        "/api/v1/events",
        "The last events; with `after`, what came since. /api/v1/events/stream gives them as they come.",
        "Events",
        _events,
        (Parameter("after", "The number that the answer before gave as `last`.", schema=NUMBER),),
    ),
    Operation("GET", "/api/v1/relationships", "Every failover relationship.", "Relationships", _relationships),
    Operation(
        "GET",
        "/api/v1/relationships/{name}",
        "One failover relationship.",
        "Relationship",
        _relationship,
        (RELATIONSHIP,),
    ),
    Operation(
        "POST",
        "/api/v1/relationships/{name}/partner-down",
        "Tell this server that its partner is down, so that it serves with full lifetimes and, later, the whole pools. "
        "The answer says what is at risk.",
        "Done",
        _act("failover-partner-down"),
        (
            RELATIONSHIP,
            Parameter("last-alive", "When the partner was last alive, UTC seconds.", "body", NUMBER),
            DRY_RUN,
        ),
        Role.OPERATOR,
    ),
    Operation(
        "POST",
        "/api/v1/relationships/{name}/handover",
        "Let the partner serve alone, so that this server can be taken out for maintenance.",
        "Done",
        _act("failover-handover"),
        (RELATIONSHIP, DRY_RUN),
        Role.OPERATOR,
    ),
    Operation(
        "POST",
        "/api/v1/relationships/{name}/resume",
        "Serve again after a handover.",
        "Done",
        _act("failover-resume"),
        (RELATIONSHIP,),
        Role.OPERATOR,
    ),
)

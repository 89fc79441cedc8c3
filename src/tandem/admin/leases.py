"""`tandem lease ...`: look at leases and act on them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum
from ipaddress import IPv6Network
from typing import Annotated, Any

import typer

from tandem.admin.console import confirm, echo, echo_csv, echo_json, echo_json_lines
from tandem.admin.show import print_lease, print_leases
from tandem.admin.target import DEFAULT_STATE_DIR, AsJson, Socket, StateDir, connect

app = typer.Typer(help="Look at leases and act on them.", no_args_is_help=True, rich_markup_mode=None)

Status = Annotated[str | None, typer.Option(metavar="STATUS", help="Only these, such as ACTIVE or EXPIRED.")]
Duid = Annotated[str | None, typer.Option(metavar="DUID", help="Only this client's.")]
Client = Annotated[
    str | None, typer.Option(metavar="OCTETS", help="Only those in whose DUID these are, such as a link-layer address.")
]
Within = Annotated[str | None, typer.Option(metavar="PREFIX", help="Only those inside a prefix.")]
LeaseText = Annotated[str, typer.Argument(metavar="LEASE", help="An address, or a prefix with its length.")]
NEVER = 1 << 32
COLUMNS = (
    "lease",
    "type",
    "status",
    "held",
    "duid",
    "iaid",
    "start-time-of-state",
    "client-last-transaction-time",
    "state-expiration-time",
    "preferred-lifetime",
    "valid-lifetime",
    "fqdn",
)


class Format(StrEnum):
    """How a list is printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


class Order(StrEnum):
    """What a list is sorted by."""

    LEASE = "lease"
    HEARD = "heard"
    EXPIRES = "expires"
    DUID = "duid"


def _by_lease(lease: dict[str, Any]) -> tuple[int, int]:
    network = IPv6Network(lease["lease"])
    return int(network.network_address), network.prefixlen


BY: dict[Order, Callable[[dict[str, Any]], Any]] = {
    Order.LEASE: _by_lease,
    Order.HEARD: lambda lease: (lease["client-last-transaction-time"], _by_lease(lease)),
    Order.EXPIRES: lambda lease: (lease["state-expiration-time"] or NEVER, _by_lease(lease)),
    Order.DUID: lambda lease: (lease["duid"], _by_lease(lease)),
}
HowToPrint = Annotated[Format, typer.Option("--format", help="How to print them.")]


@app.command("list", epilog="Example: tandem lease list --client 02:00:5e:10:00:01 --sort expires --limit 20")
def list_leases(
    status: Status = None,
    duid: Duid = None,
    client: Client = None,
    within: Within = None,
    sort: Annotated[Order, typer.Option(help="In which order.")] = Order.LEASE,
    reverse: Annotated[bool, typer.Option("--reverse", help="The other way round.")] = False,
    limit: Annotated[int | None, typer.Option(metavar="COUNT", min=1, help="Only the first so many.")] = None,
    format_: HowToPrint = Format.TABLE,
    state_dir: StateDir = DEFAULT_STATE_DIR,
    socket: Socket = None,
) -> None:
    """List leases."""
    with connect(state_dir, socket) as server:
        leases = server.leases(status=status, duid=duid, client=client, within=within)
        found = sorted(leases, key=BY[sort], reverse=reverse)[:limit]
    if format_ is Format.TABLE:
        print_leases(found)
    else:
        _write(found, format_)


@app.command(epilog="Example: tandem lease export > leases.json")
def export(
    format_: HowToPrint = Format.JSON,
    state_dir: StateDir = DEFAULT_STATE_DIR,
    socket: Socket = None,
) -> None:
    """Write out all leases as they come: one JSON object to a line, or CSV."""
    with connect(state_dir, socket) as server:
        _write(server.leases(), Format.JSON if format_ is Format.TABLE else format_)


@app.command(epilog="Example: tandem lease show 2001:db8:1::10")
def show(
    lease: LeaseText,
    as_json: AsJson = False,
    state_dir: StateDir = DEFAULT_STATE_DIR,
    socket: Socket = None,
) -> None:
    """Show one lease."""
    with connect(state_dir, socket) as server:
        found = server.ask("lease-show", lease=lease)
    if as_json:
        echo_json(found)
    else:
        print_lease(found)


@app.command(epilog="Example: tandem lease release 2001:db8:1::10 --yes")
def release(
    lease: LeaseText,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    state_dir: StateDir = DEFAULT_STATE_DIR,
    socket: Socket = None,
) -> None:
    """End a lease as if its client had released it. The client is not told, and may go on using it."""
    with connect(state_dir, socket) as server:
        found = server.ask("lease-show", lease=lease)
        if not yes:
            print_lease(found)
            confirm("Its client is not told, and may still use it. End the lease?")
        server.ask("lease-release", lease=lease)
    echo(f"{lease} is released.")


def _write(leases: Iterable[dict[str, Any]], format_: Format) -> None:
    if format_ is Format.CSV:
        echo_csv(COLUMNS, leases)
    else:
        echo_json_lines(leases)

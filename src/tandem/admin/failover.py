"""Operator's commands about failover relationships. Each says what it risks, and asks first."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Annotated, Any

import typer

from tandem.admin.client import CommandFailed, ControlClient
from tandem.admin.console import confirm, echo, echo_json
from tandem.admin.target import DEFAULT_STATE_DIR, AsJson, Socket, StateDir, connect

app = typer.Typer(help="Act on failover relationships.", no_args_is_help=True, rich_markup_mode=None)

Relationship = Annotated[str | None, typer.Argument(metavar="NAME", help="The relationship, if there are several.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would happen.")]
HANDOVER_S = 60


@app.command("partner-down", epilog='Example: tandem failover partner-down --last-alive "2026-11-24 17:05"')
def partner_down(
    relationship: Relationship = None,
    last_alive: Annotated[
        str | None, typer.Option(metavar="TIME", help="When the partner was last alive, if you know; local time.")
    ] = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: AsJson = False,
    state_dir: StateDir = DEFAULT_STATE_DIR,
    socket: Socket = None,
) -> None:
    """Tell this server that its partner is down, so that it serves with full lifetimes and, later, the whole pools."""
    since = None if last_alive is None else _read_time(last_alive)
    given: dict[str, Any] = {"relationship": relationship, "last-alive": since}
    with connect(state_dir, socket) as server:
        found = server.ask("failover-partner-down", **given, **{"dry-run": True})
        if not as_json:
            _print_risk(found)
        if not dry_run:
            if not yes:
                confirm("Is the partner really down, and will it stay so for now?")
            found = server.ask("failover-partner-down", **given)
    if as_json:
        echo_json(found)
    elif found["done"]:
        echo("This server now takes its partner to be down.")


@app.command(epilog="Example: tandem failover handover --yes && systemctl stop tandem@a")
def handover(
    relationship: Relationship = None,
    yes: Yes = False,
    state_dir: StateDir = DEFAULT_STATE_DIR,
    socket: Socket = None,
) -> None:
    """Let the partner serve alone, without a gap, so that this server can be taken out for maintenance."""
    with connect(state_dir, socket) as server:
        if not yes:
            confirm("The partner will answer all clients. Hand over?")
        found = server.ask("failover-handover", relationship=relationship)
        deadline = time.monotonic() + HANDOVER_S
        while not found["done"] and time.monotonic() < deadline:
            time.sleep(0.2)
            found["done"] = _has_stepped_aside(server, found["relationship"])
    if not found["done"]:
        raise CommandFailed("The partner has not taken over all updates yet; this server steps aside when it has.")
    echo("Handed over. `tandem failover resume`, or a restart, brings this server back.")


@app.command(epilog="Example: tandem failover resume")
def resume(
    relationship: Relationship = None,
    state_dir: StateDir = DEFAULT_STATE_DIR,
    socket: Socket = None,
) -> None:
    """Serve again after a handover."""
    with connect(state_dir, socket) as server:
        server.ask("failover-resume", relationship=relationship)
    echo("This server looks for its partner, and then serves again.")


def _has_stepped_aside(server: ControlClient, name: str) -> bool:
    relationships = server.ask("status")["relationships"]
    return any(each["name"] == name and each["stepped-aside"] for each in relationships)


def _print_risk(found: dict[str, Any]) -> None:
    heard = "never" if not found["partner-heard"] else time.ctime(found["partner-heard"])
    echo(f"Relationship {found['relationship']} is in {found['state']}; the partner was last heard: {heard}.")
    if found["in-touch"]:
        echo("The partner is connected right now! It is not down; consider `tandem failover handover`.")
    echo(f"{found['leases-at-risk']} leases are in use in its pools. {found['risk']}")
    echo(f"The partner's free prefixes can be given out from {time.ctime(found['waits-until'])}.")


def _read_time(text: str) -> int:
    try:
        return int(datetime.fromisoformat(text).timestamp())
    except ValueError:
        raise CommandFailed(f"{text!r} is not a time such as 2026-11-24 17:05.") from None

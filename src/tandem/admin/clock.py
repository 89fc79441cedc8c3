"""The operator's command about the clock."""

from __future__ import annotations

from typing import Annotated

import typer

from tandem.admin.console import confirm, echo, echo_json
from tandem.admin.target import DEFAULT_STATE_DIR, AsJson, Socket, StateDir, connect

app = typer.Typer(help="Act on what the server takes the time to be.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _group() -> None:
    pass


@app.command(epilog="Example: timedatectl; tandem clock accept")
def accept(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
    state_dir: StateDir = DEFAULT_STATE_DIR,
    socket: Socket = None,
) -> None:
    """Tell the server that its clock is right, although times on record are later.

    Each lease that was recorded by a clock that ran ahead is taken as granted now, for as long as it was granted then.
    With a failover partner that has such times on record too, give the command on both servers.
    """
    with connect(state_dir, socket) as server:
        if not yes:
            confirm("Does this machine's clock show the right time now?")
        found = server.ask("clock-accept")
    if as_json:
        echo_json(found)
    else:
        echo(f"The clock is taken as right. It was {found['seconds']} s behind the newest time on record.")

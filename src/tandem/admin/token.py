"""`tandem token ...`: who may use the HTTP API."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from tandem.admin.client import CommandFailed
from tandem.admin.console import echo
from tandem.admin.web.access import Role, Tokens, TokensError

app = typer.Typer(help="Say who may use the HTTP API.", no_args_is_help=True, rich_markup_mode=None)

DEFAULT_FILE = Path("/etc/tandem/tokens")
File = Annotated[Path, typer.Option("--file", metavar="FILE", help="Where tokens are kept; `tokens` in [web].")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Who the token is for.")]


@contextmanager
def said() -> Iterator[None]:
    """Have what is wrong with the file said in a sentence."""
    try:
        yield
    except TokensError as error:
        raise CommandFailed(str(error)) from None


@app.command(epilog="Example: tandem token new grafana")
def new(
    name: Name,
    role: Annotated[Role, typer.Option(help="What it is good for.")] = Role.READ_ONLY,
    file: File = DEFAULT_FILE,
) -> None:
    """Make a token and print it. It is kept nowhere else: in the file is only what it can be told by."""
    with said():
        echo(Tokens(file).new(name, role))


@app.command("list", epilog="Example: tandem token list")
def list_tokens(file: File = DEFAULT_FILE) -> None:
    """List the names of all tokens, each with its role."""
    with said():
        for name, role in Tokens(file).names().items():
            echo(f"{name} {role}")


@app.command(epilog="Example: tandem token remove grafana")
def remove(name: Name, file: File = DEFAULT_FILE) -> None:
    """Make a token worthless, at once."""
    with said():
        Tokens(file).remove(name)

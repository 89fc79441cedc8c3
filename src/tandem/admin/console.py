"""The only place that writes to a terminal.

What commands show comes from clients, partners, other servers' files and captures. Two things may not happen to it:
that a part of it is read as markup (to rich, `[/x]` ends a style, and `:cd:` in an address is a picture), and that it
steers the terminal (an ESC sequence moves the cursor, or writes over a line). So consoles are made here, without
markup, emoji and highlighting, and every text is made printable before it is written.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

import typer
from rich.console import Console, JustifyMethod, OverflowMethod
from rich.style import Style
from rich.table import Table
from rich.text import Text

from tandem.wire.text import printable

PIPE_WIDTH = 500
"""Columns if the output is not a terminal: nothing is folded."""

Part = str | tuple[str, str]
"""A text, or a text and its style."""


class PlainConsole(Console):
    """A console that shows every string as it is: no markup, no emoji, no control characters."""

    def __init__(self, *, stderr: bool = False, file: TextIO | None = None, width: int | None = None) -> None:
        super().__init__(stderr=stderr, file=file, width=width, markup=False, emoji=False, highlight=False)

    def render_str(  # every string passes here: what is printed, cells of tables, titles of rules
        self,
        text: str,
        *,
        style: str | Style = "",
        justify: JustifyMethod | None = None,
        overflow: OverflowMethod | None = None,
        **_: Any,
    ) -> Text:
        """Return the text without any meaning of its own, whatever the caller asks for."""
        return Text(printable(text), style=style, justify=justify, overflow=overflow)


def console_for_people(*, stderr: bool = False) -> PlainConsole:
    """Return a console as wide as the terminal, or wide enough for any line if there is none."""
    stream = sys.stderr if stderr else sys.stdout
    return PlainConsole(stderr=stderr, width=None if stream.isatty() else PIPE_WIDTH)


def styled(*parts: Part) -> Text:
    """Return a text of several parts, some of which have a style."""
    text = Text()
    for part in parts:
        words, style = (part, "") if isinstance(part, str) else part
        text.append(printable(words), style=style or None)
    return text


def make_table(*columns: str, right: tuple[str, ...] = (), unfolded: tuple[str, ...] = ()) -> Table:
    """Return a table without lines. Columns named in `right` are for numbers; those in `unfolded` are never folded."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        justify: JustifyMethod = "right" if column in right else "left"
        made.add_column(column, overflow="fold", no_wrap=column in unfolded, justify=justify)
    return made


def echo(*lines: str, err: bool = False) -> None:
    """Write sentences, each on a line of its own."""
    for line in lines:
        typer.echo(printable(line), err=err)


def echo_over(line: str) -> None:
    """Write a line on standard error over the one that was written so before; an empty one only removes that."""
    sys.stderr.write(f"\r\033[K{printable(line)}")
    sys.stderr.flush()


def echo_text(text: str) -> None:
    """Write a text of several lines, such as a file."""
    echo(*text.removesuffix("\n").split("\n"))


def echo_json(value: Any, *, indent: int | None = None, err: bool = False) -> None:
    """Write a value as JSON, on one line unless it is indented. Other characters than ASCII are escaped in it."""
    typer.echo(json.dumps(value, indent=indent), err=err)


def echo_json_lines(values: Iterable[Any]) -> None:
    """Write many values as JSON, one on a line."""
    for each in values:
        sys.stdout.write(json.dumps(each) + "\n")


def echo_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as CSV, under their columns' names."""
    writer = csv.DictWriter(sys.stdout, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: printable(each) if isinstance(each, str) else each for name, each in row.items()})


def confirm(question: str) -> None:
    """Ask for a yes; end the command without one."""
    typer.confirm(printable(question), abort=True)

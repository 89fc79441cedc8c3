"""`tandem import ...`: the configuration and the leases of another server."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.progress import Progress

from tandem.admin.console import PlainConsole, console_for_people, echo_text

if TYPE_CHECKING:  # what it imports takes a while, and most commands do without
    from tandem.effects.settings import Settings
    from tandem.imports.leases import Imported
    from tandem.imports.report import Report

app = typer.Typer(help="Move here from another server.", no_args_is_help=True, rich_markup_mode=None)

Output = Annotated[Path | None, typer.Option(metavar="FILE", help="Where our file goes; printed if not said.")]
Leases = Annotated[Path | None, typer.Option(metavar="FILE", help="The other server's leases, to be taken over too.")]
StateDir = Annotated[Path | None, typer.Option(metavar="DIR", help="Where the leases go: our server's state-dir.")]
ServerName = Annotated[
    str | None, typer.Option("--server", metavar="NAME", help="What our server is called; of a pair, which one it is.")
]
Interfaces = Annotated[list[str] | None, typer.Option(metavar="NAME", help="An interface to serve; may be repeated.")]
Full = Annotated[bool, typer.Option("--all", help="Name all settings, also those that mean the same here.")]

REMARKS_SHOWN = 20
"""Leases of which something is said."""
SETTINGS_SHOWN = 5
"""Settings with one reason that are named, unless all are asked for."""

ReadFile = Callable[[Path, str | None, Sequence[str], "Report"], dict[str, Any]]
ReadLeases = Callable[[Path], Iterator["Imported"]]


@app.command(epilog="Example: tandem import kea /etc/kea/kea-dhcp6.conf --output tandem.toml")
def kea(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Kea's configuration.", show_default=False)],
    output: Output = None,
    leases: Leases = None,
    state_dir: StateDir = None,
    server: ServerName = None,
    interface: Interfaces = None,
    full: Full = False,
) -> None:
    """Make a file of ours from one of Kea's, and say what became of each setting; take over its leases."""
    from tandem.imports.kea import import_kea
    from tandem.imports.kea_leases import read_kea_leases

    _import(import_kea, file, output, server, interface or [], full, read_kea_leases, leases, state_dir)


@app.command(epilog="Example: tandem import dhcpd /etc/dhcp/dhcpd6.conf --interface eth0 --output tandem.toml")
def dhcpd(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="dhcpd's configuration.", show_default=False)],
    output: Output = None,
    leases: Leases = None,
    state_dir: StateDir = None,
    server: ServerName = None,
    interface: Interfaces = None,
    full: Full = False,
) -> None:
    """Make a file of ours from one of ISC dhcpd's, and say what became of each setting; take over its leases."""
    from tandem.imports.dhcpd import import_dhcpd
    from tandem.imports.dhcpd_leases import read_dhcpd_leases

    _import(import_dhcpd, file, output, server, interface or [], full, read_dhcpd_leases, leases, state_dir)


def _import(
    read_file: ReadFile,
    file: Path,
    output: Path | None,
    server: str | None,
    interfaces: Sequence[str],
    full: bool,
    read_leases: ReadLeases,
    leases: Path | None,
    state_dir: Path | None,
) -> None:
    from tandem.config.load import load_text
    from tandem.config.problems import ConfigError
    from tandem.imports.report import ImportFailed, Report
    from tandem.imports.tandem_file import write_file

    if (leases is None) != (state_dir is None):
        raise typer.BadParameter("give both --leases and --state-dir, or neither")
    console = console_for_people(stderr=True)
    report = Report()
    try:
        made = read_file(file, server, interfaces, report)
        text = write_file(made, str(file))
        _put_text(text, output)
        print_report(report, console, full)
        loaded = load_text(text, server or next(iter(made["server"])))
        if leases is not None and state_dir is not None:
            _put_leases(read_leases(leases), loaded.settings, state_dir, console)
    except ImportFailed as error:
        _fail(console, str(error))
    except ConfigError as error:
        _fail(console, "The file cannot be served yet:", *(f"  {each}" for each in error.problems))
    if loaded.complaints or report.to_mend:
        _fail(console, *loaded.complaints, *report.to_mend)
    console.print("The file can be served." if output is None else f"{output} can be served.", soft_wrap=True)


def _put_text(text: str, output: Path | None) -> None:
    from tandem.imports.report import ImportFailed

    try:
        if output is None:
            echo_text(text)
        else:
            output.write_text(text)
    except OSError as error:
        raise ImportFailed(f"{output} cannot be written: {error.strerror}.") from error


def _put_leases(leases: Iterator[Imported], settings: Settings, folder: Path, console: PlainConsole) -> None:
    from tandem.imports.leases import put_leases

    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("leases", total=None)
        counts = put_leases(leases, settings, folder, lambda taken: progress.update(task, completed=taken))
    console.print(f"{counts.taken:,} leases are in {folder}.", soft_wrap=True)
    for remark in counts.remarks[:REMARKS_SHOWN]:
        console.print(remark, soft_wrap=True)
    if len(counts.remarks) > REMARKS_SHOWN:
        console.print(f"and {len(counts.remarks) - REMARKS_SHOWN:,} more like these.", soft_wrap=True)
    if counts.elsewhere:
        console.print(
            f"{counts.elsewhere:,} leases belong to no subnet of the file, and were left out.",
            soft_wrap=True,
        )


def print_report(report: Report, console: PlainConsole, full: bool) -> None:
    """Say what became of each setting, the worst first."""
    from tandem.imports.report import Verdict

    for verdict in Verdict:
        count = report.count(verdict)
        if not count:
            continue
        is_shown = full or verdict in (Verdict.NOT_CARRIED, Verdict.CHANGED)
        console.print(f"{verdict.value.capitalize()}: {count}{'' if is_shown else ' (--all names them)'}", style="bold")
        for group in report.groups(verdict) if is_shown else ():
            if group.text:
                console.print(f"  {group.text}", soft_wrap=True)
            shown = group.settings if full else group.settings[:SETTINGS_SHOWN]
            for setting in shown:
                console.print(f"    {setting}", soft_wrap=True)
            if len(shown) < len(group.settings):
                console.print(f"    and {len(group.settings) - len(shown)} more", soft_wrap=True)


def _fail(console: PlainConsole, *sentences: str) -> NoReturn:
    for sentence in sentences:
        console.print(sentence, soft_wrap=True)
    raise typer.Exit(1)

"""The command line. Exit codes: 0 done, 1 refused or failed, 2 used wrongly."""

from __future__ import annotations

import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from tandem import __version__, is_compiled
from tandem.admin import backup as backups
from tandem.admin import clock, failover, importing, leases, pki, token
from tandem.admin.client import CommandFailed, ControlClient
from tandem.admin.console import console_for_people, echo, echo_json
from tandem.admin.progress import Progress, progress_of_start, progress_on_terminal
from tandem.admin.show import print_explanation, print_settings, print_status
from tandem.admin.target import DEFAULT_STATE_DIR, AsJson, Socket, StateDir, connect

if TYPE_CHECKING:  # what it imports takes a while, and most commands do without
    from tandem.config.load import Loaded

app = typer.Typer(
    help="A DHCPv6 server that runs in pairs.",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(leases.app, name="lease")
app.add_typer(failover.app, name="failover")
app.add_typer(clock.app, name="clock")
app.add_typer(importing.app, name="import")
app.add_typer(pki.app, name="pki")
app.add_typer(token.app, name="token")

File = Annotated[Path, typer.Argument(metavar="FILE", help="The configuration file.", show_default=False)]
OtherStateDir = Annotated[Path | None, typer.Option(metavar="DIR", help="Instead of the file's state-dir.")]
ServerName = Annotated[str | None, typer.Option("--server", metavar="NAME", help="Which server of the file this is.")]


@app.callback(invoke_without_command=True)
def _main(
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False,
) -> None:
    if version:
        echo(f"tandem {__version__} (compiled: {'yes' if is_compiled() else 'no'})")
        raise typer.Exit


@app.command(epilog="Example: tandem serve /etc/tandem/tandem.toml --server a")
def serve(
    file: File,
    server: ServerName = None,
    state_dir: OtherStateDir = None,
) -> None:
    """Run a server in the foreground. SIGTERM drains and ends it, SIGHUP reads the file again."""
    # Imported here, so that the other commands start quickly.
    from tandem.runtime.logs import Log
    from tandem.runtime.serve import serve as run
    from tandem.stores.store import StoreError

    loaded = load_or_fail(file, server, progress_of_start(file))
    as_json = not sys.stderr.isatty() if loaded.log.format is None else loaded.log.format == "json"
    try:
        run(file, loaded, state_dir or Path(loaded.server.state_dir), Log(loaded.log.level, as_json))
    except StoreError as error:
        fail(str(error))
    except PermissionError as error:
        fail(f"The server may not open a port: {error.strerror}. Give it CAP_NET_BIND_SERVICE.")
    except OSError as error:
        fail(f"The server cannot go on: {error}.")


@app.command(epilog="Example: tandem web /etc/tandem/tandem.toml --server a")
def web(
    file: File,
    server: ServerName = None,
    state_dir: OtherStateDir = None,
) -> None:
    """Serve a page, an HTTP API and metrics of a running server. `[web]` in the file says where."""
    from tandem.admin.web.serve import serve as run

    loaded = load_or_fail(file, server)
    scheme = "http" if loaded.web.certificate is None else "https"
    echo(f"The page of server {loaded.name} is at {scheme}://{loaded.web.listen}/", err=True)
    run(loaded, state_dir or Path(loaded.server.state_dir))


@app.command(epilog="Example: tandem check /etc/tandem/tandem.toml --server b")
def check(file: File, server: ServerName = None) -> None:
    """Say what is wrong with a file, all of it; with --server, also what that server would do."""
    from tandem.config.load import load_first
    from tandem.config.problems import ConfigError
    from tandem.runtime.interfaces import missing_interfaces

    try:
        with progress_on_terminal() as progress:
            loaded, names = load_first(file, server, progress)
    except ConfigError as error:
        fail(*error.problems)
    if loaded.complaints:
        fail(*loaded.complaints)
    for each in loaded.doubts:
        echo(f"Warning: {each.text}", err=True)
    if server is not None or len(names) == 1:
        for name in missing_interfaces(loaded.settings.interfaces):
            echo(f"Warning: interface {name} does not exist on this machine.", err=True)
    echo(f"{file} is good. Servers: {', '.join(names)}.")
    if server is not None or len(names) == 1:
        print_settings(loaded.settings)


@app.command(epilog="Example: tandem schema > tandem.schema.json")
def schema() -> None:
    """Print a JSON Schema of the configuration file."""
    from tandem.config.model import File as Model

    echo_json(Model.model_json_schema(by_alias=True), indent=2)


@app.command(epilog="Example: tandem status --watch")
def status(
    state_dir: StateDir = DEFAULT_STATE_DIR,
    socket: Socket = None,
    as_json: AsJson = False,
    watch: Annotated[bool, typer.Option("--watch", help="Go on, once a second, until interrupted.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Exit 1 if there is a problem; for scripts.")] = False,
) -> None:
    """Show how the server is: its problems, its partner, links and pools, what it answered and what it dropped."""
    while True:
        with connect(state_dir, socket) as server:
            found = server.ask("status")
        if as_json:
            echo_json(found)
        else:
            if watch:
                console_for_people().clear()
            print_status(found)
        if not watch:
            raise typer.Exit(int(check and bool(found["problems"])))
        time.sleep(1)


@app.command(
    epilog="Examples: tandem explain --duid 00:03:00:01:02:00:5e:10:00:01; tandem explain --lease 2001:db8::1; "
    "tandem explain --pcap asked.pcap --interface eth0"
)
def explain(
    duid: Annotated[str | None, typer.Option(metavar="DUID", help="A client.")] = None,
    lease: Annotated[str | None, typer.Option(metavar="LEASE", help="An address or a prefix.")] = None,
    link: Annotated[str | None, typer.Option(metavar="LINK", help="Only this link, by its name in `status`.")] = None,
    pcap: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Messages that tcpdump captured, as if now.")
    ] = None,
    packet: Annotated[int | None, typer.Option(metavar="N", help="Of the capture, only this packet.")] = None,
    interface: Annotated[str | None, typer.Option(metavar="NAME", help="Where the capture was heard.")] = None,
    state_dir: StateDir = DEFAULT_STATE_DIR,
    socket: Socket = None,
    as_json: AsJson = False,
) -> None:
    """Say why a client gets what it gets, where a lease belongs and who has it, or how a message would be answered."""
    if sum(each is not None for each in (duid, lease, pcap)) != 1:
        echo("Give one of --duid, --lease and --pcap.", err=True)
        raise typer.Exit(2)
    with connect(state_dir, socket) as server:
        if pcap is not None:
            _explain_capture(server, pcap, packet, interface, as_json)
            return
        found = server.ask("explain", duid=duid, lease=lease, link=link)
    if as_json:
        echo_json(found)
    else:
        print_explanation(found)


def _explain_capture(
    server: ControlClient, path: Path, number: int | None, interface: str | None, as_json: bool
) -> None:
    """Say of each message of a capture, or of one of them, how it would be answered."""
    from tandem.admin.capture import read_capture

    found = 0
    with closing(read_capture(path)) as messages:  # else the file stays open if the server cannot be asked
        for each in messages:
            if number not in (None, each.number):
                continue
            found += 1
            answer = server.ask(
                "explain", packet=each.data.hex(), interface=interface, to=each.to, **{"from": each.peer}
            )
            if as_json:
                echo_json({"packet": each.number, "peer": each.peer, **answer})
            else:
                echo(*[""] * (found > 1), f"Packet {each.number}, from {each.peer}:")
                print_explanation(answer)
    if not found:
        fail(f"{path} has no such message to servers.")


app.command(epilog="Example: tandem backup /var/backups/tandem")(backups.backup)
app.command(epilog="Example: tandem restore /var/backups/tandem.backup --state-dir /var/lib/tandem")(backups.restore)


@app.command(epilog="Example: tandem demo")
def demo() -> None:
    """Run a server and clients on this machine, kill the server, and see that every lease is kept. No root needed."""
    from tandem.admin.demo import run

    raise typer.Exit(run())


@app.command(epilog="Examples: tandem sim --seeds 1000 --jobs 2; tandem sim --seed 4127 --trace")
def sim(
    seed: Annotated[int | None, typer.Option(metavar="N", help="Live the world of this seed again.")] = None,
    plan: Annotated[Path | None, typer.Option(metavar="FILE", help="Live the world of a saved plan.")] = None,
    seeds: Annotated[int, typer.Option(metavar="COUNT", min=1, help="Live so many worlds.")] = 100,
    first: Annotated[int, typer.Option(metavar="N", help="The first of their seeds.")] = 0,
    jobs: Annotated[int, typer.Option(min=1, help="How many processes live them.")] = 1,
    stop: Annotated[bool, typer.Option(help="Stop at the first that fails.")] = False,
    trace: Annotated[bool, typer.Option(help="Show all that happens in the one world.")] = False,
    save: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the shrunk world of a failure there.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Live simulated worlds of servers, clients and faults. Exit 1 if anything promised does not hold in one."""
    from tandem.admin.sim import load_plan, run_many, run_one
    from tandem.sim.draw import draw

    console = console_for_people()
    if plan is not None:
        try:
            world = load_plan(plan)
        except ValueError as error:
            fail(f"{error}.")
    elif seed is not None:
        world = draw(seed)
    else:
        raise typer.Exit(run_many(range(first, first + seeds), jobs, stop, as_json, console))
    raise typer.Exit(run_one(world, console, trace, save))


def load_or_fail(file: Path, server: str | None, progress: Progress | None = None) -> Loaded:
    """Read a configuration file for one of its servers, or say all that is wrong with it and end."""
    from tandem.config.load import load
    from tandem.config.problems import ConfigError

    try:
        if progress is not None:
            return load(file, server, progress)
        with progress_on_terminal() as shown:
            return load(file, server, shown)
    except ConfigError as error:
        fail(*error.problems)


def fail(*sentences: str) -> NoReturn:
    """Say what went wrong, and end with exit code 1."""
    echo(*sentences, err=True)
    raise typer.Exit(1)


def main() -> None:
    """Run the command that was given."""
    try:
        app()
    except CommandFailed as error:
        echo(str(error), err=True)
        sys.exit(1)
    except BrokenPipeError:  # whoever reads our output has seen enough
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:  # of a file that was named and cannot be used, where nothing better was said of it
        echo(f"{error.filename or 'A file'} cannot be used: {error.strerror or error}.", err=True)
        sys.exit(1)

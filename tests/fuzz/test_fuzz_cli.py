"""Whatever is typed behind `tandem`: done, a sentence and exit code 1, or exit code 2; never a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner, Result

from fuzz.world import in_full
from process.server import Server, get_leases
from tandem.admin.cli import app
from tandem.admin.client import CommandFailed

LINES = in_full(1_000, 300)
RUNS_FOR_LONG = ("demo", "sim")
VALUES = (
    "",
    "-",
    "--",
    "-1",
    "0",
    "5",
    "99999999999999999999",
    "a",
    "é",
    "x" * 5_000,
    "::",
    "2001:db8:1::/64",
    "2001:db8:1::5",
    "2001:db8::/129",
    "00:03:00:01:02:00:00:00:00:01",
    "zz",
    "ACTIVE",
    "NO-SUCH",
    "json",
    "csv",
    "forever",
    "2026-01-01T00:00:00",
    "nowhere/file",
    "file",
    "folder",
    "campus",
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server")) as running:
        get_leases(running, 1, 2)
        yield running


def commands() -> dict[tuple[str, ...], list[str]]:
    """Give all commands that end by themselves, with their options."""
    root: Any = typer.main.get_command(app)
    found: dict[tuple[str, ...], list[str]] = {}
    for name, command in root.commands.items():
        for inner, each in getattr(command, "commands", {None: command}).items():
            words = (name,) if inner is None else (name, inner)
            if name not in RUNS_FOR_LONG:
                found[words] = [option for parameter in each.params for option in parameter.opts if option[0] == "-"]
    return found


class Typist:
    """Types lines that are commands, more or less."""

    def __init__(self, random: Random, folder: Path, server: Server) -> None:
        self._random = random
        self._commands = commands()
        # All files that are named lie in the folder where this is typed: some commands write them.
        (folder / "folder").mkdir()
        (folder / "file").write_text("not what it should be")
        self._values = (*VALUES, str(server.folder / "log"))
        self._state_dir = str(server.folder)

    def line(self) -> list[str]:
        """Give the next one."""
        random = self._random
        words = random.choice(list(self._commands))
        line: list[str] = []
        for _ in range(random.randrange(4)):
            options = self._commands[words]
            if options and random.random() < 0.6:
                line.append(random.choice(options))
            line.append(random.choice(self._values))
        if random.random() < 0.1:
            random.shuffle(line)
        # In front of the rest, so that no command ever uses the state-dir of a server on this machine.
        state_dir = self._state_dir if random.random() < 0.7 else "nowhere"
        return [*words, *(("--state-dir", state_dir) if "--state-dir" in self._commands[words] else ()), *line]


def is_well(result: Result) -> bool:
    """Say whether a line was done, or refused as it should be."""
    match result.exception:
        case CommandFailed() | OSError():  # `main` says these in a sentence, and ends with 1
            return True
        case None | SystemExit():
            return result.exit_code in (0, 1, 2) and (result.exit_code != 1 or bool(result.output.strip()))
        case _:
            return False


def test_any_line(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    typist, runner = Typist(Random(9915), tmp_path, server), CliRunner()
    codes = set()
    for number in range(LINES):
        line = typist.line()
        result = runner.invoke(app, line, input="n\n" * 9)
        assert is_well(result), f"line {number}, {[each[:60] for each in line]}: {result.exception!r}, {result.output}"
        codes.add(result.exit_code)
    assert codes == {0, 1, 2}
    assert server.ask("status")["leases-known"] == 4

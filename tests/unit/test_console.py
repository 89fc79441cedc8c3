"""What is written to terminals: data is never read as markup, and steers nothing."""

from __future__ import annotations

import ast
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.panel import Panel
from typer.testing import CliRunner

from tandem.admin import console
from tandem.admin.cli import app
from tandem.effects.effects import Note
from tandem.runtime.logs import show_text
from tandem.wire.text import printable

SOURCE = Path(console.__file__).parent.parent
MAY_WRITE = {"admin/console.py", "runtime/logs.py"}
HOSTILE = "[/x] [bold]2001:db8:cd:ab:100::/64 :warning:"
SHAPES: dict[str, Callable[[console.PlainConsole, str], None]] = {
    "a line": lambda out, text: out.print(text),
    "a styled line": lambda out, text: out.print(text, style="bold", markup=True, emoji=True),
    "parts": lambda out, text: out.print(console.styled("a ", (text, "bold red"))),
    "a title": lambda out, text: out.rule(text),
    "a panel": lambda out, text: out.print(Panel("", title=console.styled(text))),
}


def shown_by(shape: Callable[[console.PlainConsole, str], None], text: str) -> str:
    file = io.StringIO()
    shape(console.PlainConsole(file=file, width=console.PIPE_WIDTH), text)
    return file.getvalue()


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_data_is_shown_octet_for_octet_and_never_as_markup(shape: Callable[[console.PlainConsole, str], None]) -> None:
    assert HOSTILE in shown_by(shape, HOSTILE)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_data_cannot_steer_the_terminal(shape: Callable[[console.PlainConsole, str], None]) -> None:
    shown = shown_by(shape, "a\x1b[2Jb\r\u202ec\x9b\udcff")
    assert "a\\x1b[2Jb\\x0d\\u202ec\\u009b\\udcff" in shown


def test_cells_and_headings_of_tables_are_data_too() -> None:
    table = console.make_table(HOSTILE)
    table.add_row(HOSTILE)
    file = io.StringIO()
    console.PlainConsole(file=file, width=console.PIPE_WIDTH).print(table)
    assert file.getvalue().count(HOSTILE) == 2


def test_sentences_and_csv_are_escaped_and_json_is_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    console.echo("a\x1bb\nc")
    console.echo_text("a\nb\x1b\n")
    console.echo_csv(["name"], [{"name": "\x1b]0;"}])
    console.echo_json({"name": "\x1b\u202e"})
    console.echo_json_lines([{"name": "\x9b"}])
    shown = capsys.readouterr().out
    assert shown == 'a\\x1bb\\x0ac\na\nb\\x1b\nname\n\\x1b]0;\n{"name": "\\u001b\\u202e"}\n{"name": "\\u009b"}\n'


def test_the_log_for_people_is_one_line_for_each_event() -> None:
    line = show_text(0, Note("partner-not-admitted", "warning", {"why": "no\n00:00:00 error \x1b[31mforged"}))
    assert line.count("\n") == 1
    assert line.endswith("why=no\\x0a00:00:00 error \\x1b[31mforged\n")


def test_text_that_can_be_seen_stays_as_it_is() -> None:
    assert printable("Grüße, 東京: [x] :cd: \\n") == "Grüße, 東京: [x] :cd: \\n"


def writers(tree: ast.AST) -> Iterator[int]:
    """Give the lines that write to a terminal, or make something that does."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="print")):
                yield node.lineno
            case ast.Attribute(value=ast.Name(id="typer"), attr="echo" | "secho" | "confirm" | "prompt"):
                yield node.lineno
            case ast.Attribute(value=ast.Name(id="sys"), attr="stdout"):
                yield node.lineno
            case ast.Attribute(attr="from_markup" | "print_json"):
                yield node.lineno
            case ast.ImportFrom(module="rich.console", names=names) if "Console" in {each.name for each in names}:
                yield node.lineno
            case ast.ImportFrom(module="rich.text" | "rich.markup" | "rich") | ast.Import(names=[ast.alias("rich")]):
                yield node.lineno


def test_nothing_else_writes_to_a_terminal() -> None:
    found = [
        f"{file.relative_to(SOURCE)}:{line}"
        for file in sorted(SOURCE.rglob("*.py"))
        if str(file.relative_to(SOURCE)) not in MAY_WRITE
        for line in writers(ast.parse(file.read_text()))
    ]
    assert found == []


def test_the_rule_sees_what_it_should() -> None:
    bad = (
        "print(1)\ntyper.echo(1)\nfrom rich.console import Console\nfrom rich.text import Text\nsys.stdout.write('')\n"
    )
    assert sorted(set(writers(ast.parse(bad)))) == [1, 2, 3, 4, 5]


FILE = """\
[server."[/a] :ab:"]
interfaces = ["[/eth0]"]
[[subnet]]
prefix = "2001:db8:1:100::/64"
interface = "[/eth0]"
pools = ["2001:db8:1:100:1:a::/96"]
pd-pools = [{ prefix = "2001:db8:2:abcd::/64", delegated-length = 80 }]
shared-network = "[/x] :cd: \\u001b[2J"
"""


def test_check_shows_addresses_and_names_as_they_are_written(tmp_path: Path) -> None:
    file = tmp_path / "[x] :cd:.toml"
    file.write_text(FILE)
    done = CliRunner().invoke(app, ["check", str(file)])
    assert done.exit_code == 0, done.output
    for text in (str(file), "[/a] :ab:", "[/eth0]", "[/x] :cd: \\x1b[2J:"):
        assert text in done.output
    for text in ("2001:db8:1:100::/64", "2001:db8:1:100:1:a:: to ", "2001:db8:2:abcd::/80 to "):
        assert text in done.output


def test_what_is_wrong_is_shown_as_it_is_written(tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    file.write_text(FILE.replace("interfaces = ", '"[/x]\\u001b:cd:" = '))
    done = CliRunner().invoke(app, ["check", str(file)])
    assert done.exit_code == 1
    assert "[/x]" in done.output
    assert "\x1b" not in done.output


def test_an_imported_file_is_shown_as_it_is_written(tmp_path: Path) -> None:
    file = tmp_path / "kea.json"
    subnet = {"id": 1, "subnet": "2001:db8:1:100::/64", "interface": "eth0", "pools": [{"pool": "2001:db8:1:100::/80"}]}
    strange = {"[/x]\x1b :cd:": 1}
    file.write_text(
        json.dumps({"Dhcp6": {"interfaces-config": {"interfaces": ["eth0"]}, "subnet6": [subnet], **strange}})
    )
    done = CliRunner().invoke(app, ["import", "kea", str(file)])
    assert "\x1b" not in done.output
    assert "[/x]" in done.output
    assert ":cd:" in done.output
    assert "2001:db8:1:100::/80" in done.output

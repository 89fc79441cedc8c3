"""The command line's manual, made from the commands themselves."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Any

from typer.main import get_command

from tandem.admin.cli import app

HIDDEN = ("install_completion", "show_completion", "help")
FILES = (
    ("/etc/tandem/tandem.toml", "the configuration file"),
    ("/etc/tandem/tokens", "what tokens for the HTTP API are told by"),
    ("/var/lib/tandem", "leases, keys, control socket"),
)
EXITS = (("0", "done"), ("1", "refused or failed; a sentence on standard error says why"), ("2", "used wrongly"))


def commands(command: Any = None, words: tuple[str, ...] = ("tandem",)) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Give all commands with their words, in the order of `tandem --help`."""
    command = command if command is not None else get_command(app)
    children = getattr(command, "commands", None)
    if children is None:
        yield words, command
        return
    for name, child in children.items():
        yield from commands(child, (*words, name))


def is_argument(parameter: Any) -> bool:
    """Say whether it is given by its place, and not by a name."""
    return not parameter.opts[0].startswith("-")


def parameters(command: Any) -> Iterator[tuple[str, str]]:
    """Give a command's arguments and options, each with what it means."""
    for parameter in command.params:
        if parameter.name in HIDDEN or parameter.hidden:
            continue
        text = parameter.help or ""
        if is_argument(parameter):
            yield parameter.metavar, text
            continue
        default = parameter.default
        is_said = default not in (None, False)
        shown = f" Default: {getattr(default, 'value', default)}." if is_said else ""
        value = "" if parameter.is_flag else f" {_value(parameter)}"
        yield f"{', '.join(parameter.opts)}{value}", text + shown


def _value(parameter: Any) -> str:
    if isinstance(parameter.default, Enum):
        return "|".join(str(each.value) for each in type(parameter.default))
    return str(parameter.metavar or "NUMBER")


def synopsis(words: tuple[str, ...], command: Any) -> str:
    """Give a command with its arguments."""
    arguments = [each for each in command.params if is_argument(each)]
    return " ".join(
        (*words, "[OPTIONS]", *(each.metavar if each.required else f"[{each.metavar}]" for each in arguments))
    )


def page() -> str:
    """Give it as Markdown."""
    lines = [
        "# The command line",
        "",
        "Made from the commands; `man tandem` has the same.",
        "`tandem --install-completion` teaches your shell to complete them.",
        "",
    ]
    for words, command in commands():
        lines += [f"## `{' '.join(words)}`", "", f"    {synopsis(words, command)}", "", command.help or "", ""]
        rows = list(parameters(command))
        if rows:
            lines += [
                "| | |",
                "|---|---|",
                *(f"| `{name.replace('|', chr(92) + '|')}` | {text} |" for name, text in rows),
                "",
            ]
        if command.epilog:
            lines += [_example(command.epilog), ""]
    exits = "; ".join(f"{code} {text}" for code, text in EXITS)
    return "\n".join([*lines, f"Exit codes: {exits}."]) + "\n"


def _example(epilog: str) -> str:
    title, _, examples = epilog.partition(": ")
    return f"{title}: {'; '.join(f'`{each}`' for each in examples.split('; '))}"


def man() -> str:
    """Give it in the man macros of roff."""
    lines = [
        '.TH TANDEM 1 "" "Tandem" "Tandem manual"',
        ".SH NAME",
        "tandem \\- a DHCPv6 server that runs in pairs",
        ".SH SYNOPSIS",
    ]
    for words, command in commands():
        lines += [f".B {_plain(synopsis(words, command))}", ".br"]
    lines += [".SH COMMANDS"]
    for words, command in commands():
        lines += [f".SS {_plain(' '.join(words[1:]))}", _plain(command.help or "")]
        for name, text in parameters(command):
            lines += [".TP", f".B {_plain(name)}", _plain(text)]
        if command.epilog:
            lines += [".PP", _plain(command.epilog)]
    for title, rows in (("FILES", FILES), ("EXIT STATUS", EXITS)):
        lines += [f".SH {title}"]
        for name, text in rows:
            lines += [".TP", f".B {_plain(name)}", _plain(text)]
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    """Give a text as roff takes it literally."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + escaped if escaped.startswith((".", "'")) else escaped

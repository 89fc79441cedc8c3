"""What the documents say is there, is there: each key of the file has its place, each command exists."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from tandem.admin.cli import app
from tandem.config.load import parse
from tandem.config.model import File

TREE = Path(__file__).parent.parent.parent
DOCS = sorted([TREE / "README.md", *(TREE / "docs").rglob("*.md")])
WRITTEN = ("configuration.md", "failover.md")
COMMAND = re.compile(r"\btandem ((?:[a-z]+)(?: [a-z][a-z-]*)?)([^`\n|]*)")
TOML = re.compile(r"^( *)```toml\n(.*?)^\1```", re.MULTILINE | re.DOTALL)


def keys() -> Iterator[str]:
    """Give all keys that the file may have."""
    schema: dict[str, Any] = File.model_json_schema(by_alias=True)
    for described in (schema, *schema["$defs"].values()):
        yield from described.get("properties", {})


def test_every_key_of_the_file_is_explained() -> None:
    text = "\n".join((TREE / "docs" / name).read_text() for name in WRITTEN)
    code = "\n".join(found[0] for found in re.finditer(r"```.*?```|`[^`\n]+`", text, re.DOTALL))
    named = set(re.findall(r"[a-z]+(?:-[a-z0-9]+)*", code))
    assert sorted(set(keys()) - named) == []


def commands() -> dict[str, set[str]]:
    """Give all commands with their options."""
    found: dict[str, set[str]] = {}
    root: Any = typer.main.get_command(app)
    for name, command in root.commands.items():
        inside = getattr(command, "commands", {None: command})
        for inner, each in inside.items():
            options = {option for parameter in each.params for option in parameter.opts}
            found[name if inner is None else f"{name} {inner}"] = options | {"--help", "-h"}
    return found


@pytest.mark.parametrize("path", DOCS, ids=lambda path: str(path.relative_to(TREE)))
def test_commands_in_documents_exist(path: Path) -> None:
    known = commands()
    groups = {name.partition(" ")[0] for name in known if " " in name}
    wrong = []
    for found in COMMAND.finditer("\n".join(code_of(path.read_text()))):
        first, _, second = found[1].partition(" ")
        name = found[1] if first in groups and second else first
        if name in groups:
            continue
        options = known.get(name)
        if options is None:
            wrong.append(found[0])
            continue
        said = found[2] if name != first or not second else f" {second}{found[2]}"
        wrong += [
            f"{name} {each}" for each in re.findall(r"(?<=\s)--[a-z-]+", said.partition("#")[0]) if each not in options
        ]
    assert wrong == []


def code_of(text: str) -> Iterator[str]:
    """Give what stands in a document as code, command by command."""
    text = re.sub(r"\\\n\s*", " ", text)
    for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
        yield from block.splitlines()
    yield from re.findall(r"`(tandem [^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    yield from (line.strip() for line in text.splitlines() if line.startswith("    tandem "))


@pytest.mark.parametrize("name", ["README.md", "docs/first-hour.md", "docs/failover.md"])
def test_whole_files_in_documents_can_be_served(name: str) -> None:
    blocks = [re.sub(rf"(?m)^{found[1]}", "", found[2]) for found in TOML.finditer((TREE / name).read_text())]
    whole = [each for each in blocks if "[server." in each and "[[subnet]]" in each]
    assert whole
    for each in whole:
        parse(each)


NOTES = ("note", "say", "_say", "Note", "_note")
"""What events are made by; the second argument is the level, `info` if there is none."""


def events() -> dict[str, set[str]]:
    """Give all events that the code makes, each with its levels; `?` for one that is found out when it happens."""
    found: dict[str, set[str]] = {}
    for path in (TREE / "src" / "tandem").rglob("*.py"):
        if "sim" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not node.args or not isinstance(node.args[0], ast.Constant):
                continue
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in NOTES and isinstance(node.args[0].value, str):
                level = node.args[1] if len(node.args) > 1 else ast.Constant("info")
                said = str(level.value) if isinstance(level, ast.Constant) else "?"
                found.setdefault(node.args[0].value, set()).add(said)
    return found


def test_every_event_is_explained_with_its_levels() -> None:
    explained: dict[str, set[str]] = {}
    for names, levels in re.findall(r"(?m)^\| (`.*?) \| (\S.*?) \|", (TREE / "docs" / "events.md").read_text()):
        each, level = re.findall(r"`([a-z-]+)`", names), levels.split(", ")
        one_to_one = len(each) == len(level)
        explained |= {name: {level[at]} if one_to_one else set(level) for at, name in enumerate(each)}
    made = events()
    assert explained.keys() == made.keys()
    assert [name for name, levels in made.items() if "?" not in levels and levels != explained[name]] == []

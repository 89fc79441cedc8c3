"""The style of the code as a test: layers, purity, sizes, nothing left open."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "tandem"
LAYERS = (
    "wire",
    "lease",
    "effects",
    "server failover ddns",
    "node",
    "stores config",
    "runtime sim",
    "imports",
    "admin",
)
RANK = {name: number for number, row in enumerate(LAYERS) for name in row.split()}
PURE = frozenset(name for row in LAYERS[:5] for name in row.split())
IMPURE = {"asyncio", "datetime", "io", "logging", "multiprocessing", "os", "pathlib", "random", "secrets", "select"}
IMPURE |= {"shutil", "signal", "socket", "ssl", "subprocess", "sys", "tempfile", "threading", "time", "uuid"}
IMPURE_CALLS = frozenset(("open", "print", "input", "hash", "id", "exec", "eval"))
MODULE_LINES_MAX = 400
FUNCTION_LINES_MAX = 50
LEFT_OPEN = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|type: ignore|noqa|pragma: no cover")


def sources() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def layer_of(file: Path) -> str:
    return file.relative_to(SOURCE).with_suffix("").parts[0]


def imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.lineno, node.module


def layer_faults(file: Path, tree: ast.AST) -> Iterator[str]:
    here = layer_of(file)
    for line, name in imported(tree):
        top, _, rest = name.partition(".")
        there = rest.partition(".")[0]
        if here in PURE and top in IMPURE:
            yield f"{file}:{line}: {here} is pure and may not import {top}"
        if top == "tandem" and there in RANK and there != here and RANK[there] >= RANK.get(here, 99):
            yield f"{file}:{line}: {here} may not import {there}"


def purity_faults(file: Path, tree: ast.AST) -> Iterator[str]:
    if layer_of(file) not in PURE:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in IMPURE_CALLS:
            yield f"{file}:{node.lineno}: {node.func.id}() in a pure package"


def size_faults(file: Path, tree: ast.AST) -> Iterator[str]:
    lines = file.read_text().count("\n")
    if lines > MODULE_LINES_MAX:
        yield f"{file}: {lines} lines"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            size = (node.end_lineno or node.lineno) - node.lineno + 1
            if size > FUNCTION_LINES_MAX:
                yield f"{file}:{node.lineno}: {node.name} has {size} lines"


def openness_faults(file: Path, _: ast.AST) -> Iterator[str]:
    for number, line in enumerate(file.read_text().splitlines(), 1):
        if LEFT_OPEN.search(line):
            yield f"{file}:{number}: {line.strip()}"


@pytest.mark.parametrize("rule", [layer_faults, purity_faults, size_faults, openness_faults])
def test_style(rule: object) -> None:
    assert callable(rule)
    assert [fault for file in sources() for fault in rule(file, ast.parse(file.read_text()))] == []


def test_every_package_has_a_layer() -> None:
    packages = {path.name for path in SOURCE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert packages <= RANK.keys()


def test_rules_see_what_they_should() -> None:
    """Each rule finds the fault that it is there for."""
    bad = ast.parse("import time\nfrom tandem.server import engine\nopen('x')\n")
    file = SOURCE / "wire" / "reader.py"
    assert len(list(layer_faults(file, bad))) == 2
    assert len(list(purity_faults(file, bad))) == 1

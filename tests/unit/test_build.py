"""How wheels are built: compiled where that is possible, and what happens where it is not."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

PACKAGING = Path(__file__).parent.parent.parent / "packaging"


def load(name: str) -> ModuleType:
    """Import a file of the folder, whose name is also that of a package of others."""
    spec = importlib.util.spec_from_file_location(f"tandem_packaging_{name}", PACKAGING / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def made(monkeypatch: pytest.MonkeyPatch, how: str, version: str, error: BaseException | None) -> dict[str, Any]:
    """Run the build hook, with a compiler that fails or gives one library; give what it says to the builder."""
    compile_ = load("compile")

    def build(_source: Path, into: Path) -> list[Path]:
        if error is not None:
            raise error
        return [into / "lib/tandem/node.so"]

    monkeypatch.setattr(compile_, "build", build)
    monkeypatch.setenv("TANDEM_BUILD", how)
    hook = compile_.CompileHook(str(PACKAGING.parent), {}, None, None, "", "wheel")
    told: dict[str, Any] = {"force_include": {}}
    hook.initialize(version, told)
    hook.finalize(version, told, "")
    return told


def test_a_wheel_is_compiled_if_that_is_possible(monkeypatch: pytest.MonkeyPatch) -> None:
    told = made(monkeypatch, "", "standard", None)
    assert list(told["force_include"].values()) == ["tandem/node.so"]
    assert (told["pure_python"], told["infer_tag"]) == (False, True)


FAILURES = [ModuleNotFoundError("No module named 'mypyc'"), SystemExit(1), OSError("gcc: not found")]


@pytest.mark.parametrize("error", FAILURES)
def test_without_a_compiler_it_is_pure_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException
) -> None:
    assert made(monkeypatch, "", "standard", error) == {"force_include": {}}
    said = capsys.readouterr().err
    assert "this build is pure Python" in said
    assert str(error) in said
    with pytest.raises(type(error)):
        made(monkeypatch, "compiled", "standard", error)


@pytest.mark.parametrize(("how", "version"), [("pure", "standard"), ("", "editable"), ("compiled", "editable")])
def test_pure_wheels_and_editable_installations_are_not_compiled(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], how: str, version: str
) -> None:
    assert made(monkeypatch, how, version, AssertionError("it was compiled")) == {"force_include": {}}
    assert capsys.readouterr().err == ""


def test_every_file_to_compile_is_there() -> None:
    source = PACKAGING.parent / "src"
    assert all((source / each).is_file() for each in load("compile").compiled_modules(source))


def test_building_needs_nothing_but_python() -> None:
    """`python3 packaging/build.py` is the first thing that runs in a fresh clone."""
    bare = [sys.executable, "-I", "-S", str(PACKAGING / "build.py"), "--help"]
    done = subprocess.run(bare, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "--compiled" in done.stdout) == (0, True), done.stderr


def test_the_lock_of_a_package_has_what_runs_and_nothing_for_development(tmp_path: Path) -> None:
    lock = load("build").runtime_lock(tmp_path / "tree").read_text()
    names = set(re.findall(r"(?m)^([a-z0-9-]+)==", lock))
    assert {"cryptography", "cffi", "pydantic-core", "typer", "uvicorn", "h11"} <= names
    assert not names & {"scapy", "pytest", "mypy", "ruff", "hypothesis"}


def compiled_functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Yield the functions of the modules that are compiled, each with where it stands."""
    source = PACKAGING.parent / "src"
    for name in load("compile").compiled_modules(source):
        for node in ast.walk(ast.parse((source / name).read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{name}: {node.name}", node


def test_no_compiled_function_catches_errors_of_several_types_under_one_name() -> None:
    """A compiled name has the type of its first handler: in the others it raises TypeError instead."""
    found = {}
    for where, function in compiled_functions():
        types: dict[str, set[str]] = defaultdict(set)
        for handler in ast.walk(function):
            if isinstance(handler, ast.ExceptHandler) and handler.name and handler.type is not None:
                types[handler.name].add(ast.unparse(handler.type))
        if any(len(each) > 1 for each in types.values()):
            found[where] = dict(types)
    assert found == {}


def test_no_compiled_generator_keeps_a_file_open_while_it_waits() -> None:
    """One that is dropped before its end does not leave its `with` block there."""
    found = [
        where
        for where, function in compiled_functions()
        for block in ast.walk(function)
        if isinstance(block, ast.With)
        and any(isinstance(each, ast.Yield | ast.YieldFrom) for each in ast.walk(block))
        and any(".open(" in ast.unparse(item.context_expr) for item in block.items)
    ]
    assert found == []

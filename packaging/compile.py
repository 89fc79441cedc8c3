"""Builds the pure core with mypyc (docs/decisions/014), for each wheel that is made where there is a C compiler.

Without a compiler, the wheel is a pure one, and says so. TANDEM_BUILD=pure asks for that; with TANDEM_BUILD=compiled, a
wheel that cannot be compiled fails. Editable installations are never compiled.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGES = ("wire", "lease", "effects", "server", "failover")
AROUND_THE_CORE = (
    "node",
    "runtime/alarm",
    "runtime/counters",
    "runtime/doors",
    "runtime/histogram",
    "runtime/logs",
    "runtime/recent",
    "runtime/watch",
    "stores/batch",
    "stores/blocks",
    "stores/journal",
)
"""What else each message passes."""
NOT_COMPILED = (
    "tandem: the core could not be compiled; this build is pure Python, which does the same at about half the speed. "
    "It takes a C compiler and Python's header files (on Debian: apt-get install gcc libc6-dev python3-dev)."
)
HOW = "TANDEM_BUILD"
PURE, COMPILED = "pure", "compiled"
DECLARATIONS = frozenset(("option", "options", "failover_options", "message"))
"""Of `wire`, what declares options and messages: classes that are made by a decorator, which mypyc does not compile."""


def compiled_modules(source: Path) -> list[str]:
    """Name the files to compile, relative to the folder that the package is in."""
    files = [file for package in PACKAGES for file in sorted((source / "tandem" / package).glob("*.py"))]
    left_out = {f"wire/{name}" for name in DECLARATIONS}
    compiled = [file for file in files if file.stem != "__init__" and f"{file.parent.name}/{file.stem}" not in left_out]
    single = [f"tandem/{name}.py" for name in AROUND_THE_CORE]
    return [*single, *(str(file.relative_to(source)) for file in compiled)]


def build(source: Path, into: Path) -> list[Path]:
    """Compile, and give the libraries as they lie below `into`."""
    from mypyc.build import mypycify
    from setuptools import Distribution

    into, before = into.resolve(), Path.cwd()
    os.chdir(source)  # mypyc takes module names from paths
    try:
        mypy = ["--config-file=", "--ignore-missing-imports"]  # in a build environment there is nothing but mypy
        files = compiled_modules(source)
        modules = mypycify([*mypy, *files], opt_level="2", debug_level="0", target_dir=str(into / "c"))
        distribution = Distribution({"name": "tandem", "ext_modules": modules})
        command = distribution.get_command_obj("build_ext")
        command.build_lib, command.build_temp = str(into / "lib"), str(into / "o")
        command.ensure_finalized()
        command.run()
    finally:
        os.chdir(before)
    return sorted((into / "lib").rglob("*.so"))


class CompileHook(BuildHookInterface[Any]):
    """Adds the libraries to the wheel, which then is for one Python and one kind of machine."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile before the wheel is put together."""
        self._folder = Path(tempfile.mkdtemp(prefix="tandem-compile-"))
        how = os.environ.get(HOW, "")
        if version == "editable" or how == PURE:
            return
        library = self._folder / "lib"
        try:
            files = build(Path(self.root) / "src", self._folder)
        except (Exception, SystemExit) as error:  # mypyc and setuptools end the program where they cannot go on
            if how == COMPILED:
                raise
            print(f"{NOT_COMPILED} The reason: {error or type(error).__name__}", file=sys.stderr)
            return
        for file in files:
            build_data["force_include"][str(file)] = str(file.relative_to(library))
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Leave nothing behind."""
        shutil.rmtree(self._folder)

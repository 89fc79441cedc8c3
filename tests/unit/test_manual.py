"""The manual is made from the commands, is up to date, and can be read by man."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from limits import limit
from system.needs import need_program
from tandem.admin import manual

TREE = Path(__file__).parent.parent.parent
MAN, PAGE = TREE / "packaging" / "tandem.1", TREE / "docs" / "cli.md"


@pytest.mark.parametrize(("file", "make"), [(MAN, manual.man), (PAGE, manual.page)], ids=["man", "page"])
def test_the_manual_is_up_to_date(file: Path, make: Callable[[], str]) -> None:
    if os.environ.get("REWRITE"):
        file.write_text(make())
    assert file.read_text() == make()


def test_every_command_has_an_example_and_every_parameter_an_explanation() -> None:
    for words, command in manual.commands():
        assert command.help, words
        assert command.epilog, words
        assert all(text for _, text in manual.parameters(command)), words


@pytest.mark.system
def test_man_finds_nothing_wrong() -> None:
    need_program("groff")
    done = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww", "-z", str(MAN)],
        capture_output=True,
        text=True,
        timeout=limit(30),
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")

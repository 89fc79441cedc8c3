"""Every script beside this file, each a conversation about one section of an RFC."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.runner import run
from scripts.world import World

SCRIPTS = sorted(Path(__file__).parent.glob("*.txt"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_script(path: Path) -> None:
    run(path, World().obey)


def test_there_are_scripts() -> None:
    assert len(SCRIPTS) > 10

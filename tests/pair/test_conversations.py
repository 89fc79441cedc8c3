"""Every script beside this file: conversations between two servers, each about a section of RFC 8156."""

from __future__ import annotations

from pathlib import Path

import pytest

from pair.conversation import Conversation
from scripts.runner import run

SCRIPTS = sorted(Path(__file__).parent.glob("*.txt"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_conversation(path: Path) -> None:
    run(path, Conversation().obey)

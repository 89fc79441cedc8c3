"""Every script beside this file: conversations between two servers, each about a section of RFC 8156."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pair.conversation import Conversation
from scripts.runner import run
from tandem.failover import machine, states, verdict

SCRIPTS = sorted(Path(__file__).parent.glob("*.txt"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_conversation(path: Path) -> None:
    run(path, Conversation().obey)


class Recorder(dict[Any, Any]):
    """A table that knows which of its rows were used."""

    def __init__(self, table: dict[Any, Any]) -> None:
        super().__init__(table)
        self.used: set[Any] = set()

    def __getitem__(self, key: Any) -> Any:
        self.used.add(key)
        return super().__getitem__(key)

    def get(self, key: Any, default: Any = None) -> Any:
        self.used.add(key)
        return super().get(key, default)


def test_every_cell_of_figure_4_has_a_script(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {status: Recorder(row) for status, row in verdict.FIGURE_4.items()}
    monkeypatch.setattr(verdict, "FIGURE_4", rows)
    run(Path(__file__).with_name("7.5.4-accept-or-reject.txt"), Conversation().obey)
    assert [(mine, theirs) for mine, row in rows.items() for theirs in row if theirs not in row.used] == []


@pytest.mark.interpreted
@pytest.mark.thorough
def test_every_row_of_the_state_tables_has_a_script(monkeypatch: pytest.MonkeyPatch) -> None:
    when, on = Recorder(states.WHEN_PARTNER_IS), Recorder(states.ON)
    monkeypatch.setattr(states, "WHEN_PARTNER_IS", when)
    monkeypatch.setattr(machine, "ON", on)
    for path in SCRIPTS:
        run(path, Conversation().obey)
    assert [key for key in when if key not in when.used] == []
    assert [key for key in on if key not in on.used] == []

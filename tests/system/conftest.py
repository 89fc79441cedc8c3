"""What the tests with real programs share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from system.cell import Cell, Plan, cell_of
from system.needs import need_namespaces, need_program

LOG_SHOWN = 8000  # characters of the end of each log


@pytest.fixture
def cell(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cell]:
    """Give the cell that the test's `Plan` describes; its logs are shown if the test fails."""
    plan: Plan = request.param
    need_namespaces()
    for program in plan.programs():
        need_program(program)
    with cell_of(plan, tmp_path) as built:
        yield built
    for log in sorted(tmp_path.glob("*.log")):
        print(f"--- {log.name}\n{log.read_text(errors='replace')[-LOG_SHOWN:]}")
    print(f"--- on the client's link\n{built.link}")

"""What is said while a large file is read: not too often, and nothing if it is soon done."""

from __future__ import annotations

import pytest

from tandem.admin import progress
from tandem.config.load import load_text
from unit.test_large_configuration import file_with


def test_progress_is_told_once_a_second_and_not_at_first(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("tandem.admin.progress.time.monotonic", lambda: now)
    told: list[tuple[str, float]] = []
    paced = progress.Paced(lambda what, seconds: told.append((what, seconds)))
    for step in range(40):
        now = 100.0 + step / 10
        paced("reading reservations", step * 1000, 40_000)
    assert told == [
        ("reading reservations, 10,000 of 40,000", 1.0),
        ("reading reservations, 20,000 of 40,000", 2.0),
        ("reading reservations, 30,000 of 40,000", 3.0),
    ]


def test_loading_says_how_many_reservations_it_has_read() -> None:
    told: list[tuple[str, int, int]] = []
    load_text(file_with(12, 500), None, lambda *step: told.append(step))
    assert ("reading reservations", 5000, 6000) in told
    assert [what for what, _, _ in told if what != "reading reservations"] == [
        "reading the file",
        "checking",
        "building indexes",
    ]

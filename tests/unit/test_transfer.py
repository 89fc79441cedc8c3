"""A configuration that another process loaded: the same as if this one had, in steps that each do little."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from served import EVERYTHING
from tandem.config.load import Loaded, load, load_text
from tandem.config.transfer import SHARED_MIN_OCTETS, read_loaded, write_loaded
from tandem.effects.lines import LineIndex
from tandem.effects.reservations import Reservations
from tandem.lease.holes import Holes
from unit.test_large_configuration import calls_of, file_with

CAMPUS = Path(__file__).parent.parent / "pair" / "campus.toml"


def plain(value: Any) -> Any:
    """Return a value as what can be compared: parts of settings are equal only if they are the same."""
    if isinstance(value, Reservations):
        return [value.row(number) for number in range(len(value))]
    if isinstance(value, Holes):
        return list(value.intervals()), value.odd
    if isinstance(value, LineIndex):
        return value.tables, value.subnets, value.items
    if is_dataclass(value) and not isinstance(value, type):
        return type(value), [plain(getattr(value, each.name)) for each in fields(value)]
    if isinstance(value, tuple) and type(value) is tuple:
        return [plain(each) for each in value]
    return value


def handed_over(loaded: Loaded) -> tuple[Loaded, int]:
    """Return what another process would get, and in how many steps."""
    out = io.BytesIO()
    write_loaded(loaded, out)
    steps = list(read_loaded(memoryview(out.getvalue())))
    assert steps[-1] is not None
    assert steps[:-1] == [None] * (len(steps) - 1)
    return steps[-1], len(steps)


def test_nothing_changes_on_the_way() -> None:
    for loaded in (load(EVERYTHING, None), load(CAMPUS, "a"), load_text(file_with(60, 3), None)):
        assert plain(handed_over(loaded)[0]) == plain(loaded)


def test_a_large_block_is_shared_and_not_copied() -> None:
    loaded = load_text(file_with(1, 500), None)
    (before,) = loaded.settings.links
    assert len(before.reservations.octets) > SHARED_MIN_OCTETS
    (after,) = handed_over(loaded)[0].settings.links
    assert isinstance(after.reservations.octets, memoryview)
    assert list(after.reservations) == list(before.reservations)


def take(steps: Iterator[Loaded | None], into: list[Loaded | None]) -> None:
    into.append(next(steps))


def test_no_step_grows_with_the_number_of_subnets() -> None:
    def most_calls(subnets: int) -> int:
        out = io.BytesIO()
        write_loaded(load_text(file_with(subnets, 1), None), out)
        steps: Iterator[Loaded | None] = read_loaded(memoryview(out.getvalue()))
        found: list[Loaded | None] = []
        most, done = 0, False
        while not done:
            most = max(most, calls_of(partial(take, steps, found)))
            done = found[-1] is not None
        return most

    assert most_calls(400) < most_calls(100) * 1.2


@pytest.mark.parametrize("size", [0, 1, 7, 100])
def test_holes_survive(size: int) -> None:
    holes = Holes((at * 5, at * 5 + 1) for at in range(size))
    again = Holes.of_parts(*holes.parts())
    assert again.is_same(holes)
    assert plain(again) == plain(holes)

"""Worlds find faults: each mutation that names a world is put into a copy of the product, and that world fails."""

from __future__ import annotations

import pytest

from sim.mutations import Mutation, find, load

NAMED = [each for each in load() if each.seed is not None]


@pytest.mark.thorough
@pytest.mark.interpreted
@pytest.mark.parametrize("mutation", NAMED, ids=lambda each: each.what)
def test_a_world_finds_a_fault(mutation: Mutation) -> None:
    found = find(mutation, seeds=1)
    assert found.seed == mutation.seed, found.kind


@pytest.mark.parametrize("mutation", load(), ids=lambda each: each.what)
def test_a_mutation_is_of_a_line_that_is_there(mutation: Mutation) -> None:
    assert mutation.source().count(mutation.right) == 1

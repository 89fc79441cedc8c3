"""Whatever comes in on UDP: answered once or dropped for a reason, in little time and memory, and all promises kept."""

from __future__ import annotations

from random import Random

import pytest

from fuzz.corpus import read_corpus
from fuzz.mutate import Mutator
from fuzz.world import WORST_CPU_S, World, in_full
from served import ETH0, ETH1, MULTICAST, UNICAST, UNKNOWN_INTERFACE

CORPUS = read_corpus()
SHARDS = in_full(16, 1)
DATAGRAMS = in_full(12_500, 4_000)
"""In each shard: 200,000 in all, or as many as take a second or two."""

CHECK_EVERY = 500
INTERFACES = (ETH0, ETH0, ETH0, ETH1, ETH1, UNKNOWN_INTERFACE)
LOCALS = (MULTICAST,) * 9 + (UNICAST,)


@pytest.mark.parametrize("shard", range(SHARDS))
def test_any_datagrams(shard: int) -> None:
    random = Random(shard)
    mutator, world = Mutator(random, CORPUS), World()
    for number in range(DATAGRAMS):
        world.sleep(random.choice((0.0, 0.001, 0.1)) if random.random() < 0.995 else random.uniform(1, 900))
        data = mutator.datagram()
        try:
            answer = world.receive(data, random.choice(INTERFACES), random.choice(LOCALS))
            if answer is not None:
                mutator.learn(answer)
            if number % CHECK_EVERY == 0:
                world.check_bounds()
        except Exception as error:
            error.add_note(f"shard {shard}, datagram {number}, of {len(data)} octets: {data[:2000].hex()}")
            raise
    world.check_bounds()
    world.check_costs()
    assert world.watch.answered > DATAGRAMS // 10, "the fuzzer has lost its way in"
    assert world.watch.dropped > DATAGRAMS // 10


@pytest.mark.parametrize("name", CORPUS)
def test_each_of_the_corpus(name: str) -> None:
    """As it is, on every kind of link, twice, since the second time the leases are there."""
    world = World()
    for interface in (ETH0, ETH1, UNKNOWN_INTERFACE) * 2:
        world.receive(CORPUS[name], interface)
    world.check_bounds()
    assert max(world.costs_s) < WORST_CPU_S


def test_the_whole_corpus_at_one_node() -> None:
    world = World()
    for _ in range(3):
        for data in CORPUS.values():
            world.receive(data)
            world.sleep(1)
    world.check_bounds()
    world.check_costs()


def test_the_same_seed_gives_the_same_datagrams() -> None:
    first, second = (Mutator(Random(1), CORPUS) for _ in range(2))
    assert [first.datagram() for _ in range(500)] == [second.datagram() for _ in range(500)]

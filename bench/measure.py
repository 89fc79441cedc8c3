"""What is measured of one contestant: rates, waits, processor time, memory, and how it bears too much."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bench.contestants import STRAIGHT, VALID_S, Contestant, Running, running, status
from bench.field import CLIENT_CPU, LAN, PRIVATE, SERVERS_GROUP, Field, cpu_s, resident_octets
from bench.perfdhcp import Run, load
from system.net import until
from tandem.wire.options import ServerId

LOST_MAX = 0.01
WIDTH_MAX = 1.06
"""How far apart the best rate that was sustained and the lowest that was not may lie at the end of a search."""
STEP_S, CONFIRM_S, WARM_UP_S = 3, 6, 2
STEP_DOWN = 0.96
TOO_MUCH = 3
"""Times the highest rate, for overload."""
FAR = "fd00:99::3"
"""Where a server finds its partner if it is to be far away."""
FAILOVER_PORT = 647


class Highest(NamedTuple):
    """The highest rate that a contestant sustains with at most LOST_MAX lost, and what it takes."""

    rate: int
    is_generator_at_its_limit: bool
    primary_us: float
    """Processor time of the primary for each exchange, in microseconds, at that rate."""
    servers_us: float
    """The same of all server processes."""


class Loaded(NamedTuple):
    """Memory and start with so many leases on disk."""

    leases: int
    resident_octets: int
    start_s: float


@contextlib.contextmanager
def fresh(field: Field, contestant: Contestant, pair: bool, name: str, leases: int = 0) -> Iterator[Running]:
    """Run a contestant in folders of its own, the primary with so many leases on disk."""
    folders = (field.folder(f"{name}-1"), field.folder(f"{name}-2"))
    try:
        prepare(contestant, leases, folders[0])
        with running(field, contestant, pair, folders) as server:
            yield server
    finally:
        for folder in folders:
            shutil.rmtree(folder)


def step(field: Field, server: Running, kind: str, rate: int, seconds: int) -> tuple[Run, float, float]:
    """Put a load on a server; give what came of it, and the processor microseconds of the primary and of all."""
    server.check()
    until(lambda: field.advertisement(0.5), 20, "an answer before the next load")
    before = [cpu_s(process.pid) for process in server.processes]
    run = load(field, kind, rate, seconds)
    used = [cpu_s(process.pid) - was for process, was in zip(server.processes, before, strict=True)]
    done = max(run.done, 1)
    return run, used[0] / done * 1e6, sum(used) / done * 1e6


def highest_rate(field: Field, server: Running, kind: str, start: int, stride: float = 2) -> Highest:
    """Search for the highest rate: a stride up or down, then half the distance each time; hold the best for a while."""
    low, high = 0, 0
    rate = start
    limits: list[bool] = []
    while not high or not low or high / low > WIDTH_MAX:
        run, _, _ = step(field, server, kind, rate, STEP_S)
        if run.lost <= LOST_MAX and run.is_fully_offered:
            low = rate
            rate = (low + high) // 2 if high else int(rate * stride)
        else:
            high = rate
            limits.append(run.is_generator_busy or not run.is_fully_offered)
            rate = (low + high) // 2 if low else int(rate / stride)
        assert rate > 10, "it sustains no rate at all"
    rate = low
    while True:
        run, primary_us, servers_us = step(field, server, kind, rate, CONFIRM_S)
        if run.lost <= LOST_MAX or rate < start // 20:
            return Highest(rate, all(limits), round(primary_us, 1), round(servers_us, 1))
        rate = int(rate * STEP_DOWN)


def memory_and_start(field: Field, contestant: Contestant, leases: int, name: str) -> Loaded:
    """Start a server with so many leases on disk; give the memory it then has and the time to its first answer."""
    folders = (field.folder(f"{name}-1"), field.folder(f"{name}-2"))
    prepare(contestant, leases, folders[0])
    began = time.monotonic()
    with running(field, contestant, False, folders) as server:
        start_s = time.monotonic() - began
        found = Loaded(leases, resident_octets(server.primary.pid), round(start_s, 2))
    for folder in folders:
        shutil.rmtree(folder)
    return found


def prepare(contestant: Contestant, leases: int, folder: Path) -> None:
    """Write leases into a contestant's folder."""
    if not leases:
        return
    if contestant.program:
        subprocess.run([sys.executable, "-m", "bench.leases", str(leases), str(folder / "state")], check=True)
        return
    until_utc = int(time.time()) + VALID_S * 20
    with (folder / "leases6.csv").open("w") as file:
        file.write(
            "address,duid,valid_lifetime,expire,subnet_id,pref_lifetime,lease_type,iaid,prefix_len,fqdn_fwd,"
            "fqdn_rev,hostname,hwaddr,state,user_context,hwtype,hwaddr_source\n"
        )
        for number in range(leases):
            link_layer = ":".join(f"{octet:02x}" for octet in (0, 0x0C, *number.to_bytes(4, "big")))
            address = f"2001:db8:1:0:1:1:{number >> 16:x}:{number & 0xFFFF:x}"
            lifetimes = f"{VALID_S * 20},{until_utc},1,{VALID_S * 20}"
            file.write(f"{address},00:01:00:01:2d:00:00:00:{link_layer},{lifetimes},0,1,128,0,0,,{link_layer},0,,1,1\n")


class Overload(NamedTuple):
    """What a Tandem did with TOO_MUCH times what it can do, and whether it recovered."""

    offered_rate: float
    answered_rate: float
    lost_after: float
    """Of a load of half its highest rate that began right behind it."""
    is_normal: bool


def overload(field: Field, server: Running, folder: Path, highest: int, pair: bool, seconds: int = 6) -> Overload:
    """Flood a Tandem with Requests and Solicits, in equal numbers."""
    began = _replies(folder)
    inside = ["ip", "netns", "exec", field.client.namespace, "taskset", "-c", CLIENT_CPU]
    flood = [sys.executable, "-m", "bench.flood", LAN, SERVERS_GROUP, str(highest * TOO_MUCH), str(seconds)]
    done = subprocess.run([*inside, *flood, _duid(field)], capture_output=True, text=True, check=True)
    answered = _replies(folder) - began
    after, _, _ = step(field, server, "na", highest // 2, STEP_S)
    found = status(folder)
    is_normal = not pair or (found is not None and found["relationships"][0]["state"] == "NORMAL")
    return Overload(float(done.stdout) / seconds, answered / seconds, round(after.lost, 4), is_normal)


def _replies(folder: Path) -> int:
    found = status(folder)
    assert found is not None, "the server does not say how it is"
    count: int = found["counters"]["answered"].get("REQUEST", 0)
    return count


def _duid(field: Field) -> str:
    """Learn the server's DUID from an answer, as hexadecimal digits."""
    answer = field.advertisement(2.0)
    assert answer is not None, "no server answers"
    return next(option.duid for option in answer.options if isinstance(option, ServerId)).hex()


def waits_with_partner_far(field: Field, contestant: Contestant, rate: int, delay_ms: int, seconds: int) -> Run:
    """Measure answers of a Tandem whose partner's every word is that late, each way."""
    primary = field.servers[0]
    primary.ip("address", "add", f"{FAR}/64", "dev", PRIVATE, "nodad")
    folders = (field.folder("far-1"), field.folder("far-2"))
    way = ["taskset", "-c", CLIENT_CPU, sys.executable, "-m", "bench.far", FAR, STRAIGHT, "fd00:99::1"]
    primary.start([*way, str(FAILOVER_PORT), str(delay_ms)], folders[0] / "far.log")
    try:
        with running(field, contestant, True, folders, partner=FAR) as server:
            load(field, "na", rate, WARM_UP_S)
            server.check()
            return load(field, "na", rate, seconds, timed=True)
    finally:
        primary.ip("address", "del", f"{FAR}/64", "dev", PRIVATE)
        for folder in folders:
            shutil.rmtree(folder)

"""How soon the partner answers when a server is lost: for `make bench`, on a machine with nothing else to do."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

import pytest

from system.needs import need_namespaces, need_program
from system.partners import CLIENTS_INTERFACE, KEEPALIVE_S, Pair, pair_of
from system.servers import INTERFACE
from system.street import Ledger, Street
from system.test_pair import cut_off, rebinds, solicits

pytestmark = [pytest.mark.speed, pytest.mark.system]

CROWD = 30
AT_ONCE_S = 1.0


@pytest.fixture(autouse=True)
def _needs() -> None:
    need_namespaces()
    need_program("ip")


def lose_primary(pair: Pair, how: str) -> None:
    """Have clients miss server a in one of several ways."""
    match how:
        case "killed":
            pair.a.kill()
        case "host vanishes":
            cut_off(pair, pair.a)
        case _:
            pair.a.host.ip("link", "delete", INTERFACE)


@pytest.mark.parametrize(
    ("how", "within_s"),
    [
        ("killed", AT_ONCE_S),
        ("host vanishes", KEEPALIVE_S + AT_ONCE_S),
        ("interface removed", KEEPALIVE_S + AT_ONCE_S),
    ],
)
def test_the_secondary_takes_over_in_time(tmp_path: Path, how: str, within_s: float) -> None:
    with pair_of(tmp_path) as pair, closing(Street(pair.near, CLIENTS_INTERFACE, Ledger())) as street:
        pair.start()
        clients = street.settle_in(CROWD)
        pair.settle()
        lose_primary(pair, how)
        lost = time.monotonic()
        assert street.outage(pair.b.duid, lost, lambda: solicits(street)) < within_s
        assert street.outage(pair.b.duid, lost, lambda: rebinds(clients[0])) < within_s


def test_the_primary_goes_on_at_once(tmp_path: Path) -> None:
    with pair_of(tmp_path) as pair, closing(Street(pair.near, CLIENTS_INTERFACE, Ledger())) as street:
        pair.start()
        street.settle_in(CROWD)
        pair.b.kill()
        assert street.outage(pair.a.duid, time.monotonic(), lambda: solicits(street)) < AT_ONCE_S

"""Failover pairs whose servers, disks, clocks and links fail, and what clients see of it.

After each fault no lease is in two hands, every client that asks in time keeps what it has, and the pair finds back
into NORMAL by itself, with the same leases on both sides.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from limits import limit
from system.babble import talkers
from system.needs import need_file, need_namespaces, need_program
from system.partners import CLIENTS_INTERFACE, Member, Pair, Settings, pair_of
from system.servers import INTERFACE
from system.street import Answer, Ledger, Street, leases_of
from tandem.sim.client import SimClient
from tandem.wire.message import Message

CROWD = 30
SHORT_MCLT_S = 30
LAST_WORDS_S = limit(0.5)
"""How long before the end of a server an answer may be of which its partner was not told any more."""


@contextmanager
def streets(pair: Pair) -> Iterator[tuple[Street, Street]]:
    """The clients near server a, and those near server b."""
    ledger = Ledger()
    with (
        closing(Street(pair.near, CLIENTS_INTERFACE, ledger, first_client=1)) as near,
        closing(Street(pair.far, CLIENTS_INTERFACE, ledger, first_client=100_001)) as far,
    ):
        yield near, far


@pytest.fixture(autouse=True)
def _needs() -> None:
    need_namespaces()
    need_program("ip")


class Load:
    """Clients that ask one thing after another: new leases first, then renewals without end."""

    def __init__(self, street: Street, clients: list[SimClient]) -> None:
        self._street = street
        self._clients = clients
        self.last: dict[bytes, Answer] = {}
        """The last Reply that each client had."""

    def begin(self) -> None:
        """Everybody asks the first thing."""
        for client in self._clients:
            self._street.send(client, client.solicit())

    def work(self, for_s: float) -> None:
        """Let the clients go on for that long."""
        deadline = time.monotonic() + for_s
        while time.monotonic() < deadline:
            self._go_on(self._street.listen(0.02))
            self._street.ask_again()

    def _go_on(self, answers: list[Answer]) -> None:
        for answer in answers:
            client = answer.client
            if not client.leases:
                self._street.send(client, client.request())
                continue
            self.last[client.duid] = answer
            self._street.send(client, client.renew())


def solicits(street: Street) -> tuple[SimClient, Message]:
    """The Solicit of a client that was never there before."""
    (client,) = street.newcomers(1)
    return client, client.solicit()


def rebinds(client: SimClient) -> tuple[SimClient, Message]:
    """A client's Rebind."""
    return client, client.rebind()


@pytest.mark.system
def test_the_primary_is_killed_under_load(tmp_path: Path) -> None:
    """The secondary answers, old clients and new ones; the primary finds back by itself."""
    with pair_of(tmp_path) as pair, streets(pair) as (street, _):
        pair.start()
        clients = street.settle_in(CROWD)
        load = Load(street, clients + street.newcomers(CROWD))
        load.begin()
        load.work(LAST_WORDS_S + 2)
        pair.a.kill()
        killed = time.monotonic()
        street.forget()
        askers = iter(clients)
        street.outage(pair.b.duid, killed, lambda: solicits(street))
        street.outage(pair.b.duid, killed, lambda: rebinds(next(askers)))
        street.forget()

        told = known_to(pair.b, load, killed)
        assert {client.duid for client in clients} <= {client.duid for client in told}
        street.rebind(told)
        newcomers = street.settle_in(5)
        pair.a.start()
        check(pair, street)
        street.renew(told[:5] + newcomers)
        check(pair, street)


def known_to(member: Member, load: Load, killed: float) -> list[SimClient]:
    """The clients whose leases a server knows. The others' must be so new that their server could not tell any more."""
    known = {lease: row[0] for lease, row in member.leases().items() if row[2] == "ACTIVE"}
    found = []
    for answer in load.last.values():
        if leases_of([answer.client]).items() <= known.items():
            found.append(answer.client)
        else:
            assert answer.at > killed - LAST_WORDS_S, f"{answer.client.duid.hex()} is not known to {member.name}"
    return found


@pytest.mark.system
def test_the_secondary_is_killed_and_then_both(tmp_path: Path) -> None:
    """The primary goes on as if nothing were; after both have died all is as it was."""
    with pair_of(tmp_path) as pair, streets(pair) as (street, _):
        pair.start()
        clients = street.settle_in(CROWD)
        pair.b.kill()
        killed = time.monotonic()
        street.outage(pair.a.duid, killed, lambda: solicits(street))
        street.forget()
        street.renew(clients)
        clients += street.settle_in(5)
        street.release([clients.pop()])
        pair.b.start()
        pair.wait_normal()
        pair.settle()

        street.rebind(clients)
        for member in pair.members:
            member.kill()
        for member in pair.members:
            member.start()
        street.rebind(clients)
        clients += street.settle_in(5)
        check(pair, street)


def check(pair: Pair, street: Street) -> None:
    """Both are in NORMAL and hold the same leases, among them all that clients still may use."""
    street.ledger.check(pair.settle())
    pair.wait(lambda: pair.a.exported() == pair.b.exported(), "both export the same")


@pytest.mark.system
def test_the_primarys_host_vanishes(tmp_path: Path) -> None:
    """Nobody says goodbye, and the secondary answers once the keepalive time is over."""
    with pair_of(tmp_path) as pair, streets(pair) as (street, _):
        pair.start()
        clients = street.settle_in(CROWD)
        pair.settle()
        cut_off(pair, pair.a)
        vanished = time.monotonic()
        street.outage(pair.b.duid, vanished, lambda: solicits(street))
        street.forget()
        answers = street.rebind(clients)
        assert {answer.server for answer in answers} == {pair.b.duid}
        clients += street.settle_in(5)
        pair.lab.push(pair.a.host, "srv0", "lan")
        pair.lab.push(pair.a.host, "sync0", "sync")
        street.rebind(clients)
        check(pair, street)


def cut_off(pair: Pair, member: Member) -> None:
    """Let nothing pass to or from a server."""
    for interface in ("srv0", "sync0"):
        pair.lab.pull(member.host, interface)


@pytest.mark.system
def test_the_partners_lose_each_other_but_no_client(tmp_path: Path) -> None:
    """Both serve the same clients from their own shares, and agree afterwards: who heard a client last is right."""
    with pair_of(tmp_path) as pair, streets(pair) as (near, far):
        pair.start()
        here, there = near.settle_in(CROWD), far.settle_in(10)
        pair.settle()
        pair.lab.pull(pair.a.host, "sync0")
        for member in pair.members:
            pair.wait_alone(member)
        near.rebind(here)
        far.rebind(there)
        newcomers = solicited(near, 20)
        near.request(newcomers)
        near.listen_fully(1.1)  # times are whole seconds
        pair.lab.split()
        near.rebind(here[:10])
        far.rebind(there[:5])
        pair.lab.join()
        near.renew(newcomers[:10])
        near.release(here[:2] + newcomers[:2])
        far.release(there[:2])
        pair.lab.push(pair.a.host, "sync0", "sync")
        check(pair, near)
        near.rebind(here[2:] + newcomers[2:])
        far.rebind(there[2:])
        check(pair, near)


def solicited(street: Street, count: int) -> list[SimClient]:
    """New clients that are offered leases."""
    clients = street.newcomers(count)
    street.solicit(clients)
    return clients


@pytest.mark.system
def test_the_secondary_loses_the_clients_but_not_its_partner(tmp_path: Path) -> None:
    """Nothing changes, since the primary serves."""
    with pair_of(tmp_path) as pair, streets(pair) as (street, _):
        pair.start()
        clients = street.settle_in(5)
        pair.b.host.ip("link", "set", "srv0", "down")
        street.renew(clients)
        street.rebind(clients)
        clients += street.settle_in(5)
        assert pair.states() == ("NORMAL", "NORMAL")
        pair.b.host.ip("link", "set", "srv0", "up")
        pair.a.kill()
        street.rebind(clients)
        pair.a.start()
        check(pair, street)


@pytest.mark.system
@pytest.mark.parametrize("fault", ["removed", "down"])
def test_the_primary_loses_the_clients_but_not_its_partner(tmp_path: Path, fault: str) -> None:
    """It cannot serve and steps aside, so the secondary does; once the link is back all is as before."""
    with pair_of(tmp_path) as pair, streets(pair) as (street, _):
        pair.start()
        clients = street.settle_in(5)
        pair.settle()
        host = pair.a.host
        host.ip("link", *(["delete", INTERFACE] if fault == "removed" else ["set", INTERFACE, "down"]))
        lost = time.monotonic()
        street.outage(pair.b.duid, lost, lambda: solicits(street))
        street.forget()
        assert pair.a.relationship()["stepped-aside"]
        street.rebind(clients)
        clients += street.settle_in(5)
        if fault == "removed":
            pair.lab.plug(host, INTERFACE, "lan")
        else:
            host.ip("link", "set", INTERFACE, "up")
        check(pair, street)
        street.rebind(clients)
        check(pair, street)


@pytest.mark.system
def test_the_network_falls_apart(tmp_path: Path) -> None:
    """Each half is served by its server; when it is whole again everybody keeps what was given."""
    with pair_of(tmp_path) as pair, streets(pair) as (near, far):
        pair.start()
        here, there = near.settle_in(10), far.settle_in(10)
        pair.settle()
        pair.lab.split()
        pair.lab.pull(pair.a.host, "sync0")
        for member in pair.members:
            pair.wait_alone(member)
        far.rebind(there)
        near.renew(here)
        here += near.settle_in(10)
        there += far.settle_in(10)
        near.release([here.pop(0)])
        far.release([there.pop(0)])
        far.renew(there)
        pair.lab.push(pair.a.host, "sync0", "sync")
        pair.lab.join()
        check(pair, near)
        near.rebind(here)
        far.rebind(there)
        check(pair, near)


@pytest.mark.system
@pytest.mark.parametrize("name", ["a", "b"])
def test_a_disk_is_lost(tmp_path: Path, name: str) -> None:
    """What the partner knows is restored, and after the MCLT the server serves again; clients notice nothing."""
    with pair_of(tmp_path, Settings(mclt_s=SHORT_MCLT_S)) as pair, streets(pair) as (street, _):
        lost, kept = (pair.a, pair.b) if name == "a" else (pair.b, pair.a)
        pair.start()
        clients = street.settle_in(CROWD)
        before = pair.settle()
        lost.kill()
        lost.lose_disk()
        lost.start()
        pair.wait(lambda: lost.state() == "RECOVER-WAIT", "the wait for the MCLT")
        waiting = time.monotonic()
        assert before.keys() <= lost.leases().keys()
        clients += street.settle_in(5)
        while lost.state() == "RECOVER-WAIT":
            assert kept.state() == "COMMUNICATIONS-INTERRUPTED"
            assert time.monotonic() < waiting + limit(SHORT_MCLT_S)
            answers = street.rebind(clients)
            # The wait may end just now, and the server that waited answer, too.
            assert {answer.server for answer in answers} == {kept.duid} or lost.state() != "RECOVER-WAIT"
            street.listen_fully(2.0)
        check(pair, street)
        street.rebind(clients)
        check(pair, street)
        waits, done, normal = lost.events("failover-state")[-3:]
        assert [each["state"] for each in (waits, done, normal)] == ["RECOVER-WAIT", "RECOVER-DONE", "NORMAL"]
        assert done["time"] - waits["time"] > SHORT_MCLT_S - 3


FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"


@pytest.mark.system
@pytest.mark.parametrize("name", ["a", "b"])
def test_a_clock_is_wrong(tmp_path: Path, name: str) -> None:
    """The partners do not connect, say why, and serve from their own shares, until the clock is set right."""
    need_file(FAKETIME)
    with pair_of(tmp_path) as pair, streets(pair) as (near, far):
        wrong = pair.a if name == "a" else pair.b
        pair.start()
        here, there = near.settle_in(5), far.settle_in(5)
        pair.settle()
        wrong.kill()
        pair.lab.split()
        wrong.start(LD_PRELOAD=FAKETIME, FAKETIME="+10s", FAKETIME_DONT_FAKE_MONOTONIC="1")
        for member in pair.members:
            pair.wait_alone(member)
        pair.wait(lambda: all("clock is 10 s" in member.refusal() for member in pair.members), "both say so")
        near.rebind(here)
        far.rebind(there)
        assert near.rebind(here)[0].server == pair.a.duid
        assert far.rebind(there)[0].server == pair.b.duid
        here += near.settle_in(5)
        there += far.settle_in(5)
        wrong.kill()
        pair.lab.join()
        wrong.start()
        check(pair, near)
        near.rebind(here)
        far.rebind(there)
        check(pair, near)


NOISE = {"tls": ["partner-not-admitted"], "insecure": ["stranger-garbled", "partner-garbled", "connect-refused"]}


@pytest.mark.system
@pytest.mark.parametrize("security", NOISE)
def test_a_partner_speaks_garbage(tmp_path: Path, security: str) -> None:
    """Whatever comes from the partner's address, clients are served meanwhile, and the real pair forms afterwards."""
    with pair_of(tmp_path, Settings(insecure=security == "insecure")) as pair, streets(pair) as (street, _):
        pair.start()
        clients = street.settle_in(5)
        pair.settle()
        pair.a.kill()
        pair.wait_alone(pair.b)
        with talkers(pair) as talk:
            while (said := talk()) is not None:
                street.rebind(clients)
                assert pair.b.process.alive(), said[:200].hex()
            assert all(pair.b.events(event) for event in NOISE[security])
            clients += street.settle_in(5)
            pair.a.start()
            check(pair, street)

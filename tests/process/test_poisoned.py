"""A datagram that stops the server is dropped after the restart, and with it what its client sends again."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from process.server import WITHIN_S, get_leases, until
from system.wrapped import WrappedServer
from tandem.admin.demo_pair import Link
from tandem.sim.client import SimClient

POISON = SimClient(666)
DEFECTIVE = f"""\
from tandem.admin.cli import main
from tandem.server.engine import Engine

receive = Engine.receive

def defective(self, now, datagram, rules, effects):
    assert {POISON.duid!r} not in datagram.data, "a defect that only one client's messages meet"
    receive(self, now, datagram, rules, effects)

Engine.receive = defective
main()
"""
"""A server with a defect in its engine: the assertion that stops it is raised where one of ours would be."""


@pytest.mark.interpreted
def test_a_datagram_that_stops_the_server_does_so_once(tmp_path: Path) -> None:
    program = tmp_path / "defective.py"
    program.write_text(DEFECTIVE)
    server = WrappedServer(tmp_path, tandem=(sys.executable, str(program)))
    question = POISON.solicit()
    try:
        server.start()
        get_leases(server, 1)
        link = Link(server.address)
        link.send(POISON, question)
        assert server.process is not None
        assert server.process.wait(WITHIN_S) == 1
        assert "a defect that only one client's messages meet" in server.log

        server.start()
        link.send(POISON, question)
        get_leases(server, 2)  # asked later, so the other datagram was looked at before
        assert server.process.poll() is None
        until(lambda: server.ask("status")["counters"]["dropped"].get("poison") == 1, "the drop is counted")
        link.close()
    finally:
        server.stop()

"""A server whose state-dir lost something says so at its start, and serves on what is left."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from process.server import Server, get_leases
from tandem.stores.journal import SECTOR


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_journal_that_was_cut_is_said_with_what_is_lost(tmp_path: Path, how: signal.Signals) -> None:
    with Server(tmp_path) as server:
        get_leases(server, 1, 2, 3)
        server.stop(how)
        (journal,) = tmp_path.glob("leases.db-changes-*")
        os.truncate(journal, 4 * SECTOR)
        server.start()
        (said,) = [each for each in server.events() if each["event"] == "commits-missing"]
        assert said["missing"] > 0
        assert f"missing at the end of {journal.name}" in said["why"]
        server.stop()
        server.start()
        assert len([each for each in server.events() if each["event"] == "commits-missing"]) == 1


def test_a_write_that_was_cut_short_is_said(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        get_leases(server, 1)
        server.stop(signal.SIGKILL)
        (journal,) = tmp_path.glob("leases.db-changes-*")
        data = journal.read_bytes()
        end = -(-len(data.rstrip(b"\0")) // SECTOR) * SECTOR
        journal.write_bytes(data[:end] + b"x" * 100 + data[end + 100 :])
        server.start()
        events = [each["event"] for each in server.events()]
        assert events.count("journal-end-dropped") == 1
        assert "commits-missing" not in events

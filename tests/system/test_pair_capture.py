"""What partners say to each other, as another program reads it."""

from __future__ import annotations

import signal
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from limits import limit
from system.capture import IA_ADDRESS, IA_PREFIX
from system.needs import need_namespaces, need_program
from system.net import until
from system.partners import CLIENTS_INTERFACE, SYNC, Pair, Settings, pair_of
from system.street import Ledger, Street
from tandem.wire.failover import FailoverType

READS_WITHIN_S = 60
FRAMING = Path(__file__).with_name("failover.lua")
FAULTS = (
    "_ws.malformed || dhcpv6.malformed_option || dhcpv6.bogus_length || dhcpv6.invalid_type || dhcpv6_failover.misfit"
)
BINDING_STATUS = 114
# Those that occur in any life: of clients and leases, of RFC 5007, and of RFC 8156.
OPTIONS = {1, 3, 5, 13, 25, 26, 45, 46, 100, 114, 115, 121, 122, 123, 124, 127, 128, 130, 131, 132, 133, 134}


@pytest.mark.system
def test_tshark_reads_all_that_partners_say(tmp_path: Path) -> None:
    """Every kind of message occurs and is seen as that; every option is known to tshark, and nothing is malformed."""
    need_namespaces()
    for program in ("ip", "tcpdump", "tshark"):
        need_program(program)
    file = tmp_path / "partners.pcap"
    with pair_of(tmp_path, Settings(insecure=True)) as pair:
        command = ["tcpdump", "-Z", "root", "--immediate-mode", "-U", "-i", SYNC, "-w", str(file), "tcp"]
        tcpdump = pair.a.host.start(command, tmp_path / "tcpdump.log")
        until(lambda: "listening on" in tcpdump.log.read_text(), 10, "capturing")
        live(pair)
        until(lambda: types_in(file) == set(FailoverType), READS_WITHIN_S, "every kind of message")
        tcpdump.signal(signal.SIGINT)
        tcpdump.ended(within_s=10)
    assert tshark(file, FAULTS, "frame.number") == ""
    read = [int(code) for code in tshark(file, "dhcpv6", "dhcpv6.option.type").replace(",", " ").split()]
    assert set(read) >= OPTIONS
    assert read.count(BINDING_STATUS) == read.count(IA_ADDRESS) + read.count(IA_PREFIX), "each lease has a status"
    assert "Option: Unknown" not in tshark(file, "dhcpv6")


def live(pair: Pair) -> None:
    """Have the partners say everything that they can."""
    with closing(Street(pair.near, CLIENTS_INTERFACE, Ledger())) as street:
        pair.start()
        clients = street.settle_in(20)
        pair.settle()
        street.renew(clients)
        street.release([clients.pop()])
        pair.settle()
        street.listen_fully(1.0)
        pair.b.stop()
        pair.b.lose_disk()
        pair.b.start()
        pair.wait(lambda: pair.b.state() == "RECOVER-WAIT", "all updates that were asked for")


def types_in(file: Path) -> set[int]:
    """The message types so far."""
    return {int(each) for each in tshark(file, "dhcpv6", "dhcpv6.msgtype").replace(",", " ").split()}


def tshark(file: Path, wanted: str, *fields: str) -> str:
    """Some fields, or all, of the packets that a filter of tshark lets through. The last packet may be cut short."""
    shown = [word for field in fields for word in ("-e", field)]
    how = ["-T", "fields", *shown] if fields else ["-O", "dhcpv6"]
    command = ["tshark", "-r", str(file), "-X", f"lua_script:{FRAMING}", "-Y", wanted, *how]
    done = subprocess.run(command, capture_output=True, text=True, timeout=limit(READS_WITHIN_S), check=False)
    assert done.returncode == 0 or "cut short" in done.stderr, done.stderr
    return done.stdout

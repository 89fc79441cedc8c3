"""Each condition that keeps clients from being answered is said in six places alike, and its end is, too.

The places: `status`, `status --check`, `status --json`, what the page is told, the metrics with the alerts on them, and
the log.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from system.health_site import Server, Site, occupied, until
from system.needs import need_file, need_namespaces, need_program
from system.net import Lab
from tandem.sim.client import SimClient

pytestmark = pytest.mark.system

FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"
NOBODY = "65534"
HOUR_S = 3600
SMALL = """
[[subnet]]
prefix = "2001:db8:1::/64"
interface = "one"
pools = ["2001:db8:1::100-2001:db8:1::{last}"]
"""
PARTNERS = """
[server.b]
interfaces = ["one"]
address = "::1"
state-dir = "{folder}/b"
[failover.campus]
primary = "a"
secondary = "b"
port = 1647
keepalive = 1
startup = 1
{more}
"""
SHARED = """
[[subnet]]
prefix = "2001:db8:1::/64"
interface = "one"
failover = "campus"
pools = ["2001:db8:1::100-2001:db8:1::{last}"]
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    need_namespaces()
    need_program("ip")
    with Lab() as lab:
        yield Site(lab, tmp_path)


def is_served(site: Site, link: str = "one") -> None:
    until(lambda: site.is_served(link), lambda: f"an answer on {link}")


def get_leases(site: Site, count: int) -> None:
    """Give so many clients a lease each."""
    until(lambda: all(site.lease("one", number) for number in range(count)), lambda: f"{count} leases")


def reload(server: Server) -> None:
    server.process.signal(signal.SIGHUP)


# -- sockets and interfaces


def test_all_is_well(site: Site) -> None:
    site.configure("one")
    site.start().is_well()
    is_served(site)


def test_an_interface_is_missing(site: Site) -> None:
    site.configure("one", "two")
    server = site.start()
    server.says("interface-missing", "two does not exist", about="two")
    site.plug("two")
    server.is_over("interface-missing")
    is_served(site, "two")
    server.is_well()


def test_an_interface_is_down(site: Site) -> None:
    site.configure("one")
    server = site.start()
    site.host.ip("link", "set", "one", "down")
    server.says("interface-down", about="one")
    site.host.ip("link", "set", "one", "up")
    server.is_well()
    is_served(site)


def test_the_port_is_taken(site: Site) -> None:
    site.configure("one")
    with occupied(site.host, socket.SOCK_DGRAM, "::", 547):
        server = site.start()
        server.says("port-taken", "Another program uses UDP port 547 on one", about="one")
    server.is_well()
    is_served(site)


@pytest.mark.parametrize(
    ("off", "on", "why"),
    [
        (("ip", "link", "set", "one", "mtu", "1200"), ("ip", "link", "set", "one", "mtu", "1500"), "MTU of 1200"),
        (
            ("sysctl", "-qw", "net.ipv6.conf.one.disable_ipv6=1"),
            ("sysctl", "-qw", "net.ipv6.conf.one.disable_ipv6=0"),
            "IPv6 is disabled",
        ),
    ],
)
def test_multicast_groups_are_lost(site: Site, off: tuple[str, ...], on: tuple[str, ...], why: str) -> None:
    site.configure("one")
    server = site.start()
    is_served(site)
    with site.host.inside():
        subprocess.run(off, check=True)
    server.says("multicast-lost", "does not receive", why, about="one")
    with site.host.inside():
        subprocess.run(on, check=True)
    server.is_well()
    is_served(site)


def test_an_address_to_listen_on_is_missing(site: Site) -> None:
    site.configure("one", server='listen = ["[2001:db8:5::1]:10547"]')
    server = site.start()
    server.says("listen-address-missing", "2001:db8:5::1 is no address of this machine", about="[2001:db8:5::1]:10547")
    is_served(site)
    site.host.ip("address", "add", "2001:db8:5::1/64", "dev", "one", "nodad")
    server.is_well()


def test_a_port_to_listen_on_is_taken(site: Site) -> None:
    site.configure("one", server='listen = ["[2001:db8:1::1]:10547"]')
    with occupied(site.host, socket.SOCK_DGRAM, "2001:db8:1::1", 10547):
        server = site.start()
        found = server.says("port-taken", "UDP port 10547", about="[2001:db8:1::1]:10547")
        assert found.command == "ss -lunp 'sport = :10547'"
        is_served(site)
    server.is_well()


def test_the_right_to_bind_the_port_is_missing(site: Site) -> None:
    need_program("setpriv")
    site.configure("one")
    server = site.start("setpriv", "--bounding-set=-net_bind_service", "--inh-caps=-net_bind_service")
    server.says("socket-failed", "may not open UDP port 547 on one", about="one")


def test_too_few_files_may_be_open(site: Site) -> None:
    """What can be served is."""
    need_program("prlimit")
    site.plug("two")
    site.configure("one", "two")
    server = site.start("prlimit", "--nofile=129:129")
    server.says("socket-failed", "no more than 129 files", about="two")
    is_served(site)


def test_replies_are_lost(site: Site) -> None:
    site.configure("one")
    server = site.start()
    site.clients.ip("address", "add", "2001:db8:77::2/64", "dev", "one", "nodad")
    for _ in range(2):
        site.send_through_relay("one", "2001:db8:1::9", SimClient(3, with_prefix=False), source="2001:db8:77::2")
    server.says("replies-lost", "to 2001:db8:77::2 on one")


# -- the configuration


def test_no_client_can_be_in_a_pools_class(site: Site) -> None:
    subnet = SMALL.format(last="1ff").replace("pools = [", 'classes = "nobody"\npools = [')
    site.configure("one", more="[class.nobody]", subnets=subnet)
    checked = subprocess.run(
        [sys.executable, "-m", "tandem", "check", str(site.file)], capture_output=True, text=True, check=False
    )
    assert "Warning: subnet[1] (line" in checked.stderr
    assert "no client can be one" in checked.stderr
    server = site.start()
    server.says("pool-closed", "for members of class nobody", about="subnet[1]")
    site.configure("one")
    reload(server)
    server.is_over("pool-closed")
    is_served(site)


def test_there_is_no_subnet(site: Site) -> None:
    site.configure("one", subnets="")
    server = site.start()
    server.says("nothing-to-serve", "No subnet of the file is served by a")
    site.configure("one")
    reload(server)
    server.is_well()


def test_a_reload_is_refused(site: Site) -> None:
    site.configure("one")
    server = site.start()
    good = site.file.read_text()
    site.file.write_text(good + "pols = []\n")
    reload(server)
    found = server.says("reload-refused", "pols", "the server runs with the earlier one")
    assert found.command == f"tandem check {site.file}"
    is_served(site)
    site.file.write_text(good)
    reload(server)
    server.is_well()


def test_a_change_needs_a_restart(site: Site) -> None:
    site.configure("one")
    server = site.start()
    site.configure("one", server='duid = "00:03:00:01:02:00:5e:10:00:99"')
    reload(server)
    server.says("restart-needed", "Duid was changed", about="duid")
    site.configure("one")
    reload(server)
    server.is_well()


def test_a_file_names_no_server_for_a_subnet(site: Site) -> None:
    site.configure("one", more='[server.b]\ninterfaces = ["one"]')
    server = site.start()
    server.says("config-warning", "since there are several")


# -- clients


def test_a_relays_link_is_in_no_subnet(site: Site) -> None:
    site.configure("one")
    server = site.start()
    client = SimClient(7, with_prefix=False)
    site.send_through_relay("one", "2001:db8:66::1", client)
    server.says("unknown-link", "link-address 2001:db8:66::1", client.duid.hex(":"), "from fe80::")


def test_an_interfaces_link_is_in_no_subnet(site: Site) -> None:
    site.plug("two")
    site.configure("one", "two", subnets=SMALL.format(last="1ff"))
    server = site.start()
    server.is_well()
    assert not site.is_served("two")
    server.says("unknown-link", "interface two", "client 00:03:")


def test_a_pool_is_exhausted(site: Site) -> None:
    site.configure("one", subnets=SMALL.format(last="103"))
    server = site.start()
    get_leases(site, 4)
    server.says("pool-exhausted", "4 of 4 leases", "a new client gets none")
    assert not site.lease("one", 9)
    client = SimClient(9, with_prefix=False)
    server.says("clients-refused", client.duid.hex(":"), about="one")
    site.configure("one", subnets=SMALL.format(last="1ff"))
    reload(server)
    server.is_well()
    until(lambda: site.lease("one", 9), lambda: "a lease for the client that was refused")


def test_a_pool_is_low(site: Site) -> None:
    site.configure("one", subnets=SMALL.format(last="109"))
    server = site.start()
    get_leases(site, 9)
    server.says("pool-low", "9 of 10 leases")


def test_datagrams_are_dropped_since_they_stopped_the_server(site: Site) -> None:
    site.configure("one")
    (site.folder / "state").mkdir(mode=0o700)
    (site.folder / "state" / "poison").write_text("0" * 64 + "\n")
    site.start().says("poison", "1 datagrams")


# -- the disk and the clock


def test_the_store_is_full(site: Site) -> None:
    need_program("mount")
    site.configure("one")
    state = site.folder / "state"
    state.mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m,mode=0700", "none", str(state)], check=True)
    try:
        server = site.start()
        is_served(site)
        ballast = state / "ballast"
        subprocess.run(["dd", "if=/dev/zero", f"of={ballast}", "bs=4k"], capture_output=True, check=False)
        until(lambda: not all(site.lease("one", number) for number in range(200)), lambda: "the disk takes nothing")
        server.says("store-full", "No client is promised anything")
        ballast.unlink()
        server.is_well()
        server.process.signal(signal.SIGKILL)
        server.process.ended(within_s=20)
    finally:
        subprocess.run(["umount", "--lazy", str(state)], check=True)


class Clock:
    """The wall clock of a server under libfaketime."""

    def __init__(self, folder: Path) -> None:
        need_file(FAKETIME)
        self._file = folder / "offset"
        self.set(0)
        self.wrapper = (
            "env",
            f"LD_PRELOAD={FAKETIME}",
            f"FAKETIME_TIMESTAMP_FILE={self._file}",
            "DONT_FAKE_MONOTONIC=1",
            "FAKETIME_DONT_FAKE_MONOTONIC=1",
            "FAKETIME_NO_CACHE=1",
        )

    def set(self, ahead_s: int) -> None:
        self._file.write_text(f"{ahead_s:+d}\n")


@pytest.mark.parametrize("ahead_s", [2 * HOUR_S, 365 * 24 * HOUR_S])
def test_a_clock_was_ahead_without_a_partner(site: Site, ahead_s: int) -> None:
    clock = Clock(site.folder)
    clock.set(ahead_s)
    site.configure("one")
    server = site.start(*clock.wrapper)
    until(lambda: site.lease("one", 1), lambda: "a lease by the wrong clock")
    clock.set(0)
    found = server.says("clock-stepped-back", "Clients are answered")
    assert found.until is not None
    assert found.until > (found.since or 0) + ahead_s - HOUR_S
    until(lambda: site.lease("one", 2), lambda: "a lease by the right clock")
    assert server.cli("clock", "accept", "--yes").returncode == 0
    server.is_well()


def test_a_clock_was_ahead_beside_a_partner(site: Site) -> None:
    clock = Clock(site.folder)
    clock.set(2 * HOUR_S)
    more = PARTNERS.format(folder=site.folder, more='security = "insecure"\nstart-alone = true')
    site.configure("one", server='address = "::1"', more=more, subnets=SHARED.format(last="1ff"))
    server = site.start(*clock.wrapper)
    until(lambda: site.lease("one", 1), lambda: "a lease by the wrong clock")
    clock.set(0)
    found = server.says("clock-behind", "no client is answered")
    assert found.command == "tandem clock accept"
    assert found.until
    assert not site.lease("one", 2)
    assert server.cli("clock", "accept", "--yes").returncode == 0
    server.is_over("clock-behind")
    until(lambda: site.lease("one", 2), lambda: "a lease by the right clock")


def test_a_clock_jumps_ahead(site: Site) -> None:
    clock = Clock(site.folder)
    site.configure("one")
    server = site.start(*clock.wrapper)
    clock.set(3 * HOUR_S)
    server.says("clock-jumped", "Leases are held as long as without the jump")
    is_served(site)
    clock.set(0)
    server.is_over("clock-jumped")


# -- partners


def start_pair(
    site: Site,
    more: str = 'security = "insecure"',
    last: str = "1ff",
    theirs: str = "",
    names: tuple[str, str] = ("campus", "campus"),
) -> tuple[Server, Server]:
    """Start both servers of a pair on one host.

    With `theirs`, b's file has that as the last address of its pool; `names` are what the two call the relationship.
    """
    site.configure(
        "one",
        server='address = "::1"',
        more=PARTNERS.format(folder=site.folder, more=more),
        subnets=SHARED.format(last=last),
    )
    file = site.folder / "b.toml"
    text = site.file.read_text().replace(f"::{last}", f"::{theirs or last}")
    file.write_text(text.replace(*names))
    first = site.start()
    return first, Server(site.host, file, site.folder / "b", site.folder / "b.log", name="b")


def are_in_step(*servers: Server) -> None:
    until(lambda: all(each.status()["relationships"][0]["state"] == "NORMAL" for each in servers), lambda: "NORMAL")


def test_a_pair_is_well_until_its_partner_is_gone(site: Site) -> None:
    first, second = start_pair(site)
    are_in_step(first, second)
    first.is_well()
    second.is_well()
    second.process.signal(signal.SIGKILL)
    first.says("partner-not-heard", "::1 port 1647: connection refused", about="campus")
    found = first.says("failover-state", "COMMUNICATIONS-INTERRUPTED", about="campus")
    assert found.command == "tandem failover partner-down"


def test_a_server_that_was_never_with_its_partner_serves_nobody(site: Site) -> None:
    site.configure(
        "one",
        server='address = "::1"',
        more=PARTNERS.format(folder=site.folder, more='security = "insecure"'),
        subnets=SHARED.format(last="1ff"),
    )
    server = site.start()
    server.says("failover-not-serving", "RECOVER", about="campus")
    assert not site.is_served("one")


def test_a_share_is_exhausted(site: Site) -> None:
    """The primary gives odd addresses; the partner still has free ones."""
    first, second = start_pair(site, last="107")
    are_in_step(first, second)
    get_leases(site, 4)
    first.says("share-exhausted", "4 of 8 leases", "the partner 4")
    assert not site.lease("one", 9)
    first.says("clients-refused", about="one")


def test_the_partner_lacks_a_pool(site: Site) -> None:
    first, second = start_pair(site, last="1ff", theirs="17f")
    are_in_step(first, second)
    first.says("partners-differ", "pools", about="campus")
    first.says("pool-withheld", "Nothing new is given of subnet[1].pools[1]")


def test_a_connection_is_refused_with_the_reason_on_both_sides(site: Site) -> None:
    first, second = start_pair(site, names=("campus", "east"))
    first.says("partner-not-heard", "no relationship 'campus'", about="campus")
    second.says("connect-refused", "no relationship 'campus'")


def test_strangers_at_the_failover_port_are_named(site: Site) -> None:
    first, second = start_pair(site)
    are_in_step(first, second)
    site.host.ip("address", "add", "fd00:5::7/128", "dev", "lo", "nodad")
    with site.host.inside():
        stranger = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    with stranger:
        stranger.bind(("fd00:5::7", 0))
        stranger.connect(("::1", 1647))
        second.says("connect-refused", "fd00:5::7", "connections are expected from ::1")


def test_the_failover_port_is_taken(site: Site) -> None:
    with occupied(site.host, socket.SOCK_STREAM, "::1", 1647):
        first, second = start_pair(site)
        second.says("partner-listen-failed", "address already in use", about="[::1]:1647")
        assert first.find("partner-not-heard")
    are_in_step(first, second)
    second.is_over("partner-listen-failed")


def test_a_certificate_is_missing(site: Site) -> None:
    first, _ = start_pair(site, more="")
    first.says("certificate-expires", "cannot be read", about="campus")


def test_a_server_hands_over(site: Site) -> None:
    first, second = start_pair(site)
    are_in_step(first, second)
    assert first.cli("failover", "handover", "--yes").returncode == 0
    first.says("stepped-aside", "the operator handed over", about="campus")
    second.says("partner-not-heard", about="campus")
    assert first.cli("failover", "resume").returncode == 0
    first.is_well()
    second.is_well()


@pytest.mark.parametrize(("one", "other"), [("::ffff:192.0.2.1", "::ffff:192.0.2.2"), ("::ffff:c000:201", "192.0.2.2")])
def test_partners_with_ipv4_addresses_meet(site: Site, one: str, other: str) -> None:
    for address in ("192.0.2.1/32", "192.0.2.2/32"):
        site.host.ip("address", "add", address, "dev", "lo")
    more = PARTNERS.format(folder=site.folder, more='security = "insecure"').replace('"::1"', f'"{other}"')
    site.configure("one", server=f'address = "{one}"', more=more, subnets=SHARED.format(last="1ff"))
    first = site.start()
    second = Server(site.host, site.file, site.folder / "b", site.folder / "b.log", name="b")
    are_in_step(first, second)
    first.is_well()

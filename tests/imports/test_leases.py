"""Leases of Kea and dhcpd come into a state-dir with their times, and a server goes on with them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from ipaddress import IPv6Network
from pathlib import Path

import pytest

from tandem.config.load import load_text
from tandem.effects.settings import Settings
from tandem.imports.dhcpd_leases import read_dhcpd_leases
from tandem.imports.kea_leases import read_kea_leases
from tandem.imports.leases import Counts, Imported, put_leases
from tandem.imports.report import ImportFailed
from tandem.lease.change import Put
from tandem.lease.lease import FOREVER, BindingStatus, Lease, key_of, show_key, unpack
from tandem.stores.sqlite import SqliteStore

HEAD = (
    "address,duid,valid_lifetime,expire,subnet_id,pref_lifetime,lease_type,iaid,prefix_len,fqdn_fwd,fqdn_rev,hostname,"
    "hwaddr,state,user_context,hwtype,hwaddr_source\n"
)
DUID = "00:03:00:01:02:00:00:00:00:01"
FILE = """
[server.a]
listen = ["[::1]:1547"]
address = "fd00::1"
[server.b]
listen = ["[::1]:1547"]
address = "fd00::2"
[failover.x]
primary = "a"
secondary = "b"
security = "insecure"
[[subnet]]
prefix = "2001:db8:1::/64"
failover = "x"
pools = ["2001:db8:1::/80"]
pd-pools = [{ prefix = "2001:db9::/40", delegated-length = 56 }]
[[subnet]]
prefix = "2001:db8:2::/64"
server = "a"
pools = ["2001:db8:2::/80"]
"""


def settings() -> Settings:
    return load_text(FILE, "a").settings


def row(address: str, expire: int = 2000, valid: int = 1000, kind: int = 0, state: int = 0, hostname: str = "") -> str:
    length = 56 if kind == 2 else 128
    return f"{address},{DUID},{valid},{expire},1,800,{kind},7,{length},0,0,{hostname},02:00:00:00:00:01,{state},,1,0\n"


def kept(folder: Path) -> dict[str, Lease]:
    store = SqliteStore(folder / "leases.db")
    found = [each for each in store.load() if isinstance(each, Put) and each.record is not None]
    store.close()
    return {show_key(each.key): unpack(each.key, each.record) for each in found if each.record is not None}


def test_the_last_word_on_each_lease_of_kea_counts(tmp_path: Path) -> None:
    path = tmp_path / "leases6.csv"
    (tmp_path / "leases6.csv.2").write_text(
        HEAD + row("2001:db8:1::1", 1500) + row("2001:db8:1::2") + row("2001:db8:1::3")
    )
    (tmp_path / "leases6.csv.1").write_text(HEAD + row("2001:db8:1::2", valid=0))
    path.write_text(
        HEAD
        + row("2001:db8:1::1", hostname="a.example.net.")
        + row("2001:db8:1::3", state=2)
        + row("2001:db8:1::4", state=1)
        + row("2001:db9:0:100::", kind=2)
        + row("2001:db8:1::5", valid=FOREVER, expire=FOREVER + 100)
        + row("2001:db8:1::6", hostname="a..b")
    )
    found = {show_key(each.key): each for each in read_kea_leases(path)}
    assert list(found) == ["2001:db8:1::1", "2001:db8:1::4", "2001:db9:0:100::/56", "2001:db8:1::5", "2001:db8:1::6"]
    first = found["2001:db8:1::1"]
    assert (first.heard_utc, first.until_utc, first.preferred_s, first.iaid) == (1000, 2000, 800, 7)
    assert (first.duid.hex(":"), first.hostname) == (DUID, "a.example.net.")
    assert found["2001:db8:1::4"].status is BindingStatus.ABANDONED
    assert found["2001:db8:1::5"].until_utc == FOREVER
    assert found["2001:db8:1::6"].hostname == ""


@pytest.mark.parametrize("octets", ["00", "00:00:00"])
def test_an_address_that_was_declined_is_nobodys(tmp_path: Path, octets: str) -> None:
    path = tmp_path / "leases6.csv"
    path.write_text(HEAD + row("2001:db8:1::1", state=1).replace(DUID, octets))
    (found,) = read_kea_leases(path)
    assert (found.status, found.duid) == (BindingStatus.ABANDONED, bytes(3))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a,b\n1,2\n", "it has no address."),
        (HEAD + row("here"), "line 2, is not a lease"),
        (HEAD + "2001:db8::1,zz\n", "line 2, is not a lease"),
        (HEAD + row("2001:db8:1::1", expire=-5), "line 2, is not a lease: a number is out of its bounds"),
    ],
)
def test_a_broken_file_of_kea_is_refused_with_its_line(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "leases6.csv"
    path.write_text(text)
    with pytest.raises(ImportFailed) as raised:
        list(read_kea_leases(path))
    assert sentence in str(raised.value)
    with pytest.raises(ImportFailed, match="there is no such file"):
        list(read_kea_leases(tmp_path / "nowhere"))


DHCPD = r"""
# The format of this file is documented in the dhcpd.leases(5) manual page.
authoring-byte-order little-endian;
server-duid "\000\001\000\001\062\"";

ia-na "\007\000\000\000\000\003\000\001\002\000\000\000\000\001" {
  cltt 4 2026/11/26 09:00:00;
  iaaddr 2001:db8:1::1 {
    binding state active;
    preferred-life 800;
    max-life 1000;
    ends 4 2026/11/26 09:16:40;
    set ddns-fwd-name = "a } b";
  }
  iaaddr 2001:db8:1::2 {
    binding state active;
    preferred-life 800;
    max-life 4294967295;
    ends never;
  }
}

ia-pd "\007\000\000\000\000\003\000\001\002\000\000\000\000\001" {
  cltt epoch 1795684000; # Thu Nov 26 09:06:40 2026
  iaprefix 2001:db9:0:100::/56 {
    binding state active;
    preferred-life 800;
    max-life 1000;
    ends epoch 1795685000; # Thu Nov 26 09:23:20 2026
  }
}

ia-na "\007\000\000\000\000\003\000\001\002\000\000\000\000\001" {
  cltt 4 2026/11/26 10:00:00;
  iaaddr 2001:db8:1::1 {
    binding state active;
    preferred-life 900;
    max-life 1000;
    ends 4 2026/11/26 10:16:40;
  }
  iaaddr 2001:db8:1::3 {
    binding state abandoned;
    preferred-life 900;
    max-life 1000;
    ends 4 2026/11/26 10:16:40;
  }
  iaaddr 2001:db8:1::4 {
    binding state released;
    preferred-life 900;
    max-life 1000;
    ends 4 2026/11/26 10:16:40;
  }
}
"""


def test_the_last_word_on_each_lease_of_dhcpd_counts(tmp_path: Path) -> None:
    path = tmp_path / "dhcpd6.leases"
    path.write_text(DHCPD)
    found = {show_key(each.key): each for each in read_dhcpd_leases(path)}
    assert list(found) == ["2001:db8:1::1", "2001:db8:1::2", "2001:db9:0:100::/56", "2001:db8:1::3"]
    first = found["2001:db8:1::1"]
    assert (first.duid.hex(":"), first.iaid, first.preferred_s, first.valid_s) == (DUID, 7, 900, 1000)
    assert (first.heard_utc, first.until_utc) == (1795687200, 1795688200)
    assert found["2001:db8:1::2"].until_utc == FOREVER
    assert found["2001:db9:0:100::/56"].until_utc == 1795685000
    assert found["2001:db8:1::3"].status is BindingStatus.ABANDONED
    path.write_text(DHCPD.replace("little", "big"))
    assert {each.iaid for each in read_dhcpd_leases(path)} == {7 << 24}


@pytest.mark.parametrize(
    ("old", "new"),
    [("10:00:00", "25:00:00"), ("2001:db8:1::3", "2001:db8:1::1:::"), ("max-life 1000", "max-life x")],
)
def test_a_broken_file_of_dhcpd_is_refused(tmp_path: Path, old: str, new: str) -> None:
    path = tmp_path / "dhcpd6.leases"
    path.write_text(DHCPD.replace(old, new))
    with pytest.raises(ImportFailed) as raised:
        list(read_dhcpd_leases(path))
    assert str(path) in str(raised.value)


def test_a_prefix_with_bits_behind_its_length_is_cut_and_its_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "leases6.csv"
    path.write_text(HEAD + row("2001:db9:0:100::1", kind=2))
    (found,) = read_kea_leases(path)
    assert show_key(found.key) == "2001:db9:0:100::/56"
    assert "line 2: 2001:db9:0:100::1 has bits behind its length, and was read as 2001:db9:0:100::/56." in found.remark
    assert put_leases([found], settings(), tmp_path / "state", lambda _: None).remarks == [found.remark]


@pytest.mark.parametrize("length", ["0", "129", "-1"])
def test_a_prefix_of_no_length_is_refused(tmp_path: Path, length: str) -> None:
    path = tmp_path / "leases6.csv"
    path.write_text(HEAD + row("2001:db9:0:100::", kind=2).replace(",56,", f",{length},"))
    with pytest.raises(ImportFailed, match=r"line 2, is not a lease: .* is not the length of a prefix"):
        list(read_kea_leases(path))


def lease(key_text: str, **changes: object) -> Imported:
    network = IPv6Network(key_text)
    made = Imported(
        key_of(int(network.network_address), network.prefixlen),
        bytes.fromhex(DUID.replace(":", "")),
        7,
        BindingStatus.ACTIVE,
        1000,
        2000,
        800,
        1000,
        "a.example.net.",
    )
    return made._replace(**changes)  # type: ignore[arg-type]


def test_leases_are_put_where_the_server_finds_them_and_the_partner_is_owed_them(tmp_path: Path) -> None:
    told: list[int] = []
    many = [lease(f"2001:db8:1::{number:x}") for number in range(1, 2001)]
    found = put_leases(
        [*many, lease("2001:db8:2::1"), lease("2001:db9:0:100::/56"), lease("2001:db8:3::1")],
        settings(),
        tmp_path / "state",
        told.append,
    )
    assert found == Counts(2002, 1, [])
    assert told == [1000, 2000]
    leases = kept(tmp_path / "state")
    assert len(leases) == 2002
    first = leases["2001:db8:1::1"]
    assert (first.status, first.state_expiration_time, first.client_last_transaction_time) == (
        BindingStatus.ACTIVE,
        2000,
        1000,
    )
    assert (first.preferred_s, first.valid_s, first.t1_s, first.t2_s) == (800, 1000, 400, 640)
    assert b"example" in first.details
    assert first.owes_partner
    assert leases["2001:db9:0:100::/56"].owes_partner
    assert not leases["2001:db8:2::1"].owes_partner


def test_what_root_wrote_belongs_to_the_folders_owner_even_if_it_was_cut_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[str, int]] = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "chown", lambda path, owner, _group: given.append((path.name, owner)))

    def broken() -> Iterator[Imported]:
        yield lease("2001:db8:1::1")
        raise ImportFailed("Line 2 is no lease.")

    with pytest.raises(ImportFailed, match="Line 2"):
        put_leases(broken(), settings(), tmp_path, lambda _: None)
    assert ("leases.db", tmp_path.stat().st_uid) in given


def test_leases_are_only_put_where_there_are_none(tmp_path: Path) -> None:
    put_leases([lease("2001:db8:1::1")], settings(), tmp_path, lambda _: None)
    with pytest.raises(ImportFailed, match="has 1 leases already"):
        put_leases([lease("2001:db8:1::2")], settings(), tmp_path, lambda _: None)
    (tmp_path / "file").write_text("")
    with pytest.raises(ImportFailed, match="cannot be made"):
        put_leases([], settings(), tmp_path / "file" / "state", lambda _: None)

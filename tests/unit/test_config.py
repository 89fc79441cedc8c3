"""The file: what is read from it, and what is said of a bad one, with key and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tandem.config.load import Loaded, load, parse
from tandem.config.problems import ConfigError
from tandem.effects.settings import Limits
from tandem.lease.lease import FOREVER, key_of

GOOD = """\
[server.a]
interfaces = { lan = "ens3" }
listen = ["[::1]:10547", "2001:db8::1"]

[lifetimes]
valid-lifetime = "2h"
renew-timer = 900

[options]
dns-servers = ["2001:db8::53"]
65 = { string = "abc" }

[[subnet]]
prefix = "2001:db8:1::/64"
interface = "lan"
pools = ["2001:db8:1::10-2001:db8:1::1f", { range = "2001:db8:1:0:1::/80", options = { 65 = { hex = "01:02" } } }]
pd-pools = [{ prefix = "2001:db9::/32", delegated-length = 56, exclude = "0:0:0:ff::/64" }]

[[subnet.reservation]]
duid = "00-01-02-03"
address = "2001:db8:1::5"
prefix = ["2001:db9:ffff::/56"]
hostname = "printer.example.net"
"""


def loaded(tmp_path: Path, text: str, name: str | None = None) -> Loaded:
    path = tmp_path / "tandem.toml"
    path.write_text(text)
    return load(path, name)


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    return caught.value.problems


def test_what_is_read(tmp_path: Path) -> None:
    found = loaded(tmp_path, GOOD)
    assert found.endpoints == [("::1", 10547), ("2001:db8::1", 547)]
    assert found.settings.interfaces == ("ens3",)
    (link,) = found.settings.links
    (subnet,) = link.subnets
    assert (link.name, subnet.interface) == ("ens3", "ens3")
    assert (subnet.lifetimes.preferred_s, subnet.lifetimes.valid_s) == (2700, 7200)
    assert (subnet.lifetimes.renew_s, subnet.lifetimes.rebind_s) == (900, 2160)
    assert found.settings.options.encoded[65] == b"\0\x41\0\3abc"
    assert [pool.options.encoded for pool in subnet.pools] == [{}, {65: b"\0\x41\0\2\1\2"}, {}]
    assert subnet.pools[2].exclude == (0xFF << 64, 64)
    (reservation,) = link.reservations
    assert reservation.duid == b"\0\1\2\3"
    assert reservation.keys == (key_of(0x20010DB8000100000000000000000005), key_of(0x20010DB9FFFF << 80, 56))
    assert reservation.hostname == "printer.example.net."


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ('"90s"', 90), ('"10m"', 600), ('"3d"', 259200), ('"forever"', FOREVER)]
)
def test_durations(tmp_path: Path, text: str, seconds: int) -> None:
    changed = GOOD.replace('"2h"', text).replace("renew-timer = 900", 'preferred-lifetime = "60s"')
    assert loaded(tmp_path, changed).settings.links[0].subnets[0].lifetimes.valid_s == seconds


BAD = [
    ("[server.a]", "[server.a]\nspeed = 3", "line 2, server.a.speed: there is no such key."),
    ('"2001:db8::53"', '"2001:db8::5g"', "line 10, options.dns-servers[1]: '2001:db8::5g' is not an IPv6 address."),
    ("dns-servers", "dns-server", "there is no option 'dns-server'"),
    ("65 =", "3 =", "option 3 is not one to configure"),
    ('"2h"', '"2 hours"', "line 6, lifetimes.valid-lifetime: must be a number of seconds"),
    ('"2h"', '"5m"', "comes after the rebind-timer or the end of the lease"),
    ("::10-2001:db8:1::1f", "::1f-2001:db8:1::10", "ends before it begins"),
    ("2001:db8:1:0:1::/80", "2001:db8:2:0:1::/80", "is not inside 2001:db8:1::/64"),
    ("2001:db8:1:0:1::/80", "2001:db8:1::18/125", "it overlaps subnet[1].pools[1]"),
    ("delegated-length = 56", "delegated-length = 24", "a prefix of length 24 does not fit"),
    ('interface = "lan"', 'interface = "wan"', "no server lists 'wan' in its interfaces"),
    ('address = "2001:db8:1::5"', 'address = "2001:db8:5::5"', "line 21, subnet[1].reservation[1].address"),
    ('"2001:db8:1::5"', '"2001:db8:1::"', "2001:db8:1:: is the subnet-router anycast address; reserve another one."),
    ("db8:1::5", "db8:1:0:fdff:ffff:ffff:ff80", "has a reserved interface identifier (RFC 5453); reserve another"),
    ("db8:1::5", "db8:1:0:200:5eff:fe00:5214", "has a reserved interface identifier (RFC 5453); reserve another"),
    ('duid = "00-01-02-03"', "", "give either duid or link-layer"),
    ('duid = "00-01-02-03"', 'duid = "zz"', "is not a list of octets"),
    ('prefix = "2001:db8:1::/64"', 'prefix = "2001:db8:1::1/64"', "bits behind its length"),
    ("[[subnet]]", '[[subnet]]\nfailover = "x"', "there is no [failover.x]"),
    ("[lifetimes]", "[lifetimes", "The file is not TOML"),
    ('"[::1]:10547"', '"[::1]:x"', "is not an address with a port"),
]


@pytest.mark.parametrize(("old", "new", "sentence"), BAD, ids=lambda text: text[:20])
def test_what_is_wrong(old: str, new: str, sentence: str) -> None:
    assert old in GOOD
    found = problems(GOOD.replace(old, new, 1))
    assert any(sentence in problem for problem in found), found


def test_all_that_is_wrong_is_said_at_once_in_the_order_of_lines() -> None:
    found = problems(GOOD.replace('"2h"', '"x"').replace("[server.a]", "[server.a]\nspeed = 3").replace("00-01", "z"))
    assert len(found) == 3
    assert [problem.split(",")[0] for problem in found] == ["line 2", "line 7", "line 21"]


def test_the_first_address_of_a_subnet_of_any_length_is_its_routers() -> None:
    longer = GOOD[: GOOD.index("[[subnet]]")] + (
        '[[subnet]]\nprefix = "2001:db8:1::100/120"\n'
        '[[subnet.reservation]]\nduid = "00-01-02-03"\naddress = "2001:db8:1::100"\n'
    )
    (problem,) = problems(longer)
    assert "2001:db8:1::100 is the subnet-router anycast address" in problem
    parse(longer.replace('"2001:db8:1::100"', '"2001:db8:1::101"'))
    parse(longer.replace("::100/120", "::100/127"))  # RFC 6164: both addresses are hosts'


def test_reserved_twice_and_one_client_twice() -> None:
    again = GOOD + '\n[[subnet.reservation]]\nduid = "00-01-02-03"\nprefix = "2001:db9:ffff:10::/60"\n'
    found = problems(again)
    assert any("it overlaps subnet[1].reservation[1]" in problem for problem in found)
    assert any("is for the same client" in problem for problem in found)


SEVERAL = GOOD + '\n[server.b]\ninterfaces = ["lan"]\n'


def test_several_servers(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="say --server with one of a, b"):
        loaded(tmp_path, SEVERAL)
    with pytest.raises(ConfigError, match=r"The file has no \[server.c\]; it has a, b"):
        loaded(tmp_path, SEVERAL, "c")
    assert len(loaded(tmp_path, SEVERAL, "a").settings.links) == 1
    assert loaded(tmp_path, SEVERAL, "b").settings.links == ()
    assert "until then only a serves it" in loaded(tmp_path, SEVERAL, "b").complaints[0]
    named = SEVERAL.replace("[[subnet]]", '[[subnet]]\nserver = "b"')
    assert loaded(tmp_path, named, "a").settings.links == ()
    assert loaded(tmp_path, named, "b").complaints == ()


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load(Path("/nowhere/tandem.toml"), None)


def test_what_relays_say_leads_to_one_link() -> None:
    second = '\n[[subnet]]\nprefix = "2001:db8:7::/64"\nrelay = "2001:db8:f::1"\ninterface-id = "x"\n'
    parse(GOOD + second)
    parse(
        GOOD
        + second
        + second.replace("db8:7", "db8:8")
        .replace("[[subnet]]", "[[subnet]]\nshared-network='s'")
        .replace("2001:db8:f::1", "2001:db8:f::2")
        .replace('"x"', '"y"')
    )
    found = problems(GOOD + second + second.replace("db8:7", "db8:8"))
    assert [problem.split(", ", 1)[1] for problem in found] == [
        "subnet[3].interface-id: subnet[2] has it too, and is on another link."
    ]


def test_limits_are_of_the_link(tmp_path: Path) -> None:
    """Of each limit: what the first subnet on the link says that says one, else the whole file, else the default."""
    text = """\
[server.a]
interfaces = ["eth0"]

[limits]
leases-per-client = 5
declines-per-link = 0

[[subnet]]
prefix = "2001:db8:1::/64"
interface = "eth0"
relays = "2001:db8:ff::/64"

[[subnet]]
prefix = "2001:db8:2::/64"
interface = "eth0"
relays = ["2001:db8:fe::1/128"]
limits = { leases-per-client = 6, messages-per-relay = 7 }

[[subnet]]
prefix = "2001:db8:3::/64"
"""
    first, second = loaded(tmp_path, text).settings.links
    assert (first.limits.leases_per_client, first.limits.messages_per_relay, first.limits.declines_per_link) == (
        6,
        7,
        0,
    )
    assert (second.limits.leases_per_client, second.limits.messages_per_relay) == (5, 0)
    assert second.limits.messages_per_client == Limits().messages_per_client
    assert [len(subnet.trusted_relays) for subnet in first.subnets] == [1, 1]


@pytest.mark.parametrize(
    ("key", "value"),
    [("leases-per-client", "0"), ("leases-per-client", "129"), ("declines-per-client", "-1"), ("no-such-limit", "1")],
)
def test_bad_limits_are_refused(key: str, value: str) -> None:
    (problem,) = problems(f"{GOOD}\n[limits]\n{key} = {value}\n")
    assert problem.startswith(f"line 26, limits.{key}: ")


@pytest.mark.parametrize(
    ("line", "instead", "where"),
    [
        ('interface = "lan"', 'interface = "lan"\nrelay = ["2001:db8:7::1", "fe80::1"]', "subnet[1].relay"),
        ('"2001:db9:ffff::/56"', '"2001:db8:1:0:1::/90"', "subnet[1].pools[2]"),
        ('"2001:db9:ffff::/56"', '"2001:db8::/44"', "subnet[1].pools[1]"),
    ],
)
def test_what_is_hardly_meant_is_named_and_served(line: str, instead: str, where: str, tmp_path: Path) -> None:
    assert line in GOOD
    text = GOOD.replace(line, instead)
    if "/44" in instead:
        text = text.replace('address = "2001:db8:1::5"\n', "")
    complaints = loaded(tmp_path, text).complaints
    assert any(f" {where}: " in each for each in complaints)
    assert loaded(tmp_path, GOOD).complaints == ()

"""The failover part of the file: what each of the two servers makes of it, and what is said of a bad one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tandem.config.load import Loaded, load, parse
from tandem.config.partners import what_moved
from tandem.config.problems import ConfigError
from tandem.lease.space import Role

GOOD = """\
[server.a]
interfaces = ["eth0"]
address = "fd00:99::1"
[server.b]
interfaces = ["eth0"]
address = "fd00:99::2"
state-dir = "/srv/b"
[failover.campus]
primary = "a"
secondary = "b"
mclt = "30m"
[[subnet]]
prefix = "2001:db8:1::/64"
interface = "eth0"
failover = "campus"
pools = ["2001:db8:1:0:1::/80"]
pd-pools = [{ prefix = "2001:db9::/32", delegated-length = 56 }]
[[subnet.reservation]]
duid = "00-01-02-03"
prefix = ["2001:db9:ffff::/56", "2001:dba::/56"]
"""
PREFIXES = (0x20010DB80001 << 80, 0x20010DB9 << 96, 0x20010DBA << 96)
"""Where the three territories begin; the reserved prefix inside the pool is none of its own."""


def loaded(folder: Path, text: str, name: str) -> Loaded:
    path = folder / "tandem.toml"
    path.write_text(text)
    return load(path, name)


def test_each_server_sees_its_own_end(tmp_path: Path) -> None:
    a, b = loaded(tmp_path, GOOD, "a"), loaded(tmp_path, GOOD, "b")
    (ours,), (theirs,) = a.settings.relationships, b.settings.relationships
    assert (ours.role, ours.partner, theirs.role, theirs.partner) == (Role.PRIMARY, "b", Role.SECONDARY, "a")
    assert ours.mclt_s == 1800
    assert tuple(first for first, _ in ours.territories) == PREFIXES
    assert ours.summary == theirs.summary
    (line,), (other,) = a.lines, b.lines
    assert (line.own_address, line.partner_address, line.port) == ("fd00:99::1", "fd00:99::2", 647)
    assert other.tls is not None
    assert other.tls.certificate == "/srv/b/b.crt"
    assert a.settings.links[0].relationship == "campus"


def test_without_tls_only_by_saying_so(tmp_path: Path) -> None:
    changed = GOOD.replace('mclt = "30m"', 'security = "insecure"')
    assert loaded(tmp_path, changed, "a").lines[0].tls is None


BAD = [
    ('secondary = "b"', 'secondary = "a"', "a server cannot be its own partner"),
    ('secondary = "b"', 'secondary = "c"', "there is no [server.c]"),
    ('address = "fd00:99::2"', "", "line 4, server.b: say its address"),
    ('mclt = "30m"', "mclt = 29", "greater than or equal to 30"),
    ('mclt = "30m"', 'mclt = "forever"', "no time here can be for ever"),
    ('mclt = "30m"', 'security = "none"', "String should match"),
    ('mclt = "30m"', 'security = "insecure"\ntls = {}', "with tls it cannot be insecure"),
    ("[[subnet]]", "[lifetimes]\nvalid-lifetime = 29\n[[subnet]]", "with failover, leases last at least 30 s"),
    ("[[subnet]]", '[lifetimes]\nvalid-lifetime = "forever"\n[[subnet]]', "with failover, no lifetime can be for ever"),
    ('failover = "campus"', 'failover = "campus"\nserver = "a"', "a subnet has either server or failover"),
    (
        "[[subnet]]",
        '[[subnet]]\nprefix = "2001:db8:9::/64"\ninterface = "eth0"\nserver = "a"\n[[subnet]]',
        "both need the same failover, or none",
    ),
]


@pytest.mark.parametrize(("old", "new", "sentence"), BAD, ids=lambda text: text[:25])
def test_what_is_wrong(old: str, new: str, sentence: str) -> None:
    assert old in GOOD
    with pytest.raises(ConfigError) as caught:
        parse(GOOD.replace(old, new, 1))
    assert any(sentence.lower() in problem.lower() for problem in caught.value.problems), caught.value.problems


def test_what_a_reload_may_not_move(tmp_path: Path) -> None:
    before = loaded(tmp_path, GOOD, "a").settings
    swapped = GOOD.replace('primary = "a"\nsecondary = "b"', 'primary = "b"\nsecondary = "a"')
    assert "roles are swapped" in what_moved(before, loaded(tmp_path, swapped, "a").settings)[0]
    other = '[failover.other]\nprimary = "b"\nsecondary = "a"\n[[subnet]]'
    moved = GOOD.replace("[[subnet]]", other, 1).replace('failover = "campus"', 'failover = "other"')
    assert "it has space that is campus's" in what_moved(before, loaded(tmp_path, moved, "a").settings)[0]
    longer = GOOD.replace('"30m"', '"1h"')
    assert what_moved(before, loaded(tmp_path, longer, "a").settings) == []


def test_each_part_that_differs_has_a_digest_of_its_own(tmp_path: Path) -> None:
    before = loaded(tmp_path, GOOD, "a").settings.relationships[0].summary
    changes = {
        "subnet 2001:db8:1::/64 pools": GOOD.replace("0:1::/80", "0:2::/80"),
        "subnet 2001:db8:1::/64 reservation": GOOD.replace("00-01-02-03", "00-01-02-04"),
        "decline-time": "decline-time = 60\n" + GOOD,
        "link-layer-from-duid": "link-layer-from-duid = true\n" + GOOD,
        "options": '[options]\ndns-servers = ["::1"]\n' + GOOD,
    }
    for part, text in changes.items():
        after = loaded(tmp_path, text, "a").settings.relationships[0].summary
        assert [path for path in before if before[path] != after[path]] == [part]

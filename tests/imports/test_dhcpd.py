"""A file of dhcpd's becomes one of ours that says the same, and every statement of it is accounted for."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from imports.test_kea import shown
from tandem.config.load import load_text
from tandem.imports.dhcpd import import_dhcpd
from tandem.imports.dhcpd_text import Statement, read_dhcpd
from tandem.imports.report import ImportFailed, Report
from tandem.imports.tandem_file import write_file

HERE = Path(__file__).parent
EVERYTHING = HERE / "dhcpd6.conf"
EXPECTED = HERE / "dhcpd6.toml"
EXPECTED_REPORT = HERE / "dhcpd6.report"


def imported(path: Path) -> tuple[str, Report]:
    report = Report()
    return write_file(import_dhcpd(path, None, ["eth0"], report), path.name), report


def from_dhcpd(folder: Path, text: str) -> tuple[dict[str, Any], Report]:
    path = folder / "dhcpd6.conf"
    path.write_text(text)
    made, report = imported(path)
    return tomllib.loads(made), report


def places(statements: Iterable[Statement]) -> Iterator[str]:
    """Give where each statement stands that has none of its own inside, or nothing that is looked into."""
    for each in statements:
        if each.block is None:
            yield each.where
        else:
            yield from places(each.block)


def unaccounted(path: Path, report: Report) -> list[str]:
    """Give the statements of which the report says nothing, neither of them nor of what they are in."""

    def missing(statements: Iterable[Statement]) -> Iterator[str]:
        for each in statements:
            if each.where not in told:
                if each.block is None:
                    yield each.where
                else:
                    yield from missing(each.block)
            elif each.block is not None and each.name in (
                "shared-network",
                "subnet6",
                "pool6",
                "class",
                "host",
                "group",
            ):
                if report.is_lost(each.where):
                    continue
                yield from missing(each.block)

    told = report.paths()
    return list(missing(read_dhcpd(path)))


def test_everything_is_carried_over_or_accounted_for() -> None:
    text, report = imported(EVERYTHING)
    if os.environ.get("REWRITE") == "1":
        EXPECTED.write_text(text)
        EXPECTED_REPORT.write_text(shown(report))
    assert text == EXPECTED.read_text()
    assert shown(report) == EXPECTED_REPORT.read_text()
    assert unaccounted(EVERYTHING, report) == []
    loaded = load_text(text, None)
    assert loaded.complaints == ()
    assert loaded.settings.interfaces == ("eth0", "eth1")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("option dhcp6.name-servers ::1", "Line 1: a statement does not end."),
        ("subnet6 ::/64 {\n", "Line 1: a block begins that does not end."),
        ("}", "line 1: a block ends that did not begin."),
        ('option "a', "line 1: a text begins that does not end."),
        ("\n\nsubnet6 here { }", "line 3: subnet6 here: 'here' is not a prefix."),
        ("default-lease-time long;", "line 1: default-lease-time long: 'long' is not a number of seconds."),
        ("subnet6 2001:db8::/64 { prefix6 2001:db8:: /56; }", "is not LOW HIGH /BITS."),
        (
            "subnet6 2001:db8::/64 { prefix6 2001:db8::1 2001:db8::1:0 /56; }",
            "does not begin at a prefix of length 56.",
        ),
        ('include "nowhere";', "nowhere cannot be read: No such file or directory."),
        ('include "dhcpd6.conf";', "is included by files that include each other."),
        ("group { " * 40 + "} " * 40, "blocks are nested too deep."),
    ],
)
def test_what_cannot_be_read_is_said_in_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(ImportFailed) as raised:
        from_dhcpd(tmp_path, text)
    assert sentence in str(raised.value)


def test_times_of_dhcpd_are_written_out(tmp_path: Path) -> None:
    made, _ = from_dhcpd(
        tmp_path,
        "subnet6 2001:db8:1::/64 { }\n"
        "subnet6 2001:db8:2::/64 { default-lease-time 800; }\n"
        "subnet6 2001:db8:3::/64 { default-lease-time -1; }\n",
    )
    assert made["lifetimes"] == {"preferred-lifetime": 27000, "valid-lifetime": 43200}
    assert [each.get("lifetimes") for each in made["subnet"]] == [
        None,
        {"preferred-lifetime": 500, "valid-lifetime": 800},
        {"preferred-lifetime": "forever", "valid-lifetime": "forever"},
    ]


@pytest.mark.parametrize(
    ("permits", "conditions"),
    [
        ("", None),
        ("allow all clients;", None),
        ("allow known-clients; allow unknown-clients;", None),
        ("allow known clients;", [{"reserved": True}]),
        ("deny unknown-clients;", [{"reserved": True}]),
        ("deny known-clients;", [{"reserved": False}]),
        ('allow members of "a"; allow members of "b";', [{"all": []}, {"all": []}]),
        ('deny members of "a";', [{"not": {"class": "a"}}]),
        (
            'allow members of "a"; deny members of "b";',
            [{"all": [{"any": [{"class": "a"}]}, {"any": [{"class": "not-b"}]}]}],
        ),
    ],
)
def test_who_a_pool_is_for(tmp_path: Path, permits: str, conditions: list[dict[str, Any]] | None) -> None:
    text = (
        'class "a" { match if not known or known; }\nclass "b" { match if not known or known; }\n'
        f"subnet6 2001:db8:1::/64 {{ pool6 {{ {permits} range6 2001:db8:1::/80; }} }}\n"
    )
    made, _ = from_dhcpd(tmp_path, text)
    (pool,) = made["subnet"][0]["pools"]
    if conditions is None:
        assert pool == "2001:db8:1::/80"
        return
    always = {"any": [{"not": {"reserved": True}}, {"reserved": True}]}
    found = [made["class"][name]["when"] for name in pool["classes"]]
    assert [{"all": []} if each == always else each for each in found] == conditions
    load_text(write_file(made, "x"), None)


def test_a_vendors_options_are_its_own_wherever_the_vendor_is_named(tmp_path: Path) -> None:
    made, _ = from_dhcpd(
        tmp_path,
        "option space acme code width 2 length width 2;\n"
        "option acme.gateway code 5 = array of ip6-address;\n"
        "option acme.gateway 2001:db8::5;\n"
        "option vsio.acme code 9 = encapsulate acme;\n"
        "subnet6 2001:db8:1::/64 { }\n",
    )
    suboptions = {"5": "20010db8000000000000000000000005"}
    assert made["options"]["vendor-options"] == [{"enterprise": 9, "suboptions": suboptions}]


def test_the_servers_duid_is_written_with_two_digits_for_each_octet(tmp_path: Path) -> None:
    made, _ = from_dhcpd(tmp_path, "option dhcp6.server-id 0:1:0:1:a:b;\nsubnet6 2001:db8:1::/64 { }\n")
    assert made["server"]["a"]["duid"] == "00:01:00:01:0a:0b"


def test_prefixes_between_any_two_become_pools(tmp_path: Path) -> None:
    made, report = from_dhcpd(tmp_path, "subnet6 2001:db8:1::/64 { prefix6 2001:dba:0:100:: 2001:dba:0:300:: /56; }\n")
    assert made["subnet"][0]["pd-pools"] == [
        {"prefix": "2001:dba:0:100::/56", "delegated-length": 56},
        {"prefix": "2001:dba:0:200::/55", "delegated-length": 56},
    ]
    assert "It takes 2 pools to say the same." in shown(report)

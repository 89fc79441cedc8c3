"""A file of Kea's becomes one of ours that says the same, and every setting of it is accounted for."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tandem.config.load import load_text
from tandem.imports.kea import import_kea
from tandem.imports.kea_text import read_kea
from tandem.imports.report import ImportFailed, Report, Verdict
from tandem.imports.tandem_file import write_file

HERE = Path(__file__).parent
EVERYTHING = HERE / "everything.json"
EXPECTED = HERE / "everything.toml"
EXPECTED_REPORT = HERE / "everything.report"


def imported(path: Path, name: str | None = None, *interfaces: str) -> tuple[str, Report]:
    report = Report()
    return write_file(import_kea(path, name, interfaces, report), path.name), report


def from_kea(folder: Path, dhcp6: dict[str, Any] | str) -> tuple[dict[str, Any], Report]:
    """Import settings that stand beside an interface and nothing else."""
    text = dhcp6 if isinstance(dhcp6, str) else json.dumps({"Dhcp6": dhcp6})
    path = folder / "kea.json"
    path.write_text(text)
    made, report = imported(path, None, "eth0")
    return tomllib.loads(made), report


def shown(report: Report) -> str:
    lines = []
    for verdict in Verdict:
        lines.append(f"{verdict.value}: {report.count(verdict)}")
        for group in report.groups(verdict):
            lines += [f"  {group.text}", *(f"    {setting}" for setting in group.settings)]
    return "\n".join(lines) + "\n"


def leaves(value: Any, path: str) -> Iterator[str]:
    """Give the paths of all settings that hold something."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield from leaves(each, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and any(isinstance(each, dict) for each in value):
        for number, each in enumerate(value, 1):
            yield from leaves(each, f"{path}[{number}]")
    else:
        yield path


def unaccounted(path: Path, report: Report) -> list[str]:
    """Give the settings of which the report says nothing, neither of them nor of what they are in."""
    told = report.paths()
    return [
        leaf
        for leaf in leaves(read_kea(path), "")
        if not any(leaf == each or leaf.startswith((f"{each}.", f"{each}[")) for each in told)
    ]


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


def test_all_of_the_dialect_is_read(tmp_path: Path) -> None:
    (tmp_path / "inner.json").write_text('"valid-lifetime": 7, // seven\n')
    path = tmp_path / "kea.json"
    path.write_text(
        '# a comment\n{ "Dhcp6": { <?include "inner.json"?> /* and\n * more */ "t1-percent": .5,\n'
        '"user-context": { "url": "http://a/#b", "quote": "\\"//\\"" }, "x": [1, 2,], }, }\n'
    )
    assert read_kea(path)["Dhcp6"] == {
        "valid-lifetime": 7,
        "t1-percent": 0.5,
        "user-context": {"url": "http://a/#b", "quote": '"//"'},
        "x": [1, 2],
    }


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "is not a configuration of Kea"),
        ('{ "Dhcp4": {} }', "has no Dhcp6"),
        ("[1]", "has no Dhcp6"),
        ('{ "Dhcp6": { "subnet6": 5 } }', "Dhcp6.subnet6 is not a list."),
        ('{ "Dhcp6": { "subnet6": [5] } }', "Dhcp6.subnet6[1] is not a map."),
        ('{ "Dhcp6": { "valid-lifetime": "1h" } }', "Dhcp6.valid-lifetime is not a number."),
        ('{ "Dhcp6": { "subnet6": [{}] } }', "Dhcp6.subnet6[1].subnet is not a prefix: ''."),
        (
            '{ "Dhcp6": { "subnet6": [{ "subnet": "2001:db8::/64", "pools": [{ "pool": "x" }] }] } }',
            "Dhcp6.subnet6[1].pools[1].pool is not a range of addresses: 'x'.",
        ),
        ('{ "Dhcp6": { "interfaces-config": [] } }', "Dhcp6.interfaces-config is not a map."),
        ('{ "Dhcp6": { "server-id": { "identifier": "xx" } } }', "is not in hexadecimal"),
        ('<?include "kea.json"?>', "is included by files that include each other"),
        ('<?include "nowhere.json"?>', "nowhere.json cannot be read: No such file or directory."),
    ],
)
def test_what_cannot_be_read_is_said_in_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(ImportFailed) as raised:
        from_kea(tmp_path, text)
    assert sentence in str(raised.value)


def test_times_are_inherited_and_percentages_worked_out(tmp_path: Path) -> None:
    made, _ = from_kea(
        tmp_path,
        {
            "preferred-lifetime": 1000,
            "valid-lifetime": 4294967295,
            "t2-percent": 0.6,
            "subnet6": [
                {"subnet": "2001:db8:1::/64"},
                {"subnet": "2001:db8:2::/64", "preferred-lifetime": 500},
                {"subnet": "2001:db8:3::/64", "valid-lifetime": 800, "renew-timer": 900},
            ],
        },
    )
    assert made["lifetimes"] == {"preferred-lifetime": 1000, "valid-lifetime": "forever", "rebind-timer": 600}
    assert [each.get("lifetimes") for each in made["subnet"]] == [
        None,
        {"preferred-lifetime": 500, "rebind-timer": 300},
        {"preferred-lifetime": 800, "valid-lifetime": 800, "rebind-timer": 640},
    ]


def test_defaults_are_written_out(tmp_path: Path) -> None:
    made, _ = from_kea(tmp_path, {"subnet6": [{"subnet": "2001:db8:1::/64"}]})
    assert made["lifetimes"] == {"preferred-lifetime": 3600, "valid-lifetime": 7200}


def test_what_the_file_may_not_say_is_lost_and_keeps_nothing_from_being_served(tmp_path: Path) -> None:
    made, report = from_kea(
        tmp_path,
        {
            "option-data": [
                {"name": "information-refresh-time", "data": "5"},
                {"name": "solmax-rt", "data": "59"},
                {"name": "domain-search", "data": "a..b"},
                {"code": 56, "csv-format": False, "data": "0001"},
                {"name": "dns-servers", "data": "2001:db8::53"},
            ],
            "subnet6": [{"subnet": "2001:db8:1::/64"}],
        },
    )
    assert made["options"] == {"dns-servers": ["2001:db8::53"]}
    assert [report.is_lost(f"Dhcp6.option-data[{number}].data") for number in range(1, 6)] == [True] * 4 + [False]
    assert "information-refresh-time: " in shown(report)
    load_text(write_file(made, "x"), None)


HA = {
    "this-server-name": "left",
    "mode": "load-balancing",
    "max-unacked-clients": 5,
    "peers": [
        {"name": "left", "url": "http://[fd00::1]:8000/", "role": "primary"},
        {"name": "right", "url": "http://192.0.2.2:8000/", "role": "secondary", "auto-failover": True},
        {"name": "third", "url": "http://192.0.2.3:8000/", "role": "backup"},
    ],
}


def pair(**changes: Any) -> dict[str, Any]:
    parameters = {"high-availability": [{**HA, **changes}]}
    hook = {"library": "/usr/lib/kea/hooks/libdhcp_ha.so", "parameters": parameters}
    return {"hooks-libraries": [hook], "subnet6": [{"subnet": "2001:db8:1::/64", "interface": "eth0"}]}


def test_two_servers_of_ha_are_a_pair(tmp_path: Path) -> None:
    made, report = from_kea(tmp_path, {**pair(), "server-id": {"type": "LL", "identifier": "0a0b0c0d0e0f"}})
    assert made["failover"] == {"ha": {"primary": "left", "secondary": "right"}}
    assert made["server"]["left"]["address"] == "fd00::1"
    assert made["server"]["left"]["duid"] == "00:03:00:01:0a:0b:0c:0d:0e:0f"
    assert made["server"]["right"] == {"interfaces": ["eth0"], "address": "::ffff:192.0.2.2"}
    assert made["subnet"][0]["failover"] == "ha"
    assert "backup" in shown(report)
    assert load_text(write_file(made, "x"), "right").settings.relationships[0].partner == "left"


def test_a_pair_needs_two(tmp_path: Path) -> None:
    made, report = from_kea(tmp_path, pair(peers=HA["peers"][::2]))  # type: ignore[index]
    assert "failover" not in made
    assert "A pair has a primary and a secondary" in shown(report)
    with pytest.raises(ImportFailed, match="'nobody' is none of the servers of the pair: left, right"):
        from_kea(tmp_path, pair(**{"this-server-name": "nobody"}))


@pytest.mark.parametrize(
    ("reservation", "expected"),
    [
        ({"duid": "01:02:03", "ip-addresses": ["2001:db8:1::5"]}, {"2001:db8:1::/64": {"address": ["2001:db8:1::5"]}}),
        (
            {"duid": "01:02:03", "prefixes": ["2001:dba::/56"]},
            {"2001:db8:1::/64": {"prefix": ["2001:dba::/56"]}, "2001:db8:2::/64": {"prefix": ["2001:dba::/56"]}},
        ),
        (
            {"duid": "01:02:03", "hostname": "h."},
            {"2001:db8:1::/64": {"hostname": "h."}, "2001:db8:2::/64": {"hostname": "h."}},
        ),
        ({"duid": "01:02:03", "ip-addresses": ["2001:db8:9::5"]}, {}),
    ],
)
def test_reservations_of_the_whole_file(
    tmp_path: Path, reservation: dict[str, Any], expected: dict[str, dict[str, Any]]
) -> None:
    made, report = from_kea(
        tmp_path,
        {
            "reservations-global": True,
            "reservations": [reservation],
            "subnet6": [{"subnet": "2001:db8:1::/64"}, {"subnet": "2001:db8:2::/64"}],
        },
    )
    found = {each["prefix"]: each["reservation"] for each in made["subnet"] if "reservation" in each}
    assert found == {prefix: [{"duid": "01:02:03", **what}] for prefix, what in expected.items()}
    assert ("Dhcp6.reservations[1]" in shown(report)) is True


def test_a_class_that_cannot_be_carried_leaves_its_pool_closed(tmp_path: Path) -> None:
    made, report = from_kea(
        tmp_path,
        {
            "client-classes": [{"name": "x", "test": "pkt.len == 5"}],
            "subnet6": [{"subnet": "2001:db8:1::/64", "pools": [{"pool": "2001:db8:1::/80", "client-class": "x"}]}],
        },
    )
    assert made["class"] == {"x": {}}
    assert made["subnet"][0]["pools"] == [{"range": "2001:db8:1::/80", "classes": ["x"]}]
    assert "Nobody is in x but by reservation: There is nothing like pkt.len here." in shown(report)

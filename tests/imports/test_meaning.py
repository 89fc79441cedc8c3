"""What a file of another server means is what the imported one means: classes, vendors, scopes, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tomli_w

from imports.test_kea import from_kea, pair, shown
from tandem.config.load import load_text
from tandem.imports.dhcpd import import_dhcpd
from tandem.imports.report import Report

POOL = {"pool": "2001:db8:1::10-2001:db8:1::1f"}
SUBNET = {"id": 1, "subnet": "2001:db8:1::/64", "interface": "eth0", "pools": [POOL]}
FIVE = "00:03:00:01:02:00:00:00:00:05"
SIX = "00:03:00:01:02:00:00:00:00:06"


def subnet(**changes: Any) -> dict[str, Any]:
    return {**SUBNET, **changes}


def is_served(made: dict[str, Any], name: str | None = None) -> bool:
    load_text(tomli_w.dumps(made), name)
    return True


def from_dhcpd(folder: Path, text: str) -> tuple[dict[str, Any], Report]:
    path = folder / "dhcpd6.conf"
    path.write_text(text)
    report = Report()
    made = import_dhcpd(path, None, ["eth0"], report)
    assert is_served(made)
    return made, report


# -- clients that are dropped


def test_a_reservation_in_drop_drops_its_client(tmp_path: Path) -> None:
    made, report = from_kea(tmp_path, {"subnet6": [subnet(reservations=[{"duid": FIVE, "client-classes": ["DROP"]}])]})
    assert made["class"]["DROP"] == {"drop": True}
    assert report.to_mend == []
    assert is_served(made)


@pytest.mark.parametrize(
    "dhcp6",
    [
        {"client-classes": [{"name": "DROP", "test": "pkt.len == 5"}]},
        {
            "client-classes": [
                {"name": "odd", "test": "pkt.len == 5"},
                {"name": "DROP", "test": "member('odd') or option[15].exists"},
            ]
        },
        {"reservations-global": True, "reservations": [{"flex-id": "'x'", "client-classes": ["DROP"]}]},
    ],
)
def test_a_file_that_would_serve_clients_that_kea_drops_is_to_be_mended(tmp_path: Path, dhcp6: dict[str, Any]) -> None:
    _, report = from_kea(tmp_path, {"subnet6": [SUBNET], **dhcp6})
    (sentence,) = report.to_mend
    assert "Clients that Kea drops would be served." in sentence


def test_classes_of_early_global_reservations_hold_on_each_link(tmp_path: Path) -> None:
    made, _ = from_kea(
        tmp_path,
        {
            "early-global-reservations-lookup": True,
            "client-classes": [{"name": "vip", "test": "option[15].exists"}],
            "reservations": [
                {"duid": FIVE, "client-classes": ["vip"]},
                {"duid": SIX, "client-classes": ["DROP", "vip"]},
                {"hw-address": "02:00:00:00:00:07", "client-classes": ["vip"]},
            ],
            "subnet6": [subnet(**{"client-class": "vip"})],
        },
    )
    assert made["class"]["DROP"] == {"drop": True, "when": {"any": [{"duid": [SIX]}]}}
    vip = made["class"]["vip"]["when"]["any"]
    assert vip == [{"option": {"code": 15}}, {"duid": [FIVE, SIX]}, {"link-layer": ["02:00:00:00:00:07"]}]
    assert "reservation" not in made["subnet"][0]
    assert is_served(made)


# -- classes that are lost, or nobody's


def test_what_leans_on_a_lost_class_is_lost(tmp_path: Path) -> None:
    made, report = from_kea(
        tmp_path,
        {
            "client-classes": [
                {"name": "modems", "test": "pkt.len == 5"},
                {"name": "others", "test": "not member('modems')"},
                {"name": "all-others", "test": "member('others')"},
            ],
            "subnet6": [SUBNET],
        },
    )
    assert made["class"] == {"modems": {}, "others": {}, "all-others": {}}
    assert "Nobody is in others but by reservation: It depends on modems" in shown(report)
    assert "Nobody is in all-others but by reservation: It depends on others" in shown(report)


def test_pools_of_the_servers_of_a_pair_are_for_all_clients(tmp_path: Path) -> None:
    pools = [{**POOL, "client-class": "HA_left"}, {"pool": "2001:db8:1::80/124", "client-classes": ["HA_right"]}]
    made, report = from_kea(tmp_path, {**pair(), "subnet6": [subnet(pools=pools)]})
    assert made["subnet"][0]["pools"] == [POOL["pool"], "2001:db8:1::80/124"]
    assert "class" not in made
    assert "It is for all clients: each server of the pair has a share" in shown(report)


def test_a_test_by_the_servers_of_a_pair_is_lost(tmp_path: Path) -> None:
    classes = [{"name": "x", "test": "not member('HA_left')"}]
    _, report = from_kea(tmp_path, {**pair(), "client-classes": classes})
    assert "It depends on HA_left" in shown(report)


def test_a_class_that_nothing_defines_is_named(tmp_path: Path) -> None:
    reserved = [{"duid": FIVE, "client-classes": ["mine"]}]
    pools = [{**POOL, "client-class": "nowhere"}, {"pool": "2001:db8:1::80/124", "client-class": "mine"}]
    _, report = from_kea(tmp_path, {"subnet6": [subnet(pools=pools, reservations=reserved)]})
    assert "Nobody is in nowhere, as with Kea" in shown(report)
    assert "Nobody is in mine" not in shown(report)


# -- options


MODEM = [
    {"space": "vendor-4491", "name": "tftp-servers", "code": 32, "data": "2001:db8:9::1"},
    {"space": "vendor-4491", "name": "config-file", "code": 33, "data": "cm.cfg"},
]
SUBOPTIONS = {"32": "20010db8000900000000000000000001", "33": b"cm.cfg".hex()}


def test_suboptions_of_a_vendor_need_no_option_17_of_their_own(tmp_path: Path) -> None:
    made, _ = from_kea(tmp_path, {"option-data": MODEM, "subnet6": [SUBNET]})
    assert made["options"]["vendor-options"] == [{"enterprise": 4491, "suboptions": SUBOPTIONS}]
    always = [{**MODEM[0], "always-send": True}, MODEM[1], {"name": "vendor-opts", "data": "4491"}]
    made, _ = from_kea(tmp_path, {"option-data": always, "subnet6": [SUBNET]})
    assert made["options"]["vendor-options"] == [{"enterprise": 4491, "suboptions": SUBOPTIONS, "always-send": [32]}]


def test_suboptions_of_a_network_and_of_its_subnet_are_joined(tmp_path: Path) -> None:
    network = {"name": "n", "option-data": MODEM, "subnet6": [subnet(**{"option-data": [{**MODEM[1], "data": "b"}]})]}
    made, _ = from_kea(tmp_path, {"shared-networks": [network]})
    (entry,) = made["subnet"][0]["options"]["vendor-options"]
    assert entry["suboptions"] == {**SUBOPTIONS, "33": b"b".hex()}


def test_always_send_stands_beside_the_options(tmp_path: Path) -> None:
    dns = {"name": "dns-servers", "data": "2001:db8::53", "always-send": True}
    made, report = from_kea(tmp_path, {"option-data": [dns], "subnet6": [subnet(**{"option-data": [dns]})]})
    assert made["always-send"] == ["dns-servers"]
    assert made["subnet"][0]["always-send"] == ["dns-servers"]
    assert "always-send" not in shown(report).partition("not needed")[0]
    assert is_served(made)


def test_a_preference_of_some_clients_is_lost(tmp_path: Path) -> None:
    preference = {"option-data": [{"name": "preference", "data": "255"}]}
    made, report = from_kea(
        tmp_path,
        {"client-classes": [{"name": "rare", "test": "option[15].exists", **preference}], "subnet6": [SUBNET]},
    )
    assert "preference" not in made["server"]["a"]
    assert report.is_lost("Dhcp6.client-classes[1].option-data[1].data")
    assert from_kea(tmp_path, {**preference, "subnet6": [SUBNET]})[0]["server"]["a"]["preference"] == 255


def test_relays_may_supply_what_they_may_by_default_and_what_the_file_adds(tmp_path: Path) -> None:
    made, _ = from_kea(tmp_path, {"relay-supplied-options": ["110"], "subnet6": [SUBNET]})
    assert made["relay-supplied-options"] == [65, 110]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            [
                {"name": "ntp-server"},
                {"name": "ntp-server-address", "space": "v6-ntp-server-suboptions", "data": "2001:db8::123"},
                {"name": "ntp-server-fqdn", "space": "v6-ntp-server-suboptions", "data": "ntp.example.net"},
            ],
            {"ntp-servers": ["2001:db8::123", "ntp.example.net."]},
        ),
        ([{"name": "v6-sztp-redirect", "data": "https://a/"}], {"136": {"hex": "000a68747470733a2f2f612f"}}),
        ([{"name": "addr-reg-enable"}], {"148": {"string": ""}}),
        (
            [{"name": "v6-dnr", "data": r"100, dns.example., 2001:db8::53, alpn=dot\,doq port=8530"}],
            {
                "144": {
                    "hex": "0064" + "000d" + "03646e73076578616d706c6500"
                    "0010" + "20010db8000000000000000000000053" + "00010008" + "03646f7403646f71" + "000300022152"
                }
            },
        ),
        ([{"name": "v6-dnr", "data": "7, dns.example."}], {"144": {"hex": "0007000d03646e73076578616d706c6500"}}),
    ],
)
def test_options_of_later_versions(tmp_path: Path, options: list[dict[str, Any]], expected: dict[str, Any]) -> None:
    made, _ = from_kea(tmp_path, {"option-data": options, "subnet6": [SUBNET]})
    assert made["options"] == expected
    assert is_served(made)


def test_a_container_is_lost_with_a_part_of_it(tmp_path: Path) -> None:
    options = [
        {"name": "s46-cont-mape"},
        {"space": "s46-cont-mape-options", "name": "s46-br", "data": "2001:db8:cafe::1"},
        {"space": "s46-cont-mape-options", "name": "s46-rule", "data": "1, 0, 24, 192.0.2.0, nonsense"},
    ]
    made, report = from_kea(tmp_path, {"option-data": options, "subnet6": [SUBNET]})
    assert "options" not in made
    assert [report.is_lost(f"Dhcp6.option-data[{number}].data") for number in (1, 3)] == [True, True]


@pytest.mark.parametrize("is_there", [True, False])
def test_a_container_is_empty_only_if_the_file_has_nothing_for_it(tmp_path: Path, is_there: bool) -> None:
    """Kea sends it empty, as what would be in it stands at a client's reservation: that is not what the file means."""
    inside = {"space": "s46-cont-mape-options", "name": "s46-br", "data": "2001:db8:cafe::1"}
    hosts = [{"duid": FIVE, "option-data": [inside] if is_there else []}]
    made, report = from_kea(
        tmp_path, {"subnet6": [subnet(**{"option-data": [{"name": "s46-cont-mape"}], "reservations": hosts})]}
    )
    if not is_there:
        assert made["subnet"][0]["options"] == {"94": {"string": ""}}
        return
    assert "options" not in made["subnet"][0]
    assert report.is_lost("Dhcp6.subnet6[1].option-data[1].data")
    (sentence,) = report.to_mend
    assert "the options of s46-cont-mape-options stand in other scopes" in sentence


def test_an_option_that_would_be_encoded_otherwise_is_lost(tmp_path: Path) -> None:
    options = [
        {"code": 24, "csv-format": False, "data": "03616263"},
        {"code": 23, "csv-format": False, "data": "20010db8"},
        {"code": 59, "csv-format": False, "data": "ff"},
    ]
    made, report = from_kea(tmp_path, {"option-data": options, "subnet6": [SUBNET]})
    assert "options" not in made
    assert all(report.is_lost(f"Dhcp6.option-data[{number}].data") for number in (1, 2, 3))


# -- reservations


def test_names_are_completed_with_the_suffix_of_their_scope(tmp_path: Path) -> None:
    hosts = [{"duid": FIVE, "hostname": "printer"}, {"duid": SIX, "hostname": "a.my.example"}]
    made, report = from_kea(tmp_path, {"ddns-qualifying-suffix": "my.example", "subnet6": [subnet(reservations=hosts)]})
    assert [each["hostname"] for each in made["subnet"][0]["reservation"]] == ["printer.my.example.", "a.my.example."]
    assert "It completes the names of reservations" in shown(report)


def test_a_lease_of_several_clients_is_said_to_be_that(tmp_path: Path) -> None:
    hosts = [{"duid": each, "ip-addresses": ["2001:db8:1::15"]} for each in (FIVE, SIX)]
    made, _ = from_kea(tmp_path, {"ip-reservations-unique": False, "subnet6": [subnet(reservations=hosts)]})
    assert made["ip-reservations-unique"] is False
    assert is_served(made)


def test_a_reservation_of_a_subnet_goes_before_one_of_the_whole_file(tmp_path: Path) -> None:
    made, report = from_kea(
        tmp_path,
        {
            "reservations-global": True,
            "reservations-in-subnet": True,
            "reservations": [{"duid": FIVE, "hostname": "everywhere"}],
            "subnet6": [subnet(reservations=[{"duid": FIVE, "hostname": "here"}])],
        },
    )
    assert [each["hostname"] for each in made["subnet"][0]["reservation"]] == ["here."]
    assert "A reservation of a subnet for the same client goes before it." in shown(report)
    assert is_served(made)


def test_lifetimes_of_a_class(tmp_path: Path) -> None:
    times = {"valid-lifetime": 600}
    classes = [{"name": "short", "test": "option[15].exists", **times}]
    made, report = from_kea(tmp_path, {"client-classes": classes, "renew-timer": 1000, "subnet6": [SUBNET]})
    assert made["class"]["short"]["lifetimes"] == {"valid-lifetime": 600, "preferred-lifetime": 600}
    assert "half and eight tenths of it as T1 and T2" in shown(report)
    assert is_served(made)


# -- dhcpd


def test_octets_of_an_option_that_dhcpds_file_defines_are_kept(tmp_path: Path) -> None:
    made, _ = from_dhcpd(
        tmp_path,
        """
        option dhcp6.rules code 95 = string;
        option dhcp6.tunnel-end code 64 = string;
        subnet6 2001:db8:1::/64 {
          option dhcp6.rules 00:5b:00:02:40:20;
          option dhcp6.tunnel-end 02:67:77:03:6e:65:74:00;
        }""",
    )
    assert made["subnet"][0]["options"] == {"95": {"hex": "005b00024020"}, "aftr-name": "gw.net."}


def test_prefixes_that_hold_a_link_are_left_out(tmp_path: Path) -> None:
    made, report = from_dhcpd(
        tmp_path,
        """
        subnet6 2001:db8:0:100::/64 {
          prefix6 2001:db8:0:100:: 2001:db8:0:103:: /64;
          prefix6 2001:db8:0:200:: 2001:db8:0:300:: /56;
        }
        shared-network x { subnet6 2001:db8:0:102::/64 { } subnet6 2001:db8:0:201::/64 { } }""",
    )
    assert [each["prefix"] for each in made["subnet"][0]["pd-pools"]] == [
        "2001:db8:0:101::/64",
        "2001:db8:0:103::/64",
        "2001:db8:0:300::/56",
    ]
    assert "Prefixes that lie on a link, or hold one, are delegated to nobody." in shown(report)


def test_a_reserved_prefix_that_holds_a_link_is_lost(tmp_path: Path) -> None:
    host = f"host x {{ host-identifier option dhcp6.client-id {FIVE}; fixed-prefix6 2001:db8:1::/64; }}"
    made, report = from_dhcpd(tmp_path, "subnet6 2001:db8:1::/64 { range6 2001:db8:1::10 2001:db8:1::1f; }\n" + host)
    assert "prefix" not in made["subnet"][0]["reservation"][0]
    assert "A link lies in it, or it lies on one." in shown(report)


def test_two_hosts_of_dhcpd_with_one_address(tmp_path: Path) -> None:
    hosts = "".join(
        f"host h{number} {{ host-identifier option dhcp6.client-id {duid}; fixed-address6 2001:db8:1::7; }}\n"
        for number, duid in enumerate((FIVE, SIX))
    )
    made, report = from_dhcpd(tmp_path, "subnet6 2001:db8:1::/64 { }\n" + hosts)
    assert made["ip-reservations-unique"] is False
    assert "who holds it keeps it" in shown(report)


def test_what_a_pool_denies_stays_closed_if_it_cannot_be_told(tmp_path: Path) -> None:
    made, report = from_dhcpd(
        tmp_path,
        """
        class "odd" { match if binary-to-ascii(16, 8, ":", option dhcp6.client-id) = "1"; }
        subnet6 2001:db8:1::/64 {
          pool6 { range6 2001:db8:1::10 2001:db8:1::1f; deny members of "odd"; }
          pool6 { range6 2001:db8:1::20 2001:db8:1::2f; allow authenticated clients; }
        }""",
    )
    assert "Nobody is in odd" in shown(report)
    closed = {name for name, each in made["class"].items() if "when" not in each}
    for pool in made["subnet"][0]["pools"]:
        assert set(pool["classes"]) <= closed

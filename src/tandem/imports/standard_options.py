"""The options that Kea defines by itself, with the types of their values; dhcpd has most of them by other names."""

from __future__ import annotations

from typing import NamedTuple

DHCP6 = "dhcp6"
DNR = "v6-dnr"
"""The encrypted resolver, of which the text has a form of its own."""


class Definition(NamedTuple):
    """An option's code, the types of its values, and the space of the options inside of it, empty if none."""

    code: int
    types: tuple[str, ...]
    array: bool = False
    encapsulate: str = ""


def _addresses(code: int) -> Definition:
    return Definition(code, ("ipv6-address",), True)


def _names(code: int) -> Definition:
    return Definition(code, ("fqdn",), True)


def _one(code: int, *types: str, encapsulate: str = "") -> Definition:
    return Definition(code, types, encapsulate=encapsulate)


EXCHANGED = {
    "clientid": 1,
    "serverid": 2,
    "ia-na": 3,
    "ia-ta": 4,
    "iaaddr": 5,
    "oro": 6,
    "relay-msg": 9,
    "auth": 11,
    "status-code": 13,
    "rapid-commit": 14,
    "user-class": 15,
    "interface-id": 18,
    "reconf-msg": 19,
    "ia-pd": 25,
    "iaprefix": 26,
}
"""Options that servers make themselves, or clients and relays; they are named in expressions."""

STANDARD: dict[str, dict[str, Definition]] = {
    DHCP6: {
        **{name: _one(code, "binary") for name, code in EXCHANGED.items()},
        "preference": _one(7, "uint8"),
        "elapsed-time": _one(8, "uint16"),
        "unicast": _one(12, "ipv6-address"),
        "vendor-class": Definition(16, ("uint32", "tuple"), True),
        "vendor-opts": _one(17, "uint32"),
        "reconf-accept": _one(20, "empty"),
        "sip-server-dns": _names(21),
        "sip-server-addr": _addresses(22),
        "dns-servers": _addresses(23),
        "domain-search": _names(24),
        "nis-servers": _addresses(27),
        "nisp-servers": _addresses(28),
        "nis-domain-name": _names(29),
        "nisp-domain-name": _names(30),
        "sntp-servers": _addresses(31),
        "information-refresh-time": _one(32, "uint32"),
        "bcmcs-server-dns": _names(33),
        "bcmcs-server-addr": _addresses(34),
        "geoconf-civic": _one(36, "uint8", "uint16", "string"),
        "remote-id": _one(37, "uint32", "binary"),
        "subscriber-id": _one(38, "binary"),
        "client-fqdn": _one(39, "uint8", "fqdn"),
        "pana-agent": _addresses(40),
        "new-posix-timezone": _one(41, "string"),
        "new-tzdb-timezone": _one(42, "string"),
        "ero": Definition(43, ("uint16",), True),
        "lq-query": _one(44, "uint8", "ipv6-address"),
        "client-data": _one(45, "empty"),
        "clt-time": _one(46, "uint32"),
        "lq-relay-data": _one(47, "ipv6-address", "binary"),
        "lq-client-link": _addresses(48),
        "v6-lost": _one(51, "fqdn"),
        "ntp-server": _one(56, "empty", encapsulate="v6-ntp-server-suboptions"),
        "capwap-ac-v6": _addresses(52),
        "relay-id": _one(53, "binary"),
        "v6-access-domain": _one(57, "fqdn"),
        "sip-ua-cs-list": _names(58),
        "bootfile-url": _one(59, "string"),
        "bootfile-param": Definition(60, ("tuple",), True),
        "client-arch-type": Definition(61, ("uint16",), True),
        "nii": _one(62, "uint8", "uint8", "uint8"),
        "aftr-name": _one(64, "fqdn"),
        "erp-local-domain-name": _one(65, "fqdn"),
        "rsoo": _one(66, "empty"),
        "pd-exclude": _one(67, "binary"),
        "rdnss-selection": _one(74, "ipv6-address", "uint8", "fqdn"),
        "client-linklayer-addr": _one(79, "binary"),
        "link-address": _one(80, "ipv6-address"),
        "solmax-rt": _one(82, "uint32"),
        "inf-max-rt": _one(83, "uint32"),
        "dhcp4o6-server-addr": _addresses(88),
        "s46-cont-mape": _one(94, "empty", encapsulate="s46-cont-mape-options"),
        "s46-cont-mapt": _one(95, "empty", encapsulate="s46-cont-mapt-options"),
        "s46-cont-lw": _one(96, "empty", encapsulate="s46-cont-lw-options"),
        "v6-captive-portal": _one(103, "string"),
        "v6-sztp-redirect": Definition(136, ("tuple",), True),
        DNR: _one(144, "string"),
        "addr-reg-enable": _one(148, "empty"),
        "ipv6-address-andsf": _addresses(143),
    },
    "v6-ntp-server-suboptions": {
        "ntp-server-address": _one(1, "ipv6-address"),
        "ntp-server-multicast": _one(2, "ipv6-address"),
        "ntp-server-fqdn": _one(3, "fqdn"),
    },
    "s46-cont-mape-options": {
        "s46-rule": _one(89, "uint8", "uint8", "uint8", "ipv4-address", "ipv6-prefix", encapsulate="s46-rule-options"),
        "s46-br": _one(90, "ipv6-address"),
    },
    "s46-cont-mapt-options": {
        "s46-rule": _one(89, "uint8", "uint8", "uint8", "ipv4-address", "ipv6-prefix", encapsulate="s46-rule-options"),
        "s46-dmr": _one(91, "ipv6-prefix"),
    },
    "s46-cont-lw-options": {
        "s46-br": _one(90, "ipv6-address"),
        "s46-v4v6bind": _one(92, "ipv4-address", "ipv6-prefix", encapsulate="s46-v4v6bind-options"),
    },
    "s46-rule-options": {"s46-portparams": _one(93, "uint8", "psid")},
    "s46-v4v6bind-options": {"s46-portparams": _one(93, "uint8", "psid")},
    "vendor-4491": {
        "oro": Definition(1, ("uint16",), True),
        "tftp-servers": _addresses(32),
        "config-file": _one(33, "string"),
        "syslog-servers": _addresses(34),
        "time-servers": _addresses(37),
        "time-offset": _one(38, "int32"),
    },
}
"""By space and name."""

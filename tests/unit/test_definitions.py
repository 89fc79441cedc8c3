"""Options that the file defines: values of each type as octets, and values that are none."""

from __future__ import annotations

from typing import Any

import pytest

from tandem.config.definitions import OptionDefinition


@pytest.mark.parametrize(
    ("type_", "array", "value", "octets"),
    [
        ("empty", False, True, ""),
        ("boolean", False, True, "01"),
        ("boolean", True, [True, False], "0100"),
        ("uint8", False, 255, "ff"),
        ("uint16", False, 258, "0102"),
        ("uint32", False, "4294967295", "ffffffff"),
        ("int8", False, -1, "ff"),
        ("int16", False, -2, "fffe"),
        ("int32", False, -3, "fffffffd"),
        ("uint16", True, [1, 2, 3], "000100020003"),
        ("uint16", True, 7, "0007"),
        ("uint16", True, [], ""),
        ("string", False, "grün", "6772c3bc6e"),
        ("tuple", True, ["a", "bc"], "00016100026263"),
        ("binary", False, "00:0a", "000a"),
        ("fqdn", False, "a.example", "0161076578616d706c6500"),
        ("ipv4-address", True, ["192.0.2.1", "192.0.2.2"], "c0000201c0000202"),
        ("ipv6-address", False, "2001:db8::1", "20010db8000000000000000000000001"),
        ("ipv6-prefix", False, "2001:db8:ff00::/40", "2820010db8ff"),
        ("psid", False, "3/4", "043000"),
        (["uint8", "ipv6-address", "string"], False, [1, "::1", "x"], "01" + "00" * 15 + "01" + "78"),
        (["uint8", "uint16"], True, [1, 2, 3], "0100020003"),
    ],
)
def test_values_as_octets(type_: str | list[str], array: bool, value: Any, octets: str) -> None:
    definition = OptionDefinition.model_validate({"code": 300, "type": type_, "array": array})
    assert definition.encode(value).hex() == octets


@pytest.mark.parametrize(
    ("type_", "value", "why"),
    [
        ("empty", False, "write true"),
        ("boolean", 1, "neither true nor false"),
        ("uint8", -1, "not of type uint8"),
        ("uint8", True, "not of type uint8"),
        ("int8", 128, "not of type int8"),
        ("uint32", "x", "not of type uint32"),
        ("uint32", None, "not of type uint32"),
        ("string", 5, "not a text"),
        ("tuple", 5, "not a text"),
        ("binary", "xyz", "not a list of octets"),
        ("fqdn", "", "not a domain name"),
        ("ipv4-address", "::1", "not an IPv4 address"),
        ("ipv6-address", "192.0.2.1", "not an IPv6 address"),
        ("ipv6-prefix", "2001:db8::", "has no length"),
        ("psid", "16/4", "more than 4 bits"),
        ("psid", "1", "not a PSID"),
        ("psid", "1/17", "not a PSID"),
        ("uint8", [1, 2], "1 values are needed, and not 2"),
        ("uint8", [], "1 values are needed, and not 0"),
        (["uint8", "uint8"], [1], "2 values are needed"),
    ],
)
def test_what_is_no_value(type_: str | list[str], value: Any, why: str) -> None:
    definition = OptionDefinition.model_validate({"code": 300, "type": type_})
    with pytest.raises(ValueError, match=why):
        definition.encode(value)

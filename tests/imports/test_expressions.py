"""Expressions of Kea and dhcpd as conditions of ours; what has no like here is refused, and named."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tandem.config.classes import When
from tandem.imports.dhcpd_options import NAMES
from tandem.imports.dhcpd_tests import read_expression
from tandem.imports.dhcpd_text import Word
from tandem.imports.kea_tests import built_in_class, read_test
from tandem.imports.options import OptionReader
from tandem.imports.report import CannotCarry

OPTIONS = OptionReader()


@pytest.mark.parametrize(
    ("expression", "condition"),
    [
        ("option[16].exists", {"option": {"code": 16}}),
        ("option[bootfile-url].exists", {"option": {"code": 59}}),
        ("option[61].hex == 0x0007", {"option": {"code": 61, "is": "0x0007"}}),
        ("0x7 == option[61].hex", {"option": {"code": 61, "is": "0x07"}}),
        ("option[59].text == 'lab'", {"option": {"code": 59, "is": "lab"}}),
        ("option[user-class].hex == 0x000469505845", {"option": {"code": 15, "is": "0x000469505845"}}),
        (
            "substring(option[17].option[2].hex,0,5) == 'RADIO'",
            {"vendor-option": {"code": 2, "starts-with": "RADIO"}},
        ),
        ("option[17].option[1].exists", {"vendor-option": {"code": 1}}),
        ("known and not unknown", {"all": [{"reserved": True}, {"not": {"reserved": False}}]}),
        (
            "substring(substring(option[1].hex,1,3),0,1) == 'a'",
            {"option": {"code": 1, "from": 1, "length": 1, "is": "a"}},
        ),
        ("'a' == 'a'", {"all": []}),
        ("concat('a','b') == 'ac'", {"any": []}),
        (
            "concat(substring(option[1].hex,0,2),substring(option[1].hex,8,2)) == 0x00030005",
            {
                "all": [
                    {"option": {"code": 1, "starts-with": "0x0003"}},
                    {"option": {"code": 1, "from": 8, "length": 2, "is": "0x0005"}},
                ]
            },
        ),
        ("'a' + option[15].hex + 'b' == 'axb'", {"option": {"code": 15, "is": "x"}}),
        ("('a' + option[15].hex) == 'b'", {"any": []}),
        ("'abc' + option[15].hex == 'ab'", {"any": []}),
        (
            "ifelse(option[15].exists, option[15].hex, 'none') == 'none'",
            {
                "any": [
                    {"all": [{"option": {"code": 15}}, {"option": {"code": 15, "is": "none"}}]},
                    {"not": {"option": {"code": 15}}},
                ]
            },
        ),
        (
            "hexstring(substring(option[1].hex,8,2), ':') == '00:05'",
            {"option": {"code": 1, "from": 8, "length": 2, "is": "0x0005"}},
        ),
        ("hexstring(option[1].hex, '') == '000a'", {"option": {"code": 1, "is": "0x000a"}}),
        ("hexstring(option[1].hex, ':') == '00:0A'", {"any": []}),
        ("hexstring(option[1].hex, ':') == '000a'", {"any": []}),
        ("uint16totext(option[61].hex) == '7'", {"option": {"code": 61, "is": "0x0007"}}),
        ("int8totext(option[61].hex) == '-1'", {"option": {"code": 61, "is": "0xff"}}),
        ("uint16totext(option[61].hex) == '07'", {"any": []}),
        ("addrtotext(relay6[0].linkaddr) == '2001:db8::1'", {"link-address": "2001:db8::1/128", "relay": -1}),
        (
            "split(option[39].hex, '.', 1) == 'x'",
            {"any": [{"option": {"code": 39, "is": "x"}}, {"option": {"code": 39, "starts-with": "x."}}]},
        ),
        (
            "ifelse(member('a'), concat('x', option[15].hex), 'y') == 'xz'",
            {"all": [{"class": "a"}, {"option": {"code": 15, "is": "z"}}]},
        ),
        ("substring(option[16].hex,6,5) == 'phone'", {"option": {"code": 16, "from": 6, "length": 5, "is": "phone"}}),
        ("substring(option[1].hex, 0, 2) == 0x0003", {"option": {"code": 1, "starts-with": "0x0003"}}),
        ("substring(option[1].hex, -2, all) == 'ab'", {"option": {"code": 1, "from": -2, "is": "ab"}}),
        ("member('a') or member('b')", {"any": [{"class": "a"}, {"class": "b"}]}),
        (
            "not member('a') and (member('b') or member('c'))",
            {"all": [{"not": {"class": "a"}}, {"any": [{"class": "b"}, {"class": "c"}]}]},
        ),
        ("pkt6.msgtype == 11", {"message": "information-request"}),
        ("pkt.iface == 'eth0'", {"interface": "eth0"}),
        ("relay6[0].linkaddr == 2001:db8::1", {"link-address": "2001:db8::1/128", "relay": -1}),
        ("relay6[-1].peeraddr == fe80::1", {"peer-address": "fe80::1/128", "relay": 1}),
        ("relay6[1].option[18].hex == 'ge'", {"relay-option": {"code": 18, "relay": -2, "is": "ge"}}),
        ("relay6[-2].option[37].exists", {"relay-option": {"code": 37, "relay": 2}}),
        ("vendor.enterprise == 4491", {"vendor-option": {"enterprise": 4491}}),
        ("vendor[4491].exists", {"vendor-option": {"enterprise": 4491}}),
        ("vendor[*].option[1].exists", {"vendor-option": {"code": 1}}),
        ("vendor[4491].option[2].hex == 'x'", {"vendor-option": {"enterprise": 4491, "code": 2, "is": "x"}}),
        ("vendor-class[9].data == 'phone'", {"vendor-class": {"enterprise": 9, "is": "phone"}}),
        ("vendor-class.enterprise == 9", {"vendor-class": {"enterprise": 9}}),
    ],
)
def test_what_kea_says(expression: str, condition: dict[str, Any]) -> None:
    assert read_test(expression, OPTIONS) == condition
    When.model_validate(condition)


@pytest.mark.parametrize(
    "expression",
    [
        "option[15].text == 'lab'",
        "option[999].text == 'lab'",
        "relay6[0].option[18].text == 'ge'",
        "split(option[39].hex, '.', 2) == 'x'",
        "concat(option[1].hex, option[2].hex) == 'ab'",
        "vendor-class[9].data[1] == 'x'",
        "lcase(option[15].hex) == 'x'",
        "pkt.len == 5",
        "option[60].option[1].hex == 'x'",
        "option[no-such].exists",
        "option[1].hex == option[2].hex",
        "substring(option[1].hex,0,2) + substring(option[1].hex,8,2) == 0x000300",
        "option[1].hex == ''",
        "option[1].hex",
        "member('a'",
        "(" * 100 + "member('a')" + ")" * 100,
        "not " * 200 + "member('a')",
        "member('a') member('b')",
        "pkt6.msgtype == 99",
        "relay6[0].linkaddr == 'x'",
        "",
        "$",
    ],
)
def test_what_kea_says_that_has_no_like_here(expression: str) -> None:
    with pytest.raises(CannotCarry, match=r"\.$"):
        read_test(expression, OPTIONS)


def test_classes_that_kea_has_by_itself() -> None:
    assert built_in_class("KNOWN") == {"reserved": True}
    assert built_in_class("VENDOR_CLASS_docsis3.0") == {"vendor-class": "docsis3.0"}
    assert built_in_class("mine") is None
    for name in ("ALL", "UNKNOWN"):
        When.model_validate(built_in_class(name))


def words(text: str) -> list[Word]:
    """Split an expression as a file's text would be."""
    from tandem.imports.dhcpd_text import TOKEN, unescaped

    found = []
    for token in TOKEN.finditer(text):
        if token[0].startswith('"'):
            found.append(Word(unescaped(token[0][1:-1]), 1, is_text=True))
        elif not token[0].isspace():
            found.append(Word(token[0], 1))
    return found


def dhcpd_code_of(name: str) -> int | None:
    return NAMES.get(name.removeprefix("dhcp6."))


@pytest.mark.parametrize(
    ("expression", "condition"),
    [
        ("exists dhcp6.user-class", {"option": {"code": 15}}),
        ('option dhcp6.user-class = "lab"', {"option": {"code": 15, "is": "lab"}}),
        ("option dhcp6.client-arch-type = 0:7", {"option": {"code": 61, "is": "0x0007"}}),
        (
            'substring (option dhcp6.vendor-class, 6, 5) = "phone"',
            {"option": {"code": 16, "from": 6, "length": 5, "is": "phone"}},
        ),
        ('suffix (option dhcp6.client-id, 2) = "ab"', {"option": {"code": 1, "from": -2, "is": "ab"}}),
        ('not option dhcp6.user-class = "lab"', {"not": {"option": {"code": 15, "is": "lab"}}}),
        ('v6relay(1, option dhcp6.interface-id) = "ge"', {"relay-option": {"code": 18, "relay": 1, "is": "ge"}}),
        ('v6relay(33, option dhcp6.remote-id) = "x"', {"relay-option": {"code": 37, "relay": -1, "is": "x"}}),
        (
            'known and (exists dhcp6.oro or option dhcp6.user-class != "a")',
            {
                "all": [
                    {"reserved": True},
                    {"any": [{"option": {"code": 6}}, {"not": {"option": {"code": 15, "is": "a"}}}]},
                ]
            },
        ),
    ],
)
def test_what_dhcpd_says(expression: str, condition: dict[str, Any]) -> None:
    assert read_expression(words(expression), dhcpd_code_of) == condition
    When.model_validate(condition)


@pytest.mark.parametrize(
    "expression",
    [
        "hardware = 1:2:3",
        'binary-to-ascii(16, 8, ":", option dhcp6.client-id) = "a"',
        "option host-name = 1:2",
        "exists",
        "( known",
        "known known",
        "not " * 200 + "known",
        'substring(option dhcp6.user-class, x, 2) = "a"',
    ],
)
def test_what_dhcpd_says_that_has_no_like_here(expression: str) -> None:
    with pytest.raises(CannotCarry, match=r"\.$"):
        read_expression(words(expression), dhcpd_code_of)


PIECES = (
    "option[",
    "16",
    "]",
    ".hex",
    ".exists",
    "==",
    "'a'",
    "0x0",
    "not",
    "and",
    "or",
    "(",
    ")",
    "substring(",
    ",",
    "member('x')",
    "relay6[0]",
    "vendor[",
    "-1",
    "fe80::",
    "all",
)


@given(st.lists(st.sampled_from(PIECES), max_size=12).map(" ".join))
@example("relay6[0].option")
def test_whatever_stands_there_it_is_read_or_refused(expression: str) -> None:
    readers: tuple[Callable[[], Any], ...] = (
        lambda: read_test(expression, OPTIONS),
        lambda: read_expression(words(expression), dhcpd_code_of),
    )
    for read in readers:
        with contextlib.suppress(CannotCarry):
            When.model_validate(read())

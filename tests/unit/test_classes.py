"""Conditions of classes: what each of them looks at, and how they are joined."""

from __future__ import annotations

from ipaddress import IPv6Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.config.classes import When
from tandem.config.load import parse
from tandem.config.problems import ConfigError
from tandem.effects.conditions import Comparison, Condition, Every, Exists, Matches, Not, Subject, Where
from tandem.effects.options import OptionSet
from tandem.effects.settings import ClientClass, Settings
from tandem.server.classes import Classes
from tandem.wire.message import Message, MessageType, Relayed
from tandem.wire.option import Unknown
from tandem.wire.options import (
    ClientId,
    ClientLinkLayer,
    InterfaceId,
    UserClass,
    VendorClass,
    VendorOptions,
)
from tandem.wire.received import read_client_message, unwrap

DUID = bytes.fromhex("000300010200000000aa")
ASKED = Message(
    MessageType.SOLICIT,
    1,
    (
        ClientId(DUID),
        UserClass((b"lab", b"printer")),
        VendorClass(9, (b"phone-7", b"v2")),
        VendorClass(10, (b"tablet",)),
        VendorClass(4444, ()),
        VendorOptions(4491, ((1, b"\0\x02"), (32, b"cm"))),
        Unknown(1000, b"\x01\x02\x03\x04"),
        Unknown(1001, b""),
    ),
)
NEAR = Relayed(
    MessageType.RELAY_FORW,
    0,
    IPv6Address("2001:db8:1::1").packed,
    IPv6Address("fe80::c").packed,
    (InterfaceId(b"Gi0/1"), ClientLinkLayer(1, bytes.fromhex("02aa00000001")), Unknown(37, bytes(4) + b"remote")),
    ASKED,
)
FAR = Relayed(
    MessageType.RELAY_FORW,
    1,
    IPv6Address("2001:db8:2::1").packed,
    IPv6Address("2001:db8:1::1").packed,
    (InterfaceId(b"uplink"), Unknown(38, b"sub")),
    NEAR,
)


def holds(condition: Condition, question: Message | Relayed = FAR, from_duid: bool = False) -> bool:
    classes = (ClientClass("class.x", "x", condition, OptionSet()),)
    settings = Settings("a", (), (), 0, OptionSet(), 0, 0, link_layer_from_duid=from_duid, classes=classes)
    data = question.write()
    relays, start, end = unwrap(data)
    return Classes(settings).of(read_client_message(data, start, end), relays, None, "ens3") == {"x"}


def when(text: dict[str, Any]) -> Condition:
    return When.model_validate(text).condition({"lan": "ens3", "wan": "ens4"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ({"user-class": "printer"}, True),
        ({"user-class": ["x", "lab"]}, True),
        ({"user-class": "labprinter"}, False),
        ({"vendor-class": "tablet"}, True),
        ({"vendor-class": {"enterprise": 9, "is": "tablet"}}, False),
        ({"vendor-class": {"enterprise": 9, "is": "v2"}}, True),
        ({"vendor-class": {"enterprise": 11}}, False),
        ({"vendor-class": {"enterprise": 10}}, True),
        ({"vendor-class": {"enterprise": 4444}}, True),
        ({"not": {"vendor-class": {"enterprise": 4444}}}, False),
        ({"vendor-class": {"enterprise": 4444, "starts-with": "x"}}, False),
        ({"vendor-option": {"enterprise": 4491, "code": 1, "is": "0x0002"}}, True),
        ({"vendor-option": {"code": 32, "starts-with": "c"}}, True),
        ({"vendor-option": {"enterprise": 4491, "ends-with": "cm"}}, True),
        ({"vendor-option": {"enterprise": 9}}, False),
        ({"option": {"code": 1000}}, True),
        ({"option": {"code": 1000, "contains": "0x02:03"}}, True),
        ({"option": {"code": 1000, "contains": "0x03:02"}}, False),
        ({"option": {"code": 1000, "from": 1, "length": 2, "is": "0x0203"}}, True),
        ({"option": {"code": 1000, "from": -1, "is": "0x04"}}, True),
        ({"option": {"code": 1000, "from": -5, "is": "0x01020304"}}, False),
        ({"option": {"code": 1001}}, True),
        ({"option": {"code": 1002}}, False),
        ({"duid": {"ends-with": "aa"}}, True),
        ({"duid": "00:03:00:01:02:00:00:00:00:aa"}, True),
        ({"link-layer": "02-aa-00-00-00-01"}, True),
        ({"link-layer": {"starts-with": "02:ab"}}, False),
        ({"interface-id": "Gi0/1"}, True),
        ({"interface-id": "uplink"}, False),
        ({"interface-id": "uplink", "relay": -1}, True),
        ({"interface-id": "uplink", "relay": 2}, True),
        ({"interface-id": "uplink", "relay": 3}, False),
        ({"remote-id": {"from": 4, "is": "remote"}}, True),
        ({"subscriber-id": "sub"}, False),
        ({"subscriber-id": {}, "relay": 2}, True),
        ({"relay-option": {"code": 38, "relay": 2, "is": "sub"}}, True),
        ({"relay-option": {"code": 38}}, False),
        ({"link-address": "2001:db8:1::/64"}, True),
        ({"link-address": ["2001:db8:2::/64", "2001:db8:3::/64"]}, False),
        ({"link-address": "2001:db8:2::/64", "relay": -1}, True),
        ({"peer-address": "fe80::/10"}, True),
        ({"message": "solicit"}, True),
        ({"message": ["renew", "rebind"]}, False),
        ({"reserved": True}, False),
        ({"reserved": False}, True),
        ({"all": []}, True),
        ({"any": []}, False),
        ({"any": [{"reserved": True}, {"user-class": "lab"}]}, True),
        ({"all": [{"reserved": True}, {"user-class": "lab"}]}, False),
        ({"user-class": "lab", "reserved": True}, False),
        ({"not": {"user-class": "lab"}}, False),
        ({"class": "y"}, False),
        ({"interface": "lan"}, True),
        ({"interface": ["wan", "dmz"]}, False),
    ],
)
def test_each_condition(text: dict[str, Any], expected: bool) -> None:
    assert holds(when(text)) is expected


def test_without_relays_there_is_nothing_of_theirs() -> None:
    texts: list[dict[str, Any]] = [
        {"interface-id": {}},
        {"link-address": "::/0"},
        {"link-layer": {}},
        {"relay-option": {"code": 18}},
    ]
    for text in texts:
        assert not holds(when(text), ASKED)
    assert holds(when({"link-layer": "02:00:00:00:00:aa"}), ASKED, from_duid=True)


@given(st.binary(max_size=12), st.sampled_from(Comparison), st.binary(min_size=1, max_size=4), st.integers(-14, 14))
def test_a_part_is_what_python_says(body: bytes, comparison: Comparison, value: bytes, start: int) -> None:
    part = body[start:] if -len(body) <= start else b""
    expected = {
        Comparison.IS: part == value,
        Comparison.STARTS_WITH: part.startswith(value),
        Comparison.ENDS_WITH: part.endswith(value),
        Comparison.CONTAINS: value in part,
    }[comparison]
    asked = Message(MessageType.SOLICIT, 1, (Unknown(1000, body),))
    assert holds(Matches(Subject(Where.OPTION, 1000), comparison, (value,), start), asked) is expected


@given(st.binary(max_size=40))
def test_octets_that_are_cut_off_are_nothing_and_break_nothing(body: bytes) -> None:
    for code, where in ((15, Where.USER_CLASS), (16, Where.VENDOR_CLASS), (17, Where.VENDOR_OPTION)):
        asked = Message(MessageType.SOLICIT, 1, (Unknown(code, body),))
        subject = Subject(where, 1)
        assert holds(Exists(subject), asked) is not holds(Not(Exists(subject)), asked)
        assert holds(Every(()), asked)


GOOD = """
[server.a]
interfaces = ["eth0"]
[option-definition.colour]
code = 300
type = ["uint8", "string"]
[class.first]
when = { user-class = "x" }
options = { colour = [1, "red"] }
[class.second]
when = { class = "first" }
[[subnet]]
prefix = "2001:db8:1::/64"
interface = "eth0"
classes = "first"
pools = [{ range = "2001:db8:1::10-2001:db8:1::1f", classes = ["second"] }]
"""


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('class = "first"', 'class = "third"', "line 11, class.second.when: there is no 'third'."),
        ('user-class = "x"', 'class = "second"', "line 8, class.first.when: [class.second] has to stand before it."),
        ('user-class = "x"', 'class = "first"', "[class.first] has to stand before it."),
        ('classes = "first"', 'classes = "no"', "line 15, subnet[1].classes: there is no [class.no]."),
        ('["second"]', '["no"]', "line 16, subnet[1].pools[1].classes: there is no [class.no]."),
        ('{ user-class = "x" }', "{}", "line 8, class.first.when: it is empty; say what is to hold"),
        ('"x"', '{ is = "x", contains = "y" }', "give one of is, starts-with, ends-with and contains"),
        ('"x"', '"0xzz"', "'zz' is not a list of octets"),
        ('"x"', '""', "is neither a text nor octets"),
        ("user-class", "user-classes", "line 8, class.first.when.user-classes: there is no such key."),
        ('user-class = "x"', 'interface = "eth7"', "class.first.when: no server lists 'eth7' in its interfaces."),
        ('user-class = "x"', 'message = "reply"', "'reply' is no message of clients; there are solicit"),
        ('[1, "red"]', '["red"]', "line 9, class.first.options.colour: 2 values are needed, and not 1."),
        ('[1, "red"]', '[256, "red"]', "256 is not of type uint8."),
        ('[1, "red"]', '{ value = "red" }', "2 values are needed"),
        ("{ colour", "{ color", "line 9, class.first.options: there is no option 'color'; write its number"),
        ("{ colour", '{ 300 = { hex = "00" }, colour', "option 300 stands here by its number, too."),
        ('[1, "red"]', '[1, "red"], 301 = { value = 1 }', "option 301 has no definition"),
        ("code = 300", "code = 23", "line 4, option-definition.colour: option 23 has a name: dns-servers."),
        ("code = 300", "code = 1", "option 1 is not one to configure."),
        (
            "[option-definition.colour]",
            "[option-definition.dns-servers]\ncode = 301\ntype = 'uint8'\n[option-definition.colour]",
            "'dns-servers' means something already; take another name.",
        ),
        ('["uint8", "string"]', '["string", "uint8"]', "nobody could tell where a string ends that something follows"),
        ('["uint8", "string"]', '"float"', "there is no type 'float'; there are empty, boolean"),
        ('["uint8", "string"]', '["empty", "uint8"]', "a record has a type for each of its values, none of them empty"),
        (
            "[class.first]",
            "[option-definition.again]\ncode = 300\ntype = 'uint8'\n[class.first]",
            "colour has that code",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_line(old: str, new: str, sentence: str) -> None:
    parse(GOOD)
    assert old in GOOD
    with pytest.raises(ConfigError) as raised:
        parse(GOOD.replace(old, new, 1))
    assert any(sentence in problem for problem in raised.value.problems), raised.value.problems

"""Which options an answer carries: asked for or sent always, and a vendor's suboptions for its own clients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from served import answer_to, serve
from tandem.config.load import load_text, parse
from tandem.config.problems import ConfigError
from tandem.wire.message import Message, MessageType
from tandem.wire.option import Option, Unknown
from tandem.wire.options import ClientId, DnsServers, IaNa, OptionRequest, VendorClass, VendorOptions

HEAD = """\
{top}
[server.a]
interfaces = ["eth0"]
[options]
{options}
[class.boxes]
when = {{ option.code = 200 }}
{boxes}
[[subnet]]
prefix = "2001:db8:1::/64"
interface = "eth0"
pools = ["2001:db8:1::/64"]
{subnet}
"""
CLIENT = ClientId(bytes.fromhex("000300010200000000aa"))
DNS = 'dns-servers = ["2001:db8::53"]\n'
MODEM = """\
vendor-options = [
  { enterprise = 4491, suboptions = { 32 = "aa", 33 = "bb", 34 = "cc" }, always-send = [34] },
  { enterprise = 9, suboptions = { 1 = "dd" } },
]
"""


def file(top: str = "", options: str = "", boxes: str = "", subnet: str = "") -> str:
    return HEAD.format(top=top, options=options, boxes=boxes, subnet=subnet)


def told(folder: Path, text: str, *options: Option, type_: MessageType = MessageType.SOLICIT) -> dict[int, Any]:
    path = folder / "tandem.toml"
    path.write_text(text)
    ias = () if type_ is MessageType.INFORMATION_REQUEST else (IaNa(1),)
    answer = answer_to(serve(path), Message(type_, 1, (CLIENT, *options, *ias)))
    assert isinstance(answer, Message)
    found: dict[int, Any] = {}
    for each in answer.options:
        found.setdefault(each.code, []).append(each)
    return found


@pytest.mark.parametrize("type_", [MessageType.SOLICIT, MessageType.INFORMATION_REQUEST])
def test_an_option_in_always_send_is_sent_without_being_asked_for(tmp_path: Path, type_: MessageType) -> None:
    assert DnsServers.code not in told(tmp_path, file(options=DNS), type_=type_)
    assert DnsServers.code in told(tmp_path, file('always-send = ["dns-servers"]', DNS), type_=type_)


def test_always_send_of_a_narrow_scope_holds_there_alone_and_sends_the_narrowest_value(tmp_path: Path) -> None:
    box = Unknown(200, b"x")
    text = file(options=DNS, boxes='always-send = ["dns-servers"]')
    assert DnsServers.code not in told(tmp_path, text)
    (sent,) = told(tmp_path, text, box)[DnsServers.code]
    assert str(sent) == str(DnsServers((b"\x20\x01\x0d\xb8" + bytes(11) + b"\x53",)))
    text = file('always-send = ["23", "300"]', '300 = { hex = "01" }', subnet='options.300 = { hex = "02" }')
    with pytest.raises(ConfigError, match=r"no option '301'|there is no option") as raised:
        load_text(file('always-send = ["dns"]', DNS), None)
    assert "always-send[1]" in str(raised.value)
    assert told(tmp_path, text)[300] == [Unknown(300, b"\2")]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), []),
        ((OptionRequest((17,)),), []),
        ((VendorClass(9, (b"x",)),), []),
        ((VendorClass(9, (b"x",)), OptionRequest((17,))), [(9, ((1, b"\xdd"),))]),
        ((VendorOptions(9, ()), OptionRequest((17,))), [(9, ((1, b"\xdd"),))]),
        ((VendorClass(4491, ()),), [(4491, ((34, b"\xcc"),))]),
        ((VendorClass(4491, ()), OptionRequest((17,))), [(4491, ((32, b"\xaa"), (33, b"\xbb"), (34, b"\xcc")))]),
        ((VendorOptions(4491, ((1, b"\0\x21"),)),), [(4491, ((33, b"\xbb"), (34, b"\xcc")))]),
        ((VendorOptions(4491, ((1, b"\0\x21"),)), OptionRequest((17,))), [(4491, ((33, b"\xbb"), (34, b"\xcc")))]),
        ((VendorClass(5, ()), OptionRequest((17,))), []),
    ],
)
def test_a_client_is_told_the_suboptions_of_its_own_vendor(
    tmp_path: Path, options: tuple[Option, ...], expected: list[tuple[int, Any]]
) -> None:
    sent = told(tmp_path, file(options=MODEM), *options).get(VendorOptions.code, [])
    assert [(each.enterprise, each.suboptions) for each in sent] == expected


def test_vendor_options_in_always_send_go_to_everybody(tmp_path: Path) -> None:
    sent = told(tmp_path, file('always-send = ["vendor-options"]', MODEM))[VendorOptions.code]
    assert [each.enterprise for each in sent] == [4491, 9]


def test_a_narrower_scope_replaces_single_suboptions(tmp_path: Path) -> None:
    text = file(options=MODEM, subnet='options.vendor-options = [{ enterprise = 4491, suboptions = { 33 = "0b" } }]')
    (sent,) = told(tmp_path, text, VendorClass(4491, ()), OptionRequest((17,)))[VendorOptions.code]
    assert sent.suboptions == ((32, b"\xaa"), (33, b"\x0b"), (34, b"\xcc"))


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ('65 = "erp.example.net"', "options.65: option 65 has no definition; write { hex = ... }"),
        ('94 = [{ hex = "01" }]', "options.94: option 94 has no definition"),
        ("65 = 5", "options.65: option 65 has no definition"),
        ("65 = { addresses = [] }", "options.65: it is empty"),
        ('12 = "x"', "options.12: option 12 is not one to configure"),
        ('23 = { hex = "01" }', "options.23: option 23 has a name: dns-servers"),
        ("dns-servers = []", "options.dns-servers: it is empty"),
        ("ntp-servers = []", "options.ntp-servers: it is empty"),
        ("vendor-options = []", "options.vendor-options: it is empty"),
        ('bootfile-url = ""', "options.bootfile-url: it is empty"),
        ('domain-search = ["ex ample"]', "options.domain-search[1]: 'ex ample' is not a domain name"),
        ('aftr-name = "a,b.example"', "options.aftr-name: 'a,b.example' is not a domain name"),
        ('ntp-servers = ["ti me"]', "ti me"),
    ],
)
def test_an_option_that_would_come_out_otherwise_is_refused_on_its_line(option: str, sentence: str) -> None:
    text = file(options="# a comment\n" + option)
    line = text.splitlines().index(option) + 1
    with pytest.raises(ConfigError) as raised:
        parse(text)
    (problem,) = raised.value.problems
    assert sentence in problem
    assert problem.startswith(f"line {line}, ") or "ti me" in problem

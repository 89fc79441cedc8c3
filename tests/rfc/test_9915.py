"""Duties of a server in RFC 9915 that no conversation of `tests/scripts` shows, section by section."""

from __future__ import annotations

from contextlib import closing
from ipaddress import IPv6Address
from pathlib import Path
from socket import AF_INET6, SOCK_DGRAM, socket

import pytest

from served import (
    EVERYTHING,
    LINK_ADDRESSES,
    SERVER_DUID,
    START,
    answer_to,
    ask,
    reasons_to_drop,
    sends,
    serve,
    through_relay,
)
from tandem.config.load import load
from tandem.config.problems import ConfigError
from tandem.effects.effects import Send
from tandem.effects.events import Datagram, Interfaces
from tandem.lease.table import LeaseTable
from tandem.node import Identity, Node
from tandem.runtime.doors import Doors
from tandem.runtime.state import State
from tandem.wire.message import Message, MessageType, Relayed, read_message
from tandem.wire.option import OPTIONS, Option, Unknown, write_options
from tandem.wire.options import (
    Authentication,
    ClientId,
    DnsServers,
    DomainSearch,
    IaAddress,
    IaNa,
    IaPd,
    IaPrefix,
    InterfaceId,
    NtpServers,
    OptionRequest,
    Preference,
    RapidCommit,
    ServerId,
    ServerUnicast,
    Status,
    VendorClass,
    VendorOptions,
)

CLIENT = ClientId(bytes.fromhex("0003000102000000000a"))
OURS = ServerId(SERVER_DUID)
ADDRESS = IPv6Address("2001:db8:1::120").packed
PREFIX = IPv6Address("2001:db9:0:300::").packed
ETH1 = 2
DOOR = 5
S46_CONT_MAPE = 94  # RFC 7598 5.1, an option that holds others
UNKNOWN = Unknown(60000, b"\1\2\3")
OF_AN_UNKNOWN_VENDOR = VendorOptions(4_000_000_000, ((1, b"x"),))
ALL_TYPES = (
    MessageType.SOLICIT,
    MessageType.REQUEST,
    MessageType.CONFIRM,
    MessageType.RENEW,
    MessageType.REBIND,
    MessageType.DECLINE,
    MessageType.RELEASE,
    MessageType.INFORMATION_REQUEST,
)
NAMES_THE_SERVER = (MessageType.REQUEST, MessageType.RENEW, MessageType.DECLINE, MessageType.RELEASE)

IA = IaNa(1, options=(IaAddress(ADDRESS),))

every_type = pytest.mark.parametrize("type_", ALL_TYPES, ids=lambda type_: type_.name)
every_type_with_leases = pytest.mark.parametrize("type_", ALL_TYPES[:-1], ids=lambda type_: type_.name)


def say(type_: MessageType, *options: Option, who: ClientId = CLIENT) -> Message:
    """Give a right message of that type, with these options beside its identifiers."""
    named = (OURS,) if type_ in NAMES_THE_SERVER else ()
    return Message(type_, 0xABCDEF, (who, *named, *options))


def ias_for(type_: MessageType) -> tuple[IaNa, ...]:
    """Give an IA_NA with an address, for the types that may have one."""
    return () if type_ is MessageType.INFORMATION_REQUEST else (IA,)


def addresses_in(answer: Message | Relayed) -> list[bytes]:
    """Give all addresses of the answer's IA_NA options."""
    return [each.address for ia in answer.options if isinstance(ia, IaNa) for each in addresses_of(ia)]


def addresses_of(ia: IaNa) -> list[IaAddress]:
    """Give the IA Address options in one IA_NA."""
    return [each for each in ia.options if isinstance(each, IaAddress)]


def client_message(send: Send) -> Message:
    """Give the message that the client sees, from within what relays are sent."""
    message = read_message(send.data)
    while isinstance(message, Relayed):
        message = message.message
    return message


def edited(tmp_path: Path, old: str, new: str) -> Path:
    """Write the file that serves everything with one text changed, and give where."""
    text = EVERYTHING.read_text()
    assert old in text
    path = tmp_path / "edited.toml"
    path.write_text(text.replace(old, new, 1))
    return path


# -- 7 to 9: ports and relays


@pytest.mark.rfc("9915 7.2")
def test_answers_come_from_the_port_that_is_listened_on() -> None:
    opened: dict[int, socket] = {}
    doors = Doors(opened.__setitem__, lambda _: None, pytest.fail)
    with closing(doors), socket(AF_INET6, SOCK_DGRAM) as asking:
        doors.listen([("::1", 0)])
        doors.serve(())
        ((door, listening),) = opened.items()
        asking.bind(("::1", 0))
        asking.settimeout(10)
        local = IPv6Address("::1").packed
        assert doors.send([Send(b"answer", "::1", asking.getsockname()[1], 0, door, local, 7, 0.0)]) == 0
        data, source = asking.recvfrom(100)
        assert (data, source[:2]) == (b"answer", listening.getsockname()[:2])


@pytest.mark.rfc("9915 9.1")
def test_a_relay_forward_without_a_message_is_discarded() -> None:
    header = through_relay(say(MessageType.SOLICIT)).write()[:34]
    effects = ask(serve(), header + write_options((InterfaceId(b"port"),)))
    assert reasons_to_drop(effects) == ["malformed"]
    assert sends(effects) == []


@pytest.mark.rfc("9915 19.3")
def test_each_relay_is_sent_back_what_it_said_of_its_place() -> None:
    inner = Relayed(
        MessageType.RELAY_FORW, 0, LINK_ADDRESSES[1], IPv6Address("fe80::aaaa").packed, (), say(MessageType.SOLICIT)
    )
    outer = Relayed(MessageType.RELAY_FORW, 1, bytes(16), IPv6Address("2001:db8::bbbb").packed, (), inner)
    answer = answer_to(serve(), outer)
    assert isinstance(answer, Relayed)
    assert isinstance(answer.message, Relayed)
    for said, heard in ((outer, answer), (inner, answer.message)):
        assert heard.type is MessageType.RELAY_REPL
        assert heard.hop_count == said.hop_count
        assert heard.link_address == said.link_address
        assert heard.peer_address == said.peer_address


# -- 10, 11: names and identifiers


@pytest.mark.rfc("9915 10")
def test_names_are_not_compressed() -> None:
    answer = answer_to(serve(), say(MessageType.INFORMATION_REQUEST, OptionRequest((DomainSearch.code,))))
    (names,) = (each for each in answer.options if isinstance(each, DomainSearch))
    assert names.body() == b"\7example\3net\0\7example\3org\0"
    assert b"\7example\3net\0\7example\3org\0" in answer.write()


@pytest.mark.rfc("9915 11")
@pytest.mark.parametrize(
    "duid",
    ["000001", "0005ff", "ffff0102", "000300", "0004" + "00" * 3, "1234" + "56" * 128],
    ids=["type 0", "type 5", "type 65535", "DUID-LL cut off", "short UUID", "longest"],
)
def test_a_client_may_have_any_kind_of_duid(duid: str) -> None:
    who = ClientId(bytes.fromhex(duid))
    answer = answer_to(serve(), say(MessageType.REQUEST, IaNa(1), who=who))
    assert who in answer.options
    assert len(addresses_in(answer)) == 1


@pytest.mark.rfc("9915 11")
@pytest.mark.parametrize(
    "other",
    [
        "0003000102000000000b",
        "0003000602000000000a",
        "0001000102000000000a",
        "0003000102000000000a00",
        "00030001020000",
    ],
    ids=["last octet", "hardware type", "type", "longer", "shorter"],
)
def test_duids_that_differ_in_anything_are_two_clients(other: str) -> None:
    node = serve()
    mine = addresses_in(answer_to(node, say(MessageType.REQUEST, IaNa(1))))
    named = IaNa(1, options=(IaAddress(mine[0]),))
    others = answer_to(node, say(MessageType.REQUEST, named, who=ClientId(bytes.fromhex(other))))
    assert len(addresses_in(others)) == 1
    assert addresses_in(others) != mine
    assert addresses_in(answer_to(node, say(MessageType.REQUEST, IaNa(1)))) == mine


@pytest.mark.rfc("9915 11")
@pytest.mark.parametrize("duid", ["0003000102aa00000001", "000100010000000002aa00000001"], ids=["DUID-LL", "DUID-LLT"])
def test_a_link_layer_address_is_read_out_of_a_duid_only_if_the_file_says_so(duid: str, tmp_path: Path) -> None:
    question = say(MessageType.REQUEST, IaNa(1), who=ClientId(bytes.fromhex(duid)))
    reserved = IPv6Address("2001:db8:1::901").packed
    by_default = serve(edited(tmp_path, "link-layer-from-duid = true\n", ""))
    assert reserved not in addresses_in(answer_to(by_default, question))
    assert addresses_in(answer_to(serve(), question)) == [reserved]


@pytest.mark.rfc("9915 11.4")
def test_the_servers_duid_is_a_uuid_and_stays(tmp_path: Path) -> None:
    found = []
    for _ in range(2):
        state = State(tmp_path, lambda *_: None)
        assert list(state.leases()) == []
        found.append(state.identity(None))
        state.store.close()
    assert found[0][:2] == found[1][:2]
    assert found[0].duid[:2] == b"\0\4"
    assert len(found[0].duid) == 2 + 16


# -- 13, 14: which address, and how it was asked


def node_with_secret(secret: bytes) -> Node:
    """Start a node like that of `serve`, but with this secret."""
    node = Node(load(EVERYTHING, None).settings, Identity(SERVER_DUID, secret), LeaseTable(), START)
    node.handle(START, [Interfaces({1: ("eth0", ()), ETH1: ("eth1", ())})])
    return node


@pytest.mark.rfc("9915 13.1")
def test_addresses_cannot_be_predicted_without_the_secret() -> None:
    """One server's choices say nothing of another's, nor of what the next client is given."""
    chosen = []
    for secret in (b"one", b"two", b"three"):
        node = node_with_secret(secret)
        for number in range(10):
            who = ClientId(CLIENT.duid[:-1] + bytes((number,)))
            answer = answer_to(node, say(MessageType.SOLICIT, IaNa(1), who=who), interface=ETH1)
            chosen.append(int.from_bytes(addresses_in(answer)[0], "big"))
    assert len(set(chosen)) == 30
    assert min(abs(one - two) for at, one in enumerate(chosen) for two in chosen[:at]) > 1 << 24


@pytest.mark.rfc("9915 13.1")
def test_what_is_reserved_is_not_given_before_its_client_comes() -> None:
    """However many others ask, and even if they ask for just that."""
    node = serve()
    reserved = IPv6Address("2001:db8:1::101").packed
    given = set()
    for number in range(100):
        who = ClientId(b"\0\4" + bytes((number,)) * 16)
        named = IaNa(1, options=(IaAddress(reserved),))
        given.update(addresses_in(answer_to(node, say(MessageType.REQUEST, named, who=who))))
    assert len(given) == 99
    assert reserved not in given


@pytest.mark.rfc("9915 13.1")
def test_the_servers_own_addresses_are_given_to_nobody() -> None:
    """However many ask, even for just that, and even if it is reserved for one of them."""
    node = serve()
    own = [IPv6Address("2001:db8:1::120"), IPv6Address("2001:db8:1::900")]
    node.handle(START, [Interfaces({1: ("eth0", tuple(map(int, own)))})])
    given = []
    for number in range(100):
        named = IaNa(1, options=(IaAddress(own[0].packed),))
        who = ClientId(b"\0\4" + bytes((number,)) * 16)
        given += addresses_in(answer_to(node, say(MessageType.REQUEST, named, who=who)))
    assert len(set(given)) == 98
    named_by_duid = ClientId(bytes.fromhex("00030001020000000009"))
    given += addresses_in(answer_to(node, say(MessageType.REQUEST, IaNa(1), who=named_by_duid)))
    assert len(set(given)) == 99
    assert {each.packed for each in own}.isdisjoint(given)


@pytest.mark.rfc("9915 14")
def test_nothing_below_the_network_layer_is_known_of_a_datagram() -> None:
    known = [name for name in dir(Datagram) if not name.startswith("_")]
    assert known == ["data", "door", "interface", "local", "multicast", "peer", "port", "waited_s"]


# -- 16: what is not known is ignored


@pytest.mark.rfc("9915 16")
@every_type_with_leases
def test_unknown_options_are_ignored_wherever_they_stand(type_: MessageType) -> None:
    plain = (
        IaNa(1, options=(IaAddress(ADDRESS),)),
        IaPd(2, options=(IaPrefix(0, 0, 56, PREFIX),)),
    )
    strange = (
        UNKNOWN,
        OF_AN_UNKNOWN_VENDOR,
        VendorClass(4_000_000_000, (b"x",)),
        IaNa(1, options=(UNKNOWN, IaAddress(ADDRESS, options=(UNKNOWN,)), UNKNOWN)),
        IaPd(2, options=(UNKNOWN, IaPrefix(0, 0, 56, PREFIX, (UNKNOWN,)), UNKNOWN)),
    )
    relay = through_relay(say(type_, *strange))
    with_options = Relayed(
        relay.type, 0, relay.link_address, relay.peer_address, (UNKNOWN, OF_AN_UNKNOWN_VENDOR), relay.message
    )
    assert answer_to(serve(), with_options) == answer_to(serve(), through_relay(say(type_, *plain)))


@pytest.mark.rfc("9915 21.12")
@every_type
def test_a_server_unicast_option_is_ignored(type_: MessageType) -> None:
    plain = say(type_, *ias_for(type_))
    assert answer_to(serve(), say(type_, ServerUnicast(ADDRESS), *ias_for(type_))) == answer_to(serve(), plain)


# -- 16, 18: answers


@pytest.mark.rfc("9915 16.10")
def test_who_gave_no_client_identifier_is_sent_none() -> None:
    question = Message(MessageType.INFORMATION_REQUEST, 1, (OptionRequest((ClientId.code, DnsServers.code)),))
    answer = answer_to(serve(), question)
    assert [type(each) for each in answer.options] == [ServerId, DnsServers]


@pytest.mark.rfc("9915 18.3.9")
def test_the_preference_of_the_file_is_told_in_an_advertise() -> None:
    node = serve()
    assert Preference(7) in answer_to(node, say(MessageType.SOLICIT)).options
    assert Preference(7) not in answer_to(node, say(MessageType.REQUEST)).options


@pytest.mark.rfc("9915 18.3.9")
def test_the_preference_is_0_unless_the_file_says_another(tmp_path: Path) -> None:
    answer = answer_to(serve(edited(tmp_path, "preference = 7\n", "")), say(MessageType.SOLICIT))
    assert {each.value for each in answer.options if isinstance(each, Preference)} <= {0}


@pytest.mark.rfc("9915 18.3.9")
def test_a_container_is_sent_with_all_that_is_in_it(tmp_path: Path) -> None:
    inside = write_options((Unknown(89, b"\0\1\2"), Unknown(90, ADDRESS)))
    path = edited(tmp_path, "200 = {", f'{S46_CONT_MAPE} = {{ hex = "{inside.hex()}" }}\n200 = {{')
    answer = answer_to(serve(path), say(MessageType.SOLICIT, OptionRequest((S46_CONT_MAPE,))))
    assert Unknown(S46_CONT_MAPE, inside) in answer.options


@pytest.mark.rfc("9915 18.3.10")
@pytest.mark.parametrize("interface", [1, ETH1])
@pytest.mark.parametrize("type_", [MessageType.SOLICIT, MessageType.REQUEST], ids=lambda type_: type_.name)
def test_an_answer_goes_to_who_asked_through_the_interface_of_the_question(type_: MessageType, interface: int) -> None:
    local = IPv6Address("ff02::1:2").packed
    question = Datagram(say(type_, IaNa(1)).write(), "fe80::7", 546, interface, DOOR, local)
    (send,) = sends(serve().handle(START, [question]))
    assert (send.peer, send.interface, send.door) == ("fe80::7", interface, DOOR)


@pytest.mark.rfc("9915 18.3.1")
@pytest.mark.parametrize("type_", [MessageType.SOLICIT, MessageType.REQUEST], ids=lambda type_: type_.name)
def test_a_reply_waits_for_its_commit(type_: MessageType) -> None:
    """18.3.1, 18.3.2: of a Solicit with Rapid Commit as well."""
    effects = ask(serve(), say(type_, RapidCommit(), IaNa(1)), interface=ETH1)
    assert effects.commit
    assert [each for each in effects.at_once if isinstance(each, Send)] == []
    (reply,) = (each for each in effects.then if isinstance(each, Send))
    assert client_message(reply).type is MessageType.REPLY


# -- 20, 21: options


@pytest.mark.rfc("9915 20.2")
@every_type
def test_what_is_no_clients_to_ask_for_is_not_sent(type_: MessageType) -> None:
    """Authentication, Server Unicast, IA_TA and Interface-Id are in no answer, even if they are asked for."""
    asked = OptionRequest(tuple(sorted(OPTIONS)))
    answer = answer_to(serve(), say(type_, asked, *ias_for(type_)))
    codes = {each.code for each in answer.options}
    assert codes.isdisjoint({Authentication.code, ServerUnicast.code, 4, InterfaceId.code})


@pytest.mark.rfc("9915 20.2")
@pytest.mark.parametrize("code", [4, Authentication.code, ServerUnicast.code, InterfaceId.code])
def test_what_is_never_sent_cannot_be_configured(code: int, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"option {code} is not one to configure"):
        load(edited(tmp_path, "200 = {", f"{code} = {{"), None)


@pytest.mark.rfc("9915 21")
def test_options_that_come_twice_are_not_joined() -> None:
    """Neither their octets nor what they say."""
    halves = (Unknown(OptionRequest.code, b"\0"), Unknown(OptionRequest.code, b"\x17"))
    answer = answer_to(serve(), say(MessageType.INFORMATION_REQUEST, *halves))
    assert [each for each in answer.options if isinstance(each, DnsServers)] == []
    twice = (OptionRequest((DnsServers.code,)), OptionRequest((NtpServers.code,)))
    answer = answer_to(serve(), say(MessageType.INFORMATION_REQUEST, *twice))
    assert len([each for each in answer.options if isinstance(each, DnsServers | NtpServers)]) == 1


@pytest.mark.rfc("9915 21.4")
@every_type_with_leases
def test_times_that_a_client_says_are_ignored(type_: MessageType) -> None:
    """T1 and T2 of an IA, and the lifetimes of its leases (21.4, 21.6, 21.21, 21.22)."""

    def question(t1: int, t2: int, preferred: int, valid: int) -> Message:
        address = IaAddress(ADDRESS, preferred, valid)
        prefix = IaPrefix(preferred, valid, 56, PREFIX)
        return say(type_, IaNa(1, t1, t2, (address,)), IaPd(2, t1, t2, (prefix,)))

    plain = answer_to(serve(), question(0, 0, 0, 0))
    for times in ((7, 9, 11, 13), (9, 7, 13, 11), (0xFFFFFFFF,) * 4):
        assert answer_to(serve(), question(*times)) == plain


@pytest.mark.rfc("9915 21.13")
def test_the_text_of_a_status_ends_without_nul() -> None:
    answer = answer_to(serve(), say(MessageType.RELEASE, IA))
    statuses = [
        each for ia in answer.options if isinstance(ia, IaNa) for each in ia.options if isinstance(each, Status)
    ]
    assert len(statuses) == 1
    for each in (*statuses, *(option for option in answer.options if isinstance(option, Status))):
        assert not each.message.endswith("\0")


@pytest.mark.rfc("9915 21.16")
def test_no_two_vendor_classes_are_sent(tmp_path: Path) -> None:
    ours = VendorClass(32473, (b"one", b"two"))
    path = edited(tmp_path, "200 = {", f'16 = {{ hex = "{ours.body().hex()}" }}\n200 = {{')
    asked = OptionRequest((VendorClass.code, VendorClass.code))
    answer = answer_to(serve(path), say(MessageType.INFORMATION_REQUEST, asked, VendorClass(32473, (b"mine",))))
    assert [each for each in answer.options if isinstance(each, VendorClass)] == [ours]


@pytest.mark.rfc("9915 21.17")
def test_vendor_options_are_codes_lengths_and_values() -> None:
    asked = OptionRequest((VendorOptions.code,))
    answer = answer_to(serve(), say(MessageType.INFORMATION_REQUEST, asked, VendorClass(32473, (b"box",))))
    (found,) = (each for each in answer.options if isinstance(each, VendorOptions))
    assert found.body() == bytes.fromhex("00007ed9 0001 0002 0a0b 0002 0001 ff")


@pytest.mark.rfc("9915 21.17")
def test_a_vendor_stands_once(tmp_path: Path) -> None:
    once = "{ enterprise = 32473, suboptions = { 1"
    twice = edited(tmp_path, once, '{ enterprise = 32473, suboptions = { 3 = "01" } }, ' + once)
    with pytest.raises(ConfigError, match="vendor 32473 stands here twice; put its suboptions together"):
        load(twice, None)
    load(edited(tmp_path, once, '{ enterprise = 9, suboptions = { 3 = "01" } }, ' + once), None)


@pytest.mark.rfc("9915 21.17")
@pytest.mark.parametrize(
    ("number", "name"),
    [
        ("17", "vendor-options"),
        ("32", "information-refresh-time"),
        ("82", "sol-max-rt"),
        ("83", "inf-max-rt"),
        ("083", "inf-max-rt"),
        ("23", "dns-servers"),
    ],
)
def test_what_has_a_name_is_not_configured_by_its_number(number: str, name: str, tmp_path: Path) -> None:
    """21.17, 21.23, 21.24, 21.25: else the bounds of what is given by name would be none."""
    with pytest.raises(ConfigError, match=rf"option {int(number)} has a name: {name}\."):
        load(edited(tmp_path, "200 = {", f"{number} = {{"), None)


@pytest.mark.rfc("9915 21.18")
@pytest.mark.parametrize("code", [1, 11, 18, 32, 82, 83, 0, 65536])
def test_what_only_a_server_may_say_is_supplied_by_no_relay(code: int, tmp_path: Path) -> None:
    """21.18, 21.23, 21.24, 21.25: neither what is never sent, nor what has bounds that clients count on."""
    with pytest.raises(ConfigError, match=rf"line 7, .*: option {code} is not one for relays to supply; take it out\."):
        load(edited(tmp_path, "[65, 200]", f"[65, {code}]"), None)


@pytest.mark.rfc("9915 21.18")
@pytest.mark.parametrize("octets", [b"", b"\0", b"\xff" * 300, b"eth0:%d/%s\n"], ids=["empty", "nul", "long", "text"])
def test_an_interface_id_comes_back_whatever_it_is(octets: bytes) -> None:
    relay = through_relay(say(MessageType.SOLICIT, IaNa(1)))
    plain = answer_to(serve(), relay)
    named = Relayed(relay.type, 0, relay.link_address, relay.peer_address, (InterfaceId(octets),), relay.message)
    answer = answer_to(serve(), named)
    assert isinstance(plain, Relayed)
    assert isinstance(answer, Relayed)
    assert answer.options == (InterfaceId(octets),)
    assert answer.message == plain.message


@pytest.mark.rfc("9915 21.23")
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('information-refresh-time = "1h"', "information-refresh-time = 599"),
        ('sol-max-rt = "1h"', "sol-max-rt = 59"),
        ('sol-max-rt = "1h"', "sol-max-rt = 86401"),
        ('inf-max-rt = "2h"', "inf-max-rt = 59"),
        ('inf-max-rt = "2h"', "inf-max-rt = 86401"),
    ],
)
def test_times_that_clients_would_ignore_are_refused(old: str, new: str, tmp_path: Path) -> None:
    """21.23, 21.24, 21.25: by name, these options have bounds."""
    with pytest.raises(ConfigError, match=r"(greater|less) than or equal to"):
        load(edited(tmp_path, old, new), None)


@pytest.mark.rfc("9915 21.14")
def test_a_reply_to_a_solicit_says_so() -> None:
    question = say(MessageType.SOLICIT, RapidCommit(), IaNa(1))
    answer = answer_to(serve(), question, interface=ETH1)
    assert answer.type is MessageType.REPLY
    assert RapidCommit() in answer.options
    assert RapidCommit() not in answer_to(serve(), say(MessageType.REQUEST, IaNa(1)), interface=ETH1).options

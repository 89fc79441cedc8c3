"""What we send, read by others, and what others send, read by us: scapy and Wireshark share no code with Tandem."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from scapy.layers import dhcp6, inet, inet6, l2
from scapy.utils import wrpcap

from system.needs import need_program
from tandem.wire.message import Message, MessageType, Relayed, read_message
from tandem.wire.option import Option
from tandem.wire.options import Authentication, IaNa, IaPd, IaPrefix, PrefixExclude, Status, StatusCode
from wire import scapy_view
from wire.answers import every_answer

ANSWERS = every_answer()
EXPERT_WARNING = 0x600000
MALFORMED_OR_WORSE = f"_ws.malformed || _ws.expert.severity >= {EXPERT_WARNING}"

every_name = pytest.mark.parametrize("name", ANSWERS)


def innermost(message: Message | Relayed) -> Message:
    return innermost(message.message) if isinstance(message, Relayed) else message


def flattened(options: tuple[Option, ...]) -> list[Option]:
    """Give the options and all that are inside of them."""
    inside = [each for option in options for each in flattened(getattr(option, "options", ()))]
    return [*options, *inside]


# -- scapy reads what we send


@every_name
def test_scapy_reads_the_same_values(name: str) -> None:
    ours = read_message(ANSWERS[name])
    theirs = scapy_view.message(scapy_packet(ANSWERS[name]))
    assert theirs == as_scapy_knows(ours)


def scapy_packet(data: bytes) -> Any:
    headers = {MessageType.ADVERTISE: dhcp6.DHCP6_Advertise, MessageType.REPLY: dhcp6.DHCP6_Reply}
    return headers.get(MessageType(data[0]), dhcp6.DHCP6_RelayReply)(data)


def as_scapy_knows(message: Message | Relayed) -> Message | Relayed:
    options = tuple(map(scapy_view.as_scapy_knows, message.options))
    if isinstance(message, Message):
        return Message(message.type, message.transaction_id, options)
    header = (message.type, message.hop_count, message.link_address, message.peer_address)
    return Relayed(*header, options, as_scapy_knows(message.message))


def test_the_answers_are_of_every_kind() -> None:
    """The oracles judge nothing that was not sent: every status, every configured option, a lease of each type."""
    sent = [each for data in ANSWERS.values() for each in flattened(innermost(read_message(data)).options)]
    never_sent = {StatusCode.UNSPEC_FAIL, StatusCode.USE_MULTICAST}
    assert {each.status for each in sent if isinstance(each, Status)} == set(StatusCode) - never_sent
    codes = {each.code for each in sent}
    assert codes >= {1, 2, 3, 5, 7, 13, 14, 25, 26, 39, 65, 67}
    assert codes >= {17, 21, 22, 23, 24, 31, 32, 41, 42, 56, 59, 60, 64, 82, 83, 103, 200}
    excludes = [each for each in sent if isinstance(each, IaPrefix) and each.valid and each.options]
    assert {option for each in excludes for option in each.options} == {
        PrefixExclude(64, b"\5"),
        PrefixExclude(60, b"\x70"),
    }


# -- Wireshark reads what we send


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the answers as packets on a wire, one second apart."""
    path = tmp_path_factory.mktemp("capture") / "answers.pcap"
    packets = []
    frame = l2.Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
    for second, data in enumerate(ANSWERS.values()):
        packet = frame / inet6.IPv6(src="fe80::1", dst="fe80::c") / inet.UDP(sport=547, dport=546) / data
        packet.time = second
        packets.append(packet)
    wrpcap(str(path), packets)
    return path


def tshark(capture: Path, *words: str) -> str:
    """Give what Wireshark says of a capture."""
    need_program("tshark")
    command = ("tshark", "-n", "-r", str(capture), "-d", "udp.port==547,dhcpv6", *words)
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_wireshark_finds_nothing_wrong(capture: Path) -> None:
    assert tshark(capture, "-Y", MALFORMED_OR_WORSE, "-V") == ""
    assert "Malformed" not in tshark(capture, "-V")


def test_wireshark_reads_every_message(capture: Path) -> None:
    """A filter finds nothing wrong in what was not dissected, so count what was."""
    read = tshark(capture, "-Y", "dhcpv6", "-T", "fields", "-E", "occurrence=f", "-e", "dhcpv6.msgtype")
    assert list(map(int, read.split())) == [data[0] for data in ANSWERS.values()]


def test_wireshark_reads_the_same_leases(capture: Path) -> None:
    read = tshark(capture, "-T", "fields", "-e", "dhcpv6.iaprefix.pref_len", "-e", "dhcpv6.iaid")
    for line, data in zip(read.splitlines(), ANSWERS.values(), strict=True):
        found = flattened(innermost(read_message(data)).options)
        lengths = [each.length for each in found if isinstance(each, IaPrefix)]
        iaids = [each.iaid for each in found if isinstance(each, IaNa | IaPd)]
        theirs = [column.split(",") if column else [] for column in line.split("\t")]
        assert theirs == [[str(length) for length in lengths], [f"{iaid:08x}" for iaid in iaids]]


# -- we read what scapy sends

SCAPY_OPTIONS: tuple[Any, ...] = (
    dhcp6.DHCP6OptClientId(duid=dhcp6.DUID_LLT(lladdr="02:00:00:00:00:01", timeval=0x2A4B0000)),
    dhcp6.DHCP6OptServerId(duid=dhcp6.DUID_EN(enterprisenum=32473, id=b"server")),
    dhcp6.DHCP6OptIA_NA(
        iaid=0xFFFFFFFF,
        T1=1800,
        T2=2880,
        ianaopts=[
            dhcp6.DHCP6OptIAAddress(
                addr="2001:db8::1",
                preflft=3600,
                validlft=0xFFFFFFFF,
                iaaddropts=[dhcp6.DHCP6OptStatusCode(statuscode=0, statusmsg="all well")],
            ),
            dhcp6.DHCP6OptIAAddress(addr="2001:db8::2", preflft=0, validlft=0),
        ],
    ),
    dhcp6.DHCP6OptIA_TA(iaid=7, iataopts=[dhcp6.DHCP6OptIAAddress(addr="2001:db8::3")]),
    dhcp6.DHCP6OptIA_PD(
        iaid=1, T1=0, T2=0, iapdopt=[dhcp6.DHCP6OptIAPrefix(prefix="2001:db9::", plen=56, preflft=1, validlft=2)]
    ),
    dhcp6.DHCP6OptOptReq(reqopts=[23, 24, 39, 82, 65535]),
    dhcp6.DHCP6OptPref(prefval=255),
    dhcp6.DHCP6OptElapsedTime(elapsedtime=0xFFFF),
    dhcp6.DHCP6OptServerUnicast(srvaddr="2001:db8::547"),
    dhcp6.DHCP6OptStatusCode(statuscode=3, statusmsg="no binding"),
    dhcp6.DHCP6OptRapidCommit(),
    dhcp6.DHCP6OptUserClass(userclassdata=[dhcp6.USER_CLASS_DATA(data=b"iPXE"), dhcp6.USER_CLASS_DATA(data=b"second")]),
    dhcp6.DHCP6OptVendorClass(enterprisenum=32473, vcdata=[dhcp6.VENDOR_CLASS_DATA(data=b"class")]),
    dhcp6.DHCP6OptVendorSpecificInfo(
        enterprisenum=32473, vso=[dhcp6.VENDOR_SPECIFIC_OPTION(optcode=1, optdata=b"one")]
    ),
    dhcp6.DHCP6OptIfaceId(ifaceid=b"eth0/1"),
    dhcp6.DHCP6OptReconfMsg(msgtype=5),
    dhcp6.DHCP6OptReconfAccept(),
    dhcp6.DHCP6OptSIPDomains(sipdomains=["sip.example.net", "sip.example.org"]),
    dhcp6.DHCP6OptSIPServers(sipservers=["2001:db8::1", "2001:db8::2"]),
    dhcp6.DHCP6OptDNSServers(dnsservers=["2001:db8::53"]),
    dhcp6.DHCP6OptDNSDomains(dnsdomains=["example.net"]),
    dhcp6.DHCP6OptSNTPServers(sntpservers=["2001:db8::123"]),
    dhcp6.DHCP6OptInfoRefreshTime(reftime=600),
    dhcp6.DHCP6OptRemoteID(enterprisenum=9, remoteid=b"line 7"),
    dhcp6.DHCP6OptSubscriberID(subscriberid=b"subscriber"),
    dhcp6.DHCP6OptClientFQDN(flags=1, fqdn="laptop.example.net."),
    dhcp6.DHCP6OptNewPOSIXTimeZone(optdata="EST5EDT4"),
    dhcp6.DHCP6OptNewTZDBTimeZone(optdata="Europe/Zurich"),
    dhcp6.DHCP6OptNTPServer(
        ntpserver=[
            dhcp6.DHCP6NTPSubOptSrvAddr(addr="2001:db8::123"),
            dhcp6.DHCP6NTPSubOptSrvFQDN(fqdn="ntp.example.net."),
        ]
    ),
    dhcp6.DHCP6OptBootFileUrl(optdata="https://boot.example.net/"),
    dhcp6.DHCP6OptClientArchType(archtypes=[7, 16]),
    dhcp6.DHCP6OptClientNetworkInterId(iitype=1, iimajor=3, iiminor=2),
    dhcp6.DHCP6OptClientLinkLayerAddr(lltype=1, clladdr="02:00:00:00:00:01"),
    dhcp6.DHCP6OptCaptivePortal(URI="https://portal.example.net/"),
    dhcp6.DHCP6OptUnknown(optcode=60000, data=b"unknown"),
    dhcp6.DHCP6OptAuth(proto=3, alg=1, rdm=0, replay=b"\0\1\2\3\4\5\6\7", authinfo=b"\1" + bytes(16)),
)
SCAPY_MESSAGES = (
    dhcp6.DHCP6_Solicit,
    dhcp6.DHCP6_Advertise,
    dhcp6.DHCP6_Request,
    dhcp6.DHCP6_Confirm,
    dhcp6.DHCP6_Renew,
    dhcp6.DHCP6_Rebind,
    dhcp6.DHCP6_Reply,
    dhcp6.DHCP6_Release,
    dhcp6.DHCP6_Decline,
    dhcp6.DHCP6_Reconf,
    dhcp6.DHCP6_InfoRequest,
)


def with_options(packet: Any) -> Any:
    for each in SCAPY_OPTIONS:
        packet = packet / each.copy()
    return packet


@pytest.mark.parametrize("header", SCAPY_MESSAGES, ids=lambda header: header.__name__)
def test_we_read_what_scapy_builds(header: Any) -> None:
    packet = with_options(header(trid=0xABCDEF))
    assert as_scapy_knows(read_message(bytes(packet))) == scapy_view.message(header(bytes(packet)))


@pytest.mark.parametrize("relays", [1, 2, 8])
def test_we_read_what_scapy_relays(relays: int) -> None:
    packet = with_options(dhcp6.DHCP6_Solicit(trid=0xABCDEF))
    for hops in range(relays):
        header = dhcp6.DHCP6_RelayForward(hopcount=hops, linkaddr="2001:db8::1", peeraddr="fe80::c")
        supplied = dhcp6.DHCP6OptRelaySuppliedOpt(relaysupplied=[dhcp6.DHCP6OptUnknown(optcode=65, data=b"\1a\0")])
        packet = header / dhcp6.DHCP6OptIfaceId(ifaceid=b"port") / supplied / dhcp6.DHCP6OptRelayMsg(message=packet)
    message = read_message(bytes(packet))
    assert as_scapy_knows(message) == scapy_view.message(packet)
    assert isinstance(innermost(message).options[-1], Authentication)

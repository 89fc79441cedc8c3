"""A message as scapy understands it, in the words of `tandem.wire`, so that the two can be compared.

A field is taken from scapy's own decoding; nothing here reads octets with our code. Numbers are named, so that
an order that is wrong in our declaration is not made right by the same order here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import IPv6Address
from struct import unpack_from
from typing import Any

from scapy.layers import dhcp6
from scapy.packet import Raw

from tandem.wire import options as ours
from tandem.wire.message import Message, MessageType, Relayed
from tandem.wire.option import Option, Unknown

HEADERS = (dhcp6.DHCP6, dhcp6.DHCP6_RelayForward, dhcp6.DHCP6_RelayReply)


def octets(value: Any) -> bytes:
    return bytes(value)


def text(value: bytes) -> str:
    return value.decode()


def address(value: str) -> bytes:
    return IPv6Address(value).packed


def addresses(values: list[str]) -> tuple[bytes, ...]:
    return tuple(map(address, values))


def names(values: list[str]) -> tuple[str, ...]:
    return tuple(f"{name.removesuffix('.')}." for name in values)


def items(values: list[Any]) -> tuple[bytes, ...]:
    return tuple(octets(each.data) for each in values)


def ntp_servers(values: list[Any]) -> tuple[tuple[int, bytes], ...]:
    return tuple((each.optcode, octets(each)[4:]) for each in values)


OPTIONS: dict[str, Callable[[Any], Option]] = {
    "ClientId": lambda p: ours.ClientId(octets(p.duid)),
    "ServerId": lambda p: ours.ServerId(octets(p.duid)),
    "IA_NA": lambda p: ours.IaNa(iaid=p.iaid, t1=p.T1, t2=p.T2, options=inside(p.ianaopts)),
    "IA_TA": lambda p: ours.IaTa(p.iaid, inside(p.iataopts)),
    "IAAddress": lambda p: ours.IaAddress(
        address=address(p.addr), preferred=p.preflft, valid=p.validlft, options=inside(p.iaaddropts)
    ),
    "OptReq": lambda p: ours.OptionRequest(tuple(p.reqopts)),
    "Pref": lambda p: ours.Preference(p.prefval),
    "ElapsedTime": lambda p: ours.ElapsedTime(p.elapsedtime),
    "Auth": lambda p: ours.Authentication(
        protocol=p.proto, algorithm=p.alg, rdm=p.rdm, replay_detection=p.replay, information=p.authinfo
    ),
    "ServerUnicast": lambda p: ours.ServerUnicast(address(p.srvaddr)),
    "StatusCode": lambda p: ours.Status(p.statuscode, text(p.statusmsg)),
    "RapidCommit": lambda _: ours.RapidCommit(),
    "UserClass": lambda p: ours.UserClass(items(p.userclassdata)),
    "VendorClass": lambda p: ours.VendorClass(p.enterprisenum, items(p.vcdata)),
    "VendorSpecificInfo": lambda p: ours.VendorOptions(
        p.enterprisenum, tuple((each.optcode, octets(each.optdata)) for each in p.vso)
    ),
    "IfaceId": lambda p: ours.InterfaceId(octets(p.ifaceid)),
    "ReconfMsg": lambda p: ours.ReconfigureMessage(p.msgtype),
    "ReconfAccept": lambda _: ours.ReconfigureAccept(),
    "SIPDomains": lambda p: ours.SipNames(names(p.sipdomains)),
    "SIPServers": lambda p: ours.SipServers(addresses(p.sipservers)),
    "DNSServers": lambda p: ours.DnsServers(addresses(p.dnsservers)),
    "DNSDomains": lambda p: ours.DomainSearch(names(p.dnsdomains)),
    "IA_PD": lambda p: ours.IaPd(iaid=p.iaid, t1=p.T1, t2=p.T2, options=inside(p.iapdopt)),
    "IAPrefix": lambda p: ours.IaPrefix(
        preferred=p.preflft,
        valid=p.validlft,
        length=p.plen,
        prefix=address(p.prefix),
        options=inside(p.iaprefopts),
    ),
    "SNTPServers": lambda p: ours.SntpServers(addresses(p.sntpservers)),
    "InfoRefreshTime": lambda p: ours.InformationRefreshTime(p.reftime),
    "RemoteID": lambda p: ours.RemoteId(p.enterprisenum, octets(p.remoteid)),
    "SubscriberID": lambda p: ours.SubscriberId(octets(p.subscriberid)),
    "ClientFQDN": lambda p: ours.ClientFqdn(int(p.flags), text(p.fqdn)),
    "NewPOSIXTimeZone": lambda p: ours.PosixTimezone(text(p.optdata)),
    "NewTZDBTimeZone": lambda p: ours.TzdbTimezone(text(p.optdata)),
    "NTPServer": lambda p: ours.NtpServers(ntp_servers(p.ntpserver)),
    "BootFileUrl": lambda p: ours.BootFileUrl(text(p.optdata)),
    "ClientArchType": lambda p: ours.ClientArchitecture(tuple(p.archtypes)),
    "ClientNetworkInterId": lambda p: ours.NetworkInterface(type=p.iitype, major=p.iimajor, minor=p.iiminor),
    "RelaySuppliedOpt": lambda p: ours.RelaySuppliedOptions(inside(p.relaysupplied)),
    "ClientLinkLayerAddr": lambda p: ours.ClientLinkLayer(p.lltype, bytes.fromhex(p.clladdr.replace(":", ""))),
    "CaptivePortal": lambda p: ours.CaptivePortal(text(p.URI)),
    "ERPDomain": lambda p: Unknown(p.optcode, octets(p)[4 : 4 + p.optlen]),
    "Unknown": lambda p: Unknown(p.optcode, octets(p.data)),
}
"""How each of scapy's options reads, by the end of its class's name."""


def option(packet: Any) -> Option:
    """Give one of scapy's options as one of ours. KeyError for octets that scapy could not read."""
    return OPTIONS[type(packet).__name__.removeprefix("DHCP6Opt")](packet)


def inside(packets: list[Any]) -> tuple[Option, ...]:
    """Give the options inside of another. From one on that scapy does not know, it leaves them all as octets."""
    found: list[Option] = []
    for each in packets:
        found += raw_options(octets(each)) if isinstance(each, Raw) else [option(each)]
    return tuple(found)


def raw_options(data: bytes) -> Iterator[Unknown]:
    while data:
        code, size = unpack_from("!HH", data)
        yield Unknown(code, data[4 : 4 + size])
        data = data[4 + size :]


def _chain(packet: Any) -> Iterator[Any]:
    """Give the options behind a header: scapy hangs each on the one before."""
    while packet := packet.payload:
        assert not isinstance(packet, Raw), f"scapy could not read {octets(packet).hex()}"
        yield packet


def message(packet: Any) -> Message | Relayed:
    """Give a message that scapy has read or built as one of ours."""
    assert isinstance(packet, HEADERS), f"scapy sees no message in {packet!r}"
    type_ = MessageType(packet.msgtype)
    chain = list(_chain(packet))
    if not isinstance(packet, dhcp6.DHCP6_RelayForward):
        return Message(type_, packet.trid, tuple(map(option, chain)))
    (relayed,) = (each.message for each in chain if isinstance(each, dhcp6.DHCP6OptRelayMsg))
    beside = tuple(option(each) for each in chain if not isinstance(each, dhcp6.DHCP6OptRelayMsg))
    return Relayed(type_, packet.hopcount, address(packet.linkaddr), address(packet.peeraddr), beside, message(relayed))


HOLDERS = (ours.IaNa, ours.IaTa, ours.IaPd, ours.IaAddress, ours.IaPrefix, ours.RelaySuppliedOptions)
UNKNOWN_TO_SCAPY = (
    ours.AftrName,
    ours.BootFileParameters,
    ours.InfMaxRt,
    ours.PrefixExclude,
    ours.RelayPort,
    ours.SolMaxRt,
)


def as_scapy_knows(each: Option) -> Option:
    """Give an option as scapy sees it: with what scapy does not know, here and inside, as octets."""
    if isinstance(each, UNKNOWN_TO_SCAPY):
        return Unknown(each.code, each.body())
    if isinstance(each, HOLDERS):
        return replace(each, options=tuple(map(as_scapy_knows, each.options)))
    return each

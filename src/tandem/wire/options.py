"""The options that Tandem knows, each declared once. RFC 9915 section 21 unless another RFC is named."""

from __future__ import annotations

from enum import IntEnum

from tandem.wire.option import (
    U8,
    U16,
    U32,
    Address,
    Addresses,
    Colons,
    Name,
    Names,
    Nested,
    Octets,
    Octets8,
    Option,
    SizedItems,
    Suboptions,
    Text,
    U16s,
    option,
)


class StatusCode(IntEnum):
    """RFC 9915 21.13."""

    SUCCESS = 0
    UNSPEC_FAIL = 1
    NO_ADDRS_AVAIL = 2
    NO_BINDING = 3
    NOT_ON_LINK = 4
    USE_MULTICAST = 5
    NO_PREFIX_AVAIL = 6


@option(1)
class ClientId(Option):
    """21.2."""

    duid: Colons


@option(2)
class ServerId(Option):
    """21.3."""

    duid: Colons


@option(3)
class IaNa(Option):
    """21.4."""

    iaid: U32
    t1: U32 = 0
    t2: U32 = 0
    options: Nested = ()


@option(4)
class IaTa(Option):
    """RFC 8415 21.5; obsolete: read, printed and otherwise ignored (RFC 9915 21.5)."""

    iaid: U32
    options: Nested = ()


@option(5)
class IaAddress(Option):
    """21.6."""

    address: Address
    preferred: U32 = 0
    valid: U32 = 0
    options: Nested = ()


@option(6)
class OptionRequest(Option):
    """21.7."""

    codes: U16s


@option(7)
class Preference(Option):
    """21.8."""

    value: U8


@option(8)
class ElapsedTime(Option):
    """21.9, in hundredths of a second."""

    hundredths: U16


@option(9)
class RelayMessage(Option):
    """21.10. The message inside is read by whoever unwraps it, one level at a time."""

    message: Octets


@option(11)
class Authentication(Option):
    """21.11."""

    protocol: U8
    algorithm: U8
    rdm: U8
    replay_detection: Octets8
    information: Octets


@option(12)
class ServerUnicast(Option):
    """RFC 8415 21.12; obsolete: never sent."""

    address: Address


@option(13)
class Status(Option):
    """21.13."""

    status: U16
    message: Text = ""


@option(14)
class RapidCommit(Option):
    """21.14."""


@option(15)
class UserClass(Option):
    """21.15."""

    classes: SizedItems


@option(16)
class VendorClass(Option):
    """21.16."""

    enterprise: U32
    classes: SizedItems


@option(17)
class VendorOptions(Option):
    """21.17."""

    enterprise: U32
    suboptions: Suboptions


@option(18)
class InterfaceId(Option):
    """21.18."""

    data: Octets


@option(19)
class ReconfigureMessage(Option):
    """21.19."""

    type: U8


@option(20)
class ReconfigureAccept(Option):
    """21.20."""


@option(21)
class SipNames(Option):
    """RFC 3319 3.1."""

    names: Names


@option(22)
class SipServers(Option):
    """RFC 3319 3.2."""

    addresses: Addresses


@option(23)
class DnsServers(Option):
    """RFC 3646 3."""

    addresses: Addresses


@option(24)
class DomainSearch(Option):
    """RFC 3646 4."""

    names: Names


@option(25)
class IaPd(Option):
    """21.21."""

    iaid: U32
    t1: U32 = 0
    t2: U32 = 0
    options: Nested = ()


@option(26)
class IaPrefix(Option):
    """21.22."""

    preferred: U32
    valid: U32
    length: U8
    prefix: Address
    options: Nested = ()


@option(31)
class SntpServers(Option):
    """RFC 4075."""

    addresses: Addresses


@option(32)
class InformationRefreshTime(Option):
    """21.23; first in RFC 4242."""

    seconds: U32


@option(37)
class RemoteId(Option):
    """RFC 4649."""

    enterprise: U32
    data: Octets


@option(38)
class SubscriberId(Option):
    """RFC 4580."""

    data: Octets


@option(39)
class ClientFqdn(Option):
    """RFC 4704 4; a name without a final dot is partial."""

    flags: U8
    name: Name


@option(41)
class PosixTimezone(Option):
    """RFC 4833."""

    text: Text


@option(42)
class TzdbTimezone(Option):
    """RFC 4833."""

    text: Text


@option(56)
class NtpServers(Option):
    """RFC 5908 4: suboption 1 is an address, 2 a multicast address, 3 a name."""

    servers: Suboptions


@option(59)
class BootFileUrl(Option):
    """RFC 5970 3.1."""

    url: Text


@option(60)
class BootFileParameters(Option):
    """RFC 5970 3.2."""

    parameters: SizedItems


@option(61)
class ClientArchitecture(Option):
    """RFC 5970 3.3."""

    types: U16s


@option(62)
class NetworkInterface(Option):
    """RFC 5970 3.4."""

    type: U8
    major: U8
    minor: U8


@option(64)
class AftrName(Option):
    """RFC 6334."""

    name: Name


@option(66)
class RelaySuppliedOptions(Option):
    """RFC 6422 4."""

    options: Nested


@option(67)
class PrefixExclude(Option):
    """RFC 6603 4.2: the excluded prefix's length, and its bits behind the delegated prefix."""

    length: U8
    subnet_id: Octets


@option(79)
class ClientLinkLayer(Option):
    """RFC 6939 4."""

    hardware_type: U16
    address: Colons


@option(82)
class SolMaxRt(Option):
    """21.24."""

    seconds: U32


@option(83)
class InfMaxRt(Option):
    """21.25."""

    seconds: U32


@option(103)
class CaptivePortal(Option):
    """RFC 8910 2.2."""

    url: Text


@option(135)
class RelayPort(Option):
    """RFC 8357 4.2."""

    port: U16

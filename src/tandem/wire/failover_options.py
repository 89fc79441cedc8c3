"""The options that failover partners exchange. RFC 8156 5.5 unless another RFC is named.

Absolute times are seconds since 2000-01-01 UTC, modulo 2^32 (RFC 8156 section 3); 0 stands for no time.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag

from tandem.wire.option import U8, U16, U32, Address, Colons, Name, Nested, Octets, Option, Text, option


class FailoverStatus(IntEnum):
    """RFC 8156 5.6, and the two that it takes over from RFC 7653."""

    NOT_SUPPORTED = 14
    TLS_CONNECTION_REFUSED = 15
    ADDRESS_IN_USE = 16
    CONFIGURATION_CONFLICT = 17
    MISSING_BINDING_INFORMATION = 18
    OUTDATED_BINDING_INFORMATION = 19
    SERVER_SHUTTING_DOWN = 20
    DNS_UPDATE_NOT_SUPPORTED = 21
    EXCESSIVE_TIME_SKEW = 22


class ConnectFlags(IntFlag):
    """5.5.2."""

    FIXED_PD_LENGTH = 1


class ServerFlags(IntFlag):
    """5.5.15."""

    COMMUNICATED = 1
    STARTUP = 2
    ACK_STARTUP = 4


@option(45)
class ClientData(Option):
    """RFC 5007 4.1.2.2: all that is said of one client."""

    options: Nested = ()


@option(46)
class CltTime(Option):
    """RFC 5007 4.1.2.3: how many seconds before the base time the client was last heard."""

    seconds: U32


@option(47)
class RelayData(Option):
    """RFC 5007 4.1.2.4: the relay, and its message without the client's."""

    peer_address: Address
    message: Octets


@option(100)
class BaseTime(Option):
    """RFC 7653 6.3.1: what the times beside it are relative to."""

    time: U32


@option(114)
class Binding(Option):
    """5.5.1, OPTION_F_BINDING_STATUS."""

    status: U8


@option(115)
class Connect(Option):
    """5.5.2, OPTION_F_CONNECT_FLAGS."""

    flags: U16


@option(116)
class DnsRemovalInfo(Option):
    """5.5.3."""

    options: Nested = ()


@option(117)
class DnsHostName(Option):
    """5.5.3.1."""

    name: Name


@option(118)
class DnsZoneName(Option):
    """5.5.3.2."""

    name: Name


@option(119)
class DnsFlags(Option):
    """5.5.3.3."""

    flags: U16


@option(120)
class ExpirationTime(Option):
    """5.5.4: the latest end that the sender ever acknowledged."""

    time: U32


@option(121)
class MaxUnackedBndupd(Option):
    """5.5.5."""

    messages: U32


@option(122)
class Mclt(Option):
    """5.5.6."""

    seconds: U32


@option(123)
class PartnerLifetime(Option):
    """5.5.7: when the partner may consider the lease expired."""

    time: U32


@option(124)
class PartnerLifetimeSent(Option):
    """5.5.8: the echo of a partner lifetime."""

    time: U32


@option(125)
class PartnerDownTime(Option):
    """5.5.9."""

    time: U32


@option(126)
class PartnerRawCltTime(Option):
    """5.5.10: when the receiver last heard the client, as the sender knows it."""

    time: U32


@option(127)
class ProtocolVersion(Option):
    """5.5.11."""

    major: U16
    minor: U16


@option(128)
class KeepaliveTime(Option):
    """5.5.12."""

    seconds: U32


@option(129)
class ReconfigureData(Option):
    """5.5.13."""

    time: U32
    key: Colons


@option(130)
class RelationshipName(Option):
    """5.5.14."""

    name: Text


@option(131)
class ServerFlagsOption(Option):
    """5.5.15, OPTION_F_SERVER_FLAGS."""

    flags: U8


@option(132)
class ServerState(Option):
    """5.5.16."""

    state: U8


@option(133)
class StartTimeOfState(Option):
    """5.5.17."""

    time: U32


@option(134)
class StateExpirationTime(Option):
    """5.5.18."""

    time: U32

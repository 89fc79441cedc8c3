"""The kinds of values in the file, and how each is read. Errors are sentences without their path."""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address, IPv6Network
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from tandem.lease.lease import FOREVER
from tandem.wire.names import complete, write_name
from tandem.wire.text import read_octets

UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
FINGERPRINT_DIGITS = 64
LABEL = re.compile(r"(?:[A-Za-z0-9_-]|\\[0-9]{3})*")
"""A label of a domain name in ASCII; an octet may be written as \\DDD."""
DURATION = re.compile(r"(\d+)\s*([smhdw]?)")


def read_duration(value: Any) -> int:
    """Read seconds, or `"90s"`, `"10m"`, `"1h"`, `"3d"`, `"forever"`."""
    if isinstance(value, int) and not isinstance(value, bool):
        seconds = value
    elif value == "forever":
        seconds = FOREVER
    elif isinstance(value, str) and (found := DURATION.fullmatch(value.strip())):
        seconds = int(found[1]) * UNITS_S[found[2] or "s"]
    else:
        raise ValueError('must be a number of seconds, or a text such as "90s", "10m", "1h", "3d"')
    if not 0 <= seconds <= FOREVER:
        raise ValueError("must lie between 0 and 4294967295 seconds")
    return seconds


def read_address(value: Any) -> IPv6Address:
    """Read an IPv6 address."""
    if isinstance(value, IPv6Address):
        return value
    try:
        return IPv6Address(value if isinstance(value, str) else "")
    except ValueError:
        raise ValueError(f"{value!r} is not an IPv6 address") from None


def read_partner_address(value: Any) -> IPv6Address:
    """Read an IPv6 address, or an IPv4 address as the IPv6 address that stands for it (::ffff:192.0.2.1)."""
    try:
        return IPv6Address(f"::ffff:{IPv4Address(value)}") if isinstance(value, str) else read_address(value)
    except AddressValueError:
        return read_address(value)


def read_prefix(value: Any) -> IPv6Network:
    """Read a prefix; bits behind its length are an error, since one of the two would be a slip."""
    if isinstance(value, IPv6Network):
        return value
    try:
        prefix = IPv6Network(value if isinstance(value, str) else "", strict=False)
    except ValueError:
        raise ValueError(f"{value!r} is not an IPv6 prefix, such as 2001:db8::/64") from None
    if str(value).partition("/")[2] == "":
        raise ValueError(f"{value!r} has no length; write {value}/64, say")
    if prefix.network_address != IPv6Address(str(value).partition("/")[0]):
        raise ValueError(f"{value!r} has bits behind its length; {prefix} would be the prefix")
    return prefix


def read_range(value: Any) -> tuple[IPv6Address, IPv6Address]:
    """Read `prefix` or `first-last`."""
    if isinstance(value, tuple):
        return value
    first, dash, last = value.partition("-") if isinstance(value, str) else ("", "", "")
    if not dash:
        prefix = read_prefix(value)
        return prefix[0], prefix[-1]
    ends = read_address(first.strip()), read_address(last.strip())
    if ends[0] > ends[1]:
        raise ValueError(f"{value!r} ends before it begins")
    return ends


def read_certificate_id(value: Any) -> str:
    """Read what names a certificate: its serial number or its SHA-256 fingerprint, in hexadecimal digits."""
    digits = re.sub(r"[:\s]", "", value).lower() if isinstance(value, str) else ""
    if not re.fullmatch(r"[0-9a-f]{1,40}|[0-9a-f]{64}", digits):
        raise ValueError(
            f"{value!r} is neither a certificate's serial number nor its SHA-256 fingerprint, in hexadecimal digits; "
            "`tandem pki show` prints both"
        )
    return digits if len(digits) == FINGERPRINT_DIGITS else digits.lstrip("0") or "0"


def read_hex(value: Any) -> bytes:
    """Read octets: `00:01:02` or `000102`."""
    if isinstance(value, bytes):
        return value
    try:
        octets = read_octets(value if isinstance(value, str) else "-")
    except ValueError:
        octets = b""
    if not octets:
        raise ValueError(f"{value!r} is not a list of octets, such as 00:03:00:01:02:00:5e:10:00:01")
    return octets


def read_hex_or_nothing(value: Any) -> bytes:
    """Read octets, or `""` for none."""
    return b"" if value == "" else read_hex(value)


def read_text_or_hex(value: Any) -> bytes:
    """Read a text, or `0x0a0b`."""
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str) or not value:
        raise ValueError(f'{value!r} is neither a text nor octets, such as "0x0a0b"')
    return read_hex(value[2:]) if value.lower().startswith("0x") else value.encode()


def read_duid(value: Any) -> bytes:
    """Read a DUID (RFC 9915 11.1)."""
    duid = read_hex(value)
    if not 2 < len(duid) <= 130:
        raise ValueError(f"a DUID has 3 to 130 octets, this one {len(duid)}")
    return duid


def read_domain(value: Any) -> str:
    """Read a domain name, and complete it."""
    if not isinstance(value, str) or not value.strip("."):
        raise ValueError(f"{value!r} is not a domain name")
    try:
        if not all(LABEL.fullmatch(each) for each in value.removesuffix(".").split(".") if each.isascii()):
            raise ValueError("a label has letters, digits, - and _")
        write_name(complete(value))
    except (ValueError, UnicodeError) as error:
        raise ValueError(f"{value!r} is not a domain name: {error}") from None
    return complete(value)


def read_hostname(value: Any) -> str:
    """Read a host's name: a domain name, complete if it has a dot in it or at its end, else partial."""
    name = read_domain(value)
    return name if "." in name[:-1] or value.endswith(".") else name[:-1]


def read_list(value: Any) -> Any:
    """Read one item as a list of one."""
    return value if isinstance(value, list) else [value]


def _text(description: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "description": description})


Duration = Annotated[
    int,
    BeforeValidator(read_duration),
    WithJsonSchema(
        {
            "anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": r"^(\d+\s*[smhdw]?|forever)$"}],
            "description": 'seconds, or "90s", "10m", "1h", "3d"',
        }
    ),
]
Address = Annotated[IPv6Address, BeforeValidator(read_address), _text("an IPv6 address")]
PartnerAddress = Annotated[IPv6Address, BeforeValidator(read_partner_address), _text("an IPv6 address")]
Prefix = Annotated[IPv6Network, BeforeValidator(read_prefix), _text("an IPv6 prefix")]
AddressRange = Annotated[tuple[IPv6Address, IPv6Address], BeforeValidator(read_range), _text("a prefix, or first-last")]
Hex = Annotated[bytes, BeforeValidator(read_hex), PlainSerializer(bytes.hex), _text("octets in hexadecimal")]
HexOrEmpty = Annotated[
    bytes, BeforeValidator(read_hex_or_nothing), PlainSerializer(bytes.hex), _text("octets in hexadecimal, or none")
]
Octets = Annotated[
    bytes, BeforeValidator(read_text_or_hex), PlainSerializer(bytes.hex), _text('a text, or octets such as "0x0a0b"')
]
Duid = Annotated[bytes, BeforeValidator(read_duid), PlainSerializer(bytes.hex), _text("a DUID in hexadecimal")]
Domain = Annotated[str, BeforeValidator(read_domain), _text("a domain name")]
Hostname = Annotated[str, BeforeValidator(read_hostname), _text("a host's name")]
CertificateId = Annotated[
    str,
    BeforeValidator(read_certificate_id),
    _text("the serial number or the SHA-256 fingerprint of a certificate, in hexadecimal"),
]
OneOrMore = BeforeValidator(read_list)

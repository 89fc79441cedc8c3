"""The `[option-definition.NAME]` tables: options that only this file knows, and how their values are encoded.

The types are those of Kea, by its names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Address
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from tandem.config.table import Table
from tandem.config.values import OneOrMore, read_address, read_domain, read_hex, read_prefix
from tandem.wire.names import write_name

LENGTH_OCTETS = 2


class OptionDefinition(Table):
    """An option's code and the type of its value. Several types stand for a record, of values one after the other.

    With `array`, there may be any number of values; of a record, any number of its last one.
    """

    code: int = Field(ge=1, le=65535)
    type: Annotated[list[str], OneOrMore]
    array: bool = False

    @field_validator("type")
    @classmethod
    def _known_types(cls, value: list[str]) -> list[str]:
        for each in value:
            if each not in TYPES:
                raise ValueError(f"there is no type {each!r}; there are {', '.join(TYPES)}")
        if not value or ("empty" in value and len(value) > 1):
            raise ValueError("a record has a type for each of its values, none of them empty")
        return value

    @model_validator(mode="after")
    def _ends_are_told(self) -> OptionDefinition:
        endless = self.type if self.array else self.type[:-1]
        for each in endless:
            if each in ENDLESS:
                raise ValueError(f"nobody could tell where a {each} ends that something follows")
        return self

    def encode(self, value: Any) -> bytes:
        """Encode a value. ValueError says why it is none."""
        if self.type == ["empty"]:
            if value is not True:
                raise ValueError("it is empty; write true")
            return b""
        values = value if isinstance(value, list) else [value]
        types = self.type
        if self.array and len(values) > len(types):
            types = types + types[-1:] * (len(values) - len(types))
        if len(values) != len(types) and not (self.array and len(self.type) == 1 and not values):
            raise ValueError(f"{len(types)} values are needed, and not {len(values)}")
        return b"".join(TYPES[kind](each) for kind, each in zip(types, values, strict=False))


def _integer(octets: int, signed: bool) -> Callable[[Any], bytes]:
    def write(value: Any) -> bytes:
        try:
            if isinstance(value, bool):
                raise ValueError
            return int(value).to_bytes(octets, "big", signed=signed)
        except (ValueError, TypeError, OverflowError):
            kind = f"{'' if signed else 'u'}int{octets * 8}"
            raise ValueError(f"{value!r} is not of type {kind}") from None

    return write


def _boolean(value: Any) -> bytes:
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is neither true nor false")
    return bytes((value,))


def _string(value: Any) -> bytes:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a text")
    return value.encode()


def _tuple(value: Any) -> bytes:
    body = _string(value)
    return len(body).to_bytes(LENGTH_OCTETS, "big") + body


def _ipv4_address(value: Any) -> bytes:
    try:
        return IPv4Address(value if isinstance(value, str) else "").packed
    except ValueError:
        raise ValueError(f"{value!r} is not an IPv4 address") from None


def _ipv6_prefix(value: Any) -> bytes:
    prefix = read_prefix(value)
    return bytes((prefix.prefixlen,)) + prefix.network_address.packed[: (prefix.prefixlen + 7) // 8]


def _psid(value: Any) -> bytes:
    """Encode `psid/length` (RFC 7598): the length, and the PSID at the left of two octets."""
    number, slash, length = str(value).partition("/")
    if not slash or not number.isdecimal() or not length.isdecimal() or int(length) > 16:
        raise ValueError(f"{value!r} is not a PSID and its length, such as 3/4")
    if int(number) >= 1 << int(length):
        raise ValueError(f"{number} has more than {length} bits")
    return bytes((int(length),)) + (int(number) << (16 - int(length))).to_bytes(2, "big")


TYPES: Mapping[str, Callable[[Any], bytes]] = {
    "empty": lambda _: b"",
    "boolean": _boolean,
    "uint8": _integer(1, False),
    "uint16": _integer(2, False),
    "uint32": _integer(4, False),
    "int8": _integer(1, True),
    "int16": _integer(2, True),
    "int32": _integer(4, True),
    "string": _string,
    "tuple": _tuple,
    "binary": read_hex,
    "fqdn": lambda value: write_name(read_domain(value)),
    "ipv4-address": _ipv4_address,
    "ipv6-address": lambda value: read_address(value).packed,
    "ipv6-prefix": _ipv6_prefix,
    "psid": _psid,
}
"""How a value of each type is encoded."""
ENDLESS: Sequence[str] = ("string", "binary")
"""Types whose values end where the option does."""

"""Values of options between text, as Kea writes them in `data`, and octets."""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv6Address
from typing import Any

from tandem.config.definitions import TYPES
from tandem.config.options import NTP_ADDRESS, NTP_NAME
from tandem.imports.report import CannotCarry
from tandem.imports.standard_options import DHCP6, DNR, STANDARD, Definition
from tandem.wire.names import read_name, write_name
from tandem.wire.octets import index_options
from tandem.wire.options import NtpServers
from tandem.wire.reader import Reader, WireError

COMMA = re.compile(r"(?<!\\),")
INTEGERS = re.compile(r"u?int(8|16|32)")
BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
SERVICE_PARAMETERS = {"alpn": 1, "port": 3, "dohpath": 7}
"""The keys of an encrypted resolver's service parameters (RFC 9463 3.1.5, RFC 9460)."""


def split(definition: Definition, data: str) -> list[Any]:
    """Return the values of `data`, a text with commas. CannotCarry if they are not of their types.

    What is behind the last value that an option has is not told, as with Kea: a comma of a text has to be escaped.
    """
    types = definition.types
    texts = [each.strip().replace("\\,", ",") for each in COMMA.split(data)] if data else []
    if definition.array:
        types = types + types[-1:] * (len(texts) - len(types))
    else:
        texts = texts[: len(types)]
    if len(texts) != len(types):
        raise CannotCarry(f"{len(types)} values are needed, and not {len(texts)}.")
    return [_typed(kind, text) for kind, text in zip(types, texts, strict=True)]


def _typed(kind: str, text: str) -> Any:
    try:
        if INTEGERS.fullmatch(kind):
            return int(text, 0)
        if kind == "boolean":
            return BOOLEANS[text.lower()]
        return octets_of(text).hex() if kind == "binary" else text
    except (ValueError, KeyError):
        raise CannotCarry(f"{text!r} is not of type {kind}.") from None


def encode(definition: Definition, values: Sequence[Any]) -> bytes:
    """Return the octets of an option's values. CannotCarry says which of them has none."""
    types = definition.types + definition.types[-1:] * (len(values) - len(definition.types))
    try:
        return b"".join(TYPES[kind](value) for kind, value in zip(types, values, strict=False))
    except ValueError as error:
        raise CannotCarry(f"{error}.") from error


def encode_resolver(data: str) -> bytes:
    """Return the octets of an encrypted resolver (RFC 9463 3.1): `priority, name, addresses, alpn=dot port=853`."""
    parts = [each.strip() for each in COMMA.split(data)]
    try:
        priority, name = int(parts[0]).to_bytes(2, "big"), write_name(f"{parts[1].rstrip('.')}.")
        addresses = b"".join(IPv6Address(each).packed for each in parts[2].split()) if len(parts) > 2 else b""
        parameters = sorted(_service_parameter(each) for each in parts[3].split()) if len(parts) > 3 else []
    except (ValueError, IndexError, OverflowError, KeyError):
        raise CannotCarry(f"{data!r} is not an encrypted resolver.") from None
    body = priority + len(name).to_bytes(2, "big") + name
    if not addresses:  # without addresses, nothing follows the name (RFC 9463 3.1.6)
        return body
    return body + len(addresses).to_bytes(2, "big") + addresses + b"".join(parameters)


def _service_parameter(text: str) -> bytes:
    key, _, value = text.partition("=")
    match key:
        case "alpn":
            names = [each.encode() for each in re.split(r"\\?,", value)]
            body = b"".join(bytes((len(each),)) + each for each in names)
        case "port":
            body = int(value).to_bytes(2, "big")
        case _:
            body = value.encode()
    return SERVICE_PARAMETERS[key].to_bytes(2, "big") + len(body).to_bytes(2, "big") + body


def octets_of(data: str) -> bytes:
    """Return octets as Kea reads them: `'text'`, or hexadecimal with or without `0x`, colons or spaces."""
    text = data.strip()
    if len(text) >= 2 and text[0] == text[-1] == "'":
        return text[1:-1].encode()
    plain = text.removeprefix("0x").removeprefix("0X")
    if re.search(r"[\s:]", plain):
        plain = "".join(each.rjust(2, "0") for each in re.split(r"[\s:]", plain) if each)
    try:
        return bytes.fromhex(plain if len(plain) % 2 == 0 else "0" + plain)
    except ValueError:
        raise CannotCarry(f"{data!r} are not octets in hexadecimal.") from None


def decode_standard(code: int, body: bytes) -> Any:
    """Return the value that the octets of a standard option stand for, as our file has it; None if there is none."""
    if code == NtpServers.code:
        return _ntp_servers(body)
    definition = BY_CODE.get(code)
    if definition is None or len(definition.types) > 1:
        return None
    values: list[Any] = []
    reader = Reader(body)
    try:
        while reader.at < reader.end and (definition.array or not values):
            values.append(_decode_one(definition.types[0], reader))
        reader.done()
    except ValueError:
        return None
    if not values:
        return None
    return values if definition.array else values[0]


def _decode_one(kind: str, reader: Reader) -> Any:
    match kind:
        case "ipv6-address":
            return str(IPv6Address(reader.take(16)))
        case "uint32":
            return reader.uint(4)
        case "string":
            return reader.rest().decode()
        case "tuple":
            return reader.take(reader.uint(2)).decode()
        case "fqdn":
            return read_name(reader)
    raise ValueError


def _ntp_servers(body: bytes) -> list[str] | None:
    """Return the addresses and names of NTP servers (RFC 5908), None if there is anything else."""
    found = []
    try:
        for code, start, end in index_options(body, 0, len(body)):
            if code == NTP_ADDRESS and end - start == 16:
                found.append(str(IPv6Address(body[start:end])))
            elif code == NTP_NAME:
                found.append(read_name(Reader(body[start:end])))
            else:
                return None
    except WireError:
        return None
    return found or None


BY_CODE = {definition.code: definition for name, definition in STANDARD[DHCP6].items() if name != DNR}

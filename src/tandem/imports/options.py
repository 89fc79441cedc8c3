"""Options and their definitions as Kea has them (`option-data`, `option-def`), as options of ours.

What dhcpd says of options is put into the same form before it is read here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from ipaddress import IPv6Address
from typing import Any, NamedTuple

from pydantic import ValidationError

from tandem.config.definitions import ENDLESS, TYPES
from tandem.config.options import NAMES, NOT_TO_BE_CONFIGURED, Options
from tandem.imports.source import Section
from tandem.imports.standard_options import DHCP6, STANDARD, Definition
from tandem.wire.names import read_name
from tandem.wire.octets import TooLong, write_option
from tandem.wire.options import Preference, VendorOptions
from tandem.wire.reader import Reader

COMMENTS = dict.fromkeys(("user-context", "comment"), "Comments are not carried over.")
COMMA = re.compile(r"(?<!\\),")
INTEGERS = re.compile(r"u?int(8|16|32)")


class CannotCarry(Exception):
    """A setting has no like here; the message says why, and what to do."""


class Value(NamedTuple):
    """An option as it was configured: where, its definition, its values as our file has them, and its octets."""

    where: Section
    name: str
    definition: Definition
    values: list[Any] | None
    """None if it was given as octets."""
    body: bytes


class OptionReader:
    """Reads options by all definitions of a file, and gives them as ours."""

    def __init__(self) -> None:
        self._definitions: dict[tuple[str, str], Definition] = {
            (space, name): definition for space, names in STANDARD.items() for name, definition in names.items()
        }
        self.defined: dict[str, dict[str, Any]] = {}
        """The `option-definition` tables of our file."""
        self.preference: int | None = None
        """What was said to be the server's preference."""

    def define(self, sections: Iterator[Section]) -> None:
        """Take over definitions."""
        for section in sections:
            try:
                self._define(section)
            except CannotCarry as error:
                section.lost("name", str(error))
            section.rest({}, COMMENTS)

    def _define(self, section: Section) -> None:
        name, space = section.take("name", str) or "", section.take("space", str) or DHCP6
        kind = section.take("type", str) or ""
        records = section.take("record-types", str) or ""
        types = tuple(each.strip() for each in records.split(",")) if kind == "record" else (kind,)
        array = section.take("array", bool) or False
        code = section.take("code", int) or 0
        encapsulated = section.take("encapsulate", str) or ""
        if not all(each in TYPES for each in types):
            raise CannotCarry(
                f"There is no type {' '.join(types)!r} here; write the option by its number, in hexadecimal."
            )
        self._definitions[space, name] = Definition(code, types, array, encapsulated)
        endless = types if array else types[:-1]
        is_plain = space == DHCP6 and not encapsulated and code not in NAMES and code not in NOT_TO_BE_CONFIGURED
        if is_plain and not name.isdecimal() and not any(each in ENDLESS for each in endless):
            table: dict[str, Any] = {"code": code, "type": list(types) if len(types) > 1 else types[0]}
            self.defined[name] = {**table, "array": True} if array else table

    def code_of(self, name: str) -> int | None:
        """Give the code of a DHCPv6 option by its name."""
        found = self._definitions.get((DHCP6, name))
        return found.code if found is not None else None

    def is_of_octets(self, space: str, code: int) -> bool:
        """Say whether an option's value is a text or octets, or nothing is known of it."""
        found = self._find(space, None, code)
        return found is None or found[1].types in (("string",), ("binary",))

    def read(self, sections: Iterator[Section]) -> dict[str, Any]:
        """Give the `options` table of one scope."""
        by_space: dict[str, list[Value]] = {}
        for section in sections:
            space = section.take("space", str) or DHCP6
            try:
                by_space.setdefault(space, []).append(self._value(section, space))
            except CannotCarry as error:
                section.lost("data", str(error))
            _mind_flags(section)
        used = {DHCP6}
        table: dict[str, Any] = {}
        for value in by_space.get(DHCP6, []):
            try:
                table.update(self._ours(value, by_space, used))
            except CannotCarry as error:
                value.where.lost("data", str(error))
        for space in by_space.keys() - used:
            for value in by_space[space]:
                value.where.lost("data", f"No option of the same place holds those of {space}.")
        return table

    def _value(self, section: Section, space: str) -> Value:
        name, code = section.take("name", str), section.take("code", int)
        as_text = section.take("csv-format", bool)
        data = section.take("data", str) or ""
        found = self._find(space, name, code)
        if found is None:
            if as_text or code is None:
                raise CannotCarry(f"Nothing defines {name or code!r} of {space}.")
            return Value(section, name or str(code), Definition(code, ("binary",)), None, _octets(data))
        name, definition = found
        if as_text is False:
            return Value(section, name, definition, None, _octets(data))
        values = [] if definition.types == ("empty",) else _split(definition, data)
        return Value(section, name, definition, values, _encode(definition, values))

    def _find(self, space: str, name: str | None, code: int | None) -> tuple[str, Definition] | None:
        for (defined_space, defined_name), definition in self._definitions.items():
            if defined_space == space and (defined_name == name if name is not None else definition.code == code):
                return defined_name, definition
        return None

    def _body(self, value: Value, by_space: dict[str, list[Value]], used: set[str]) -> bytes:
        """Give an option's octets with those of the options inside of it."""
        inside = value.definition.encapsulate
        used.add(inside)
        try:
            return value.body + b"".join(
                write_option(each.definition.code, self._body(each, by_space, used))
                for each in (by_space.get(inside, []) if inside else ())
            )
        except TooLong as error:
            raise CannotCarry(f"It does not fit into an option: {error}.") from error

    def _ours(self, value: Value, by_space: dict[str, list[Value]], used: set[str]) -> dict[str, Any]:
        """Give the option as an entry of an `options` table."""
        code = value.definition.code
        if code == VendorOptions.code:
            return self._vendor_options(value, by_space, used)
        if code == Preference.code and len(value.body) == 1:
            self.preference = value.body[0]
            value.where.changed("data", "The preference is the server's, for all clients.")
            return {}
        if code in NOT_TO_BE_CONFIGURED or not 0 < code <= 0xFFFF:
            raise CannotCarry("The server says this option by itself where it is due, or nobody does.")
        values = value.values if value.values is not None else _decode(value.definition, value.body)
        if code in NAMES:
            if values is None:
                raise CannotCarry(f"Write it as {NAMES[code]}.")
            return _checked(NAMES[code], values if value.definition.array else values[0])
        if value.name in self.defined and values is not None:
            record = len(value.definition.types) > 1 or value.definition.array
            return {value.name: values if record else values[0] if values else True}
        body = self._body(value, by_space, used)
        if not body:
            return {str(code): {"string": ""}}
        if values and value.definition.array and value.definition.types == ("ipv6-address",):
            return {str(code): {"addresses": values}}
        return {str(code): {"hex": body.hex()}}

    def _vendor_options(self, value: Value, by_space: dict[str, list[Value]], used: set[str]) -> dict[str, Any]:
        enterprise = int.from_bytes(value.body[:4], "big")
        space = f"vendor-{enterprise}"
        used.add(space)
        suboptions = {str(each.definition.code): each.body.hex() for each in by_space.get(space, []) if each.body}
        if not suboptions:
            raise CannotCarry(f"Nothing is told of vendor {enterprise}.")
        value.where.changed("data", f"All suboptions of vendor {enterprise} go to who asks for option 17.")
        return {"vendor-options": [{"enterprise": enterprise, "suboptions": suboptions}]}


def _mind_flags(section: Section) -> None:
    if section.take("always-send", bool):
        section.changed("always-send", "It is told to clients that ask for it, as RFC 9915 21.7 wants.")
    if section.take("never-send", bool):
        section.lost("never-send", "Take the option out where it should not be told.")
    section.rest({}, COMMENTS)


def _split(definition: Definition, data: str) -> list[Any]:
    """Read the values of `data`, a text with commas. CannotCarry if they are not of their types."""
    types = definition.types
    if types == ("string",) and not definition.array:
        return [data.replace("\\,", ",")]
    texts = [each.strip().replace("\\,", ",") for each in COMMA.split(data)] if data else []
    if definition.array:
        types = types + types[-1:] * (len(texts) - len(types))
    elif len(texts) > len(types):  # the last one has commas of its own
        texts = [*texts[: len(types) - 1], ",".join(texts[len(types) - 1 :])]
    if len(texts) != len(types):
        raise CannotCarry(f"{len(types)} values are needed, and not {len(texts)}.")
    return [_typed(kind, text) for kind, text in zip(types, texts, strict=True)]


def _typed(kind: str, text: str) -> Any:
    try:
        if INTEGERS.fullmatch(kind):
            return int(text, 0)
        if kind == "boolean":
            return text.lower() in ("true", "1")
        return _octets(text).hex() if kind == "binary" else text
    except ValueError:
        raise CannotCarry(f"{text!r} is not of type {kind}.") from None


def _encode(definition: Definition, values: Sequence[Any]) -> bytes:
    types = definition.types + definition.types[-1:] * (len(values) - len(definition.types))
    try:
        return b"".join(TYPES[kind](value) for kind, value in zip(types, values, strict=False))
    except ValueError as error:
        raise CannotCarry(f"{error}.") from error


def _octets(data: str) -> bytes:
    """Read octets as Kea does: `'text'`, or hexadecimal with or without `0x`, colons or spaces."""
    text = data.strip()
    if len(text) >= 2 and text[0] == text[-1] == "'":
        return text[1:-1].encode()
    plain = re.sub(r"[\s:]", "", text.removeprefix("0x").removeprefix("0X"))
    try:
        return bytes.fromhex(plain if len(plain) % 2 == 0 else "0" + plain)
    except ValueError:
        raise CannotCarry(f"{data!r} are not octets in hexadecimal.") from None


def _decode(definition: Definition, body: bytes) -> list[Any] | None:
    """Give the values that octets stand for, None if that is not known."""
    if len(definition.types) > 1:
        return None
    (kind,) = definition.types
    values: list[Any] = []
    reader = Reader(body)
    try:
        while reader.at < reader.end and (definition.array or not values):
            values.append(_decode_one(kind, reader))
        reader.done()
    except ValueError:
        return None
    return values or None


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


def _checked(name: str, value: Any) -> dict[str, Any]:
    """Give an option that has a name as an entry of an `options` table. CannotCarry if the file may not say so."""
    try:
        Options.model_validate({name: value})
    except ValidationError as error:
        raise CannotCarry(f"{name}: {error.errors()[0]['msg']}.") from error
    return {name: value}

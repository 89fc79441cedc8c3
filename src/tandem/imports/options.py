"""Options and their definitions as Kea has them (`option-data`, `option-def`), as options of ours.

What dhcpd says of options is put into the same form before it is read here. Each option of ours is encoded again, and
compared with the octets that the other server would send: what comes out otherwise is not carried over.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pydantic import ValidationError

from tandem.config.definitions import ENDLESS, TYPES, OptionDefinition
from tandem.config.options import NAMES, NOT_TO_BE_CONFIGURED, Options
from tandem.imports import option_values
from tandem.imports.report import CannotCarry
from tandem.imports.source import Section
from tandem.imports.standard_options import DHCP6, DNR, STANDARD, Definition
from tandem.wire.octets import TooLong, index_options, write_option
from tandem.wire.options import Preference, VendorOptions
from tandem.wire.reader import WireError

COMMENTS = dict.fromkeys(("user-context", "comment"), "Comments are not carried over.")
VENDOR = "vendor-"
"""What the name of a vendor's space begins with; its enterprise number follows."""
CABLE_LABS = 4491
ENTERPRISE_OCTETS = 4
ScopeOptions = dict[str, Any]
"""What a scope of our file says of options: `options` and `always-send`, as far as there are any."""


class Value(NamedTuple):
    """An option as it was configured: where, its definition, its values as our file has them, and its octets."""

    where: Section
    name: str
    definition: Definition
    values: list[Any] | None
    """None if it was given as octets."""
    body: bytes
    always: bool
    """Whether clients are told without asking."""


@dataclass
class _Scope:
    """The options of one scope as they are gone through."""

    by_space: dict[str, list[Value]] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    """Spaces of which an option could not be carried over."""
    used: set[str] = field(default_factory=lambda: {DHCP6})
    """Spaces whose options are told inside of others."""
    vendors: dict[int, dict[str, Any]] = field(default_factory=dict)
    """Entries of `vendor-options`."""

    def vendor(self, enterprise: int) -> dict[str, Any]:
        """Return the entry of a vendor."""
        return self.vendors.setdefault(enterprise, {"enterprise": enterprise, "suboptions": {}})


def spaces_in(values: Any) -> frozenset[str]:
    """Return the spaces that a file of Kea's has options of, in all of its scopes."""
    if isinstance(values, list):
        return frozenset().union(*map(spaces_in, values))
    if not isinstance(values, dict):
        return frozenset()
    options = values.get("option-data")
    own = [each.get("space") for each in options if isinstance(each, dict)] if isinstance(options, list) else []
    return frozenset(each for each in own if isinstance(each, str)).union(*map(spaces_in, values.values()))


class OptionReader:
    """Reads options by all definitions of a file, and gives them as ours."""

    def __init__(self, spaces: Collection[str] = ()) -> None:
        self._spaces = spaces
        """The spaces that the file has options of, in whichever scope."""
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
        before = [key for key, each in self._definitions.items() if key[0] == space and each.code == code]
        for each in before:  # a file that defines a code again means its own definition
            del self._definitions[each]
        self._definitions[space, name] = Definition(code, types, array, encapsulated)
        endless = types if array else types[:-1]
        is_plain = space == DHCP6 and not encapsulated and code not in NAMES and code not in NOT_TO_BE_CONFIGURED
        is_known = name in NAMES.values() or name.isdecimal()
        if is_plain and not is_known and not any(each in ENDLESS for each in endless):
            table: dict[str, Any] = {"code": code, "type": list(types) if len(types) > 1 else types[0]}
            self.defined[name] = {**table, "array": True} if array else table

    def code_of(self, name: str) -> int | None:
        """Give the code of a DHCPv6 option by its name."""
        found = self._definitions.get((DHCP6, name))
        return found.code if found is not None else None

    def is_text(self, code: int) -> bool:
        """True if the value of a DHCPv6 option is a text."""
        found = self._find(DHCP6, None, code)
        return found is not None and found[1].types == ("string",) and found[0] != DNR

    def is_of_octets(self, space: str, code: int) -> bool:
        """Say whether an option's value is a text or octets, or nothing is known of it."""
        found = self._find(space, None, code)
        return found is None or found[1].types in (("string",), ("binary",))

    def read(self, sections: Iterator[Section], is_general: bool = False) -> ScopeOptions:
        """Return what one scope says of options; `is_general` if it is the whole file."""
        scope = _Scope()
        for section in sections:
            space = section.take("space", str) or DHCP6
            always, never = section.take("always-send", bool) or False, section.take("never-send", bool) or False
            try:
                if never:
                    section.lost("never-send", "Take the option out of the wider scopes, too; here it is not told.")
                    raise CannotCarry("never-send keeps it from being told.")
                value = self._value(section, space, always)
                if all(each.definition.code != value.definition.code for each in scope.by_space.get(space, ())):
                    scope.by_space.setdefault(space, []).append(value)
                else:
                    section.lost("data", "The option stands in the same place before, which goes.")
            except CannotCarry as error:
                scope.broken.add(space)
                section.lost("data", str(error))
            section.rest({}, COMMENTS)
        return self._ours(scope, is_general)

    def _value(self, section: Section, space: str, always: bool) -> Value:
        name, code = section.take("name", str), section.take("code", int)
        as_text = section.take("csv-format", bool)
        data = section.take("data", str) or ""
        found = self._find(space, name, code)
        if found is None:
            if as_text or code is None:
                raise CannotCarry(f"Nothing defines {name or code!r} of {space}.")
            definition = Definition(code, ("binary",))
            return Value(section, name or str(code), definition, None, option_values.octets_of(data), always)
        name, definition = found
        if as_text is False:
            return Value(section, name, definition, None, option_values.octets_of(data), always)
        if (space, name) == (DHCP6, DNR):
            return Value(section, name, definition, None, option_values.encode_resolver(data), always)
        values = [] if definition.types == ("empty",) else option_values.split(definition, data)
        return Value(section, name, definition, values, option_values.encode(definition, values), always)

    def _find(self, space: str, name: str | None, code: int | None) -> tuple[str, Definition] | None:
        for (defined_space, defined_name), definition in self._definitions.items():
            if defined_space == space and (defined_name == name if name is not None else definition.code == code):
                return defined_name, definition
        return None

    def _body(self, value: Value, scope: _Scope) -> bytes:
        """Give an option's octets with those of the options inside of it. CannotCarry if one of them is lost."""
        inside = value.definition.encapsulate
        scope.used.add(inside)
        if inside in scope.broken:
            raise CannotCarry(f"It would come without a part of what is to be inside of it, an option of {inside}.")
        try:
            return value.body + b"".join(
                write_option(each.definition.code, self._body(each, scope))
                for each in (scope.by_space.get(inside, []) if inside else ())
            )
        except TooLong as error:
            raise CannotCarry(f"It does not fit into an option: {error}.") from error

    def _whole_body(self, value: Value, scope: _Scope) -> bytes:
        """Return the same. CannotCarry if nothing is left of an option that the file has content for."""
        body, inside = self._body(value, scope), value.definition.encapsulate
        if not body and inside in self._spaces:
            why = f"It would be empty: the options of {inside} stand in other scopes. Write them where it stands."
            value.where.report.must_mend(f"{value.where.path('name')}: {why}")
            raise CannotCarry(why)
        return body

    def _ours(self, scope: _Scope, is_general: bool) -> ScopeOptions:
        options: dict[str, Any] = {}
        always: list[str] = []
        for value in scope.by_space.get(DHCP6, []):
            try:
                if value.definition.code == VendorOptions.code:
                    self._vendor_option(value, scope)
                    entry: dict[str, Any] = {}
                elif value.definition.code == Preference.code:
                    self._preference(value, is_general)
                    continue
                else:
                    entry = self._entry(value, self._whole_body(value, scope))
                options |= entry
                always += (entry or ["vendor-options"]) if value.always else []
            except CannotCarry as error:
                value.where.lost("data", str(error))
        for space, values in scope.by_space.items():
            if space.startswith(VENDOR) and space.removeprefix(VENDOR).isdecimal():
                self._suboptions(int(space.removeprefix(VENDOR)), values, scope)
            elif space not in scope.used:
                for value in values:
                    value.where.lost("data", f"No option of the same place holds those of {space}.")
        if scope.vendors:
            options["vendor-options"] = [each for each in scope.vendors.values() if each["suboptions"]]
        found: ScopeOptions = {"options": {name: each for name, each in options.items() if each != []}}
        return {name: each for name, each in (found | {"always-send": always}).items() if each}

    def _preference(self, value: Value, is_general: bool) -> None:
        if not is_general or len(value.body) != 1:
            raise CannotCarry("The preference is the server's, for all clients: it cannot be that of some.")
        self.preference = value.body[0]
        value.where.changed("data", "The preference goes with each Advertise.")

    def _entry(self, value: Value, body: bytes) -> dict[str, Any]:
        """Return the option as an entry of an `options` table that is encoded just so."""
        code = value.definition.code
        if code in NOT_TO_BE_CONFIGURED or not 0 < code <= 0xFFFF:
            raise CannotCarry("The server says this option by itself where it is due, or nobody does.")
        if code in NAMES:
            plain = option_values.decode_standard(code, body)
            if plain is None:
                raise CannotCarry(f"It is no {NAMES[code]}.")
            return self._checked({NAMES[code]: plain}, code, body)
        if value.name in self.defined and value.values is not None:
            record = len(value.definition.types) > 1 or value.definition.array
            plain = value.values if record else value.values[0] if value.values else True
            return self._checked({value.name: plain}, code, body)
        if not body:
            return self._checked({str(code): {"string": ""}}, code, body)
        if value.values and value.definition.array and value.definition.types == ("ipv6-address",):
            return self._checked({str(code): {"addresses": value.values}}, code, body)
        return self._checked({str(code): {"hex": body.hex()}}, code, body)

    def _checked(self, entry: dict[str, Any], code: int, body: bytes) -> dict[str, Any]:
        """Return the entry. CannotCarry if the file may not say so, or it does not stand for these octets."""
        definitions = {
            name: OptionDefinition.model_validate(self.defined[name]) for name in entry if name in self.defined
        }
        name = next(iter(entry))
        try:
            encoded = Options.model_validate(entry, context=tuple(definitions)).encode(definitions).encoded
        except ValidationError as error:
            raise CannotCarry(f"{name}: {error.errors()[0]['msg'].removeprefix('Value error, ')}.") from error
        except ValueError as error:
            raise CannotCarry(f"{name}: {error}.") from error
        if encoded.get(code) != write_option(code, body):
            raise CannotCarry(f"{name} cannot stand for its octets, {body.hex()}.")
        return entry

    def _vendor_option(self, value: Value, scope: _Scope) -> None:
        """Take over an option 17, of which there is one for each enterprise."""
        enterprise = int.from_bytes(value.body[:ENTERPRISE_OCTETS], "big")
        try:
            inside = index_options(value.body, ENTERPRISE_OCTETS, len(value.body))
        except WireError as error:
            raise CannotCarry(f"Its suboptions are malformed: {error}.") from error
        for code, start, end in inside:
            scope.vendor(enterprise)["suboptions"][str(code)] = value.body[start:end].hex()
        value.where.changed("data", f"It goes to clients that say they are of vendor {enterprise}.")
        if value.always:
            value.where.changed("always-send", "All clients are told all suboptions, of whatever vendor they are.")

    def _suboptions(self, enterprise: int, values: list[Value], scope: _Scope) -> None:
        """Take over what stands in the space of a vendor: what its clients ask for, and what they are told always."""
        for value in values:
            try:
                body = self._body(value, scope)
            except CannotCarry as error:
                value.where.lost("data", str(error))
                continue
            entry = scope.vendor(enterprise)
            entry["suboptions"][str(value.definition.code)] = body.hex()
            if value.always:
                entry.setdefault("always-send", []).append(value.definition.code)
            elif enterprise == CABLE_LABS:
                value.where.changed("data", "A modem that asks for option 17 and lists no suboptions is told all.")
            else:
                how = f"Clients of vendor {enterprise} are told when they ask for option 17."
                value.where.changed("data", how)


def merged(outer: Mapping[str, Any], inner: Mapping[str, Any], code_of: Mapping[str, Any]) -> ScopeOptions:
    """Return what an inner scope says of options, on top of what an outer one says.

    `code_of` are the `option-definition` tables, by which two spellings of one option are told to be one.
    """
    ours, around = dict(inner.get("options", {})), dict(outer.get("options", {}))
    vendors = {each["enterprise"]: dict(each) for each in around.pop("vendor-options", [])}
    for each in ours.pop("vendor-options", []):
        before = vendors.get(each["enterprise"], {"suboptions": {}})
        always = list(dict.fromkeys([*before.get("always-send", []), *each.get("always-send", [])]))
        vendors[each["enterprise"]] = {
            **each,
            "suboptions": {**before["suboptions"], **each["suboptions"]},
            **({"always-send": always} if always else {}),
        }

    def code(name: str) -> str:
        return str(code_of[name]["code"]) if name in code_of else name

    codes = {code(name) for name in ours}
    options = {**{name: each for name, each in around.items() if code(name) not in codes}, **ours}
    if vendors:
        options["vendor-options"] = list(vendors.values())
    sent = list(dict.fromkeys([*outer.get("always-send", []), *inner.get("always-send", [])]))
    return {name: each for name, each in (("options", options), ("always-send", sent)) if each}

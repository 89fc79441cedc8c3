"""What dhcpd says of options, put into the form that `options` reads."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from tandem.imports.dhcpd_text import Statement, Word, padded
from tandem.imports.options import OptionReader, ScopeOptions
from tandem.imports.report import CannotCarry, Report
from tandem.imports.source import Section
from tandem.imports.standard_options import DHCP6, STANDARD

NAMES: dict[str, int] = {
    **{name: definition.code for name, definition in STANDARD[DHCP6].items()},
    "client-id": 1,
    "server-id": 2,
    "oro": 6,
    "status-code": 13,
    "rapid-commit": 14,
    "user-class": 15,
    "interface-id": 18,
    "sip-servers-names": 21,
    "sip-servers-addresses": 22,
    "name-servers": 23,
    "info-refresh-time": 32,
    "bcms-server-d": 33,
    "bcms-server-a": 34,
    "fqdn": 39,
}
"""dhcpd's names of DHCPv6 options, without `dhcp6.`; most are Kea's, too."""
TYPES = {
    "boolean": "boolean",
    "flag": "boolean",
    "ip-address": "ipv4-address",
    "ip6-address": "ipv6-address",
    "text": "string",
    "string": "string",
    "domain-name": "fqdn",
    "domain-list": "fqdn",
}
VENDORS = "vsio."
"""What names begin with that say which vendor a space of options is of."""
OCTETS = re.compile(r"[0-9A-Fa-f]{1,2}(:[0-9A-Fa-f]{1,2})*")
OF_DHCPV4 = "It is of DHCPv4."


class DhcpdOptions:
    """Knows the spaces and definitions of a file, and gives the options of its scopes."""

    def __init__(self, reader: OptionReader, report: Report) -> None:
        self.reader = reader
        self._report = report
        self._vendors: dict[str, int] = {}
        self._codes: dict[tuple[str, str], int] = {(DHCP6, name): code for name, code in NAMES.items()}

    def define(self, statements: Iterable[Statement]) -> None:
        """Take over all definitions, those inside of blocks too: first whose the spaces are, wherever that is said."""
        for each in sorted(_definitions(statements), key=lambda each: not each.texts[0].startswith(VENDORS)):
            try:
                self._define(each)
            except CannotCarry as error:
                self._report.lost(each.where, str(error))

    def code_of(self, name: str) -> int | None:
        """Give the code of a DHCPv6 option by its whole name, None if there is none."""
        space, _, rest = name.partition(".")
        return self._codes.get((space, rest)) if space == DHCP6 else None

    def read(self, statements: Iterable[Statement], is_general: bool = False) -> ScopeOptions:
        """Give what one block says of options."""
        entries: list[Section] = []
        for statement in statements:
            try:
                space, values = self._entry(statement)
            except CannotCarry as error:
                self._report.lost(statement.where, str(error))
                continue
            if space in self._vendors:
                values["space"] = f"vendor-{self._vendors[space]}"
            entries.append(Section(values, statement.where, self._report, is_one=True))
        return self.reader.read(iter(entries), is_general)

    def _define(self, statement: Statement) -> None:
        texts = statement.texts
        if texts[0] == "space":
            self._report.carried(statement.where)
            return
        space, _, name = texts[0].partition(".")
        try:
            code, kinds = int(texts[texts.index("code") + 1]), statement.words[texts.index("=") + 2 :]
        except (ValueError, IndexError):
            raise CannotCarry("Its code or its type is missing.") from None
        if not name:
            raise CannotCarry(OF_DHCPV4)
        if f"{space}." == VENDORS:
            self._vendors[kinds[-1].text] = code
            self._report.carried(statement.where)
            return
        self._codes[space, name] = code
        types, array, encapsulated = _types(kinds)
        whose = f"vendor-{self._vendors[space]}" if space in self._vendors else space
        values = {"name": name, "space": whose, "code": code, "array": array, "encapsulate": encapsulated}
        values |= {"type": "record", "record-types": ", ".join(types)} if len(types) > 1 else {"type": types[0]}
        self.reader.define(iter((Section(values, statement.where, self._report, is_one=True),)))

    def _entry(self, statement: Statement) -> tuple[str, dict[str, Any]]:
        space, _, name = (statement.texts or ("",))[0].partition(".")
        if not name:
            raise CannotCarry(OF_DHCPV4)
        code = self._codes.get((space, name))
        if code is None:
            raise CannotCarry(f"Nothing defines {space}.{name}.")
        data = statement.words[2:]
        if data and data[0].text == "=":
            raise CannotCarry("Its value is found anew for each client; write it as a value, or with classes.")
        values: dict[str, Any] = {"code": code, "space": space}
        if len(data) == 1 and not data[0].is_text and self.reader.is_of_octets(space, code) and _is_octets(data[0]):
            return space, {**values, "csv-format": False, "data": padded(data[0].text)}
        return space, {**values, "data": _joined(data)}


def _definitions(statements: Iterable[Statement]) -> Iterator[Statement]:
    for each in statements:
        if is_definition(each):
            yield each
        yield from _definitions(each.block or ())


def is_definition(statement: Statement) -> bool:
    """Say whether an option, or a space of options, is defined, and not given a value."""
    texts = statement.texts
    return statement.name == "option" and bool(texts) and (texts[0] == "space" or "code" in texts[1:2])


def _types(words: Sequence[Word]) -> tuple[list[str], bool, str]:
    """Read types: their names, whether there may be many, and the space of options inside."""
    texts = [word.text for word in words if word.text not in ("{", "}")]
    if texts[:1] == ["encapsulate"] and len(texts) == 2:
        return ["empty"], False, texts[1]
    array = texts[:2] == ["array", "of"]
    kinds = " ".join(texts[2:] if array else texts).split(" , ")
    return [_type(kind) for kind in kinds], array or kinds[0].startswith("domain-list"), ""


def _type(text: str) -> str:
    words = [word for word in text.split() if word not in ("compressed", ",")]
    if "integer" in words and words[-1] in ("8", "16", "32"):
        return f"{'u' if 'unsigned' in words else ''}int{words[-1]}"
    found = TYPES.get(" ".join(words))
    if found is None:
        raise CannotCarry(f"There is no type {text!r} here; write the option by its number, in hexadecimal.")
    return found


def _joined(data: Sequence[Word]) -> str:
    """Give the values as a text with commas."""
    return "".join(word.text if not word.is_text else word.text.replace(",", "\\,") for word in _with_commas(data))


def _with_commas(data: Sequence[Word]) -> Iterator[Word]:
    for number, word in enumerate(data):
        is_sign = word.text == "," and not word.is_text
        if number and not is_sign and data[number - 1].text != ",":
            yield Word(",", word.line)
        yield word


def _is_octets(word: Word) -> bool:
    return bool(OCTETS.fullmatch(word.text))

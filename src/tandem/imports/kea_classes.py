"""Kea's client classes as ours."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from tandem.imports.conditions import both
from tandem.imports.kea_tests import built_in_class, read_test
from tandem.imports.options import COMMENTS, CannotCarry, OptionReader
from tandem.imports.source import Section

DROP = "DROP"
ALWAYS = ("member('ALL')", None)
"""Tests of classes that everybody is in."""
LIFETIMES = "Leases last as their subnet says, whatever the class."
LATE = "Classes are looked at before a lease is chosen; put the options into the subnets that require the class."
REASONS = {
    **{f"{bound}{each}-lifetime": LIFETIMES for each in ("valid", "preferred") for bound in ("", "min-", "max-")},
    "option-def": "Options are defined for the whole file.",
    "template-test": "Classes do not come into being by themselves.",
    "next-server": "It is of DHCPv4.",
    "server-hostname": "It is of DHCPv4.",
    "boot-file-name": "It is of DHCPv4.",
}


class KeaClasses:
    """Reads the classes of a file, and remembers which are spoken of."""

    def __init__(self, options: OptionReader) -> None:
        self._options = options
        self._defined: dict[str, dict[str, Any]] = {}
        self._spoken_of: dict[str, None] = {}
        self._always_late: dict[str, dict[str, Any]] = {}
        self.interfaces: dict[str, None] = {}
        """The interfaces that conditions speak of."""

    def read(self, sections: Iterator[Section]) -> None:
        """Take over the definitions of classes."""
        for section in sections:
            name = section.take("name", str) or ""
            self._defined[name] = self._table(section, name)

    def speak_of(self, names: Iterable[str]) -> list[str]:
        """Give the classes that a scope names, without empty ones, and remember them."""
        found = [name for name in names if name]
        self._spoken_of.update(dict.fromkeys(found))
        return found

    def required(self, section: Section) -> dict[str, Any]:
        """Give the options of the classes that a scope requires. Those whose members are not everybody are lost."""
        found: dict[str, Any] = {}
        for key in ("require-client-classes", "evaluate-additional-classes"):
            for name in reversed(section.texts(key)):
                if name in self._always_late:
                    found.update(self._always_late[name])
                else:
                    section.lost(key, f"{name}: {LATE}")
        return found

    def both(self, outer: list[str], inner: list[str]) -> list[str]:
        """Give classes whose members are in one of the outer and in one of the inner ones."""
        if not outer or not inner or outer == inner:
            return outer or inner
        name, when = both(outer, inner)
        self._defined.setdefault(name, {"when": when})
        return [name]

    def tables(self) -> dict[str, dict[str, Any]]:
        """Give the `class` tables of our file: first those that Kea knows by itself, then those of the file."""
        unknown = [name for name in self._spoken_of if name not in self._defined]
        return {
            **{name: {"when": built_in} if (built_in := built_in_class(name)) else {} for name in unknown},
            **{name: table for name, table in self._defined.items() if name not in self._always_late},
        }

    def _table(self, section: Section, name: str) -> dict[str, Any]:
        table: dict[str, Any] = {}
        test = section.take("test", str)
        late = next((each for each in ("only-if-required", "only-in-additional-list") if each in section), None)
        is_late = late is not None and bool(section.take(late, bool))
        if is_late and late is not None and test not in ALWAYS:
            section.lost(late, f"Nobody is in {name}. {LATE}")
            section.lost("test", f"Nobody is in {name}. {LATE}")
        elif test and not is_late:
            try:
                table["when"] = self._condition(test)
            except CannotCarry as error:
                section.lost("test", f"Nobody is in {name} but by reservation: {error}")
        options = self._options.read(section.sections("option-data"))
        if is_late and late is not None and test in ALWAYS:
            self._always_late[name] = options
            section.changed(late, "Its options are told by the subnets and pools that require it.")
        elif options:
            table["options"] = options
        if name == DROP:
            table["drop"] = True
        section.rest(REASONS, COMMENTS)
        return table

    def _condition(self, test: str) -> dict[str, Any]:
        condition = read_test(test, self._options.code_of)
        self.speak_of(_spoken_of("class", condition))
        self.interfaces.update(dict.fromkeys(_spoken_of("interface", condition)))
        return condition


def _spoken_of(kind: str, condition: dict[str, Any]) -> Iterator[str]:
    """Give the classes, or the interfaces, that a condition names."""
    for key, value in condition.items():
        if key == kind:
            yield value
        elif key == "not":
            yield from _spoken_of(kind, value)
        elif key in ("all", "any"):
            for each in value:
                yield from _spoken_of(kind, each)

"""Kea's client classes as ours."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from tandem.imports.conditions import both
from tandem.imports.kea_tests import built_in_class, read_test
from tandem.imports.kea_times import class_times, complete_class_times
from tandem.imports.options import COMMENTS, OptionReader, ScopeOptions, merged
from tandem.imports.report import CannotCarry
from tandem.imports.source import Section

DROP = "DROP"
SERVED = "Clients that Kea drops would be served. Give [class.DROP] a condition, or take it out if that is wanted."
HA = "HA_"
"""What the names of the classes begin with that high availability makes, one for each of its servers."""
ALWAYS = ("member('ALL')", None)
"""Tests of classes that everybody is in."""
LATE = "Classes are looked at before a lease is chosen; put the options into the subnets that require the class."
TIMES = "Its members are told a preferred lifetime within the valid one, and half and eight tenths of it as T1 and T2."
REASONS = {
    "option-def": "Options are defined for the whole file.",
    "template-test": "Classes do not come into being by themselves.",
    "next-server": "It is of DHCPv4.",
    "server-hostname": "It is of DHCPv4.",
    "boot-file-name": "It is of DHCPv4.",
}


class KeaClasses:
    """Reads the classes of a file, and remembers which are spoken of. `peers` are the servers of a pair."""

    def __init__(self, options: OptionReader, peers: Collection[str]) -> None:
        self._options = options
        self._peers = {f"{HA}{each}" for each in peers}
        self._defined: dict[str, dict[str, Any]] = {}
        self._lost: set[str] = set()
        """Classes that have fewer members here than with Kea."""
        self._spoken_of: dict[str, None] = {}
        self._admitted: list[tuple[Section, str, str]] = []
        """Where something is for members of a class: the scope, its key, and the class."""
        self._reserved: set[str] = set()
        """Classes that reservations put clients into."""
        self._by_client: dict[str, dict[str, list[str]]] = {}
        """Of classes that hold for certain clients everywhere: their identifiers, by kind."""
        self._always_late: dict[str, ScopeOptions] = {}
        self._with_times: dict[str, Section] = {}
        self.interfaces: dict[str, None] = {}
        """The interfaces that conditions speak of."""

    def read(self, sections: Iterator[Section]) -> None:
        """Take over the definitions of classes."""
        for section in sections:
            name = section.take("name", str) or ""
            self._defined[name] = self._table(section, name)

    def admitted(self, section: Section) -> list[str]:
        """Give the classes whose members a scope is for, none if it is for everybody."""
        found: list[str] = []
        for key in ("client-class", "client-classes"):
            single = section.take(key, str) if key == "client-class" else None
            for name in [single] if single else section.texts(key) if key == "client-classes" else []:
                if name in self._peers:
                    how = f"It is for all clients: each server of the pair has a share of all pools, without {name}."
                    section.changed(key, how)
                    return []
                if name:
                    found.append(name)
                    self._admitted.append((section, key, name))
        return self._speak_of(found)

    def reserved(self, section: Section, is_named: bool) -> list[str]:
        """Give the classes that a reservation puts its client into; `is_named` if we can tell which client that is."""
        names = self._speak_of(section.texts("client-classes"))
        self._reserved.update(names)
        if DROP in names and not is_named:
            section.report.must_mend(f"{section.where}: {SERVED}")
        return names

    def put_into(self, names: Iterable[str], reservation: Mapping[str, Any]) -> None:
        """Let classes hold for the client of a reservation wherever it is."""
        for name in names:
            for kind in ("duid", "link-layer"):
                if kind in reservation:
                    self._by_client.setdefault(name, {}).setdefault(kind, []).append(reservation[kind])

    def required(self, section: Section) -> ScopeOptions:
        """Give the options of the classes that a scope requires. Those whose members are not everybody are lost."""
        found: ScopeOptions = {}
        for key in ("require-client-classes", "evaluate-additional-classes"):
            for name in reversed(section.texts(key)):
                if name in self._always_late:
                    found = merged(found, self._always_late[name], self._options.defined)
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

    def complete_times(self, scopes: list[Mapping[str, Any]]) -> None:
        """Make the lifetimes of classes fit into the scopes that have these `lifetimes`."""
        for name, section in self._with_times.items():
            times = self._defined[name]["lifetimes"]
            self._defined[name]["lifetimes"], differs = complete_class_times(times, scopes)
            for key in times if differs else ():
                section.changed(key, TIMES)

    def tables(self) -> dict[str, dict[str, Any]]:
        """Give the `class` tables of our file: first those that Kea knows by itself, then those of the file."""
        unknown = [name for name in self._spoken_of if name not in self._defined]
        found: dict[str, dict[str, Any]] = {}
        for name in unknown:
            built_in = built_in_class(name)
            found[name] = {} if built_in is None else {"when": built_in}
        found |= {name: table for name, table in self._defined.items() if name not in self._always_late}
        for name, clients in self._by_client.items():
            conditions = [{kind: each} for kind, each in clients.items()]
            before = [found[name]["when"]] if "when" in found[name] else []
            found[name] = {**found[name], "when": {"any": [*before, *conditions]}}
        if DROP in found:
            found[DROP] = {**found[DROP], "drop": True}
        for section, key, name in self._admitted:
            if not found.get(name, {}).get("when") and name not in self._reserved | self._lost:
                section.changed(key, f"Nobody is in {name}, as with Kea: no class of that name says who is.")
        return found

    def _speak_of(self, names: Iterable[str]) -> list[str]:
        """Give the classes that are named, without empty ones, and remember them."""
        found = [name for name in names if name]
        self._spoken_of.update(dict.fromkeys(found))
        return found

    def _table(self, section: Section, name: str) -> dict[str, Any]:
        table: dict[str, Any] = {}
        test = section.take("test", str)
        late = next((each for each in ("only-if-required", "only-in-additional-list") if each in section), None)
        is_late = late is not None and bool(section.take(late, bool))
        why = ""
        if is_late and late is not None and test not in ALWAYS:
            why = LATE
            section.lost(late, f"Nobody is in {name}. {LATE}")
        elif test and not is_late:
            try:
                table["when"] = self._condition(test)
            except CannotCarry as error:
                why = str(error)
        if why:
            self._lose(section, name, why)
        options = self._options.read(section.sections("option-data"))
        if is_late and late is not None and test in ALWAYS:
            self._always_late[name] = options
            section.changed(late, "Its options are told by the subnets and pools that require it.")
        else:
            table |= options
        times = class_times(section)
        if times:
            table |= times
            self._with_times[name] = section
        section.rest(REASONS, COMMENTS)
        if why:
            for key in table:
                section.report.changed(section.path(key), f"Only reservations put clients into {name}.")
        return table

    def _lose(self, section: Section, name: str, why: str) -> None:
        """Take down that a class has no members but by reservation. What it opens stays closed then."""
        self._lost.add(name)
        section.lost("test", f"Nobody is in {name} but by reservation: {why}")
        if name == DROP:
            section.report.must_mend(f"{section.path('test')}: {SERVED}")

    def _condition(self, test: str) -> dict[str, Any]:
        condition = read_test(test, self._options)
        classes = list(_spoken_of("class", condition))
        for each in classes:
            if each in self._lost or each in self._peers:
                raise CannotCarry(f"It depends on {each}, which is not carried over.")
        self._speak_of(classes)
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

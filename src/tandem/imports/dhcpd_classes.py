"""dhcpd's classes and subclasses, and the permissions of its pools, as classes of ours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tandem.imports.conditions import Constant, When, both, equal
from tandem.imports.dhcpd_options import DhcpdOptions
from tandem.imports.dhcpd_tests import ExpressionParser, constant, read_expression
from tandem.imports.dhcpd_text import Statement, Word
from tandem.imports.report import CannotCarry, Report

KNOWN, UNKNOWN = "known", "unknown"
NOBODY = "nobody"
"""The class of pools whose clients cannot be told."""
NOT = "not-"
PERMITS = ("allow", "deny", "ignore")


class DhcpdClasses:
    """Reads the classes of a file, and makes those that its pools' permissions need."""

    def __init__(self, options: DhcpdOptions, report: Report) -> None:
        self._options = options
        self._report = report
        self._classes: dict[str, dict[str, Any]] = {}
        self._derived: dict[str, dict[str, Any]] = {}
        self._lost: set[str] = set()
        """Classes that have fewer members here than with dhcpd."""
        self._matches: dict[str, Sequence[Word]] = {}
        self._values: dict[str, list[When]] = {}

    def define(self, statement: Statement) -> None:
        """Take over a class."""
        name, block = (statement.texts or ("",))[0], statement.block or ()
        table: dict[str, Any] = {}
        for each in block:
            if each.name == "match" and each.texts[:1] == ("if",):
                try:
                    table["when"] = read_expression(each.words[2:], self._options.code_of)
                    self._report.carried(each.where)
                except CannotCarry as error:
                    self._lost.add(name)
                    self._report.lost(each.where, f"Nobody is in {name}: {error}")
            elif each.name == "match":
                self._matches[name] = each.words[1:]
                self._report.carried(each.where)
            elif each.name == "lease":
                self._report.lost(each.where, "A class may have any number of leases.")
            elif each.name == "spawn":
                self._lost.add(name)
                self._report.lost(each.where, "Classes do not come into being by themselves.")
        options = [each for each in block if each.name == "option"]
        table |= self._options.read(options)
        for each in options:
            if not self._report.is_lost(each.where):
                self._report.changed(each.where, "It gives way to what a subnet or a pool says.")
        self._classes[name] = table

    def add(self, statement: Statement) -> None:
        """Take over a subclass: one more value by which a class knows its members."""
        name, values = (statement.texts or ("",))[0], statement.words[2:]
        self._add_value(statement, name, values)
        for each in statement.block or ():
            self._report.lost(each.where, "All of a class are told the same; make a class of its own of this subclass.")

    def _add_value(self, statement: Statement, name: str, values: Sequence[Word]) -> None:
        try:
            parser = ExpressionParser(self._matches.get(name, ()), self._options.code_of)
            condition = equal(parser.operand(), Constant(constant(values)))
        except CannotCarry as error:
            self._lost.add(name)
            self._report.lost(statement.where, f"Nobody is in {name} by this: {error}")
            return
        self._values.setdefault(name, []).append(condition)
        self._report.carried(statement.where)

    def tables(self) -> dict[str, dict[str, Any]]:
        """Give the `class` tables of our file."""
        for name, conditions in self._values.items():
            table = self._classes.setdefault(name, {})
            table["when"] = {"any": conditions} if len(conditions) > 1 else conditions[0]
        for name in self._lost & {each.removeprefix(NOT) for each in self._derived}:
            self._derived[f"{NOT}{name}"] = {}  # who is not in it cannot be told either
        known = {name: self._derived.pop(name) for name in (KNOWN, UNKNOWN) if name in self._derived}
        return {**known, **self._classes, **self._derived}

    def permitted(self, statements: Iterable[Statement]) -> list[str] | None:
        """Give the classes whose members a pool is for, None if that is everybody."""
        allowed: list[str] = []
        denied: list[str] = []
        for each in statements:
            if each.name not in PERMITS:
                continue
            name = self._permit(each)
            if name is None:
                self._report.lost(each.where, "A pool is for classes of clients; this one is for nobody.")
            else:
                self._report.carried(each.where)
            if name is None or (not name and each.name != "allow"):
                self._derived[NOBODY] = {}
                return [NOBODY]
            if name:
                (allowed if each.name == "allow" else denied).append(name)
        if {KNOWN, UNKNOWN} <= set(allowed):
            allowed = []
        if not allowed and not denied:
            return None
        others = [self._not(name) for name in denied]
        found: list[str] = allowed
        for other in others:
            found = self.both(found, [other])
        return found

    def _permit(self, statement: Statement) -> str | None:
        """Give the class that a permission speaks of; empty for everybody, None if it is of something else."""
        words = " ".join(statement.texts).replace("-", " ")
        if words in ("known clients", "unknown clients"):
            name = words.split()[0]
            self._derived.setdefault(name, {"when": {"reserved": name == KNOWN}})
            return name
        if statement.texts[:2] == ("members", "of") and len(statement.texts) == 3:
            return statement.texts[2]
        return "" if words == "all clients" else None

    def _not(self, name: str) -> str:
        if name in (KNOWN, UNKNOWN):
            other = UNKNOWN if name == KNOWN else KNOWN
            self._derived.setdefault(other, {"when": {"reserved": other == KNOWN}})
            return other
        self._derived.setdefault(f"{NOT}{name}", {"when": {"not": {"class": name}}})
        return f"{NOT}{name}"

    def both(self, outer: list[str], inner: list[str]) -> list[str]:
        """Give classes whose members are in one of the outer and in one of the inner ones."""
        if not outer or not inner or outer == inner:
            return outer or inner
        name, when = both(outer, inner)
        self._derived.setdefault(name, {"when": when})
        return [name]

"""Kea's expressions, `substring(option[16].hex,6,5) == 'phone'`, as conditions of ours."""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import AddressValueError, IPv6Address
from typing import Any

from tandem.imports.conditions import Constant, Fact, Octets, Operand, When, disjunction, equal, shown_octets
from tandem.imports.options import CannotCarry

TOKEN = re.compile(
    r"\s*(?:(?P<text>'[^']*')|(?P<hex>0[xX][0-9A-Fa-f]+)|(?P<address>[0-9A-Fa-f]*:[0-9A-Fa-f:.]+)"
    r"|(?P<number>-?\d+)|(?P<word>[A-Za-z_][A-Za-z0-9_-]*)|(?P<sign>==|[][().,+*]))"
)
DEPTH_MAX = 40
ALWAYS: dict[str, Any] = {"all": []}
BUILT_IN: dict[str, dict[str, Any]] = {
    "ALL": ALWAYS,
    "KNOWN": {"reserved": True},
    "UNKNOWN": {"reserved": False},
}
"""Classes that Kea knows by itself."""
VENDOR_CLASS = "VENDOR_CLASS_"
"""What the names of classes begin with that Kea makes by itself of vendor classes."""


def built_in_class(name: str) -> When | None:
    """Give what makes a client a member of a class that no file of Kea's has to define, None for others."""
    if name.startswith(VENDOR_CLASS):
        return {"vendor-class": shown_octets(name.removeprefix(VENDOR_CLASS).encode())}
    return BUILT_IN.get(name)


def read_test(expression: str, code_of: Callable[[str], int | None]) -> When:
    """Give the condition that an expression says. CannotCarry says which part of it has no like here."""
    parser = _Parser(expression, code_of)
    condition = parser.disjunction(DEPTH_MAX)
    parser.end()
    return condition


class _Parser:
    """Reads an expression from left to right."""

    def __init__(self, expression: str, code_of: Callable[[str], int | None]) -> None:
        self._code_of = code_of
        self._tokens: list[tuple[str, str]] = []
        self._at = 0
        at = 0
        text = expression.rstrip()
        while at < len(text):
            found = TOKEN.match(text, at)
            if found is None:
                raise CannotCarry(f"{text[at : at + 20]!r} is not understood.")
            self._tokens.append((found.lastgroup or "", found[0].strip()))
            at = found.end()

    def end(self) -> None:
        if self._at < len(self._tokens):
            raise CannotCarry(f"{self._tokens[self._at][1]!r} is not understood.")

    def disjunction(self, depth: int) -> When:
        return disjunction(lambda: self._negation(depth), self._skip)

    def _negation(self, depth: int) -> When:
        if not depth:
            raise CannotCarry("It is too deep.")
        if self._skip("not"):
            return {"not": self._negation(depth - 1)}
        if self._skip("("):
            inside = self.disjunction(depth - 1)
            self._want(")")
            return inside
        return self._predicate()

    def _predicate(self) -> When:
        if self._skip("member"):
            self._want("(")
            name = self._take("text")[1:-1]
            self._want(")")
            return {"class": name}
        left = self._operand()
        if isinstance(left, Octets) and self._skip("."):
            self._want("exists")
            return {left.key: left.table}
        if isinstance(left, dict):
            return left
        self._want("==")
        right = self._operand()
        return equal(left, right) if isinstance(right, Constant) else equal(right, left)

    def _operand(self) -> Any:
        """Read a value; a dict is a whole condition."""
        kind, text = self._next()
        if kind == "text":
            return Constant(text[1:-1].encode())
        if kind == "hex":
            digits = text[2:]
            return Constant(bytes.fromhex(digits if len(digits) % 2 == 0 else "0" + digits), int(digits, 16))
        if kind == "number":
            return Constant(text.encode(), int(text))
        if kind == "address":
            try:
                return Constant(IPv6Address(text).packed)
            except AddressValueError:
                raise CannotCarry(f"{text!r} is not an IPv6 address.") from None
        if kind != "word":
            raise CannotCarry(f"{text!r} is not understood.")
        read: Callable[[], Any] | None = {
            "substring": self._substring,
            "option": self._option,
            "relay6": self._relay,
            "pkt": self._outside,
            "pkt6": self._packet,
            "vendor": lambda: self._vendor("vendor-option"),
            "vendor-class": lambda: self._vendor("vendor-class"),
        }.get(text)
        if read is None:
            raise CannotCarry(f"There is nothing like {text!r} here.")
        return read()

    def _substring(self) -> Operand:
        self._want("(")
        of = self._operand()
        self._want(",")
        start = int(self._take("number"))
        self._want(",")
        length = None if self._skip("all") else int(self._take("number"))
        self._want(")")
        if not isinstance(of, Octets) or of.start or of.length is not None or (length is not None and length < 1):
            raise CannotCarry("Only a part of an option can be looked at, from left to right.")
        return of._replace(start=start, length=length)

    def _option(self) -> Any:
        octets = Octets("option", {"code": self._code()})
        return self._content(octets)

    def _relay(self) -> Any:
        self._want("[")
        nest = int(self._take("number"))
        self._want("]")
        self._want(".")
        relay = -(nest + 1) if nest >= 0 else -nest
        word = self._take("word")
        if word in ("linkaddr", "peeraddr"):
            return Fact("link-address" if word == "linkaddr" else "peer-address", {"relay": relay})
        if word != "option":
            raise CannotCarry(f"There is nothing like relay6[].{word} here.")
        return self._content(Octets("relay-option", {"code": self._code(), "relay": relay}))

    def _outside(self) -> Fact:
        self._want(".")
        word = self._take("word")
        if word != "iface":
            raise CannotCarry(f"There is nothing like pkt.{word} here.")
        return Fact("interface", {})

    def _packet(self) -> Fact:
        self._want(".")
        word = self._take("word")
        if word != "msgtype":
            raise CannotCarry(f"There is nothing like pkt6.{word} here.")
        return Fact("message", {})

    def _vendor(self, key: str) -> Any:
        """Read what is said of a vendor's option (`vendor-option`), or of its class data (`vendor-class`)."""
        if self._skip("."):
            self._want("enterprise")
            return Fact(key, {})
        table = self._enterprise()
        self._want(".")
        if self._skip("exists"):
            return {key: table}
        if key == "vendor-option":
            self._want("option")
            return self._content(Octets(key, {**table, "code": self._code()}))
        self._want("data")
        if self._skip("["):
            self._take("number")
            self._want("]")
        return Octets(key, table)

    def _enterprise(self) -> dict[str, Any]:
        self._want("[")
        table: dict[str, Any] = {}
        if not self._skip("*"):
            table["enterprise"] = int(self._take("number"))
        self._want("]")
        return table

    def _code(self) -> int:
        self._want("[")
        kind, text = self._next()
        code = int(text) if kind == "number" else self._code_of(text)
        if code is None or not 0 < code <= 0xFFFF:
            raise CannotCarry(f"There is no option {text!r}.")
        self._want("]")
        return code

    def _content(self, octets: Octets) -> Any:
        self._want(".")
        if self._skip("exists"):
            return {octets.key: octets.table}
        if not (self._skip("hex") or self._skip("text")):
            raise CannotCarry("Options inside of options cannot be looked at.")
        return octets

    def _next(self) -> tuple[str, str]:
        if self._at == len(self._tokens):
            raise CannotCarry("It is not finished.")
        self._at += 1
        return self._tokens[self._at - 1]

    def _take(self, kind: str) -> str:
        found, text = self._next()
        if found != kind:
            raise CannotCarry(f"{text!r} is not understood.")
        return text

    def _skip(self, text: str) -> bool:
        if self._at < len(self._tokens) and self._tokens[self._at][1] == text:
            self._at += 1
            return True
        return False

    def _want(self, text: str) -> None:
        if not self._skip(text):
            found = self._tokens[self._at][1] if self._at < len(self._tokens) else "nothing"
            raise CannotCarry(f"{found!r} stands where {text!r} should.")

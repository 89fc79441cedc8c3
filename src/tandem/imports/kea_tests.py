"""Kea's expressions, `substring(option[16].hex,6,5) == 'phone'`, as conditions of ours."""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import AddressValueError, IPv6Address
from typing import Any, Protocol

from tandem.imports.conditions import (
    ALWAYS,
    Choice,
    Constant,
    Fact,
    FirstField,
    Octets,
    Operand,
    Shown,
    When,
    disjunction,
    equal,
    joined,
    lifted,
    negated,
    part,
    read_address,
    read_hexadecimal,
    read_number,
    shown_octets,
)
from tandem.imports.report import CannotCarry
from tandem.wire.options import VendorOptions

TOKEN = re.compile(
    r"\s*(?:(?P<text>'[^']*')|(?P<hex>0[xX][0-9A-Fa-f]+)|(?P<address>[0-9A-Fa-f]*:[0-9A-Fa-f:.]+)"
    r"|(?P<number>-?\d+)|(?P<word>[A-Za-z_][A-Za-z0-9_-]*)|(?P<sign>==|[][().,+*]))"
)
DEPTH_MAX = 40
BUILT_IN: dict[str, When] = {
    "ALL": ALWAYS,
    "KNOWN": {"reserved": True},
    "UNKNOWN": {"reserved": False},
}
"""Classes that Kea knows by itself."""
VENDOR_CLASS = "VENDOR_CLASS_"
"""What the names of classes begin with that Kea makes by itself of vendor classes."""
NUMBERS = {f"{kind}{bits}totext": (bits // 8, kind == "int") for kind in ("int", "uint") for bits in (8, 16, 32)}
SHOWN: dict[str, Callable[[str], bytes | None]] = {
    "addrtotext": read_address,
    **{name: read_number(size, signed) for name, (size, signed) in NUMBERS.items()},
}
"""Functions that show octets as a text, and what reads such a text."""


class OptionNames(Protocol):
    """What the file knows of options."""

    def code_of(self, name: str) -> int | None:
        """Give the code of an option by its name."""
        ...

    def is_text(self, code: int) -> bool:
        """True if an option's value is a text."""
        ...


def built_in_class(name: str) -> When | None:
    """Give what makes a client a member of a class that no file of Kea's has to define, None for others."""
    if name.startswith(VENDOR_CLASS):
        return {"vendor-class": shown_octets(name.removeprefix(VENDOR_CLASS).encode())}
    return BUILT_IN.get(name)


def read_test(expression: str, options: OptionNames) -> When:
    """Give the condition that an expression says. CannotCarry says which part of it has no like here."""
    parser = _Parser(expression, options)
    condition = parser.disjunction(DEPTH_MAX)
    parser.end()
    return condition


class _Parser:
    """Reads an expression from left to right."""

    def __init__(self, expression: str, options: OptionNames) -> None:
        self._options = options
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
            return negated(self._negation(depth - 1))
        if not self._begins_value() and self._skip("("):
            inside = self.disjunction(depth - 1)
            self._want(")")
            return inside
        return self._predicate(depth)

    def _begins_value(self) -> bool:
        """True if a parenthesis here holds a value, and not a condition: something is compared with it, or joined."""
        depth = 0
        for at in range(self._at, len(self._tokens)):
            text = self._tokens[at][1]
            depth += (text == "(") - (text == ")")
            if not depth:
                return text == ")" and self._tokens[at + 1 : at + 2] in ([("sign", "==")], [("sign", "+")])
        return False

    def _predicate(self, depth: int) -> When:
        for name in ("known", "unknown"):
            if self._skip(name):
                return BUILT_IN[name.upper()]
        if self._skip("member"):
            self._want("(")
            name = self._take("text")[1:-1]
            self._want(")")
            return {"class": name}
        left = self._operand(depth)
        if isinstance(left, dict):
            return left
        self._want("==")
        return equal(left, self._operand(depth))

    def _operand(self, depth: int) -> Any:
        """Read a value, or values joined by `+`; a dict is a whole condition."""
        if not depth:
            raise CannotCarry("It is too deep.")
        found = self._single(depth - 1)
        while self._skip("+"):
            found = joined(found, self._single(depth - 1))
        return found

    def _single(self, depth: int) -> Any:
        kind, text = self._next()
        if text == "(":
            inside = self._operand(depth)
            self._want(")")
            return inside
        if kind != "word":
            return _constant(kind, text)
        read: Callable[[], Any] | None = {
            "substring": lambda: self._substring(depth),
            "concat": lambda: joined(*self._arguments(2, depth)),
            "ifelse": lambda: self._choice(depth),
            "hexstring": lambda: self._hexstring(depth),
            "split": lambda: self._split(depth),
            "option": self._option,
            "relay6": self._relay,
            "pkt": self._outside,
            "pkt6": self._packet,
            "vendor": lambda: self._vendor("vendor-option"),
            "vendor-class": lambda: self._vendor("vendor-class"),
        }.get(text)
        if text in SHOWN:
            (of,) = self._arguments(1, depth)
            return lifted(lambda each: Shown(each, SHOWN[text]), of)
        if read is None:
            raise CannotCarry(f"There is nothing like {text!r} here.")
        return read()

    # -- functions

    def _arguments(self, number: int, depth: int) -> list[Any]:
        self._want("(")
        found = [self._operand(depth)]
        for _ in range(number - 1):
            self._want(",")
            found.append(self._operand(depth))
        self._want(")")
        return found

    def _substring(self, depth: int) -> Operand:
        self._want("(")
        of = self._operand(depth)
        self._want(",")
        start = int(self._take("number"))
        self._want(",")
        length = None if self._skip("all") else int(self._take("number"))
        self._want(")")
        return part(of, start, length)

    def _choice(self, depth: int) -> Operand:
        self._want("(")
        condition = self.disjunction(depth)
        self._want(",")
        yes = self._operand(depth)
        self._want(",")
        no = self._operand(depth)
        self._want(")")
        return Choice(condition, yes, no)

    def _hexstring(self, depth: int) -> Operand:
        of, separator = self._arguments(2, depth)
        if not isinstance(separator, Constant):
            raise CannotCarry("What stands between octets has to be given.")
        read = read_hexadecimal(separator.octets.decode("latin-1"))
        return lifted(lambda each: Shown(each, read), of)

    def _split(self, depth: int) -> Operand:
        of, delimiters, number = self._arguments(3, depth)
        if not isinstance(delimiters, Constant) or not isinstance(number, Constant) or number.number != 1:
            raise CannotCarry("Only the first field of an option can be looked at.")
        return lifted(lambda each: FirstField(each, delimiters.octets), of)

    # -- what is in the message

    def _option(self) -> Any:
        code = self._code()
        if code == VendorOptions.code and self._tokens[self._at + 1 : self._at + 2] == [("word", "option")]:
            self._want(".")
            self._want("option")
            return self._content(Octets("vendor-option", {"code": self._code()}))
        return self._content(Octets("option", {"code": code}), is_text=self._options.is_text(code))

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
            if self._take("number") != "0":
                raise CannotCarry("Class data are not told apart by their number.")
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
        code = int(text) if kind == "number" else self._options.code_of(text)
        if code is None or not 0 < code <= 0xFFFF:
            raise CannotCarry(f"There is no option {text!r}.")
        self._want("]")
        return code

    def _content(self, octets: Octets, is_text: bool = False) -> Any:
        self._want(".")
        if self._skip("exists"):
            return {octets.key: octets.table}
        if self._skip("text"):
            if not is_text:
                raise CannotCarry("Only an option that is a text can be compared as one; say hex.")
        elif not self._skip("hex"):
            raise CannotCarry("Options inside of options cannot be looked at.")
        return octets

    # -- tokens

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


def _constant(kind: str, text: str) -> Constant:
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
    raise CannotCarry(f"{text!r} is not understood.")

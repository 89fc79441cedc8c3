"""dhcpd's expressions, `substring (option dhcp6.user-class, 2, 3) = "lab"`, as conditions of ours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tandem.imports.conditions import Constant, Octets, Operand, When, disjunction, equal
from tandem.imports.dhcpd_text import Word, octets
from tandem.imports.report import CannotCarry

DEPTH_MAX = 40
RELAYS_MAX = 32
"""Numbers of relays above this one mean the relay next to the server."""


def read_expression(words: Sequence[Word], code_of: Callable[[str], int | None]) -> When:
    """Give the condition that the words say. CannotCarry says which of them have no like here."""
    parser = ExpressionParser(words, code_of)
    condition = parser.disjunction(DEPTH_MAX)
    parser.end()
    return condition


class ExpressionParser:
    """Reads an expression from left to right."""

    def __init__(self, words: Sequence[Word], code_of: Callable[[str], int | None]) -> None:
        self._words = words
        self._code_of = code_of
        self._at = 0

    def end(self) -> None:
        """CannotCarry if something is left."""
        if self._at < len(self._words):
            raise CannotCarry(f"{self._words[self._at].text!r} is not understood.")

    def disjunction(self, depth: int) -> When:
        """Read conditions joined by `or` and `and`."""
        return disjunction(lambda: self._negation(depth), self._skip)

    def operand(self, relay: int = 0) -> Operand:
        """Read what is compared: a part of the message, or octets."""
        word = self._next()
        if word.is_text:
            return Constant(word.text.encode("latin-1", "replace"))
        match word.text.lower():
            case "option":
                return _option(self._code(), relay)
            case "substring":
                return self._substring(relay)
            case "suffix":
                return self._suffix(relay)
            case "v6relay":
                return self._relay()
            case "hardware":
                raise CannotCarry("Write it with link-layer, without the octet for the kind of hardware.")
        if ":" in word.text or word.text.lower().startswith("0x"):
            return Constant(_octets(word.text))
        raise CannotCarry(f"There is nothing like {word.text!r} here.")

    def _negation(self, depth: int) -> When:
        if not depth:
            raise CannotCarry("It is too deep.")
        if self._skip("not"):
            return {"not": self._negation(depth - 1)}
        if self._skip("("):
            inside = self.disjunction(depth - 1)
            self._want(")")
            return inside
        if self._skip("exists"):
            return {"option": {"code": self._code()}}
        if self._skip("known") or self._skip("static"):
            return {"reserved": True}
        left = self.operand()
        is_other = self._skip("!")
        self._want("=")
        right = self.operand()
        condition = equal(left, right) if isinstance(right, Constant) else equal(right, left)
        return {"not": condition} if is_other else condition

    def _substring(self, relay: int) -> Operand:
        self._want("(")
        of = self.operand(relay)
        self._want(",")
        start = self._number()
        self._want(",")
        length = self._number()
        self._want(")")
        return _part(of, start, length)

    def _suffix(self, relay: int) -> Operand:
        self._want("(")
        of = self.operand(relay)
        self._want(",")
        length = self._number()
        self._want(")")
        return _part(of, -length, None)

    def _relay(self) -> Operand:
        self._want("(")
        number = self._number()
        self._want(",")
        of = self.operand(-1 if number > RELAYS_MAX else number)
        self._want(")")
        return of

    def _code(self) -> int:
        name = self._next().text
        code = self._code_of(name)
        if code is None:
            raise CannotCarry(f"There is no option {name!r}.")
        return code

    def _number(self) -> int:
        text = self._next().text
        if not text.isdecimal():
            raise CannotCarry(f"{text!r} is not a number.")
        return int(text)

    def _next(self) -> Word:
        if self._at == len(self._words):
            raise CannotCarry("It is not finished.")
        self._at += 1
        return self._words[self._at - 1]

    def _skip(self, text: str) -> bool:
        if self._at < len(self._words):
            word = self._words[self._at]
            if word.text.lower() == text and not word.is_text:
                self._at += 1
                return True
        return False

    def _want(self, text: str) -> None:
        if not self._skip(text):
            raise CannotCarry(f"{text!r} is missing.")


def _option(code: int, relay: int) -> Octets:
    return Octets("relay-option", {"code": code, "relay": relay}) if relay else Octets("option", {"code": code})


def _part(of: Operand, start: int, length: int | None) -> Octets:
    if not isinstance(of, Octets) or of.start or of.length is not None or length == 0 or (length is None and not start):
        raise CannotCarry("Only a part of an option can be looked at.")
    return of._replace(start=start, length=length)


def _octets(text: str) -> bytes:
    try:
        return octets(text.removeprefix("0x").removeprefix("0X"))
    except ValueError:
        raise CannotCarry(f"{text!r} are not octets in hexadecimal.") from None


def constant(words: Sequence[Word]) -> bytes:
    """Read octets or a text. CannotCarry if it is anything else."""
    parser = ExpressionParser(words, lambda _: None)
    found: Any = parser.operand()
    parser.end()
    if not isinstance(found, Constant):
        raise CannotCarry("It is not given octets.")
    return found.octets

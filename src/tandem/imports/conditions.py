"""What expressions of other servers compare, and the conditions of ours that say the same."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv6Address
from typing import Any, NamedTuple

from tandem.config.classes import MESSAGE_TYPES
from tandem.imports.options import CannotCarry

ADDRESS_OCTETS = 16

When = dict[str, Any]
"""A `when` table of our file."""


class Constant(NamedTuple):
    """Octets, an address or a number that stand in the expression; `number` if it is one."""

    octets: bytes
    number: int | None = None


class Octets(NamedTuple):
    """Octets of the message: which key of `when` looks at them, with what, and at which part."""

    key: str
    table: dict[str, Any]
    start: int = 0
    length: int | None = None


class Fact(NamedTuple):
    """Something that has one value: a message type, an address of a relay, a vendor."""

    key: str
    table: dict[str, Any]


Operand = Constant | Octets | Fact


def equal(what: Any, constant: Any) -> When:
    if not isinstance(constant, Constant) or isinstance(what, Constant | dict):
        raise CannotCarry("Only a part of the message can be compared, with something that is given.")
    if isinstance(what, Fact):
        return _fact_is(what, constant)
    if not constant.octets:
        raise CannotCarry("Nothing can be compared with an empty text.")
    shown = shown_octets(constant.octets)
    if what.start == 0 and what.length == len(constant.octets):
        return {what.key: {**what.table, "starts-with": shown}}
    part = {"from": what.start} if what.start else {}
    if what.length is not None:
        part["length"] = what.length
    return {what.key: {**what.table, **part, "is": shown}}


def _fact_is(fact: Fact, constant: Constant) -> When:
    if fact.key == "message":
        names = [name for name, type_ in MESSAGE_TYPES.items() if type_ == constant.number]
        if not names:
            raise CannotCarry(f"No client sends messages of type {constant.number}.")
        return {"message": names[0]}
    if fact.key == "interface":
        return {"interface": constant.octets.decode("latin-1")}
    if fact.key in ("link-address", "peer-address"):
        if len(constant.octets) != ADDRESS_OCTETS:
            raise CannotCarry("An address can only be compared with an IPv6 address.")
        return {fact.key: f"{IPv6Address(constant.octets)}/128", **fact.table}
    if constant.number is None:
        raise CannotCarry("An enterprise is a number.")
    return {fact.key: {"enterprise": constant.number}}


def shown_octets(octets: bytes) -> str:
    """Give octets as the file writes them: as a text where they are one."""
    try:
        text = octets.decode()
    except UnicodeDecodeError:
        text = ""
    if text and text.isprintable() and text == text.strip() and not text.lower().startswith("0x"):
        return text
    return f"0x{octets.hex()}"


def both(outer: list[str], inner: list[str]) -> tuple[str, When]:
    """Give a name and the condition of a class whose members are in one of the outer and in one of the inner ones."""
    either = [{"any": [{"class": each} for each in names]} for names in (outer, inner)]
    return f"{'-'.join(outer)}-and-{'-'.join(inner)}", {"all": either}


def disjunction(read: Callable[[], When], skip: Callable[[str], bool]) -> When:
    """Read conditions joined by `or`, and by `and`, which binds tighter; `skip` goes over a word if it stands there."""
    either = []
    while True:
        every = [read()]
        while skip("and"):
            every.append(read())
        either.append(every[0] if len(every) == 1 else {"all": every})
        if not skip("or"):
            return either[0] if len(either) == 1 else {"any": either}

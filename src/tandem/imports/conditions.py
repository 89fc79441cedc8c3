"""What expressions of other servers compare, and the conditions of ours that say the same.

An expression works out a value for each message; a condition of ours compares octets of the message. `equal` solves the
one for the other: what is joined, shown as text or chosen on the left side is taken apart on the right side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Any, NamedTuple

from tandem.config.classes import MESSAGE_TYPES
from tandem.imports.report import CannotCarry

ADDRESS_OCTETS = 16

When = dict[str, Any]
"""A `when` table of our file."""
ALWAYS: When = {"all": []}
NEVER: When = {"any": []}


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

    @property
    def length_max(self) -> int | None:
        """How many octets there are at most, None if there is no bound."""
        return self.length if self.length is not None or self.start >= 0 else -self.start


class Fact(NamedTuple):
    """Something that has one value: a message type, an address of a relay, a vendor."""

    key: str
    table: dict[str, Any]


class Joined(NamedTuple):
    """Values, one after the other."""

    parts: tuple[Operand, ...]


class Shown(NamedTuple):
    """A value as a text. `read` gives the octets that a text stands for, None if no octets have that text."""

    of: Operand
    read: Callable[[str], bytes | None]


class FirstField(NamedTuple):
    """What stands before the first of the delimiters, all if there is none."""

    of: Operand
    delimiters: bytes


class Choice(NamedTuple):
    """One of two values."""

    condition: When
    yes: Operand
    no: Operand


Operand = Constant | Octets | Fact | Joined | Shown | FirstField | Choice


def equal(left: Any, right: Any) -> When:
    """Return the condition that two operands are equal. CannotCarry if there is none."""
    if isinstance(left, dict) or isinstance(right, dict):
        raise CannotCarry("A condition cannot be compared.")
    for one, other in ((left, right), (right, left)):
        if isinstance(one, Choice):
            yes = every([one.condition, equal(one.yes, other)])
            return either([yes, every([negated(one.condition), equal(one.no, other)])])
    if isinstance(left, Constant):
        left, right = right, left
    if not isinstance(right, Constant):
        raise CannotCarry("Only a part of the message can be compared, with something that is given.")
    return _is(left, right)


def _is(what: Operand, constant: Constant) -> When:
    match what:
        case Constant():
            return ALWAYS if what.octets == constant.octets else NEVER
        case Fact():
            return _fact_is(what, constant)
        case Joined(parts):
            return _joined_is(parts, constant.octets)
        case Shown(of, read):
            octets = read(constant.octets.decode("latin-1"))
            return NEVER if octets is None else equal(of, Constant(octets))
        case FirstField(of, delimiters):
            return _first_field_is(of, delimiters, constant)
        case Choice():
            return equal(what, constant)
    if not constant.octets:
        raise CannotCarry("Nothing can be compared with an empty text.")
    shown = shown_octets(constant.octets)
    if what.start == 0 and what.length == len(constant.octets):
        return {what.key: {**what.table, "starts-with": shown}}
    part = {"from": what.start} if what.start else {}
    if what.length is not None:
        part["length"] = what.length
    return {what.key: {**what.table, **part, "is": shown}}


def _joined_is(parts: Sequence[Operand], octets: bytes) -> When:
    """Return the condition that parts make up the octets.

    Each part has at most so many octets. If together they have as many as are wanted, each of them is its own piece.
    """
    sizes = [len(each.octets) if isinstance(each, Constant) else _length_max(each) for each in parts]
    unbounded = [at for at, size in enumerate(sizes) if size is None]
    known = sum(size for size in sizes if size is not None)
    if len(unbounded) == 1 and all(isinstance(each, Constant) for each in parts if _length_max(each) is not None):
        sizes[unbounded[0]] = len(octets) - known  # between given octets, one part takes all that is left
        known = len(octets)
    elif unbounded or known > len(octets):
        raise CannotCarry("Where one part of it ends and the next begins cannot be told.")
    if known < len(octets) or any(size is not None and size < 0 for size in sizes):
        return NEVER
    pieces, at = [], 0
    for each, size in zip(parts, sizes, strict=True):
        pieces.append((each, octets[at : at + (size or 0)]))
        at += size or 0
    if any(isinstance(each, Constant) and each.octets != piece for each, piece in pieces):
        return NEVER
    return every([equal(each, Constant(piece)) for each, piece in pieces if not isinstance(each, Constant)])


def _length_max(operand: Operand) -> int | None:
    match operand:
        case Constant(octets):
            return len(octets)
        case Octets():
            return operand.length_max
    return None


def _first_field_is(of: Operand, delimiters: bytes, constant: Constant) -> When:
    if not isinstance(of, Octets) or of.start or of.length is not None or not constant.octets:
        raise CannotCarry("Only an option can be split.")
    if set(constant.octets) & set(delimiters):
        return NEVER
    with_more = [constant.octets + bytes((each,)) for each in delimiters]
    begins = [{of.key: {**of.table, "starts-with": shown_octets(each)}} for each in with_more]
    return either([equal(of, constant), *begins])


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


# -- what is made of operands


def lifted(make: Callable[[Any], Operand], of: Any) -> Operand:
    """Return what is made of an operand; of a choice, the choice of what is made of each."""
    if isinstance(of, dict):
        raise CannotCarry("A condition has no octets.")
    if isinstance(of, Choice):
        return Choice(of.condition, lifted(make, of.yes), lifted(make, of.no))
    return make(of)


def joined(left: Any, right: Any) -> Operand:
    """Return two operands, one after the other."""

    def make(one: Any) -> Operand:
        return lifted(lambda other: _join(one, other), right)

    return lifted(make, left)


def _join(left: Operand, right: Operand) -> Operand:
    if isinstance(left, Constant) and isinstance(right, Constant):
        return Constant(left.octets + right.octets)
    pieces = [each.parts if isinstance(each, Joined) else (each,) for each in (left, right)]
    return Joined((*pieces[0], *pieces[1]))


def part(of: Any, start: int, length: int | None) -> Operand:
    """Return a part of an operand. CannotCarry if it would have to be worked out."""
    if length is not None and length < 1:
        raise CannotCarry("A part begins at its first octet, and has one at least.")
    return lifted(lambda each: _part(each, start, length), of)


def _part(of: Operand, start: int, length: int | None) -> Operand:
    match of:
        case Constant(octets):
            if start < -len(octets):
                return Constant(b"")
            start = start + len(octets) if start < 0 else start
            return Constant(octets[start:] if length is None else octets[start : start + length])
        case Octets() if not of.start and of.length is None:
            return of._replace(start=start, length=length)
        case Octets() if start >= 0 and of.start >= 0:
            left = None if of.length is None else of.length - start
            if left is not None and left < 1:
                return Constant(b"")
            shorter = min((each for each in (left, length) if each is not None), default=None)
            return of._replace(start=of.start + start, length=shorter)
    raise CannotCarry("Only a part of an option can be looked at.")


def read_hexadecimal(separator: str) -> Callable[[str], bytes | None]:
    """Return what reads octets in small hexadecimal digits with that between them."""

    def read(text: str) -> bytes | None:
        try:
            octets = bytes.fromhex(text.replace(separator, "") if separator else text)
        except ValueError:
            return None
        return octets if separator.join(f"{each:02x}" for each in octets) == text else None

    return read


def read_number(size: int, signed: bool) -> Callable[[str], bytes | None]:
    """Return what reads the octets of a decimal number."""

    def read(text: str) -> bytes | None:
        try:
            octets = int(text).to_bytes(size, "big", signed=signed)
        except (ValueError, OverflowError):
            return None
        return octets if str(int(text)) == text else None

    return read


def read_address(text: str) -> bytes | None:
    """Return the octets of an address as it is shown, None if no address is shown so."""
    try:
        address = IPv6Address(text) if ":" in text else IPv4Address(text)
    except (AddressValueError, ValueError):
        return None
    return address.packed if str(address) == text else None


# -- what joins conditions


def every(conditions: Sequence[When]) -> When:
    """Return the condition that all of these hold."""
    left = [each for each in conditions if each != ALWAYS]
    if NEVER in left:
        return NEVER
    return left[0] if len(left) == 1 else {"all": left}


def either(conditions: Sequence[When]) -> When:
    """Return the condition that one of these holds."""
    left = [each for each in conditions if each != NEVER]
    if ALWAYS in left:
        return ALWAYS
    return left[0] if len(left) == 1 else {"any": left}


def negated(condition: When) -> When:
    """Return the condition that this one does not hold."""
    if condition in (ALWAYS, NEVER):
        return NEVER if condition == ALWAYS else ALWAYS
    return {"not": condition}


def disjunction(read: Callable[[], When], skip: Callable[[str], bool]) -> When:
    """Read conditions joined by `or`, and by `and`, which binds tighter; `skip` goes over a word if it stands there."""
    found = []
    while True:
        all_of = [read()]
        while skip("and"):
            all_of.append(read())
        found.append(every(all_of))
        if not skip("or"):
            return either(found)


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
    one_of_each = [{"any": [{"class": each} for each in names]} for names in (outer, inner)]
    return f"{'-'.join(outer)}-and-{'-'.join(inner)}", {"all": one_of_each}

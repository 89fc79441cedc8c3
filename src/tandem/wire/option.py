"""How a DHCPv6 option is declared: once, as a class whose fields carry their format.

Reader, writer, printer, registry and the tests' generators all follow from the declaration. The body of an
option is some fields of fixed size and then, at most, one field that takes what is left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from inspect import get_annotations
from struct import Struct
from typing import Annotated, Any, ClassVar, NamedTuple, TypeVar, dataclass_transform, get_type_hints

from tandem.wire import names
from tandem.wire.octets import write_option
from tandem.wire.reader import Reader, WireError
from tandem.wire.text import show_address, show_octets


class Field(NamedTuple):
    """The format of one field: a struct code if its size is fixed, else functions over what is left."""

    form: str
    get: Callable[[Reader], Any]
    put: Callable[[Any], bytes]
    show: Callable[[Any], str]


def _fixed(form: str, show: Callable[[Any], str] = str) -> Field:
    code = Struct("!" + form)
    return Field(form, lambda reader: code.unpack(reader.take(code.size))[0], code.pack, show)


def _tail(get: Callable[[Reader], Any], put: Callable[[Any], bytes], show: Callable[[Any], str]) -> Field:
    return Field("", get, put, show)


def _get_fixed_list(form: str) -> Callable[[Reader], tuple[Any, ...]]:
    item = Struct("!" + form)

    def get(reader: Reader) -> tuple[Any, ...]:
        data = reader.rest()
        if len(data) % item.size:
            raise WireError(f"{len(data)} octets are not a list of items of {item.size}")
        return tuple(value for (value,) in item.iter_unpack(data))

    return get


def _get_sized_items(reader: Reader) -> tuple[bytes, ...]:
    items = []
    while reader.at < reader.end:
        items.append(reader.take(reader.uint(2)))
    return tuple(items)


def _put_sized_items(items: Iterable[bytes]) -> bytes:
    return b"".join(write_option(0, item)[2:] for item in items)


def _get_suboptions(reader: Reader) -> tuple[tuple[int, bytes], ...]:
    found = []
    while reader.at < reader.end:
        code, size = reader.uint(2), reader.uint(2)
        found.append((code, reader.take(size)))
    return tuple(found)


def _put_suboptions(suboptions: Iterable[tuple[int, bytes]]) -> bytes:
    return b"".join(write_option(code, data) for code, data in suboptions)


def _show_list(show: Callable[[Any], str]) -> Callable[[Iterable[Any]], str]:
    return lambda values: ",".join(show(value) for value in values)


def _show_suboptions(suboptions: Iterable[tuple[int, bytes]]) -> str:
    return ",".join(f"{code}:{data.hex()}" for code, data in suboptions)


class Option:
    """One DHCPv6 option. Instances are values: frozen, equal by content."""

    __slots__ = ()
    code: int
    layout: ClassVar[tuple[tuple[str, Field], ...]]
    fixed: ClassVar[Struct]
    """The fields of fixed size, at the front of the body."""

    def body(self) -> bytes:
        """Give the option's octets without its header."""
        leading = [getattr(self, name) for name, field in self.layout if field.form]
        trailing = [field.put(getattr(self, name)) for name, field in self.layout if not field.form]
        return self.fixed.pack(*leading) + b"".join(trailing)

    @classmethod
    def read(cls, reader: Reader) -> Option:
        """Read the body from a reader that holds just it; leftovers are refused by the caller."""
        values = list(cls.fixed.unpack(reader.take(cls.fixed.size)))
        values += [field.get(reader) for _, field in cls.layout if not field.form]
        return cls(*values)


@dataclass(frozen=True, slots=True)
class Unknown(Option):
    """An option that nothing here declares. It round-trips."""

    code: int
    data: bytes

    def body(self) -> bytes:
        """Give the octets as they came."""
        return self.data


OPTIONS: dict[int, type[Option]] = {}
"""Every declared option by its code."""

AnyOption = TypeVar("AnyOption", bound=Option)


@dataclass_transform(frozen_default=True)
def option(code: int) -> Callable[[type[AnyOption]], type[AnyOption]]:
    """Declare the class below as option `code`. TypeError if the code is taken or a tail is not last."""

    def declare(cls: type[AnyOption]) -> type[AnyOption]:
        made = dataclass(frozen=True, slots=True)(cls)
        hints = get_type_hints(made, include_extras=True)
        made.code = code
        made.layout = tuple((name, hints[name].__metadata__[0]) for name in get_annotations(cls))
        forms = [field.form for _, field in made.layout]
        if "" in forms[:-1]:
            raise TypeError(f"option {code} has a field behind the one that takes what is left")
        made.fixed = Struct("!" + "".join(forms))
        if OPTIONS.setdefault(code, made) is not made:
            raise TypeError(f"option {code} is declared twice")
        return made

    return declare


def read_options(reader: Reader) -> tuple[Option, ...]:
    """Read options until the reader's end. WireError if one of them breaks its format."""
    found: list[Option] = []
    while reader.at < reader.end:
        code, size = reader.uint(2), reader.uint(2)
        body = reader.sub(size)
        declared = OPTIONS.get(code)
        found.append(Unknown(code, body.rest()) if declared is None else declared.read(body))
        body.done()  # the one place where a remainder is refused
    return tuple(found)


def write_options(options: Iterable[Option]) -> bytes:
    """Write options one after the other, with their headers."""
    return b"".join(write_option(each.code, each.body()) for each in options)


def show_option(each: Option) -> str:
    """Show an option on one line: its name and its fields, nested options in brackets."""
    if isinstance(each, Unknown):
        return f"option-{each.code} {each.data.hex()}".rstrip()
    shown = (_show_field(name, field, getattr(each, name)) for name, field in each.layout)
    return " ".join((type(each).__name__, *(text for text in shown if text)))


def show_options(options: Iterable[Option]) -> str:
    """Show options on one line, separated by commas."""
    return ", ".join(show_option(each) for each in options)


def _show_field(name: str, field: Field, value: Any) -> str:
    if field is OPTIONS_FIELD:
        return f"[{show_options(value)}]" if value else ""
    return f"{name}={field.show(value)}"


def _get_text(reader: Reader) -> str:
    return reader.rest().decode("utf-8", "surrogateescape")


def _put_text(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


OPTIONS_FIELD = _tail(read_options, write_options, show_options)

U8 = Annotated[int, _fixed("B")]
U16 = Annotated[int, _fixed("H")]
U32 = Annotated[int, _fixed("I")]
Octets8 = Annotated[bytes, _fixed("8s", bytes.hex)]
Address = Annotated[bytes, _fixed("16s", show_address)]
Octets = Annotated[bytes, _tail(Reader.rest, bytes, bytes.hex)]
Colons = Annotated[bytes, _tail(Reader.rest, bytes, show_octets)]
Text = Annotated[str, _tail(_get_text, _put_text, repr)]
Name = Annotated[str, _tail(names.read_name, names.write_name, str)]
Names = Annotated[tuple[str, ...], _tail(names.read_names, names.write_names, _show_list(str))]
Addresses = Annotated[tuple[bytes, ...], _tail(_get_fixed_list("16s"), b"".join, _show_list(show_address))]
U16s = Annotated[
    tuple[int, ...],
    _tail(_get_fixed_list("H"), lambda values: b"".join(v.to_bytes(2, "big") for v in values), _show_list(str)),
]
SizedItems = Annotated[
    tuple[bytes, ...], _tail(_get_sized_items, _put_sized_items, _show_list(lambda item: ascii(item)[1:]))
]
Suboptions = Annotated[tuple[tuple[int, bytes], ...], _tail(_get_suboptions, _put_suboptions, _show_suboptions)]
Nested = Annotated[tuple[Option, ...], OPTIONS_FIELD]

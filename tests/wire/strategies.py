"""Hypothesis strategies for options and messages, derived from how `tandem.wire` declares them.

A new option needs nothing here; a new kind of field needs one line in `TAILS`.
"""

from __future__ import annotations

from typing import Any, get_args

from hypothesis import settings
from hypothesis import strategies as st

from tandem.wire import option as declared
from tandem.wire.message import HOP_COUNT_LIMIT, RELAYED, Message, MessageType, Relayed
from tandem.wire.names import LABEL_OCTETS_MAX, NAME_OCTETS_MAX
from tandem.wire.option import OPTIONS, OPTIONS_FIELD, Field, Option, Unknown
from tandem.wire.options import RelayMessage

SAME_EVERY_TIME = settings(derandomize=True, deadline=None, max_examples=30)
"""A test never depends on luck: the same examples each time, on however slow a machine."""

NESTED_DEPTH = 2
LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"


def label_text(label: bytes) -> str:
    """Write a label as names are written: what is no letter, digit, dash or underscore as backslash and number."""
    return "".join(chr(octet) if octet in LETTERS else f"\\{octet:03d}" for octet in label)


@st.composite
def _stems(draw: st.DrawFn, min_labels: int = 0) -> str:
    """Draw labels that together, with the root label, are no longer than a name may be."""
    labels: list[bytes] = []
    room = NAME_OCTETS_MAX - 1
    for label in draw(st.lists(st.binary(min_size=1, max_size=LABEL_OCTETS_MAX), min_size=min_labels, max_size=6)):
        if len(label) + 1 <= room:
            labels.append(label)
            room -= len(label) + 1
    return ".".join(map(label_text, labels))


complete_names = _stems().map(lambda stem: f"{stem}.")
partial_names = _stems()
texts = st.text() | st.binary().map(lambda octets: octets.decode("utf-8", "surrogateescape"))
addresses = st.binary(min_size=16, max_size=16)
octets = st.binary(max_size=200)
sized_items = st.lists(octets, max_size=5).map(tuple)
suboptions = st.lists(st.tuples(st.integers(0, 0xFFFF), octets), max_size=5).map(tuple)

NUMBERS = {"B": st.integers(0, 0xFF), "H": st.integers(0, 0xFFFF), "I": st.integers(0, 0xFFFFFFFF)}


def _field_of(annotated: Any) -> Field:
    field = get_args(annotated)[1]
    assert isinstance(field, Field)
    return field


TAILS: dict[Field, st.SearchStrategy[Any]] = {
    _field_of(annotated): strategy
    for annotated, strategy in (
        (declared.Octets, octets),
        (declared.Colons, octets),
        (declared.Text, texts),
        (declared.Name, complete_names | partial_names),
        (declared.Names, st.lists(complete_names, max_size=5).map(tuple)),
        (declared.Addresses, st.lists(addresses, max_size=5).map(tuple)),
        (declared.U16s, st.lists(NUMBERS["H"], max_size=20).map(tuple)),
        (declared.SizedItems, sized_items),
        (declared.Suboptions, suboptions),
    )
}
"""What each kind of field that takes what is left can hold; the one of nested options is built by depth."""


def _values(field: Field, depth: int) -> st.SearchStrategy[Any]:
    if field is OPTIONS_FIELD:
        return options(depth - 1) if depth else st.just(())
    if not field.form:
        return TAILS[field]
    if field.form.endswith("s"):
        size = int(field.form[:-1])
        return st.binary(min_size=size, max_size=size)
    return NUMBERS[field.form]


def option_of(code: int, depth: int = NESTED_DEPTH) -> st.SearchStrategy[Option]:
    """Give values of the option that is declared with this code."""
    made = OPTIONS[code]
    return st.builds(made, *(_values(field, depth) for _, field in made.layout))


unknown_options = st.builds(Unknown, st.integers(0, 0xFFFF).filter(lambda code: code not in OPTIONS), octets)


def options(depth: int = NESTED_DEPTH) -> st.SearchStrategy[tuple[Option, ...]]:
    """Give lists of options, known and unknown."""
    known = st.sampled_from(sorted(OPTIONS)).flatmap(lambda code: option_of(code, depth))
    return st.lists(known | unknown_options, max_size=4).map(tuple)


client_messages = st.builds(
    Message,
    st.sampled_from([each for each in MessageType if each not in RELAYED]),
    st.integers(0, 0xFFFFFF),
    options(),
)


@st.composite
def relayed_messages(draw: st.DrawFn, relays: int | None = None) -> Relayed:
    """Draw a client's message inside so many relays, by default one to as many as there may be."""
    inside: Message | Relayed = draw(client_messages)
    count = draw(st.integers(1, HOP_COUNT_LIMIT)) if relays is None else relays
    beside = options(0).map(lambda found: tuple(each for each in found if not isinstance(each, RelayMessage)))
    for hops in range(count):
        inside = Relayed(draw(st.sampled_from(RELAYED)), hops, draw(addresses), draw(addresses), draw(beside), inside)
    assert isinstance(inside, Relayed)
    return inside

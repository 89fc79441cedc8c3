"""Domain names between text and the uncompressed labels of RFC 1035 3.1, as RFC 9915 section 10 asks."""

from __future__ import annotations

import re
from typing import Final

from tandem.wire.reader import Reader, WireError

NAME_OCTETS_MAX: Final = 255
LABEL_OCTETS_MAX: Final = 63
PLAIN: Final = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")
ESCAPED: Final = re.compile(rb"\\([0-9]{3})")


def read_name(reader: Reader) -> str:
    """Read one name. It ends with a dot if its root label was there; a partial name (RFC 4704 4.2) does not."""
    labels: list[str] = []
    octets = 0
    while reader.at < reader.end:
        size = reader.uint(1)
        octets += size + 1
        if size > LABEL_OCTETS_MAX or octets > NAME_OCTETS_MAX:
            raise WireError("a domain name is too long or compressed")
        if size == 0:
            return ".".join(labels) + "."
        labels.append(_show_label(reader.take(size)))
    if octets == NAME_OCTETS_MAX:
        raise WireError("a domain name is too long to be completed")
    return ".".join(labels)


def read_names(reader: Reader) -> tuple[str, ...]:
    """Read complete names until the end. WireError if the last one has no root label."""
    names = []
    while reader.at < reader.end:
        name = read_name(reader)
        if not name.endswith("."):
            raise WireError("a domain name has no end")
        names.append(name)
    return tuple(names)


def write_name(name: str) -> bytes:
    """Write one name; without a final dot it stays partial. ValueError says what is wrong with it."""
    stem = name.removesuffix(".")
    labels = [_read_label(label) for label in stem.split(".")] if stem else []
    for label in labels:
        if not 0 < len(label) <= LABEL_OCTETS_MAX:
            raise ValueError(f"{name!r} has a label that is empty or longer than {LABEL_OCTETS_MAX} octets")
    data = b"".join(bytes((len(label),)) + label for label in labels)
    if len(data) >= NAME_OCTETS_MAX:
        raise ValueError(f"{name!r} is longer than {NAME_OCTETS_MAX} octets")
    return data + b"\0" if name.endswith(".") else data


def write_names(names: tuple[str, ...]) -> bytes:
    """Write complete names, one after the other."""
    return b"".join(write_name(name) for name in names)


def complete(name: str) -> str:
    """Give the name with its root label."""
    return name if name.endswith(".") else name + "."


def _show_label(label: bytes) -> str:
    return "".join(chr(octet) if octet in PLAIN else f"\\{octet:03}" for octet in label)


def _read_label(label: str) -> bytes:
    raw = label.encode("idna" if not label.isascii() else "ascii")
    if any(int(number) > 255 for number in ESCAPED.findall(raw)):
        raise ValueError(f"{label!r} has an escape above \\255")
    return ESCAPED.sub(lambda found: bytes((int(found[1]),)), raw)

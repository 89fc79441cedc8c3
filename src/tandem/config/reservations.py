"""Reads `[[subnet.reservation]]`, of which a file may have a million: each into one tuple.

Nearly all of them have a client, an address and a prefix, and perhaps a host name. These are read here; whatever has
more, or is wrong, is left to the model, which knows every rule and says every error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from socket import AF_INET6, inet_pton
from typing import Any

from pydantic import ValidationError

from tandem.config.model import Reservation, ReservationRow, Reservations
from tandem.config.problems import Location, Problem, problems_of
from tandem.lease.lease import key_of
from tandem.wire.text import read_octets

PLAIN_KEYS = frozenset(("duid", "link-layer", "address", "prefix", "hostname"))
PLAIN_NAME = re.compile(r"[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63}){0,2}")
USUAL_KEYS = 2
"""Most reservations have a DUID and an address, and no more."""
ADDRESS_BITS = 128
DUID_OCTETS_MIN, DUID_OCTETS_MAX = 3, 130
PROGRESS_EVERY = 5000
"""Reservations between two calls of `progress`."""

Progress = Callable[[int, int], None]
"""Is told how many of how many reservations have been read."""


class NotPlain(Exception):
    """The model is to read it."""


def read_reservations(raw: Mapping[str, Any], context: tuple[str, ...], progress: Progress) -> list[Problem]:
    """Read the reservations of a file that is not validated yet, each where it stands. Return what is wrong with them.

    What is no list of tables is left as it is; the model says so.
    """
    subnets = raw.get("subnet")
    tables = subnets if isinstance(subnets, list) else []
    numbered = [(number, each) for number, each in enumerate(tables) if isinstance(each, dict) and _has_list(each)]
    total, done = sum(len(each["reservation"]) for _, each in numbered), 0
    problems: list[Problem] = []
    for number, subnet in numbered:
        read = Reservations()
        for item, table in enumerate(subnet["reservation"]):
            try:
                read.append(_read_plain(table))
            except (NotPlain, ValueError, OSError):
                read.append(_read_any(table, context, ("subnet", number, "reservation", item), problems))
            done += 1
            if done % PROGRESS_EVERY == 0:
                progress(done, total)
        subnet["reservation"] = read
    return problems


def _has_list(subnet: Mapping[str, Any]) -> bool:
    return isinstance(subnet.get("reservation"), list)


def _read_any(table: object, context: tuple[str, ...], at: Location, problems: list[Problem]) -> ReservationRow | None:
    try:
        read = Reservation.model_validate(table, context=context)
    except ValidationError as error:
        problems += problems_of(error, at)
        return None
    return read.row()


def _read_plain(table: dict[str, Any]) -> ReservationRow:
    """Read a reservation that has no rare keys. NotPlain, ValueError or OSError if it has, or if anything is wrong."""
    if not isinstance(table, dict) or not table.keys() <= PLAIN_KEYS:
        raise NotPlain
    duid, link_layer = table.get("duid"), table.get("link-layer")
    if len(table) == USUAL_KEYS and type(duid) is str and type(only := table.get("address")) is str:  # nearly all
        octets = read_octets(duid)
        if DUID_OCTETS_MIN <= len(octets) <= DUID_OCTETS_MAX:
            return ReservationRow(octets, None, (int.from_bytes(inet_pton(AF_INET6, only), "big"),), ())
    if (duid is None) == (link_layer is None):
        raise NotPlain
    identifier = read_octets(_text(duid if link_layer is None else link_layer))
    if not identifier or (duid is not None and not DUID_OCTETS_MIN <= len(identifier) <= DUID_OCTETS_MAX):
        raise NotPlain
    address, prefix, hostname = table.get("address", ()), table.get("prefix", ()), table.get("hostname")
    return ReservationRow(
        identifier if link_layer is None else None,
        identifier if duid is None else None,
        tuple([_address(each) for each in address]) if isinstance(address, list | tuple) else (_address(address),),
        tuple([_prefix(each) for each in prefix]) if isinstance(prefix, list | tuple) else (_prefix(prefix),),
        _hostname(hostname) if hostname is not None else None,
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise NotPlain
    return value


def _address(value: object) -> int:
    return int.from_bytes(inet_pton(AF_INET6, _text(value)), "big")


def _prefix(value: object) -> int:
    address, _, length = _text(value).partition("/")
    if not (length.isascii() and length.isdecimal()) or len(length) > 3 or int(length) > ADDRESS_BITS:
        raise NotPlain
    first = _address(address)
    if first & (1 << ADDRESS_BITS - int(length)) - 1:
        raise NotPlain
    return key_of(first, int(length))


def _hostname(value: object) -> str:
    name = _text(value)
    if PLAIN_NAME.fullmatch(name) is None:
        raise NotPlain
    return name + "." if "." in name else name

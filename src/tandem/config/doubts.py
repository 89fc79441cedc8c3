"""What a file may say, but hardly means: settings by which clients get no answer or no lease."""

from __future__ import annotations

from collections.abc import Iterator, Set
from typing import NamedTuple

from tandem.effects.conditions import Condition, Either, Every, HeardOn, InClass
from tandem.effects.settings import Settings


class Doubt(NamedTuple):
    """One doubtful setting; `id` is the kind of problem that it is for the running server."""

    id: str
    where: str
    text: str


def unservable(settings: Settings) -> Iterator[Doubt]:
    """Return what is doubtful in one server's settings."""
    if not any(link.subnets for link in settings.links):
        text = f"No subnet of the file is served by {settings.server}, so that no client gets an address or a prefix."
        yield Doubt("nothing-to-serve", "", text)
    empty = empty_classes(settings)
    if not empty:
        return
    for link in settings.links:
        for subnet in link.subnets:
            for where, what, classes in (
                (subnet.where, f"subnet {subnet.name}", subnet.classes),
                *((pool.where, f"a pool of subnet {subnet.name}", pool.classes) for pool in subnet.pools),
            ):
                if classes and classes <= empty:
                    names = " or ".join(sorted(classes))
                    text = (
                        f"{settings.place(where)}: {what} is for members of class {names}, but no client can be one: "
                        "the class has no condition that can be met, and no reservation names it."
                    )
                    yield Doubt("pool-closed", where, text)


def empty_classes(settings: Settings) -> frozenset[str]:
    """Return the classes that no client can be a member of."""
    empty = _empty_beside(settings, frozenset())
    if not empty:
        return empty
    # There may be a million reservations: they are gone through only if it matters whom they name.
    reserved: set[str] = set()
    for link in settings.links:
        for reservation in link.reservations:
            reserved |= reservation.classes
            if empty <= reserved:
                return frozenset()
    return _empty_beside(settings, reserved)


def _empty_beside(settings: Settings, reserved: Set[str]) -> frozenset[str]:
    """Return the classes without members if reservations name those of `reserved`."""
    empty: set[str] = set()
    for each in settings.classes:  # a class stands behind those that it depends on
        may_hold = each.condition is not None and _may_hold(each.condition, empty, settings)
        if each.name not in reserved and not may_hold:
            empty.add(each.name)
    return frozenset(empty)


def _may_hold(condition: Condition, empty: set[str], settings: Settings) -> bool:
    """Return whether some client may meet a condition."""
    match condition:
        case InClass():
            return condition.name not in empty
        case HeardOn():
            return not condition.interfaces.isdisjoint(settings.interfaces)
        case Every():
            return all(_may_hold(each, empty, settings) for each in condition.conditions)
        case Either():
            return any(_may_hold(each, empty, settings) for each in condition.conditions)
        case _:
            return True

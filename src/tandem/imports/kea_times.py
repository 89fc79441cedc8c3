"""Kea's lifetimes and timers as ours."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tandem.imports.source import Section

FOREVER = 0xFFFFFFFF
DEFAULTS: Mapping[str, float] = {"preferred-lifetime": 3600, "valid-lifetime": 7200}
TIMES = ("preferred-lifetime", "valid-lifetime", "renew-timer", "rebind-timer")
PERCENTS = {"renew-timer": ("t1-percent", 0.5), "rebind-timer": ("t2-percent", 0.8)}
HINTS = "A client is given the lifetimes of its subnet, whatever it asks for."


def times_of(section: Section) -> dict[str, float]:
    """Give the lifetimes and timers that a scope says, in seconds, and the percentages that make timers."""
    found: dict[str, float] = {}
    for name in TIMES:
        value = section.take(name, int)
        if value is not None:
            found[name] = value
    for name, _ in PERCENTS.values():
        percent = section.take(name, float)
        if percent is not None:
            found[name] = percent
    if section.take("calculate-tee-times", bool) is False:
        section.changed("calculate-tee-times", "T1 and T2 are always told.")
    for name in ("min-valid-lifetime", "max-valid-lifetime", "min-preferred-lifetime", "max-preferred-lifetime"):
        if name in section:
            section.lost(name, HINTS)
    return found


def lifetimes(times: Mapping[str, float]) -> dict[str, Any]:
    """Give the `lifetimes` table that says the same."""
    times = {**DEFAULTS, **times}
    preferred_s, valid_s = times["preferred-lifetime"], times["valid-lifetime"]
    found = {"preferred-lifetime": min(preferred_s, valid_s), "valid-lifetime": valid_s}
    for timer, (percent, usual) in PERCENTS.items():
        share = times.get(percent, usual)
        if timer in times:
            found[timer] = times[timer]
        elif share != usual or preferred_s != FOREVER:
            exact_s = int(preferred_s * share + 0.5)  # as Kea rounds it
            if share != usual or exact_s != int(preferred_s) * round(usual * 10) // 10:
                found[timer] = exact_s
    renew_s = found.get("renew-timer", found["preferred-lifetime"] * 0.5)
    rebind_s = found.get("rebind-timer", found["preferred-lifetime"] * 0.8)
    if not renew_s <= rebind_s <= valid_s:  # Kea does not tell such timers
        found = {name: value for name, value in found.items() if name not in PERCENTS}
    return {name: "forever" if value == FOREVER else int(value) for name, value in found.items()}


def odd_times(times: Mapping[str, float]) -> Iterator[tuple[str, str]]:
    """Give the lifetimes and timers that Kea tells although they make no sense, and what is told here."""
    times = {**DEFAULTS, **times}
    preferred_s, valid_s = times["preferred-lifetime"], times["valid-lifetime"]
    if preferred_s > valid_s:
        yield "preferred-lifetime", f"It is longer than the valid lifetime, {int(valid_s)} s, and no longer here."
    renew_s, rebind_s = (
        times.get(timer, preferred_s * times.get(percent, usual)) for timer, (percent, usual) in PERCENTS.items()
    )
    if renew_s >= rebind_s:
        yield "renew-timer", "Kea tells no T1 that does not come before T2."
    if rebind_s > valid_s:
        yield "rebind-timer", "It comes after the end of the lease; T1 and T2 follow from the preferred lifetime."


def beside(own: Mapping[str, Any], general: Mapping[str, Any]) -> dict[str, Any]:
    """Give what the `lifetimes` table of a subnet has to say beside that of the file."""
    found = {name: each for name, each in own.items() if general.get(name) != each}
    preferred = own["preferred-lifetime"]
    for timer, (_, usual) in PERCENTS.items():
        if timer in general and timer not in own:  # it would be inherited
            found[timer] = preferred if preferred == "forever" else preferred * round(usual * 10) // 10
    return found


def class_times(section: Section) -> dict[str, Any]:
    """Give the lifetimes that a class says for its members, as `lifetimes` if there are any."""
    found = {name: value for name in TIMES[:2] if (value := section.take(name, int)) is not None}
    for name in (f"{bound}-{each}" for each in TIMES[:2] for bound in ("min", "max")):
        if name in section:
            section.lost(name, HINTS)
    return (
        {"lifetimes": {name: "forever" if each == FOREVER else each for name, each in found.items()}} if found else {}
    )


def complete_class_times(own: dict[str, Any], scopes: Iterable[Mapping[str, Any]]) -> tuple[dict[str, Any], bool]:
    """Give the lifetimes of a class so that they fit into all scopes, and whether Kea tells its members something else.

    Kea may tell a preferred lifetime that is longer than the valid one; here it is as long.
    """
    seconds = {name: FOREVER if each == "forever" else each for name, each in own.items()}
    differs = False
    for scope in scopes:
        around = {name: FOREVER if each == "forever" else each for name, each in scope.items()}
        times = {**around, **seconds}
        differs = differs or bool(around.keys() & PERCENTS.keys())
        if times["preferred-lifetime"] > times["valid-lifetime"]:
            differs = True
            seconds["preferred-lifetime"] = times["valid-lifetime"]
    return {name: "forever" if each == FOREVER else each for name, each in seconds.items()}, differs

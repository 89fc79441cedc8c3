"""Kea's lifetimes and timers as ours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
        elif share != usual and preferred_s != FOREVER:
            found[timer] = preferred_s * share
    renew_s = found.get("renew-timer", found["preferred-lifetime"] * 0.5)
    rebind_s = found.get("rebind-timer", found["preferred-lifetime"] * 0.8)
    if not renew_s <= rebind_s <= valid_s:  # Kea does not tell such timers
        found = {name: value for name, value in found.items() if name not in PERCENTS}
    return {name: "forever" if value == FOREVER else int(value) for name, value in found.items()}


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

    A preferred lifetime that is longer than the valid one is five eighths of that for Kea.
    """
    seconds = {name: FOREVER if each == "forever" else each for name, each in own.items()}
    differs = False
    for scope in scopes:
        around = {name: FOREVER if each == "forever" else each for name, each in scope.items()}
        times = {**around, **seconds}
        differs = differs or bool(around.keys() & PERCENTS.keys())
        if times["preferred-lifetime"] > times["valid-lifetime"]:
            differs = differs or "preferred-lifetime" in seconds
            seconds["preferred-lifetime"] = times["valid-lifetime"] * 5 // 8
    return {name: "forever" if each == FOREVER else each for name, each in seconds.items()}, differs

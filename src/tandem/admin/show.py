"""How the answers of a server look to people."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from tandem.admin.console import PlainConsole, console_for_people, make_table, styled
from tandem.effects.problem import Problem, Severity
from tandem.effects.settings import Settings
from tandem.lease.lease import key_of, show_key
from tandem.lease.pool import Pool
from tandem.runtime.histogram import BOUNDS_S, at_most_s

POOL_LOW_PERCENT = 90
RIGHT = ("in use", "of", "%", "free, primary", "secondary")


def print_status(found: Mapping[str, Any]) -> None:
    """Print what `status` answers."""
    console = console_for_people()
    facts = f", tandem {found['version']}, up {_duration(found['up-s'])}, {found['leases-known']} leases known"
    console.print(styled((found["server"], "bold"), facts))
    problems = [Problem.from_json(each) for each in found["problems"]]
    if not problems:
        console.print("All is well.", style="bold green")
    for each in problems:
        _print_problem(console, each)
    for relationship in found["relationships"]:
        _print_relationship(console, relationship)
    console.print(_pool_table(found))
    for title, counts in found["counters"].items():
        if counts:
            console.print(f"{title}: " + ", ".join(f"{name} {count}" for name, count in counts.items()))
    for what, times in found["times"].items():
        if any(times["counts"]):
            median_s, slow_s = (at_most_s(times, share) for share in (0.5, 0.99))
            console.print(f"{what}: half within {_short(median_s)}, 99 of 100 within {_short(slow_s)}")


def _print_problem(console: PlainConsole, each: Problem) -> None:
    """Print a problem: what it means, since when, until when, what ends it, which command, and examples."""
    style = "bold red" if each.severity is Severity.CRITICAL else "yellow"
    console.print(styled((each.severity.value.upper(), style), f" {each.what} ({each.id})"))
    until = f"at the latest at {_clock(each.until)}, " if each.until is not None else ""
    command = f" Command: {each.command}" if each.command else ""
    console.print(f"    Since {_clock(each.since)}. It ends {until}when {each.ends_when}.{command}")
    for example in each.examples:
        console.print(f"    - {example}")


def _pool_table(found: Mapping[str, Any]) -> Table:
    shares = {each["pool"]: each for relationship in found["relationships"] for each in relationship["shares"]}
    free = ("free, primary", "secondary") if shares else ()
    table = make_table("link", "pool", "from", "to", "in use", "of", "%", *free, right=RIGHT)
    for link in found["links"]:
        for pool in link["pools"]:
            percent = 100 * pool["in-use"] / pool["size"] if pool["size"] else 100.0
            style = "bold red" if percent >= POOL_LOW_PERCENT else ""
            row = (link["name"], pool["where"], pool["first"], pool["last"], str(pool["in-use"]))
            share = shares.get(pool["first"])
            shared = [_count(share[role]) for role in ("primary", "secondary")] if share else []
            table.add_row(*row, _count(pool["size"]), f"{percent:.1f}", *shared, style=style)
    return table


def _short(seconds: float | None) -> str:
    return f"{seconds * 1000:g} ms" if seconds is not None else f"more than {BOUNDS_S[-1]:g} s"


def _print_relationship(console: PlainConsole, found: Mapping[str, Any]) -> None:
    """Print a relationship: both states, why, since and until when, and what ends it."""
    partner = found["partner"]
    style = "green" if found["state"] == "NORMAL" else "bold red" if found["stepped-aside"] else "yellow"
    theirs = f"{partner['state'] or 'unknown'}" + ("" if partner["in-touch"] else ", not heard")
    console.print(
        styled(
            (found["name"], "bold"),
            f": {found['role']}, ",
            (found["state"], style),
            f" since {_clock(found['since'])} ({found['why']}); partner {partner['name']}: {theirs}",
        )
    )
    console.print(f"  {found['means']} {found['ends']}")
    if found["until"]:
        console.print(f"  At the latest at {_clock(found['until'])}.")
    if found["command"]:
        console.print(f"  Command: {found['command']}. Risk: {found['risk']}")
    updates = found["updates"]
    skew = "" if found["clock-skew"] is None else f", clocks {abs(found['clock-skew'])} s apart"
    console.print(f"  {updates['unacked']} leases not acknowledged, {updates['rejections']} rejections{skew}")
    if not found["tls"]:
        console.print("  The partners talk without TLS, as the file says.")


def print_leases(leases: Sequence[Mapping[str, Any]]) -> None:
    """Print leases as a table."""
    console = console_for_people()
    table = make_table("lease", "status", "duid", "iaid", "last heard", "expires", "fqdn", unfolded=("lease",))
    for lease in leases:
        table.add_row(
            lease["lease"],
            lease["status"],
            lease["duid"],
            str(lease["iaid"]),
            _clock(lease["client-last-transaction-time"]),
            _clock(lease["state-expiration-time"]),
            lease["fqdn"] or "",
        )
    console.print(table)
    console.print(f"{len(leases)} leases")


def print_lease(lease: Mapping[str, Any]) -> None:
    """Print one lease, a line for each thing known of it."""
    for name, value in lease.items():
        shown = _clock(value) if name.endswith("-time") or name == "start-time-of-state" else value
        console_for_people().print(f"{name:30} {shown}")


def print_explanation(found: Mapping[str, Any]) -> None:
    """Print what `explain` answers."""
    console = console_for_people()
    if "where" in found:
        console.print(found["where"])
        if found["lease"]:
            print_lease(found["lease"])
        else:
            console.print("Nothing is known of a lease on it.")
        return
    for lease in found["holds"]:
        verb = "holds" if lease["held"] else "held"
        console.print(
            f"It {verb} {lease['lease']} ({lease['ia']} {lease['iaid']}, {lease['status']}), "
            f"since {_clock(lease['since'])}, until {_clock(lease['until'])}."
        )
    if not found["holds"]:
        console.print("It holds nothing, and nothing is remembered of it.")
    for link in found["links"]:
        console.print(f"On link {link['link']}:")
        for step in link["steps"]:
            console.print(f"  {step}")


def print_settings(settings: Settings) -> None:
    """Print what a server would do."""
    console = console_for_people()
    console.print(f"Server {settings.server} serves {', '.join(settings.interfaces) or 'no interface, only relays'}.")
    for link in settings.links:
        console.print(f"Link {link.name}:")
        reserved = Counter(link.reservations.row(number).subnet_on_link for number in range(len(link.reservations)))
        for number, subnet in enumerate(link.subnets):
            lifetimes = subnet.lifetimes
            console.print(
                f"  {subnet.name}: preferred {_duration(lifetimes.preferred_s)}, valid {_duration(lifetimes.valid_s)}, "
                f"{len(subnet.options)} options of its own, {reserved[number]} reservations"
                f"{_only_for(subnet.classes)}",
            )
            for pool in subnet.pools:
                first, _, length = pool.range
                size = Pool(pool.range, pool.holes).size
                console.print(
                    f"    {show_key(key_of(first, length))} to {show_key(key_of(pool.range.last_start, length))}: "
                    f"{_count(size)} leases{_only_for(pool.classes)}",
                )
    for each in settings.classes:
        what = "gets no answer" if each.drop else f"{len(each.options)} options"
        console.print(f"Class {each.name}: {what}")


def _only_for(classes: frozenset[str]) -> str:
    return f", only for {' or '.join(sorted(classes))}" if classes else ""


def _clock(utc_s: int | None) -> str:
    return "never" if utc_s is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(utc_s))


def _duration(seconds: int) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds / size:.4g} {unit}"
    return f"{seconds} s"


def _count(number: int) -> str:
    return str(number) if number < 10**9 else f"{number:.2g}"

"""What was measured, as a table and as pictures."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

Found = Mapping[str, Any]
KEA, KEA_QUIET, KEA_THREADS = "Kea", "Kea, log WARN", "Kea, 2 threads"
PLAIN, COMPILED = "Tandem", "Tandem, compiled"
KINDS = {"na": "an address", "pd": "a prefix", "napd": "both", "renew": "an address, and a Renew"}


def table(found: Found) -> str:
    """Give all that was found as Markdown."""
    parts = [_rates(found)]
    if "primary" in found.get("work", {}):
        parts.append(_work(found["work"]["primary"]))
    if found.get("waits"):
        parts.append(_waits(found["waits"]))
    more = {"held": _held, "growth": _growth, "resync": _resync, "overload": _overload}
    parts += [show(found[name]) for name, show in more.items() if name in found]
    return "\n\n".join(parts)


def _median(values: Iterable[float]) -> float:
    return statistics.median(list(values))


def _markdown(heads: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    heads = list(heads)
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    return "\n".join([*lines, *(f"| {' | '.join(map(str, row))} |" for row in rows)])


def rate_of(rounds: list[dict[str, Any]]) -> int:
    """Give the median of the rates of some rounds."""
    return int(_median(each["rate"] for each in rounds))


def _rates(found: Found) -> str:
    rows = []
    for work, by_name in found["rates"].items():
        way, kind = work.split()
        best_kea = max(rate_of(rounds) for name, rounds in by_name.items() if name in (KEA, KEA_THREADS))
        for name, rounds in by_name.items():
            rates = " ".join(f"{each['rate']:,}" for each in rounds)
            bound = "yes" if all(each["is_generator_at_its_limit"] for each in rounds) else ""
            ratio = f"{rate_of(rounds) / best_kea:.2f}"
            us = f"{_median(each['servers_us'] for each in rounds):.0f}"
            rows.append((f"{way}, {KINDS[kind]}", name, rates, f"**{rate_of(rounds):,}**", ratio, us, bound))
    heads = (
        "four-way exchanges a second",
        "",
        "rounds",
        "median",
        "times Kea",
        "processor us for each",
        "load at its limit",
    )
    return _markdown(heads, rows)


def _work(primary: Mapping[str, Any]) -> str:
    rows = []
    for name in (PLAIN, COMPILED):
        alone, pair = (_median(primary[f"{name} {way}"]) for way in ("alone", "pair"))
        rows.append((name, primary["rate"], f"{alone:.0f}", f"{pair:.0f}", f"**{pair / alone:.2f}**"))
    return _markdown(("processor us of the primary for an exchange", "at", "alone", "in a pair", "times"), rows)


def _waits(waits: Mapping[str, Any]) -> str:
    rows = []
    for name, row in waits.items():
        for who, rounds in row.items():
            if not isinstance(rounds, list):
                continue
            figures = [
                f"{_median(each[kind][figure] for each in rounds):.2f}"
                for kind in ("advertise", "reply")
                for figure in ("median_ms", "p99_ms")
            ]
            rows.append((f"{name}, {row['rate']}/s", who, *figures, f"{row.get('fdatasync_ms', 0):.2f}"))
    heads = ("milliseconds to", "", "Advertise, median", "99 of 100", "Reply, median", "99 of 100", "one fdatasync")
    return _markdown(heads, rows)


def _held(held: Mapping[str, Any]) -> str:
    rows = []
    for name, loaded in held.items():
        empty, most = loaded[0], loaded[-1]
        each = (most["resident_octets"] - empty["resident_octets"]) / most["leases"]
        rows.append(
            (name, f"{empty['resident_octets'] >> 20} MB", f"**{each:.0f}**", empty["start_s"], most["start_s"])
        )
    heads = (
        "with 1,000,000 leases",
        "memory with none",
        "octets for each",
        "s to the first answer, none held",
        "a million",
    )
    return _markdown(heads, rows)


def _growth(growth: Mapping[str, Any]) -> str:
    rows = []
    for name, by_leases in growth.items():
        medians = [_median(each) for each in by_leases.values()]
        rows.append((name, *(f"{each:.0f}" for each in medians), f"**{medians[-1] / medians[0]:.2f}**"))
    heads = ("processor us for an exchange", *(f"{int(each):,} held" for each in next(iter(growth.values()))), "growth")
    return _markdown(heads, rows)


def _resync(resync: Mapping[str, Any]) -> str:
    rows = [
        (
            name,
            f"{each['leases']:,}",
            each["seconds"],
            f"**{each['leases_per_s']:,}**",
            each["renew_ms_alone"],
            each["renew_ms_during"],
            each["renew_ms_during_p99"],
        )
        for name, all_ in resync.items()
        for each in all_
    ]
    heads = (
        "filling an empty partner",
        "leases",
        "seconds",
        "a second",
        "a Renew before, ms",
        "meanwhile",
        "99 of 100",
    )
    return _markdown(heads, rows)


def _overload(overload: Mapping[str, Any]) -> str:
    rows = [
        (
            name,
            f"{row['highest']:,}",
            f"{row['offered_rate']:,.0f}",
            f"{row['answered_rate']:,.0f}",
            f"**{row['answered_rate'] / row['highest']:.2f}**",
            f"{row['lost_after']:.2%}",
            row["is_normal"],
        )
        for name, row in overload.items()
    ]
    heads = ("flooded", "highest rate", "offered", "answered", "of the highest", "lost right after", "in step")
    return _markdown(heads, rows)


# -- pictures


def plot(found: Found, folder: Path) -> None:
    """Draw rates, waits, growth and memory into SVG files."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "tandem"
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(11, 4))
    _bars(axes[0], found["rates"]["alone na"], "alone: exchanges a second")
    _bars(axes[1], found["rates"]["pair na"], "as a pair: exchanges a second")
    figure.tight_layout()
    figure.savefig(folder / "rates.svg", metadata={"Date": None})
    figure, axes = plt.subplots(1, 2, figsize=(11, 4))
    for axis, (name, row) in zip(axes, list(found["waits"].items())[:2], strict=False):
        _wait_bars(axis, row, name)
    figure.tight_layout()
    figure.savefig(folder / "waits.svg", metadata={"Date": None})
    figure, axes = plt.subplots(1, 2, figsize=(11, 4))
    for name, by_leases in found["growth"].items():
        axes[0].plot(
            [int(each) for each in by_leases], [_median(each) for each in by_leases.values()], "o-", label=name
        )
    axes[0].set(xscale="log", xlabel="leases held", title="processor us for an exchange")
    axes[0].set_ylim(bottom=0)
    axes[0].legend()
    for name, loaded in found["held"].items():
        axes[1].plot(
            [each["leases"] for each in loaded], [each["resident_octets"] / 1e6 for each in loaded], "o-", label=name
        )
    axes[1].set(xlabel="leases held", title="memory, MB")
    axes[1].legend()
    figure.tight_layout()
    figure.savefig(folder / "growth.svg", metadata={"Date": None})


def _bars(axis: Any, by_name: Mapping[str, Any], title: str) -> None:
    names = list(by_name)
    rates = [rate_of(by_name[name]) for name in names]
    bars = axis.barh(names, rates, color=["#888" if name.startswith("Kea") else "#1f77b4" for name in names])
    axis.bar_label(bars, [f"{rate:,}" for rate in rates], padding=3)
    axis.set_title(title)
    axis.invert_yaxis()
    axis.margins(x=0.15)


def _wait_bars(axis: Any, row: Mapping[str, Any], title: str) -> None:
    names = [name for name, rounds in row.items() if isinstance(rounds, list)]
    medians = [_median(each["reply"]["median_ms"] for each in row[name]) for name in names]
    p99s = [_median(each["reply"]["p99_ms"] for each in row[name]) for name in names]
    axis.barh(names, p99s, color="#cde", label="99 of 100")
    bars = axis.barh(names, medians, color="#1f77b4", label="median")
    axis.bar_label(bars, [f"{each:.2f}" for each in medians], padding=3)
    axis.set_title(f"ms to a Reply, {title}", fontsize=10)
    axis.invert_yaxis()
    axis.legend()


if __name__ == "__main__":
    import json
    import sys

    results = Path(sys.argv[1])
    print(table(json.loads(results.read_text())))
    plot(json.loads(results.read_text()), results.parent)

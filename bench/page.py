"""What the page costs the server: `python -m bench.page [--rounds 5] [--rate N]`, as root.

In turns without and with a page that is open and metrics that are scraped each second: processor time of the server for
each exchange, and how long its answers take, at the same rate; then the highest rate of each.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import signal
import statistics
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console

from bench.compare import COMPILED, PLAIN
from bench.contestants import Contestant, Running, running
from bench.field import CLIENT_CPU, Field, field
from bench.measure import highest_rate, step
from bench.perfdhcp import load
from system.net import until

PORT = 8547
SECONDS = 10
CONSOLE = Console(stderr=True)


@contextlib.contextmanager
def page_open(place: Field, server: Running, contestant: Contestant) -> Iterator[None]:
    """Serve the page beside a server, look at it, and scrape its metrics, each second."""
    folder, host = server.folders[0], place.servers[0]
    file = folder / "web.toml"
    file.write_text(f'{(folder / "tandem.toml").read_text()}\n[web]\ntokens = "{folder}/tokens"\n')
    argv = ["taskset", "-c", CLIENT_CPU, contestant.program, "web", str(file), "--state-dir", str(folder / "state")]
    process = host.start(argv, folder / "web.log")
    stop = threading.Event()

    def connected() -> http.client.HTTPConnection | None:
        connection = http.client.HTTPConnection("::1", PORT, timeout=5)
        with host.inside():
            try:
                connection.connect()
            except OSError:
                return None
        return connection

    def look() -> None:
        connection = connected()
        assert connection is not None
        connection.request("GET", "/live")
        with connection.getresponse() as answer:
            while not stop.is_set() and answer.readline():
                pass

    def scrape() -> None:
        while not stop.wait(1.0):
            connection = connected()
            assert connection is not None
            connection.request("GET", "/metrics")
            assert b"tandem_" in connection.getresponse().read()
            connection.close()

    until(connected, 20, "the page")
    threads = [threading.Thread(target=each, daemon=True) for each in (look, scrape)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(10)
        process.signal(signal.SIGTERM)
        process.ended(10)


def rounds(place: Field, contestant: Contestant, count: int, rate: int) -> dict[str, dict[str, float]]:
    """Measure in turns; give the medians of each figure without the page, with it, and times."""
    found: dict[bool, dict[str, list[float]]] = {False: {}, True: {}}
    folders = (place.folder("a"), place.folder("b"))
    with running(place, contestant, False, folders) as server:
        for number in range(count):
            for is_open in (False, True) if number % 2 == 0 else (True, False):
                with ExitStack() as stack:
                    if is_open:
                        stack.enter_context(page_open(place, server, contestant))
                    _, primary_us, _ = step(place, server, "na", rate, SECONDS)
                    waits = load(place, "na", rate, SECONDS, timed=True).waits
                    highest = highest_rate(place, server, "na", rate)
                figures = {
                    "processor us for an exchange": primary_us,
                    "Advertise ms, median": waits["advertise"].median_ms,
                    "Reply ms, median": waits["reply"].median_ms,
                    "Reply ms, 99 of 100": waits["reply"].p99_ms,
                    "exchanges a second": highest.rate,
                }
                for name, figure in figures.items():
                    found[is_open].setdefault(name, []).append(figure)
                CONSOLE.print(f"round {number + 1}, page {'open' if is_open else 'closed'}: {figures}")
    return {
        name: {
            "closed": statistics.median(found[False][name]),
            "open": statistics.median(found[True][name]),
            "times": round(statistics.median(found[True][name]) / statistics.median(found[False][name]), 3),
        }
        for name in found[False]
    }


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--rate", type=int, default=3000)
    arguments.add_argument("--program", default=COMPILED.program)
    chosen = arguments.parse_args()
    which = next(each for each in (PLAIN, COMPILED) if each.program == chosen.program)
    with tempfile.TemporaryDirectory(prefix="tandem-page-") as scratch, field(Path(scratch)) as laid:
        print(json.dumps(rounds(laid, which, chosen.rounds, chosen.rate), indent=2))

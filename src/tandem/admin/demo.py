"""`tandem demo`: a pair, clients that come through a relay, a `kill -9` and a cut cable: see it fail over.

Everything is real but the clients: the servers are those that `tandem serve` runs, on loopback and over TLS, and
Relay-forward over unicast is the protocol that relays speak, which needs no privilege.
"""

from __future__ import annotations

import signal
import tempfile
import time
from itertools import count, islice
from pathlib import Path
from types import FrameType
from typing import NoReturn

from rich.columns import Columns
from rich.console import Group
from rich.live import Live
from rich.panel import Panel

from tandem.admin.console import PlainConsole, console_for_people, make_table, styled
from tandem.admin.crowd import Crowd
from tandem.admin.demo_pair import KEEPALIVE_S, LINK_ADDRESS, DemoFailed, Link, Pair, Server, until
from tandem.lease.lease import show_key
from tandem.sim.chance import Chance
from tandem.sim.client import SimClient
from tandem.sim.subscriber import Subscriber
from tandem.wire.message import MessageType
from tandem.wire.options import IaNa, IaPd

CLIENTS = 60
NEW_CLIENTS = 20
SHOWN = 3
PROBE_S = 0.05
GAP_MAX_S = 5.0
IN_STEP_WITHIN_S = 120.0
SERVED_WITHIN_S = 120.0
PROBE = 10_000
IAS = ((IaNa.code, 1), (IaPd.code, 2))
STYLES = {"NORMAL": "green", "STARTUP": "cyan", "COMMUNICATIONS-INTERRUPTED": "yellow", "gone": "bold red"}


class Show:
    """The terminal: both servers' states as they are at each moment, and below what happens."""

    def __init__(self, console: PlainConsole, pair: Pair) -> None:
        self.console = console
        self._pair = pair
        self._live = Live(get_renderable=self._picture, console=console, refresh_per_second=5, transient=True)

    def __enter__(self) -> Show:
        """Begin to draw, if there is a terminal to draw on."""
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.console.is_terminal:
            self._live.stop()

    def chapter(self, title: str) -> None:
        """Begin something new."""
        self.console.rule(title)

    def say(self, sentence: str) -> None:
        """Say what happened."""
        self.console.print(sentence)

    def states(self) -> None:
        """Say in which states both are."""
        self.say("  " + "   ".join(f"{each.name}: {_state(each)}" for each in self._pair.servers))

    def _picture(self) -> Group:
        return Group(Columns([_panel(server) for server in self._pair.servers], equal=True, expand=True))


def _state(server: Server) -> str:
    found = server.relationship()
    return "gone" if found is None else str(found["state"])


def _panel(server: Server) -> Panel:
    status = server.status()
    found = status["relationships"][0] if status else None
    state = str(found["state"]) if found else "gone"
    lines = [styled((state, STYLES.get(state, "magenta")))]
    if status and found:
        lines.append(styled(f"{status['leases-known']} leases, {found['updates']['unacked']} not acknowledged"))
        lines.append(styled(f"partner: {found['partner']['state'] or 'unknown'}"))
    role = "primary" if server.name == "a" else "secondary"
    return Panel(Group(*lines), title=styled(f"server {server.name}, {role}"), height=5)


class Play:
    """The story, and what was seen of each promise."""

    def __init__(self, show: Show, pair: Pair) -> None:
        self._show = show
        self._pair = pair
        self._link = Link(pair.a.address, pair.b.address)
        self._crowd = Crowd(LINK_ADDRESS, (pair.a.address, pair.b.address))
        self._sides = (Crowd(LINK_ADDRESS, (pair.a.address,)), Crowd(LINK_ADDRESS, (pair.b.address,)))
        self._numbers = count(1)
        self.rows: list[tuple[str, str, bool]] = []

    def run(self) -> None:
        """Play all of it. DemoFailed if something cannot go on."""
        self._begin()
        self._kill()
        self._come_back()
        self._partition()
        crowds = (self._crowd, *self._sides)
        everything = [key for crowd in crowds for keys in crowd.leases.values() for key in keys]
        distinct = len(set(everything))
        self._see("no lease is in two hands", f"{distinct} leases, {len(everything)} held", distinct == len(everything))

    def close(self) -> None:
        """Close the clients' sockets."""
        for each in (self._link, self._crowd, *self._sides):
            each.close()

    def _see(self, promised: str, seen: str, is_kept: bool) -> None:
        self.rows.append((promised, seen, is_kept))

    def _begin(self) -> None:
        self._show.chapter("Two servers start and find each other")
        took = max(server.start() for server in self._pair.servers)
        took += until(self._pair.is_in_step, IN_STEP_WITHIN_S, "both are in NORMAL")
        self._show.say(f"They are in step {took:.1f} s after the start, over TLS with certificates made just now.")
        self._show.states()
        self._show.chapter(f"{CLIENTS} clients get an address and a prefix each, from the primary")
        self._serve(self._crowd, CLIENTS)
        times = sorted(each.seconds for each in self._crowd.answered if each.type is MessageType.REQUEST)
        for duid, keys in list(self._crowd.leases.items())[:SHOWN]:
            self._show.say(f"  client {duid[-1]:3}  " + "  ".join(map(show_key, keys)))
        self._show.say(f"  ... {CLIENTS} in all; a Reply takes {times[len(times) // 2] * 1000:.1f} ms (median)")
        until(self._pair.is_in_step, IN_STEP_WITHIN_S, "the secondary has all leases")
        self._see("both servers hold the same leases", *self._compare())

    def _kill(self) -> None:
        self._show.chapter("kill -9 of the primary, while clients come")
        before = self._crowd.leases
        pid = self._pair.a.kill(signal.SIGKILL)
        killed = time.monotonic()
        probe = SimClient(PROBE)
        while not self._link.try_once(probe, probe.solicit(), PROBE_S):
            if time.monotonic() - killed > IN_STEP_WITHIN_S:
                raise DemoFailed("The secondary did not take over.")
        gap_s = time.monotonic() - killed
        self._show.say(f"Process {pid} is gone. The secondary answers a new client after {gap_s * 1000:.0f} ms.")
        self._show.states()
        self._see("the partner takes over at once", f"after {gap_s * 1000:.0f} ms", gap_s < GAP_MAX_S)
        self._crowd.ask(MessageType.REBIND)
        self._wait(self._crowd, "all clients are answered")
        kept = sum(keys == before[duid] for duid, keys in self._crowd.leases.items())
        self._show.say(f"{kept} of {CLIENTS} clients rebind and keep their address and their prefix.")
        self._see("clients keep what they have", f"{kept} of {CLIENTS}", kept == CLIENTS)
        self._serve(self._crowd, NEW_CLIENTS)
        self._see("new clients are served meanwhile", f"{NEW_CLIENTS} of {NEW_CLIENTS}", True)

    def _come_back(self) -> None:
        self._show.chapter("The primary comes back")
        started = time.monotonic()
        self._pair.a.start()
        until(self._pair.is_in_step, IN_STEP_WITHIN_S, "both are in NORMAL again")
        took = time.monotonic() - started
        self._show.say(f"It has all that happened without it, and is in step again {took:.1f} s after its start.")
        self._show.states()
        self._see("the pair is whole again by itself", f"in {took:.1f} s", True)
        self._see("both hold the same leases again", *self._compare())

    def _partition(self) -> None:
        self._show.chapter("The cable between the partners is cut; both go on")
        self._pair.cable.cut()
        until(self._are_apart, IN_STEP_WITHIN_S, "both notice that they are apart")
        self._show.say(f"Both notice within the keepalive time of {KEEPALIVE_S} s, and serve from shares of their own.")
        self._show.states()
        for side in self._sides:
            self._serve(side, NEW_CLIENTS // 2)
        self._show.say(f"{NEW_CLIENTS} new clients, half on either side, get leases that nobody else has.")
        self._show.chapter("The cable is mended")
        self._pair.cable.heal()
        took = until(self._pair.is_in_step, IN_STEP_WITHIN_S, "both are in NORMAL again")
        self._show.say(f"They have told each other everything after {took:.1f} s.")
        self._show.states()
        self._see("a split heals by itself", f"in {took:.1f} s", True)
        self._see("both hold the same leases afterwards", *self._compare())

    def _are_apart(self) -> bool:
        return all(_state(server) == "COMMUNICATIONS-INTERRUPTED" for server in self._pair.servers)

    def _compare(self) -> tuple[str, bool]:
        here, there = (server.leases() for server in self._pair.servers)
        alike = sum(there.get(lease) == content for lease, content in here.items())
        return f"{alike} of {max(len(here), len(there))} alike", here == there

    def _serve(self, crowd: Crowd, how_many: int) -> None:
        """Let new clients come, and wait until each has what it wants."""
        new = [Subscriber(number, IAS, Chance(number, "demo")) for number in islice(self._numbers, how_many)]
        crowd.join(new)
        crowd.come(new)
        self._wait(crowd, "all clients have an address and a prefix")

    def _wait(self, crowd: Crowd, what: str) -> None:
        if not crowd.live(lambda: crowd.is_content, SERVED_WITHIN_S):
            raise DemoFailed(f"Not within {SERVED_WITHIN_S:g} s: {what}.")


def _leave(number: int, _frame: FrameType | None) -> NoReturn:
    """Unwind, so that both servers are ended and nothing is left behind."""
    raise SystemExit(128 + number)


def run(out: PlainConsole | None = None) -> int:
    """Run the demo and give its exit code: 0 if all was as promised."""
    console = out or console_for_people()
    started = time.monotonic()
    signal.signal(signal.SIGTERM, _leave)
    with tempfile.TemporaryDirectory(prefix="tandem-demo-") as folder:
        pair = Pair(Path(folder))
        with Show(console, pair) as show:
            play = Play(show, pair)
            try:
                play.run()
            except DemoFailed as failure:
                console.print(*map(styled, str(failure).splitlines()), sep="\n", style="bold red")
                return 1
            finally:
                play.close()
                pair.close()
    console.rule("What was promised, and what was seen")
    table = make_table("promised", "seen")
    for promised, seen, is_kept in play.rows:
        table.add_row(promised, seen, style="" if is_kept else "bold red")
    console.print(table)
    console.print(f"Nothing is left behind: both servers have ended. It took {time.monotonic() - started:.0f} s.")
    return 0 if all(is_kept for _, _, is_kept in play.rows) else 1

"""Runs one server: puts sockets, clocks, disk and signals around a node until it is told to stop."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tandem import __version__, is_compiled
from tandem.config.load import Loaded
from tandem.config.partners import what_moved
from tandem.config.problems import ConfigError
from tandem.effects.effects import Answer, Effects, Note, Out, Send, ToPartner
from tandem.effects.events import Command, Disk, Event, Interfaces, Reload, Shutdown
from tandem.effects.now import Now
from tandem.effects.outbox import LAZY_S, Outbox
from tandem.effects.problem import Problem
from tandem.lease.change import Change
from tandem.lease.table import load_table
from tandem.node import Node
from tandem.runtime.alarm import Alarm
from tandem.runtime.backups import COMMANDS, Backups
from tandem.runtime.certificates import days_left
from tandem.runtime.control import Control
from tandem.runtime.control_path import control_path
from tandem.runtime.counters import Counters
from tandem.runtime.doors import BATCH_MAX, Doors
from tandem.runtime.health import LOOK_S, Health, certificate_problems, configuration_problems, needs_restart
from tandem.runtime.interfaces import watch_interfaces
from tandem.runtime.logs import Log
from tandem.runtime.memory import give_back_large_pieces
from tandem.runtime.notify import notify, watchdog_s
from tandem.runtime.partners import Partners
from tandem.runtime.poison import Poison
from tandem.runtime.recent import Recent
from tandem.runtime.reload import Reloader, keep
from tandem.runtime.state import State
from tandem.runtime.unserved import Unserved
from tandem.runtime.watch import Watch
from tandem.runtime.writer import Writer
from tandem.stores.store import StoreBroken, StoreFull

RETRY_S = 1.0
"""How soon a full disk, or an interface that could not be served, is tried again."""
YIELD_S = 0.0005
"""How soon housekeeping in the writer's thread makes way for a datagram."""
DRAIN_S = 5.0
"""How long stopping waits for the disk."""
POISON_NAME = "poison"


def now() -> Now:
    """Read both clocks."""
    return Now(time.monotonic(), int(time.time()))


class Runtime:
    """One running server. Everything but longer waits for the disk happens in one thread, on one event loop."""

    def __init__(self, path: Path, loaded: Loaded, folder: Path, state: State, node: Node, log: Log) -> None:
        self._path = path
        self._loaded = loaded
        self._state = state
        self._node = node
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._stopped: asyncio.Future[None] = self._loop.create_future()
        self._counters = Counters()
        self._unserved = Unserved()
        self._unserved.use(loaded.settings)
        self._health = Health(self._find_problems, self._say)
        self._refused: list[str] = []
        """Why the changed file was refused, if it was."""
        self._started_with = loaded.server
        self._recent = Recent(time.time_ns() // 1000)
        self._writer = Writer(state.store, self._from_writer)
        self._outbox = Outbox(
            self._commit,
            self._let_out,
            self._disk_refused,
            self._disk_accepts,
            lambda: self._loop.call_later(LAZY_S, self._guard, self._outbox.flush),
        )
        self._is_idle_next = False
        """Whether nothing else waits to be done once what is being done is."""
        self._last_to_do: list[Change] | None = None
        """The batch to be made durable once nothing else is to be done."""
        self._partners = Partners(self._from_partner, self._say)
        self._control = Control(control_path(loaded.server.control, folder), folder, self._command)
        self._backups = Backups(loaded.name, folder, state.store, self._writer, self._control.answer, self._from_writer)
        self._poison = Poison(folder / POISON_NAME)
        self._interfaces = watch_interfaces()
        self._alarm = Alarm(self._loop, lambda: self._guard(self._handle, ()))
        self._second_look: asyncio.TimerHandle | None = None
        self._watch = Watch(self._loop, lambda number: self._guard(self._readable, number))
        self._doors = Doors(self._watch.open, self._watch.close, self._door_failed)
        self._reloader = Reloader(
            path, loaded.name, lambda found: self._guard(self._loaded_again, found), self._loading
        )
        self._is_reloading = False
        """Whether the node is yet to go on with a changed file."""
        self._started = time.monotonic()

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT. Raises what makes it impossible to go on."""
        self._doors.listen(self._loaded.endpoints)
        self._writer.start()
        self._look_at_interfaces()
        self._loop.add_reader(self._interfaces, self._interfaces_changed)
        self._loop.add_signal_handler(signal.SIGHUP, self._guard, self._reloader.reload)
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stop_now)
        self._partners.use(self._loaded.lines)
        await self._control.start()
        beat_s = watchdog_s()
        if beat_s is not None:
            self._beat(beat_s)
        notify("READY=1")
        for complaint in self._loaded.complaints:
            self._say("file-complaint", "warning", why=complaint)
        self._tell(self._state.notes())
        self._look_after_health()
        self._say("serving", server=self._loaded.name, version=__version__, file=str(self._path), pid=os.getpid())
        try:
            await self._stopped
        finally:
            notify("STOPPING=1")
            await self._drain()

    # -- into the node

    def _handle(self, events: Sequence[Event], is_idle_next: bool = False) -> Effects:
        """Have the node take events in, and do what it says; wait for the disk too if nothing else is next."""
        effects = self._node.handle(now(), events)
        self._is_idle_next = is_idle_next
        self._outbox.put(effects)
        self._is_idle_next = False
        if effects.lines:
            self._partners.obey(effects.lines)
        self._mind_the_room()
        self._counters.add(effects.notes)
        self._unserved.add(effects.notes)
        self._tell(effects.notes)  # last: nobody waits for it
        self._alarm.set(effects.wake)
        if self._is_reloading and not self._node.is_reloading:
            self._reloaded()
        batch, self._last_to_do = self._last_to_do, None
        if batch is not None and self._writer.commit_at_once(batch):
            self._written(None)
        return effects

    def _readable(self, number: int) -> None:
        datagrams = self._doors.receive(number)
        is_drained = len(datagrams) < BATCH_MAX
        if self._poison:
            harmless = self._poison.without(datagrams)
            self._counters.drop("poison", len(datagrams) - len(harmless))
            datagrams = harmless
        if not datagrams:
            return
        try:
            effects = self._handle(datagrams, is_drained)
        except Exception:
            culprit = self._node.handling
            if culprit is not None:
                self._poison.record(culprit.data)
            raise
        if is_drained and not effects.at_once and not effects.then:
            self._watch.rest(number)

    def _from_partner(self, event: Event) -> None:
        self._guard(self._handle, (event,), True)

    def _command(self, command: Command) -> None:
        if command.name == "events":
            self._control.answer(Answer(command.ticket, self._recent.after(command.arguments)))
        elif command.name in COMMANDS:
            self._backups.obey(command)
        else:
            self._guard(self._handle, (command,))

    # -- out of the node

    def _let_out(self, out: Out) -> None:
        sends = [each for each in out if isinstance(each, Send)]
        if sends:
            self._counters.count("send-failed", self._doors.send(sends))
            self._counters.sent(sends, time.monotonic())
        to_partners = [each for each in out if isinstance(each, ToPartner)]
        if to_partners:
            self._partners.send(to_partners)
        for each in out:
            if isinstance(each, Answer):
                self._control.answer(self._with_own_facts(each))

    def _with_own_facts(self, answer: Answer) -> Answer:
        """Add to a status what only the runtime knows."""
        if isinstance(answer.result, dict) and "leases-known" in answer.result:
            answer.result.update(
                {
                    "version": __version__,
                    "compiled": is_compiled(),
                    "pid": os.getpid(),
                    "up-s": round(time.monotonic() - self._started),
                    "disk": "full" if self._outbox.is_full else "ok",
                    "problems": [each.to_json() for each in self._health.look(is_thorough=True)],
                    "counters": self._counters.as_json(),
                    "times": {**self._counters.times(), "commit": self._writer.times.as_json()},
                }
            )
            for relationship in answer.result["relationships"]:
                line = self._partners.line(relationship["name"])
                tls = line.tls if line is not None else None
                relationship["tls"] = tls is not None
                relationship["certificate-days-left"] = days_left(tls.certificate) if tls is not None else None
        return answer

    def _find_problems(self, is_thorough: bool) -> Iterator[Problem]:
        """Return all that is wrong now: this, in one order, is what everybody is shown."""
        yield from self._doors.problems()
        yield from self._node.problems(now(), is_thorough)
        yield from self._unserved.problems(self._node.closed_links, self._node.hears_all_partners)
        yield from self._partners.problems()
        yield from configuration_problems(self._loaded, self._path, self._refused, self._started_with)
        yield from certificate_problems(self._loaded)
        yield from self._poison.problems()

    def _look_after_health(self) -> None:
        self._guard(self._health.look)
        self._loop.call_later(LOOK_S, self._look_after_health)

    def _say(self, event: str, level: str = "info", **values: Any) -> None:
        self._tell((Note(event, level, values),))

    def _tell(self, notes: Sequence[Note]) -> None:
        self._log.write(notes)
        self._recent.add(notes)

    # -- the disk

    def _commit(self, batch: list[Change]) -> None:
        if self._is_idle_next:
            self._last_to_do = batch
        else:
            self._writer.commit(batch)

    def _from_writer(self, error: BaseException | None) -> None:
        self._loop.call_soon_threadsafe(self._guard, self._written, error)

    def _written(self, error: BaseException | None) -> None:
        if isinstance(error, StoreFull):
            self._outbox.full(str(error))
            self._loop.call_later(RETRY_S, self._outbox.retry)
        elif error is not None:
            raise error
        else:
            self._outbox.done()
        self._mind_the_room()

    def _disk_refused(self, reason: str) -> None:
        self._say("disk-full", "error", reason=reason, advice="Nothing is promised until there is room.")
        self._loop.call_soon(self._guard, self._handle, (Disk(False, reason),))

    def _disk_accepts(self) -> None:
        self._say("disk-accepts", "warning")
        self._loop.call_soon(self._guard, self._handle, (Disk(True, ""),))

    def _mind_the_room(self) -> None:
        """Leave datagrams in their sockets while two batches are not durable yet."""
        self._watch.hold(not self._outbox.has_room)
        self._partners.pause(not self._outbox.has_room)

    # -- sockets and interfaces

    def _door_failed(self, sentence: str) -> None:
        self._counters.count("door-failed")
        self._say("door-failed", "warning", why=sentence)

    def _interfaces_changed(self) -> None:
        try:
            while self._interfaces.recv(65_536):
                pass
        except OSError:  # read to the end, or more news than the socket could hold: both mean look again
            pass
        self._guard(self._look_at_interfaces)

    def _look_at_interfaces(self) -> None:
        names = self._loaded.settings.interfaces
        served = self._doors.serve(names)
        self._handle((Interfaces(served),))
        if self._second_look is not None:
            self._second_look.cancel()
        self._second_look = None
        if len(served) < len(names) or not self._doors.is_complete:
            self._second_look = self._loop.call_later(RETRY_S, self._guard, self._look_at_interfaces)

    # -- signals and the end

    def _loading(self, what: str, done: int, total: int) -> None:
        count = f", {done:,} of {total:,}" if total else ""
        notify(f"STATUS=Reading {self._path} again: {what}{count}")

    def _loaded_again(self, found: Loaded | ConfigError) -> None:
        """Take over a changed file; with a bad one, go on with the old."""
        notify("STATUS=")
        if isinstance(found, ConfigError):
            self._refused = found.problems
        else:
            self._refused = what_moved(self._loaded.settings, found.settings)
        for sentence in self._refused:
            self._say("reload-refused", "error", why=sentence)
        if self._refused or isinstance(found, ConfigError):
            keep()
            return
        notify("RELOADING=1")
        self._loaded = found
        self._is_reloading = True
        self._unserved.use(found.settings)
        self._partners.use(found.lines)
        self._doors.listen(found.endpoints)
        self._handle((Reload(found.settings),))
        self._look_at_interfaces()
        for each in needs_restart(self._started_with, found.server):
            self._say("reload-partly", "warning", why=each)

    def _reloaded(self) -> None:
        """Note that the node uses the settings of the changed file."""
        self._is_reloading = False
        keep()
        notify("READY=1")
        self._say("reloaded", file=str(self._path))

    def _beat(self, every_s: float) -> None:
        notify("WATCHDOG=1")
        self._loop.call_later(every_s, self._beat, every_s)

    def _guard(self, step: Callable[..., object], *arguments: object) -> None:
        """Do a step; whatever it cannot handle ends the server, for its partner takes over."""
        try:
            step(*arguments)
        except StoreBroken as error:
            self._say("disk-broken", "error", why=str(error), advice="Look after the disk before starting again.")
            os._exit(1)  # closing the store would write to a disk that nobody knows the state of
        except Exception as error:
            if not self._stopped.done():
                self._stopped.set_exception(error)

    def _stop_now(self) -> None:
        if not self._stopped.done():
            self._stopped.set_result(None)

    async def _drain(self) -> None:
        """Take nothing more in; let out what only waits for the disk."""
        self._watch.stop()
        await self._reloader.stop()
        if self._stopped.exception() is None:
            self._handle((Shutdown(),))
        await self._partners.stop()
        self._outbox.flush()
        deadline = time.monotonic() + DRAIN_S
        while not self._outbox.is_empty and not self._outbox.is_full and time.monotonic() < deadline:
            await asyncio.sleep(0.005)
        self._writer.stop()
        await asyncio.to_thread(self._writer.join, DRAIN_S)
        self._control.stop()
        self._doors.close()
        self._state.store.close()
        self._say("stopped", server=self._loaded.name)


def serve(path: Path, loaded: Loaded, folder: Path, log: Log) -> None:
    """Run the server in the foreground until it is told to stop.

    Raises StoreError or OSError if it cannot start, and whatever made it impossible to go on.
    """
    started = time.monotonic()
    give_back_large_pieces()
    sys.setswitchinterval(YIELD_S)

    def progress(done: int, total: int) -> None:
        notify(f"STATUS=Loading leases, {done} of {total}\nEXTEND_TIMEOUT_USEC=30000000")
        log.say("loading", done=done, of_about=max(done, total), seconds=round(time.monotonic() - started, 1))

    state = State(folder, progress)
    table = load_table(state.leases())
    node = Node(loaded.settings, state.identity(loaded.server.duid), table, now(), state.facts)
    log.say("loaded", leases=len(table), seconds=round(time.monotonic() - started, 2))
    gc.collect()
    gc.freeze()  # what was loaded stays; looking through it again and again would only stall answers

    async def run() -> None:
        await Runtime(path, loaded, folder, state, node, log).run()

    asyncio.run(run())

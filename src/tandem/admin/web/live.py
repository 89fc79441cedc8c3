"""What the server says of itself: asked once for all who look, however many they are."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter, deque
from collections.abc import AsyncGenerator
from typing import Any

from tandem.admin.client import CommandFailed
from tandem.admin.web.history import EVERY_S, History, sample
from tandem.admin.web.link import Link

LOOKED_AT_S = 1.0
"""How often the server is asked while a page is open."""
EVENTS_KEPT = 200
LISTENERS_MAX = 128
PER_PLACE_MAX = 16
"""More than these, altogether or from one place: the oldest makes room. A browser's page then connects anew."""
UNREAD_MAX = 4
END = ""


class Live:
    """Asks the server how it is, and tells everybody who listens. `run` does the asking."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self.status: dict[str, Any] | None = None
        """The last answer, None while there is none."""
        self.trouble = "The server was not asked yet."
        """Why there is no newer answer; empty if there is one."""
        self._asked = 0.0
        self._events: deque[dict[str, Any]] = deque(maxlen=EVENTS_KEPT)
        self._last_event: int | None = None
        self._history = History()
        self._listeners: dict[asyncio.Queue[str], str] = {}
        """Each with where it is, the oldest first."""
        self._asking = asyncio.Lock()
        self._wanted = asyncio.Event()

    async def run(self) -> None:
        """Ask until cancelled: each second while somebody listens, and now and then for the history."""
        while True:
            await self.look()
            self._wanted.clear()
            wait_s = LOOKED_AT_S if self._listeners else EVERY_S
            try:
                await asyncio.wait_for(self._wanted.wait(), wait_s)
            except TimeoutError:
                continue

    async def fresh(self, within_s: float = LOOKED_AT_S) -> dict[str, Any] | None:
        """Give a status that is no older than that, None if the server does not answer."""
        await self.look(within_s)
        return None if self.trouble else self.status

    async def look(self, within_s: float = 0.0) -> None:
        """Ask once, and tell who listens; not if the last time, be it for somebody else, is not that long ago."""
        async with self._asking:
            if time.monotonic() - self._asked < within_s:
                return
            before = self.status
            new: list[dict[str, Any]] = []
            try:
                self.status = await self._link.ask("status")
                news = await self._link.ask("events", after=self._last_event)
            except CommandFailed as error:
                self.trouble = str(error)
            else:
                self.trouble = ""
                self._history.add(self.status)
                self._last_event, new = news["last"], news["events"]
                self._events.extend(new)
            self._asked = time.monotonic()
        rates = sample(before, self.status) if before and self.status and not self.trouble else None
        if self._listeners:
            told = json.dumps({**self._told(), "events": new, "now": rates and rates._asdict()})
            for listener in list(self._listeners):
                if listener.full():  # it does not read: it is to begin anew, and so misses nothing unknowingly
                    self._send_away(listener)
                else:
                    listener.put_nowait(told)

    def end(self) -> None:
        """Send away all who listen."""
        for listener in list(self._listeners):
            self._send_away(listener)

    def _send_away(self, listener: asyncio.Queue[str]) -> None:
        self._listeners.pop(listener, None)
        if listener.full():
            listener.get_nowait()
        listener.put_nowait(END)

    def _told(self) -> dict[str, Any]:
        problems = self.status["problems"] if self.status is not None else []
        return {"trouble": self.trouble, "status": self.status, "problems": problems}

    def _make_room(self, place: str) -> None:
        """Send away the oldest listener of a place that has too many; if all together do, that of the largest place."""
        places = Counter(self._listeners.values())
        if places[place] < PER_PLACE_MAX:
            if len(self._listeners) < LISTENERS_MAX:
                return
            place = places.most_common(1)[0][0]
        self._send_away(next(each for each, where in self._listeners.items() if where == place))

    async def listen(self, place: str) -> AsyncGenerator[str, None]:
        """Give JSON objects: first all that is known, then each second what is new. It ends for who does not read."""
        self._make_room(place)
        mine: asyncio.Queue[str] = asyncio.Queue(maxsize=UNREAD_MAX)
        self._listeners[mine] = place
        self._wanted.set()
        try:
            yield json.dumps(
                {
                    **self._told(),
                    "events": list(self._events),
                    "history": self._history.as_json(),
                }
            )
            while (told := await mine.get()) != END:
                yield told
        finally:
            self._listeners.pop(mine, None)

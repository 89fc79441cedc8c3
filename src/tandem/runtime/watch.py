"""Watches doors, so that what waits there is taken in."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

REST_S = 0.002
"""How long a door is not watched once it brought nothing that was answered.

A secondary in NORMAL hears all that clients say to its partner. Woken for each of it, it would spend on that half of
its processor time, and disturb the partner if they share one.
"""


class Watch:
    """Calls `readable` with a door's number when datagrams wait there: not while held, nor while the door rests."""

    def __init__(self, loop: asyncio.AbstractEventLoop, readable: Callable[[int], None]) -> None:
        self._loop = loop
        self._readable = readable
        self._doors: dict[int, socket.socket] = {}
        self._resting: set[int] = set()
        self._is_held = False

    def open(self, number: int, door: socket.socket) -> None:
        """Watch one more door."""
        self._doors[number] = door
        self._look(number)

    def close(self, door: socket.socket) -> None:
        """Watch a door no more."""
        self._loop.remove_reader(door)
        self._doors = {number: each for number, each in self._doors.items() if each is not door}

    def hold(self, is_held: bool) -> None:
        """Leave datagrams where they are, or take them in again."""
        if is_held == self._is_held:
            return
        self._is_held = is_held
        for number, door in self._doors.items():
            if is_held:
                self._loop.remove_reader(door)
            else:
                self._look(number)

    def rest(self, number: int) -> None:
        """Leave a door alone for a moment: what comes is taken in together then."""
        door = self._doors.get(number)
        if door is not None and number not in self._resting:
            self._resting.add(number)
            self._loop.remove_reader(door)
            self._loop.call_later(REST_S, self._rested, number)

    def stop(self) -> None:
        """Watch no door any more."""
        for door in self._doors.values():
            self._loop.remove_reader(door)
        self._doors = {}

    def _rested(self, number: int) -> None:
        self._resting.discard(number)
        self._look(number)

    def _look(self, number: int) -> None:
        if number in self._doors and number not in self._resting and not self._is_held:
            self._loop.add_reader(self._doors[number], self._readable, number)

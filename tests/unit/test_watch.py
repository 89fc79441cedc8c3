"""Which doors are watched: not while the disk is behind, nor for a moment after a look that was for nothing."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from tandem.runtime.watch import REST_S, Watch
from unit.clockwork import Clockwork


class Scene:
    """A watch, and a door, number 1, at which something waits."""

    def __init__(self, stack: ExitStack) -> None:
        self.loop = stack.enter_context(closing(Clockwork()))
        self.door = stack.enter_context(closing(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)))
        self.door.bind(("::1", 0))
        self.door.sendto(b"waits", self.door.getsockname())
        self.noticed = 0
        self.watch = Watch(self.loop, self._readable)

    def is_noticed(self) -> bool:
        before = self.noticed
        self.loop.look()
        return self.noticed > before

    def be_rested(self) -> None:
        self.loop.live(self.loop.now + 2 * REST_S, step=REST_S)

    def _readable(self, number: int) -> None:
        assert number == 1
        self.noticed += 1


@pytest.fixture
def scene() -> Iterator[Scene]:
    with ExitStack() as stack:
        yield Scene(stack)


def test_a_door_rests_for_a_moment(scene: Scene) -> None:
    scene.watch.open(1, scene.door)
    assert scene.is_noticed()
    scene.watch.rest(1)
    scene.watch.rest(1)
    assert not scene.is_noticed()
    scene.be_rested()
    assert scene.is_noticed()


def test_a_door_that_rests_is_not_watched_because_there_is_room_again(scene: Scene) -> None:
    scene.watch.open(1, scene.door)
    scene.watch.rest(1)
    scene.watch.hold(True)
    scene.watch.hold(False)
    assert not scene.is_noticed()
    scene.be_rested()
    assert scene.is_noticed()


def test_a_rest_that_ends_while_all_is_held_changes_nothing(scene: Scene) -> None:
    scene.watch.open(1, scene.door)
    scene.watch.rest(1)
    scene.watch.hold(True)
    scene.be_rested()
    assert not scene.is_noticed()
    scene.watch.hold(False)
    assert scene.is_noticed()


def test_a_door_that_was_opened_while_all_is_held_waits(scene: Scene) -> None:
    scene.watch.hold(True)
    scene.watch.open(1, scene.door)
    assert not scene.is_noticed()
    scene.watch.hold(False)
    assert scene.is_noticed()


@pytest.mark.parametrize("end", ["close", "stop"])
def test_a_door_that_was_closed_stays_so(scene: Scene, end: str) -> None:
    scene.watch.open(1, scene.door)
    scene.watch.rest(1)
    if end == "close":
        scene.watch.close(scene.door)
    else:
        scene.watch.stop()
    scene.be_rested()
    scene.watch.hold(True)
    scene.watch.hold(False)
    scene.watch.rest(1)
    scene.be_rested()
    assert not scene.is_noticed()

"""What lay unread for longer than a client waits is dropped; for how long it lay is what the kernel says."""

from __future__ import annotations

import time
from contextlib import closing
from socket import AF_INET6, MSG_PEEK, SOCK_DGRAM, socket

import pytest

from served import MULTICAST, START, reasons_to_drop, sends, serve
from tandem.effects.events import Datagram
from tandem.runtime.doors import Doors
from tandem.server.engine import WAITED_MAX_S
from tandem.wire.message import Message, MessageType
from tandem.wire.options import ClientId, IaNa

SOLICIT = Message(MessageType.SOLICIT, 7, (ClientId(b"\0\4" + bytes(16)), IaNa(1))).write()


@pytest.mark.parametrize(("waited_s", "reasons"), [(WAITED_MAX_S, []), (WAITED_MAX_S + 0.1, ["waited-too-long"])])
def test_a_client_that_has_asked_again_is_not_answered_twice(waited_s: float, reasons: list[str]) -> None:
    effects = serve().handle(START, [Datagram(SOLICIT, "fe80::c", 546, 1, 1, MULTICAST, waited_s)])
    assert reasons_to_drop(effects) == reasons
    assert len(sends(effects)) == 1 - len(reasons)


@pytest.mark.interpreted  # it replaces a function that the compiled module calls directly
@pytest.mark.parametrize(("apart_s", "late_s"), [(0, 0), (0, 100), (1000, 0), (1000, 100), (-1000, 100)])
def test_the_kernel_says_when_a_datagram_came(monkeypatch: pytest.MonkeyPatch, apart_s: int, late_s: int) -> None:
    """Also to a process whose clock is not the kernel's, as under libfaketime."""
    real = time.time
    opened: dict[int, socket] = {}
    monkeypatch.setattr(time, "time", lambda: real() + apart_s)
    doors = Doors(opened.__setitem__, lambda _: None, pytest.fail)
    with closing(doors), socket(AF_INET6, SOCK_DGRAM) as asking:
        doors.listen([("::1", 0)])
        doors.serve(())
        ((door, listening),) = opened.items()
        asking.sendto(SOLICIT, listening.getsockname())
        listening.setblocking(True)
        listening.recvmsg(0, 0, MSG_PEEK)  # it is there
        listening.setblocking(False)
        monkeypatch.setattr(time, "time", lambda: real() + apart_s + late_s)
        monkeypatch.setattr("tandem.runtime.doors._clocks_apart_s", lambda: float(apart_s))
        (datagram,) = doors.receive(door)
    assert late_s - 50 < datagram.waited_s < late_s + 50
    assert datagram.local == b"\0" * 15 + b"\1"


def test_a_step_of_the_processs_clock_is_no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    real = time.time
    opened: dict[int, socket] = {}
    doors = Doors(opened.__setitem__, lambda _: None, pytest.fail)
    with closing(doors), socket(AF_INET6, SOCK_DGRAM) as asking:
        doors.listen([("::1", 0)])
        doors.serve(())
        ((door, listening),) = opened.items()
        asking.sendto(SOLICIT, listening.getsockname())
        listening.setblocking(True)
        listening.recvmsg(0, 0, MSG_PEEK)  # it is there
        listening.setblocking(False)
        monkeypatch.setattr(time, "time", lambda: real() + 7200)
        (datagram,) = doors.receive(door)
    assert datagram.waited_s < 50

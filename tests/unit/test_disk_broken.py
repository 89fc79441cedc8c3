"""A disk that nobody knows the state of ends the server at once, also while it is ending already."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest

from tandem.runtime.serve import Runtime
from tandem.stores.store import StoreBroken


class ExitedError(Exception):
    """What would have ended the process."""


def exit_now(status: int) -> None:
    raise ExitedError(status)


def sync_fails() -> None:
    raise StoreBroken("the journal cannot be synced")


@pytest.mark.parametrize("is_ending", [False, True])
def test_a_failed_sync_ends_the_server(monkeypatch: pytest.MonkeyPatch, is_ending: bool) -> None:
    said: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr(os, "_exit", exit_now)
    monkeypatch.setattr(Runtime, "_say", lambda _self, event, _level, **values: said.append((event, values)))

    async def run() -> None:
        runtime = Runtime.__new__(Runtime)
        runtime._stopped = asyncio.get_running_loop().create_future()
        if is_ending:
            runtime._stop_now()
        runtime._guard(sync_fails)

    with pytest.raises(ExitedError):
        asyncio.run(run())
    assert [(event, values["why"]) for event, values in said] == [("disk-broken", "the journal cannot be synced")]

"""Reads the configuration file again while the server answers: in another process, taken up in small steps."""

from __future__ import annotations

import asyncio
import gc
import json
import mmap
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tandem.config.load import Loaded
from tandem.config.problems import ConfigError
from tandem.config.transfer import read_loaded

MODULE = "tandem.config.worker"
LINE_OCTETS_MAX = 1 << 24
"""How long the list of all that is wrong with a file may be."""

Progress = Callable[[str, int, int], None]


async def load_beside(path: Path, server: str, progress: Progress) -> Loaded:
    """Load the file for that server without holding up anything else. ConfigError says what is wrong.

    Then garbage is no longer collected, until `keep` is called.
    """
    descriptor = os.memfd_create("tandem-configuration")
    try:
        await _run(path, server, descriptor, progress)
        data = memoryview(mmap.mmap(descriptor, 0, prot=mmap.PROT_READ))
    finally:
        os.close(descriptor)
    gc.disable()  # many objects, none of them garbage: looking through them again and again would stall answers
    for loaded in read_loaded(data):
        if loaded is not None:
            return loaded
        await asyncio.sleep(0)
    raise ConfigError(["What was read is not whole."])


def keep() -> None:
    """Enable garbage collection for objects made from now on; those that exist stay anyway."""
    gc.freeze()
    gc.enable()


async def _run(path: Path, server: str, descriptor: int, progress: Progress) -> None:
    command = (sys.executable, "-P", "-m", MODULE, str(path), server, str(descriptor))
    process = await asyncio.create_subprocess_exec(
        *command, stdin=DEVNULL, stdout=PIPE, pass_fds=(descriptor,), limit=LINE_OCTETS_MAX
    )
    said: list[Any] = []
    try:
        assert process.stdout is not None
        async for line in process.stdout:
            said = json.loads(line)
            if said[0] == "doing":
                _, what, done, total = said
                progress(what, int(done), int(total))
        status = await process.wait()
    except BaseException:
        if process.returncode is None:
            process.kill()
            await process.wait()
        raise
    if said[:1] == ["problems"]:
        raise ConfigError(said[1:])
    if status or said != ["loaded"]:
        raise ConfigError([f"{path} was not read to its end: the process that read it ended with {status}."])


class Reloader:
    """Has the file read again when it is told to, once at a time. What comes of it is told to `done`."""

    def __init__(
        self, path: Path, server: str, done: Callable[[Loaded | ConfigError], None], progress: Progress
    ) -> None:
        self._path = path
        self._server = server
        self._done = done
        self._progress = progress
        self._task: asyncio.Task[None] | None = None
        self._again = False

    def reload(self) -> None:
        """Read the file; if it is being read, read it once more afterwards, since it may have changed meanwhile."""
        if self._task is not None:
            self._again = True
            return
        self._task = asyncio.get_running_loop().create_task(self._reload())

    async def stop(self) -> None:
        """Cancel the read in progress."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait((task,))

    async def _reload(self) -> None:
        try:
            found: Loaded | ConfigError = await load_beside(self._path, self._server, self._progress)
        except ConfigError as error:
            found = error
        except OSError as error:
            found = ConfigError([f"The file cannot be read by another process: {error.strerror}."])
        self._task = None
        self._done(found)
        if self._again:
            self._again = False
            self.reload()

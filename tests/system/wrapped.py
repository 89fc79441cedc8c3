"""A real server that is started through another program, such as strace, or inside another's view of the disks."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from process.server import WITHIN_S, Server, until

CONFIGURATION = """\
[server.a]
listen = ["[::1]:{port}"]
state-dir = "{folder}/state"
control = "{folder}/control.sock"

[[subnet]]
prefix = "2001:db8:1::/64"
pools = ["2001:db8:1:0:1::/80"]
pd-pools = [{{ prefix = "2001:db9::/32", delegated-length = 56 }}]
"""
"""State alone in its folder, so that the folder can be a disk of its own and everything in it counts."""
TANDEM = (sys.executable, "-m", "tandem")


class WrappedServer(Server):
    """A server whose process is a child of the program that wraps it, or is what that program became."""

    def __init__(self, folder: Path, wrapper: Sequence[str] = (), tandem: Sequence[str] = TANDEM) -> None:
        super().__init__(folder, CONFIGURATION)
        self.state = folder / "state"
        self.wrapper = wrapper
        self._tandem = tandem
        self._pid = 0

    def start(self, **environment: str) -> None:
        """Start it, and return once its control socket answers."""
        with (self.folder / "log").open("ab") as log:
            command = [*self.wrapper, *self._tandem, "serve", str(self.file)]
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **environment}
            )
        until(self.answers, "the server answers")
        self._pid = self.ask("status")["pid"]

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """End the server itself, not what wraps it, and give the exit code that comes of it."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid or self.process.pid, how)
        return self.process.wait(WITHIN_S)

"""Loads a configuration file in a process of its own, so that a server can go on answering meanwhile.

    python -m tandem.config.worker FILE SERVER DESCRIPTOR

What was loaded goes into the file of that descriptor, as `tandem.config.transfer` writes it. Lines on standard output
are JSON: `["doing", WHAT, DONE, TOTAL]`, then `["loaded"]` or `["problems", SENTENCE, ...]`.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import sys
from pathlib import Path

from tandem.config.load import load
from tandem.config.problems import ConfigError
from tandem.config.transfer import write_loaded

STANDARD_OUTPUT = 1
NICE = 10
"""How much this process stands back behind the server."""


def _tell(*words: object) -> None:
    with os.fdopen(STANDARD_OUTPUT, "w", closefd=False) as out:
        out.write(json.dumps(words) + "\n")


def main(file: str, server: str, descriptor: str) -> None:
    """Load the file for that server."""
    with contextlib.suppress(OSError):  # a unit may forbid it
        os.nice(NICE)
    gc.disable()  # nearly all that is made stays until the end
    try:
        loaded = load(Path(file), server, lambda what, done, total: _tell("doing", what, done, total))
    except ConfigError as error:
        _tell("problems", *error.problems)
        return
    with os.fdopen(int(descriptor), "wb") as out:
        write_loaded(loaded, out)
    _tell("loaded")


if __name__ == "__main__":
    main(*sys.argv[1:])

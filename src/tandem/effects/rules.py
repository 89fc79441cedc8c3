"""What the server may do for clients right now, as told by whoever knows: `node`."""

from __future__ import annotations

from typing import NamedTuple


class Rules(NamedTuple):
    """Limits on the server engine. Alone on a healthy machine, there are none."""

    may_answer: bool = True
    """False: every client's message is dropped, with `reason`."""
    reason: str = ""

"""What the server may do for clients right now, as told by whoever knows: `node`."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from tandem.lease.share import Share


class Serve(Enum):
    """Whose messages are answered (RFC 8156 8.1: responsive, renew responsive or unresponsive)."""

    ALL = "all"
    ADDRESSED_TO_ME = "addressed to me"
    RENEW_OF_KNOWN = "renewals of known leases"
    """RFC 8156 8.7.1."""
    NONE = "none"


class Rules(NamedTuple):
    """Limits on the server engine for one relationship. Alone on a healthy machine, there are none."""

    serve: Serve = Serve.ALL
    reason: str = ""
    """Why not everybody is answered; what a message that is dropped for it is counted by."""
    share: Share | None = None
    """Which leases may be given out; None without a partner."""
    mclt_s: int | None = None
    """How far a promise may go beyond what the partner acknowledged; None is no limit."""

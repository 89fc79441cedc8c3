"""How long tests wait: for a condition, up to a limit that only a test reaches that fails.

No test of `make test` compares a time with a bound, so a machine that is slow, or busy with something else, changes
nothing but how long it takes. What is to be fast is measured by the tests marked `speed`, in `make bench`.
"""

from __future__ import annotations

import os

PATIENCE = float(os.environ.get("TANDEM_PATIENCE", "6"))
"""How much slower than an idle machine this one may be."""


def limit(idle_s: float) -> float:
    """Return how many seconds to wait for what an idle machine does within `idle_s`."""
    return idle_s * PATIENCE

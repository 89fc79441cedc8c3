"""Our file, written."""

from __future__ import annotations

from typing import Any

import tomli_w

HEAD = """# Made from {source}.
# Look at the report of what was not carried over; then `tandem check` says what this file does.

"""


def write_file(file: dict[str, Any], source: str) -> str:
    """Give the text of a file of ours."""
    return HEAD.format(source=source) + tomli_w.dumps(file)

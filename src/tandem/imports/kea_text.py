"""Kea's dialect of JSON: comments, includes, and a comma too many."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tandem.imports.report import ImportFailed
from tandem.imports.source import read_text

STRING = r'"(?:[^"\\\n]|\\.)*"'
EXTRAS = re.compile(STRING + r'|//[^\n]*|\#[^\n]*|/\*.*?\*/|<\?include\s+"(?P<file>[^"]+)"\s*\?>', re.DOTALL)
NOT_OF_JSON = re.compile(STRING + r"|,(?=\s*[}\]])|(?<=[\s:,\[])\.(?=\d)")
"""A comma before the end of a list, and a number that begins with its point."""
INCLUDES_MAX = 8


def read_kea(path: Path) -> dict[str, Any]:
    """Read a file of Kea's. ImportFailed says why that is not possible."""
    text = NOT_OF_JSON.sub(lambda found: {",": "", ".": "0."}.get(found[0], found[0]), _plain(path, INCLUDES_MAX))
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ImportFailed(f"{path} is not a configuration of Kea: {error}.") from error
    if not isinstance(values, dict) or not isinstance(values.get("Dhcp6"), dict):
        raise ImportFailed(f"{path} has no Dhcp6. What is wanted is the configuration of Kea's DHCPv6 server.")
    return values


def _plain(path: Path, includes_left: int) -> str:
    """Give the text of a file without comments, and with the files that it includes."""
    if not includes_left:
        raise ImportFailed(f"{path} is included by files that include each other.")
    text = read_text(path)

    def replaced(found: re.Match[str]) -> str:
        if found["file"]:
            return _plain(path.parent / found["file"], includes_left - 1)
        return found[0] if found[0].startswith('"') else re.sub(r"[^\n]", " ", found[0])

    return EXTRAS.sub(replaced, text)

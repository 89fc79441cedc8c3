"""The requirements of the RFCs that `docs/requirements/rfc*.toml` list, as values."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
CODE = ROOT / "src" / "tandem"
FOLDER = ROOT / "docs" / "requirements"
FILES = sorted(FOLDER.glob("rfc*.toml"))


class Requirement(NamedTuple):
    """One key word of an RFC that a server has to do with."""

    section: str
    number: int
    level: str
    says: str
    code: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    hole: str = ""
    """Why it is not followed, or not in everything; empty if it is."""
    not_ours: str = ""
    """Whose it is if it is not this server's, and why; empty if it is."""

    @property
    def is_must(self) -> bool:
        """True if this server has to follow it."""
        return "MUST" in self.level and not self.not_ours


@dataclass(frozen=True)
class Elsewhere:
    """How many key words of a section are somebody else's duty alone."""

    section: str
    count: int
    who: str


@cache
def requirements(file: Path) -> tuple[Requirement, ...]:
    """Return the requirements in a file, in its order. Raise TypeError for a key that does not exist."""
    return tuple(_requirement(entry) for entry in tomllib.loads(file.read_text()).get("requirement", []))


def _requirement(entry: dict[str, Any]) -> Requirement:
    lists = {key: tuple(entry.get(key, ())) for key in ("code", "tests")}
    return Requirement(**{**entry, **lists})


def elsewhere(file: Path) -> list[Elsewhere]:
    """Return what a file counts as somebody else's."""
    return [Elsewhere(**entry) for entry in tomllib.loads(file.read_text()).get("elsewhere", [])]


def name(file: Path, each: Requirement) -> str:
    """Return the name of a requirement: the RFC, the section, the number within that."""
    return f"{file.stem.removeprefix('rfc')} {each.section}-{each.number}"


def musts() -> dict[str, Requirement]:
    """Return each MUST and MUST NOT of all files that this server has to follow, by name."""
    return {name(file, each): each for file in FILES for each in requirements(file) if each.is_must}

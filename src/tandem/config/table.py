"""What all tables of the file have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


def kebab(name: str) -> str:
    """Give the file's spelling of a field's name."""
    return name.replace("_", "-")


class Table(BaseModel):
    """A table of the file: keys with dashes, none unknown."""

    model_config = ConfigDict(extra="forbid", alias_generator=kebab, frozen=True, str_strip_whitespace=True)

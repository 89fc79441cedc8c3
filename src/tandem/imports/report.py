"""What became of each setting of another server's file."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from enum import Enum
from typing import NamedTuple

NUMBERED = re.compile(r"\[\d+\]")


class ImportFailed(Exception):
    """What is to be imported cannot be read; the message is a sentence."""


class CannotCarry(Exception):
    """A setting has no like here; the message says why, and what to do."""


class Verdict(Enum):
    """What became of a setting."""

    NOT_CARRIED = "not carried over"
    CHANGED = "changed"
    NOT_NEEDED = "not needed here"
    CARRIED = "carried over"


class Group(NamedTuple):
    """Settings that met the same fate; `text` says how or why, and what to do."""

    text: str
    settings: tuple[str, ...]


class Report:
    """The fate of each setting, by its path. The last word on a setting counts."""

    def __init__(self) -> None:
        self._fates: dict[str, tuple[Verdict, str]] = {}
        self.to_mend: list[str] = []
        """What has to be mended by hand before the file is served, in sentences."""

    def carried(self, path: str) -> None:
        """Say that the setting means the same here; unless more was said of it."""
        self._fates.setdefault(path, (Verdict.CARRIED, ""))

    def changed(self, path: str, how: str) -> None:
        """Say that something like the setting is there."""
        self._add(path, Verdict.CHANGED, how)

    def lost(self, path: str, why: str) -> None:
        """Say that the setting has no effect here."""
        self._add(path, Verdict.NOT_CARRIED, why)

    def not_needed(self, path: str, why: str) -> None:
        """Say that the server does without the setting."""
        self._add(path, Verdict.NOT_NEEDED, why)

    def must_mend(self, sentence: str) -> None:
        """Say that the file would do harm as it is."""
        self.to_mend.append(sentence)

    def _add(self, path: str, verdict: Verdict, text: str) -> None:
        before, said = self._fates.get(path, (verdict, ""))
        if before is verdict and said and text not in said:
            text = f"{said} {text}"
        self._fates[path] = (verdict, text)

    def paths(self) -> Collection[str]:
        """Give the paths of all settings that something was said of."""
        return self._fates.keys()

    def verdict(self, path: str) -> Verdict:
        """Return what became of a setting of which something was said."""
        return self._fates[path][0]

    def is_lost(self, path: str) -> bool:
        """Say whether a setting has no effect here."""
        return self._fates.get(path, (Verdict.CARRIED, ""))[0] is Verdict.NOT_CARRIED

    def count(self, verdict: Verdict) -> int:
        """Say how many settings met that fate."""
        return sum(each is verdict for each, _ in self._fates.values())

    def groups(self, verdict: Verdict) -> Iterator[Group]:
        """Give what met that fate, by the reason; settings that differ by their number in a list only are one."""
        alike: dict[str, dict[str, list[str]]] = {}
        for path, (each, text) in self._fates.items():
            if each is verdict:
                alike.setdefault(text, {}).setdefault(NUMBERED.sub("[]", path), []).append(path)
        for text, settings in alike.items():
            yield Group(text, tuple(_shown(setting, paths) for setting, paths in settings.items()))


def _shown(setting: str, paths: list[str]) -> str:
    return paths[0] if len(paths) == 1 else f"{setting} ({len(paths)} times, first {paths[0]})"

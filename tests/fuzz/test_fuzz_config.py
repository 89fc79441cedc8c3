"""Whatever stands in the configuration file: settings that can be served, or a ConfigError, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from fuzz.world import in_full
from served import EVERYTHING, START
from tandem.config.load import load, parse
from tandem.config.problems import ConfigError
from tandem.lease.table import LeaseTable
from tandem.node import Identity, Node

SHARDS = in_full(8, 2)
FILES = in_full(1_000, 100)

LINES = tuple(EVERYTHING.read_text().splitlines())
VALUES = (
    "0",
    "-1",
    "1e999",
    "nan",
    "true",
    '""',
    "[]",
    "{}",
    "[[[]]]",
    "1979-05-27T07:32:00Z",
    "4294967295",
    "4294967296",
    "9" * 5000,
    '"forever"',
    '"99999999999999999999d"',
    '"::"',
    '"::/0"',
    '"fe80::1%eth0"',
    '"2001:db8::/129"',
    '"2001:db8::-2001:db8::"',
    '"[::1]:99999"',
    '"\\u0000"',
    '"\\U0010FFFF"',
    '"a..b"',
    '"' + "x" * 70_000 + '"',
    '"' + "00" * 70_000 + '"',
    "[" * 3_000 + "]" * 3_000,
)


class Editor:
    """Edits the file as somebody would who does not look where they type."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._edits: tuple[Callable[[list[str]], None], ...] = (
            self._delete,
            self._repeat,
            self._move,
            self._type_over,
            self._set,
            self._set,
            self._set,
        )

    def text(self) -> str:
        """Give the next text: the file with up to five edits."""
        lines = list(LINES)
        for _ in range(self._random.randint(1, 5)):
            self._random.choice(self._edits)(lines)
        return "\n".join(lines)

    def _place(self, lines: list[str]) -> int:
        return self._random.randrange(len(lines))

    def _delete(self, lines: list[str]) -> None:
        del lines[self._place(lines)]

    def _repeat(self, lines: list[str]) -> None:
        lines.insert(self._place(lines), lines[self._place(lines)])

    def _move(self, lines: list[str]) -> None:
        lines.insert(self._place(lines), lines.pop(self._place(lines)))

    def _type_over(self, lines: list[str]) -> None:
        at = self._place(lines)
        letter = self._random.randrange(len(lines[at]) + 1)
        typed = self._random.choice("0123456789abz[]{}\"'=.,-#:/ \t\\é\x7f")
        lines[at] = lines[at][:letter] + typed + lines[at][letter + self._random.randrange(3) :]

    def _set(self, lines: list[str]) -> None:
        """Give one of the keys a value that belongs to another, or to none."""
        at = self._place(lines)
        key, equals, _ = lines[at].partition("=")
        if equals and not lines[at].endswith(","):
            lines[at] = f"{key}= {self._random.choice(VALUES)}"


def problems_of(path: Path) -> list[str]:
    """Load the file and start a node with it; give what is wrong with it, nothing if it can be served."""
    try:
        settings = load(path, None).settings
    except ConfigError as error:
        return error.problems or ["It does not say why."]
    Node(settings, Identity(b"\0\3\0\1server", b"secret"), LeaseTable(), START)
    return []


@pytest.mark.parametrize("shard", range(SHARDS))
def test_any_edits(shard: int, tmp_path: Path) -> None:
    editor, path = Editor(Random(shard)), tmp_path / "edited.toml"
    refused = 0
    for number in range(FILES):
        text = editor.text()
        path.write_text(text, "utf-8")
        try:
            refused += bool(problems_of(path))
        except Exception as error:
            error.add_note(f"shard {shard}, file {number}: {list(changed(text))}")
            raise
    assert FILES // 10 < refused < FILES, "some files are to be refused, and some not"


def changed(text: str) -> Iterator[str]:
    """Give the lines that an edit has made, cut to what can be read."""
    yield from (line[:200] for line in text.split("\n") if line not in LINES)


@pytest.mark.parametrize("key", [line for line in LINES if "=" in line and not line.startswith((" ", "#"))])
def test_any_value_of_any_key(key: str, tmp_path: Path) -> None:
    """Each key with each value, one at a time: a value that is refused hides all others."""
    path = tmp_path / "edited.toml"
    for value in VALUES:
        lines = [f"{key.partition('=')[0]}= {value}" if line == key else line for line in LINES]
        path.write_text("\n".join(lines), "utf-8")
        assert all(problem.endswith(".") for problem in problems_of(path)), value


@pytest.mark.parametrize(
    "text",
    ["", "\0", "=", "[" * 20_000, "a = " + "[" * 20_000, "a = " + "{ a = " * 20_000, "a." * 2_000 + "a = 1", "\ufeff"],
    ids=["empty", "zero", "equals", "headers", "arrays", "tables", "dots", "byte order mark"],
)
def test_what_is_hardly_toml(text: str) -> None:
    with pytest.raises(ConfigError):
        parse(text)


def test_octets_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "octets.toml"
    path.write_bytes(bytes(range(256)))
    with pytest.raises(ConfigError, match="UTF-8"):
        load(path, None)

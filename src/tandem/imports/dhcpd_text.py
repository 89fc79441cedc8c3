"""The grammar of dhcpd's files: statements that end with a semicolon or have a block, in files that include others."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tandem.imports.report import ImportFailed
from tandem.imports.source import read_text

TOKEN = re.compile(r"""\s+|\#[^\n]*|"(?:[^"\\]|\\.)*"|[;{}(),=]|[^\s;{}(),="\#]+""", re.DOTALL)
ESCAPE = re.compile(r"\\(?:([0-7]{3})|x([0-9A-Fa-f]{2})|(.))", re.DOTALL)
PLAIN = {"n": "\n", "r": "\r", "t": "\t", "b": "\b"}
INCLUDES_MAX = 8
DEPTH_MAX = 32


class Word(NamedTuple):
    """A word or a sign, with its line; a text stands without its quotes."""

    text: str
    line: int
    is_text: bool = False


class Statement(NamedTuple):
    """Words, and the statements of the block behind them, None if there is none."""

    words: tuple[Word, ...]
    block: tuple[Statement, ...] | None

    @property
    def name(self) -> str:
        """Give the first word, in small letters."""
        return self.words[0].text.lower() if self.words else ""

    @property
    def texts(self) -> tuple[str, ...]:
        """Give the words behind the first."""
        return tuple(word.text for word in self.words[1:])

    @property
    def where(self) -> str:
        """Say where it stands, for people."""
        shown = " ".join(word.text for word in self.words[:3] if word.text not in ",=")
        return f"line {self.words[0].line}: {shown}"


def read_dhcpd(path: Path) -> tuple[Statement, ...]:
    """Read a file of dhcpd's. ImportFailed says why that is not possible."""
    words = _words(path, INCLUDES_MAX)
    statements, at = _statements(words, 0, DEPTH_MAX)
    if at < len(words):
        raise ImportFailed(f"{path}, line {words[at].line}: a block ends that did not begin.")
    return statements


def _words(path: Path, includes_left: int) -> list[Word]:
    """Give all words of a file, with those of the files that it includes in their place."""
    if not includes_left:
        raise ImportFailed(f"{path} is included by files that include each other.")
    words = list(_split(path))
    found: list[Word] = []
    at = 0
    while at < len(words):
        is_include = words[at].text == "include" and not words[at].is_text and at + 1 < len(words)
        if is_include and words[at + 1].is_text and (not found or found[-1].text in ";{}"):
            found += _words(path.parent / words[at + 1].text, includes_left - 1)
            at += 3  # its semicolon, too
        else:
            found.append(words[at])
            at += 1
    return found


def _split(path: Path) -> Iterator[Word]:
    text, at, line = read_text(path), 0, 1
    while at < len(text):
        found = TOKEN.match(text, at)
        if found is None:
            raise ImportFailed(f"{path}, line {line}: a text begins that does not end.")
        token = found[0]
        if token[0] == '"':
            yield Word(unescaped(token[1:-1]), line, is_text=True)
        elif not token.isspace() and token[0] != "#":
            yield Word(token, line)
        line += token.count("\n")
        at = found.end()


def unescaped(text: str) -> str:
    """Give a text without its escapes; octets above 127 become the characters of their number."""

    def replaced(found: re.Match[str]) -> str:
        octal, hexadecimal, letter = found.groups()
        if octal:
            return chr(int(octal, 8) & 0xFF)
        return chr(int(hexadecimal, 16)) if hexadecimal else PLAIN.get(letter, letter)

    return ESCAPE.sub(replaced, text)


def _statements(words: list[Word], at: int, depth_left: int) -> tuple[tuple[Statement, ...], int]:
    """Read statements up to the end of their block; give them, and where that end is."""
    if not depth_left:
        raise ImportFailed(f"Line {words[at].line}: blocks are nested too deep.")
    found: list[Statement] = []
    head: list[Word] = []
    while at < len(words) and not _is(words[at], "}"):
        word = words[at]
        at += 1
        if _is(word, ";"):
            if head:
                found.append(Statement(tuple(head), None))
            head = []
        elif _is(word, "{") and not _is_record(head):
            block, at = _statements(words, at, depth_left - 1)
            if at == len(words):
                raise ImportFailed(f"Line {word.line}: a block begins that does not end.")
            at += 1
            if head:
                found.append(Statement(tuple(head), block))
            head = []
        elif _is(word, "{"):
            while at < len(words) and not _is(words[at - 1], "}"):
                head.append(words[at])
                at += 1
        else:
            head.append(word)
    if head:
        raise ImportFailed(f"Line {head[0].line}: a statement does not end.")
    return tuple(found), at


def _is(word: Word, sign: str) -> bool:
    return word.text == sign and not word.is_text


def _is_record(head: list[Word]) -> bool:
    """Say whether a brace after these words begins a list of types, and not a block."""
    return bool(head) and head[0].text == "option" and any(_is(word, "=") for word in head)


def padded(text: str) -> str:
    """Give octets as dhcpd writes them, `0:3:ff`, with two digits each."""
    return ":".join(each.rjust(2, "0") for each in text.split(":"))


def octets(text: str) -> bytes:
    """Read octets as dhcpd writes them. ValueError if it is something else."""
    return bytes.fromhex(padded(text).replace(":", ""))

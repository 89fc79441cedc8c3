"""The datagrams that fuzzing starts from: `corpus/*.hex`, one to a file.

The first line says what it is. The others are octets in hexadecimal, put into words as one likes; `WORD*COUNT`
stands for as many of the word, so that 65,535 octets fit into a line.
"""

from __future__ import annotations

from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"


def read_corpus() -> dict[str, bytes]:
    """Give all datagrams by the names of their files."""
    return {path.stem: _read(path) for path in sorted(CORPUS.glob("*.hex"))}


def _read(path: Path) -> bytes:
    comment, *lines = path.read_text().splitlines()
    assert comment.startswith("# "), f"{path} does not say what it is"
    return b"".join(_repeated(word) for line in lines for word in line.split())


def _repeated(word: str) -> bytes:
    octets, _, count = word.partition("*")
    return bytes.fromhex(octets) * int(count or 1)

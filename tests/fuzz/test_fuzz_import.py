"""Whatever stands in another server's files: a file of ours, or a sentence that says why not, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from fuzz.world import in_full
from tandem.config.load import load_text
from tandem.config.problems import ConfigError
from tandem.imports.dhcpd import import_dhcpd
from tandem.imports.dhcpd_leases import read_dhcpd_leases
from tandem.imports.kea import import_kea
from tandem.imports.kea_leases import read_kea_leases
from tandem.imports.kea_text import read_kea
from tandem.imports.leases import Imported
from tandem.imports.report import ImportFailed, Report
from tandem.imports.tandem_file import write_file

HERE = Path(__file__).parent.parent / "imports"
FILES = in_full(1_500, 200)
TYPED = "0123456789abfz[]{}\"'=.,-#:/ \t\\é\x7f;"
WORDS = (
    "null",
    "true",
    "-1",
    "5",
    '""',
    "[]",
    "{}",
    "4294967296",
    '"x"',
    "2001:db8::/64",
    "::",
    "1e999",
    '"' + "x" * 70_000 + '"',
)

VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    0.5,
    1 << 70,
    "",
    "x",
    "::",
    "2001:db8::/64",
    "2001:db8::1-2001:db8::",
    "0x",
    "','",
    [],
    {},
    [[]],
    [{}],
    "option[1].hex == 'a'",
    "a\u0000b",
    "x" * 70_000,
)

Importer = Callable[[Path, str | None, list[str], Report], dict[str, Any]]


def edited(text: str, random: Random) -> str:
    """Give the text with up to five edits of lines, words and letters."""
    lines = text.splitlines()
    for _ in range(random.randint(1, 5)):
        at = random.randrange(len(lines))
        match random.randrange(5):
            case 0:
                del lines[at]
            case 1:
                lines.insert(at, random.choice(lines))
            case 2:
                letter = random.randrange(len(lines[at]) + 1)
                lines[at] = lines[at][:letter] + random.choice(TYPED) + lines[at][letter + random.randrange(3) :]
            case _:
                words = lines[at].split(" ")
                words[random.randrange(len(words))] = random.choice(WORDS)
                lines[at] = " ".join(words)
    return "\n".join(lines)


def edited_values(values: Any, random: Random) -> str:
    """Give a Kea file with up to three settings that hold something odd, are gone, or stand elsewhere."""
    whole = json.loads(json.dumps(values))
    for _ in range(random.randint(1, 3)):
        inside: Any = whole["Dhcp6"]
        while True:
            places = list(inside) if isinstance(inside, dict) else list(range(len(inside)))
            if not places:
                break
            place = random.choice(places)
            if isinstance(inside[place], dict | list) and random.random() < 0.8:
                inside = inside[place]
                continue
            if random.random() < 0.2:
                del inside[place]
            else:
                inside[place] = random.choice(VALUES)
            break
    return json.dumps(whole)


def outcome(read: Importer, path: Path) -> str:
    """Import the file, and say what came of it."""
    try:
        text = write_file(read(path, None, ["eth0"], Report()), path.name)
    except ImportFailed as error:
        return "unreadable" if str(error).endswith(".") else f"no sentence: {error}"
    try:
        load_text(text, None)
    except ConfigError as error:
        return "not to be served" if error.problems else "it does not say why"
    return "served"


@pytest.mark.parametrize(("name", "read"), [("everything.json", import_kea), ("dhcpd6.conf", import_dhcpd)])
def test_any_edits(name: str, read: Importer, tmp_path: Path) -> None:
    whole, random = (HERE / name).read_text(), Random(name)
    path = tmp_path / name
    outcomes: dict[str, int] = {}
    for number in range(FILES):
        text = edited(whole, random)
        path.write_text(text)
        try:
            came = outcome(read, path)
        except Exception as error:
            wrong = [line[:200] for line in text.splitlines() if line not in whole]
            error.add_note(f"{name}, file {number}: {wrong}")
            raise
        outcomes[came] = outcomes.get(came, 0) + 1
    assert outcomes.keys() <= {"unreadable", "not to be served", "served"}
    assert outcomes.get("served", 0) > 0, outcomes
    assert outcomes.get("unreadable", 0) > FILES // 20, outcomes


def test_any_values_of_keas(tmp_path: Path) -> None:
    values, random = read_kea(HERE / "everything.json"), Random(1)
    path = tmp_path / "kea.json"
    outcomes: set[str] = set()
    for number in range(FILES):
        text = edited_values(values, random)
        path.write_text(text)
        try:
            outcomes.add(outcome(import_kea, path))
        except Exception as error:
            error.add_note(f"file {number}: {text[:2000]}")
            raise
    assert outcomes == {"unreadable", "not to be served", "served"}


def test_any_edits_of_leases(tmp_path: Path) -> None:
    from imports.test_leases import DHCPD, HEAD, row

    kea = HEAD + "".join(row(f"2001:db8:1::{number:x}", hostname="a.example.net") for number in range(1, 9))
    for text, read in ((kea, read_kea_leases), (DHCPD, read_dhcpd_leases)):
        random = Random(text)
        path = tmp_path / "leases"
        outcomes: list[str] = []
        for _ in range(FILES):
            path.write_text(edited(text, random))
            try:
                outcomes.append("good" if all(map(is_in_bounds, read(path))) else "out of bounds")
            except ImportFailed as error:
                outcomes.append("refused" if str(error).endswith(".") else f"no sentence: {error}")
        assert set(outcomes) == {"good", "refused"}


def is_in_bounds(lease: Imported) -> bool:
    """Say whether a lease can be kept."""
    numbers = (lease.iaid, lease.heard_utc, lease.until_utc, lease.preferred_s, lease.valid_s)
    return 0 < len(lease.duid) <= 130 and all(0 <= each < 1 << 32 for each in numbers)


@pytest.mark.parametrize(
    "data", [b"", b"\0", bytes(range(256)), b"[" * 20_000, b"{" * 20_000, b"(" * 20_000, b"a;" * 9]
)
@pytest.mark.parametrize("read", [import_kea, import_dhcpd])
def test_what_is_hardly_a_file(read: Importer, data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    assert outcome(read, path) in ("unreadable", "not to be served", "served")

"""What the RFCs ask of a server, with the code that does it and the tests that show it: docs/requirements/rfc*.toml."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

from rfc.breaks import load, sample
from rfc.requirements import CODE, FILES, ROOT, Requirement, elsewhere, musts, name, requirements

PAGE = ROOT / "docs" / "requirements.md"
LEVELS = ("MUST", "MUST NOT", "SHOULD", "SHOULD NOT")
HEAD = """\
# What the RFCs ask for, and where it is done

Made from `docs/requirements/*.toml`; the test that compares writes it anew with `REWRITE=1`. Paths of code are below
`src/tandem`, those of tests below `tests`. SHALL and REQUIRED count as MUST, RECOMMENDED as SHOULD. "Not ours" is asked
of somebody else, or only of servers that do what this one does not.
"""
SUMMARY = "\n| | all | not ours | with a test | not followed |\n|---|---|---|---|---|\n"
TABLE = "\n| | | what is asked | code | tests |\n|---|---|---|---|---|\n"


def place(section: str) -> tuple[int, ...]:
    """Say where a section stands in the text."""
    return tuple(int(part) for part in section.split("."))


@cache
def defined(file: Path) -> frozenset[str]:
    """Name what a module defines; what is in a class with the class before it."""
    return frozenset(_defined(ast.parse(file.read_text()).body, ""))


def _defined(body: Iterable[ast.stmt], within: str) -> Iterator[str]:
    for node in body:
        match node:
            case ast.FunctionDef(name=found) | ast.AsyncFunctionDef(name=found):
                yield within + found
            case ast.ClassDef(name=found, body=inner):
                yield within + found
                yield from _defined(inner, f"{within}{found}.")
            case ast.AnnAssign(target=ast.Name(id=found)):
                yield within + found
            case ast.Assign(targets=targets):
                yield from (within + each.id for each in targets if isinstance(each, ast.Name))


def is_code(reference: str) -> bool:
    """Say whether there is such a function, class or table."""
    path, _, found = reference.partition(":")
    return (CODE / path).is_file() and found in defined(CODE / path)


def is_test(reference: str) -> bool:
    """Say whether there is such a file of tests, and in it such a test."""
    path, _, found = reference.partition("::")
    is_file = path.startswith("tests/") and (ROOT / path).is_file()
    return is_file and (not found or found.replace("::", ".") in defined(ROOT / path))


of_each_rfc = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)


@of_each_rfc
def test_all_that_is_named_is_there(file: Path) -> None:
    assert [(name(file, each), path) for each in requirements(file) for path in each.code if not is_code(path)] == []
    assert [(name(file, each), path) for each in requirements(file) for path in each.tests if not is_test(path)] == []


@of_each_rfc
def test_they_are_numbered_in_the_order_of_the_text(file: Path) -> None:
    assert [each for each in elsewhere(file) if each.count < 1 or not each.who] == []
    found: dict[str, list[int]] = {}
    for each in requirements(file):
        found.setdefault(each.section, []).append(each.number)
    assert list(found) == sorted(found, key=place)
    assert {section: numbers for section, numbers in found.items() if numbers != [*range(1, len(numbers) + 1)]} == {}


@of_each_rfc
def test_each_is_done_and_shown_or_says_why_not(file: Path) -> None:
    for each in requirements(file):
        assert each.level in LEVELS, name(file, each)
        assert each.says, name(file, each)
        assert not (each.hole and each.not_ours), name(file, each)
        assert (each.code and each.tests) or each.hole or each.not_ours, name(file, each)


@of_each_rfc
def test_each_must_is_followed(file: Path) -> None:
    assert [(name(file, each), each.hole) for each in requirements(file) if each.hole and "MUST" in each.level] == []


# -- what shows that the tests fail without the code (breaks.py)


def test_each_must_has_a_break_or_a_reason_to_have_none() -> None:
    breaks, without = load()
    broken = [rule for each in breaks for rule in each.rules]
    excused = [rule for each in without for rule in each.rules]
    assert {*broken, *excused} == {*musts()}
    assert {*broken} & {*excused} == set()
    assert all(each.why for each in without)


def test_each_break_is_of_a_text_that_occurs_once() -> None:
    """Whoever changes such a line changes `now` and `broken` in tests/rfc/breaks.toml, too."""
    wrong = []
    for each in load()[0]:
        count = (CODE / each.file).read_text().count(each.now)
        if count != 1 or each.now == each.broken:
            wrong.append(f"{', '.join(each.rules)}: {each.now!r} occurs {count} times in {each.file}")
    assert wrong == []


def test_each_break_is_noticed_by_a_test_that_its_requirements_name() -> None:
    listed = musts()
    assert [(rule, each.test) for each in load()[0] for rule in each.rules if each.test not in listed[rule].tests] == []


def test_each_break_is_tried_within_some_days() -> None:
    breaks = load()[0]
    days = range(-(-len(breaks) // 8))
    assert {each for day in days for each in sample(breaks, 8, day)} == {*breaks}


# -- the page


def page() -> str:
    """Give the page as the files say it."""
    return HEAD + "".join(part for file in FILES for part in _rfc(file))


def _rfc(file: Path) -> Iterator[str]:
    rfc = file.stem.removeprefix("rfc")
    yield f"\n## RFC {rfc}\n"
    yield SUMMARY + "".join(_counts(requirements(file)))
    if others := elsewhere(file):
        who = sorted({each.who for each in others})
        shares = (f"{sum(each.count for each in others if each.who == one)} of a {one}" for one in who)
        yield f"\nBesides, something is asked {', '.join(shares)} alone.\n"
    holes = [each for each in requirements(file) if each.hole]
    if holes:
        yield f"\nNot followed, or not in everything, in RFC {rfc}:\n\n"
        yield from (f"- **{name(file, each)}**, {each.level}: {each.says}. {each.hole}\n" for each in holes)
    yield TABLE + "".join(_row(file, each) for each in requirements(file))


def _counts(found: Iterable[Requirement]) -> Iterator[str]:
    for level in LEVELS:
        of_level = [each for each in found if each.level == level]
        ours = [each for each in of_level if not each.not_ours]
        tested, holes = sum(bool(each.tests) for each in ours), sum(bool(each.hole) for each in ours)
        yield f"| {level} | {len(of_level)} | {len(of_level) - len(ours)} | {tested} | {holes} |\n"


def _row(file: Path, each: Requirement) -> str:
    says = (
        each.says + (f" (not ours: {each.not_ours})" if each.not_ours else "") + (" (see above)" if each.hole else "")
    )
    code = "<br>".join(f"`{path}`" for path in each.code)
    tests = "<br>".join(f"`{path.removeprefix('tests/')}`" for path in each.tests)
    return f"| {name(file, each)} | {each.level} | {says.replace('|', chr(92) + '|')} | {code} | {tests} |\n"


def test_the_page_is_what_the_files_say() -> None:
    if os.environ.get("REWRITE"):
        PAGE.write_text(page())
    assert PAGE.read_text() == page()

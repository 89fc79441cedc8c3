"""The picture of the state machine in the docs is made from the tables, and is up to date."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from tandem.failover.states import BEHAVIOUR, CUT, ON, WHEN_PARTNER_IS, State
from tandem.failover.words import WORDS
from tandem.lease.space import Role

PAGE = Path(__file__).parent.parent.parent / "docs" / "failover-states.md"
HEAD = """\
# The states of a failover endpoint

Made from the tables in `src/tandem/failover/states.py`; the test that compares writes it anew with `REWRITE=1`.

| state | primary answers | secondary answers | held to the MCLT | what it means, and what ends it |
|---|---|---|---|---|
"""


def page() -> str:
    """Give the page as the tables say it."""
    return HEAD + "".join(_rows()) + "\n```mermaid\nstateDiagram-v2\n" + "".join(_arrows()) + "```\n"


def _rows() -> Iterator[str]:
    for state, row in BEHAVIOUR.items():
        words = WORDS[state]
        held = "yes" if row.holds_to_mclt else "no"
        yield f"| {state.words} | {row.primary.value} | {row.secondary.value} | {held} | {words.means} {words.ends} |\n"


def _arrows() -> Iterator[str]:
    causes: dict[tuple[State, State], list[str]] = {}
    for (mine, partner), after in WHEN_PARTNER_IS.items():
        causes.setdefault((mine, after), []).append("partner lost" if partner is CUT else f"partner {partner.words}")
    for (mine, happening, role), after in ON.items():
        both = ON.get((mine, happening, role.partner)) is after
        if not both or role is Role.PRIMARY:
            who = "" if both else f" ({role.name.lower()})"
            causes.setdefault((mine, after), []).append(happening.value + who)
    for (mine, after), why in causes.items():
        yield f"    {mine.name} --> {after.name}: {', '.join(why)}\n"


def test_the_page_is_what_the_tables_say() -> None:
    if os.environ.get("REWRITE"):
        PAGE.write_text(page())
    assert PAGE.read_text() == page()

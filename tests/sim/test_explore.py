"""Whatever befalls a pair of endpoints, it comes back to NORMAL by itself: every configuration is looked at.

`REWRITE=1` writes docs/failover-pairs.md anew.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tandem.failover.states import ON, WHEN_PARTNER_IS, Happening, State
from tandem.sim.explore import ANSWERED, Exploration, Kind, Pair, Step, TableRow, dead_ends, illegal_pairs

pytestmark = pytest.mark.thorough

PAGE = Path(__file__).parent.parent.parent / "docs" / "failover-pairs.md"
BOTH_NORMAL = (State.NORMAL, State.NORMAL)
SHORT = dict(zip(State, ("N", "C-I", "P-D", "P-C", "R", "R-W", "R-D", "R-I", "C-D"), strict=True))
UNUSED_ROWS: dict[TableRow, str] = {
    (State.NORMAL, State.RESOLUTION_INTERRUPTED): "no Tandem goes there while it hears its partner",
    (State.RESOLUTION_INTERRUPTED, State.NORMAL): "a Tandem that starts, or lost its partner, is not in NORMAL",
}
"""What the tables say for a partner that is another program, and for no reason but to leave no gap."""


@pytest.fixture(scope="module")
def found() -> Exploration:
    return Exploration()


@pytest.mark.rfc("8156 8.1")
def test_every_way_without_faults_ends_in_normal(found: Exploration) -> None:
    assert dead_ends(found) == []


@pytest.mark.rfc("8156 8.1")
def test_no_pair_lasts_that_may_not(found: Exploration) -> None:
    assert illegal_pairs(found) == []


def test_every_row_of_the_tables_is_used(found: Exploration) -> None:
    assert set(found.unused_rows()) == set(UNUSED_ROWS)


def test_the_page_is_what_was_found(found: Exploration) -> None:
    if os.environ.get("REWRITE"):
        PAGE.write_text(page(found))
    assert PAGE.read_text() == page(found)


# -- the page

HEAD = """\
# The pairs of states

Made by `tests/sim/test_explore.py`, which writes it anew with `REWRITE=1`. What each state means stands in
[failover-states.md](failover-states.md).

Two endpoints, each with the state machine that the servers run, were taken through everything that can happen, in every
order. They start, connect, hear what the other says in the order in which it was said, end STARTUP, have all updates,
have waited for the MCLT. A connection is lost, seen by both or for a while by one of them, with all or a part of what
was on its way. Either dies at any moment, and starts again with its record or without its disk; goes on alone by
`auto-partner-down`, by `start-alone`, or since an operator says so, rightly or not; steps aside and comes back.

From two new servers that leads to {new:,} configurations; from two with any records on their disks, be they as old as
they like, to {restored:,} more. In these, endpoints make {arcs} different transitions (who, from where, why, to where).
Two that run are in {heard} different pairs of states while they hear each other, in {unheard} while neither does.

Without an exception:

- If nothing more goes wrong, both come to NORMAL and hear each other, without an operator. There is no order of events
  that goes on for ever, and none that stops elsewhere.
- While they hear each other and all is said, only the pairs below last, which RFC 8156 section 8 allows. In none of
  them do both answer every client.
- Of the {rows} rows of the two tables in `src/tandem/failover/states.py`, all are used but {unused}. Those are there
  for partners that are other programs, or so that there is no gap:

{unused_rows}

## The pairs that last

While both hear each other and all is said. The rows are the primary's states, the columns the secondary's. *updates*:
it ends when one has all updates; *MCLT*: when one has waited for it; in brackets: only with an old record.

"""


def page(found: Exploration) -> str:
    """Give the page."""
    ends = _ends(found)
    own = {each.pair for each in found.configurations[: found.restored] if each.is_at_rest}
    run = [each for each in found.configurations if each.primary.is_alive and each.secondary.is_alive]
    run = [each for each in run if not each.primary.is_starting and not each.secondary.is_starting]
    heard = {each.pair for each in run if each.primary.seen is not None and each.secondary.seen is not None}
    unheard = {each.pair for each in run if each.primary.seen is None and each.secondary.seen is None}
    head = HEAD.format(
        new=found.restored,
        restored=len(found.configurations) - found.restored,
        arcs=len(found.arcs()),
        heard=len(heard),
        unheard=len(unheard),
        rows=len(WHEN_PARTNER_IS) + len(ON),
        unused=len(UNUSED_ROWS),
        unused_rows="\n".join(f"  - {_row(row)}: {why}" for row, why in UNUSED_ROWS.items()),
    )
    parts = (_matrix(ends, own), _table(ends), _picture(ends), _after_one_fault(found))
    return head + "\n".join("".join(lines) for lines in parts)


def _ends(found: Exploration) -> dict[Pair, dict[str, dict[Pair, None]]]:
    """Give for each pair at rest what ends it by itself, and the pairs at rest that follow then."""
    ends: dict[Pair, dict[str, dict[Pair, None]]] = {}
    for here in found.configurations:
        if not here.is_at_rest:
            continue
        causes = ends.setdefault(here.pair, {})
        for step in found.steps(here):
            if step.event.kind is not Kind.FAULT:
                following = found.followed_by(found.numbers[step.after], Kind.MESSAGE)
                others = {pair: None for pair in following if pair != here.pair}
                if others:
                    causes.setdefault(_cause(step), {}).update(others)
    return dict(sorted(ends.items()))


def _cause(step: Step) -> str:
    if step.event is ANSWERED:
        return f"the {step.role.partner.name.lower()} has all updates"
    return f"the {step.role.name.lower()} {step.event.words}"


def _row(row: TableRow) -> str:
    mine, what, *role = row
    if isinstance(what, Happening):
        return f"{mine.words} of a {role[0].name.lower()} when {what.value}"
    return f"{mine.words} beside {what.words if what is not None else 'nobody'}"


def _words(pair: Pair) -> str:
    return " and ".join(state.words for state in pair)


def _matrix(ends: dict[Pair, dict[str, dict[Pair, None]]], own: set[Pair]) -> Iterator[str]:
    yield f"| | {' | '.join(SHORT.values())} |\n|---|{'---|' * len(State)}\n"
    for primary in State:
        cells = [_cell((primary, secondary), ends, own) for secondary in State]
        yield f"| {primary.words} ({SHORT[primary]}) | {' | '.join(cells)} |\n"


def _cell(pair: Pair, ends: dict[Pair, dict[str, dict[Pair, None]]], own: set[Pair]) -> str:
    if pair not in ends:
        return ""
    causes = dict.fromkeys("updates" if "updates" in cause else "MCLT" for cause in ends[pair])
    text = ", ".join(sorted(causes, reverse=True)) or "stays"
    return text if pair in own else f"({text})"


def _table(ends: dict[Pair, dict[str, dict[Pair, None]]]) -> Iterator[str]:
    yield "| primary and secondary | end when | then come to |\n|---|---|---|\n"
    for pair, causes in ends.items():
        for cause, following in causes.items():
            yield f"| {_words(pair)} | {cause} | {', or '.join(map(_words, following))} |\n"


def _picture(ends: dict[Pair, dict[str, dict[Pair, None]]]) -> Iterator[str]:
    yield "How they follow each other if nothing more goes wrong; the primary's state stands first.\n\n"
    yield "```mermaid\nstateDiagram-v2\n"
    for pair in ends:
        yield f'    state "{pair[0].words} / {pair[1].words}" as {_node(pair)}\n'
    for pair, causes in ends.items():
        arrows: dict[Pair, list[str]] = {}
        for cause, following in causes.items():
            for after in following:
                arrows.setdefault(after, []).append(cause.removeprefix("the "))
        for after, why in arrows.items():
            yield f"    {_node(pair)} --> {_node(after)}: {', '.join(why)}\n"
    yield "```\n"


def _node(pair: Pair) -> str:
    return "_".join(SHORT[state].replace("-", "") for state in pair)


def _after_one_fault(found: Exploration) -> Iterator[str]:
    yield "## Out of NORMAL\n\n"
    yield "The next pair that lasts, when one thing happens to two servers in NORMAL. Who dies starts again.\n\n"
    yield "| what happens | the next pair | or, if one went on alone by `auto-partner-down` |\n|---|---|---|\n"
    soon: dict[str, dict[Pair, None]] = {}
    late: dict[str, dict[Pair, None]] = {}
    for here in found.configurations:
        if here.is_at_rest and here.pair == BOTH_NORMAL:
            for step in found.steps(here):
                if step.event.kind is Kind.FAULT:
                    number = found.numbers[step.after]
                    soon.setdefault(_cause(step), {}).update(found.followed_by(number, Kind.SOON))
                    late.setdefault(_cause(step), {}).update(found.followed_by(number, Kind.TIMER))
    for cause, pairs in sorted(soon.items()):
        others = sorted(late[cause].keys() - pairs.keys())
        yield f"| {cause} | {', or '.join(map(_words, sorted(pairs)))} | {', or '.join(map(_words, others))} |\n"

"""The state tables, row by row, against a list made from the text of RFC 8156 section 8 and the design's decisions."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tandem.effects.rules import Serve
from tandem.failover.states import BEHAVIOUR, CUT, ON, WHEN_PARTNER_IS, Happening, State, served, settle
from tandem.lease.space import Role

NAMES = {
    "NORMAL": "N",
    "COMMUNICATIONS-INTERRUPTED": "CI",
    "PARTNER-DOWN": "PD",
    "POTENTIAL-CONFLICT": "PC",
    "RECOVER": "R",
    "RECOVER-WAIT": "RW",
    "RECOVER-DONE": "RD",
    "RESOLUTION-INTERRUPTED": "RI",
    "CONFLICT-DONE": "CD",
}
SHORT = {short: name for name, short in NAMES.items()}

WHERE_IT_GOES = """
mine | not heard: N   CI  PD  PC  R   RW  RD  RI  CD
N      CI         .   .   CI  CI  CI  CI  .   CI  .
CI     .          N   N   PC  PC  .   .   N   PC  PC
PD     .          PC  PC  PC  PC  .   .   N   PC  PC
PC     RI         .   .   .   .   .   .   .   .   .
R      .          .   .   .   PC  .   .   .   PC  PC
RW     .          .   .   .   .   .   .   .   .   .
RD     .          N   .   .   PC  CI  CI  N   .   PC
RI     .          PC  PC  PC  PC  PC  PC  PC  PC  PC
CD     .          N   .   .   .   .   .   .   .   .
"""
"""8.4.2, 8.5.2, 8.7.2, 8.8.2, 8.9.2, 8.10.2, 8.11.2, 8.12.2; a dot is: it stays. Beside the text: NORMAL that sees
COMMUNICATIONS-INTERRUPTED stays, as does COMMUNICATIONS-INTERRUPTED that sees RECOVER-WAIT (decision 4); NORMAL expects
its partner to come from RECOVER-DONE or CONFLICT-DONE; RECOVER-DONE that sees CONFLICT-DONE is no dead end."""

_, HEAD, *ROWS = (line.split() for line in WHERE_IT_GOES.splitlines())
PARTNERS = HEAD[4:]


def state(short: str) -> State:
    return next(each for each in State if each.words == SHORT[short])


def expected_rows() -> Iterator[tuple[tuple[State, State | None], State]]:
    for mine, when_cut, *when_seen in ROWS:
        for partner, after in zip([CUT, *map(state, PARTNERS)], [when_cut, *when_seen], strict=True):
            if after != ".":
                yield (state(mine), partner), state(after)


def test_each_state_is_in_the_list() -> None:
    assert [each.words for each in State] == sorted(NAMES, key=lambda name: State[name.replace("-", "_")])
    assert [row[0] for row in ROWS] == PARTNERS == list(NAMES.values())


def test_numbers_are_those_of_the_wire() -> None:
    """RFC 8156 5.5.16; 1 is STARTUP, which is never on record."""
    order = ("N", "CI", "PD", "PC", "R", "RW", "RD", "RI", "CD")
    assert {state(short): number for number, short in enumerate(order, 2)} == {each: each.value for each in State}


def test_where_it_goes() -> None:
    assert dict(expected_rows()) == WHEN_PARTNER_IS


def test_what_moves_it_besides() -> None:
    both = list(Role)
    wanted = {(State.RECOVER, Happening.UPDDONE, role): State.RECOVER_WAIT for role in both}  # 8.5.2
    wanted |= {(State.RECOVER_WAIT, Happening.WAIT_OVER, role): State.RECOVER_DONE for role in both}  # 8.6.2
    wanted[State.POTENTIAL_CONFLICT, Happening.UPDDONE, Role.PRIMARY] = State.CONFLICT_DONE  # 8.10.2
    wanted[State.POTENTIAL_CONFLICT, Happening.UPDDONE, Role.SECONDARY] = State.NORMAL
    interrupted = State.COMMUNICATIONS_INTERRUPTED
    wanted |= {(interrupted, Happening.AUTO_PARTNER_DOWN, role): State.PARTNER_DOWN for role in both}  # 8.9.2
    wanted |= {(State.PARTNER_DOWN, Happening.FORGOTTEN, role): State.POTENTIAL_CONFLICT for role in both}
    for mine in {*State} - {State.PARTNER_DOWN}:  # 8.8.2, 8.9.2, 8.11.2; decision 5
        wanted |= {(mine, Happening.PARTNER_IS_DOWN, role): State.PARTNER_DOWN for role in both}
    del wanted[State.CONFLICT_DONE, Happening.PARTNER_IS_DOWN, Role.SECONDARY]  # 8.12
    assert wanted == ON


SERVED = """
N   all   mine   to-mclt
CI  all   all    to-mclt
PD  all   all    -
PC  none  none   to-mclt
R   none  none   to-mclt
RW  none  none   to-mclt
RD  renew renew  to-mclt
RI  all   all    to-mclt
CD  all   all    to-mclt
"""
"""8.4.1 to 8.12.1: whom the primary and the secondary answer, and whether promises keep to the MCLT (4.4)."""
WORDS = {"all": Serve.ALL, "mine": Serve.ADDRESSED_TO_ME, "renew": Serve.RENEW_OF_KNOWN, "none": Serve.NONE}


@pytest.mark.parametrize("line", SERVED.strip().splitlines())
def test_whom_it_answers(line: str) -> None:
    short, primary, secondary, mclt = line.split()
    assert served(state(short), Role.PRIMARY) is WORDS[primary]
    assert served(state(short), Role.SECONDARY) is WORDS[secondary]
    assert BEHAVIOUR[state(short)].holds_to_mclt is (mclt == "to-mclt")
    assert BEHAVIOUR[state(short)].wants_updates is (short in ("R", "PC"))  # 8.5.2, 8.10


@pytest.mark.parametrize("partner", [CUT, *State], ids=str)
@pytest.mark.parametrize("mine", State, ids=str)
def test_it_comes_to_rest(mine: State, partner: State | None) -> None:
    rests = settle(mine, partner)
    assert settle(rests, partner) is rests
    seen, at = [mine], mine
    while (after := WHEN_PARTNER_IS.get((at, partner), at)) is not at:
        assert after not in seen
        seen.append(at := after)
    assert at is rests


def test_a_restart_forgets_no_state_but_that_of_being_heard() -> None:
    """8.3.2, step 2: what was recorded is gone on with as it is while the partner cannot be heard."""
    moved = {mine: settle(mine, CUT) for mine in State if settle(mine, CUT) is not mine}
    assert moved == {
        State.NORMAL: State.COMMUNICATIONS_INTERRUPTED,
        State.POTENTIAL_CONFLICT: State.RESOLUTION_INTERRUPTED,
    }


# -- both together

Pair = tuple[State, State]


def follow(pair: Pair) -> Iterator[Pair]:
    """Give what may come next while both hear each other; who goes on first is not said."""
    primary, secondary = pair
    yield settle(primary, secondary), secondary
    yield primary, settle(secondary, primary)
    for role in Role:
        mine, partner = pair if role is Role.PRIMARY else pair[::-1]
        for what in (Happening.UPDDONE, Happening.WAIT_OVER):
            is_second = role is Role.SECONDARY and mine is State.POTENTIAL_CONFLICT
            waits = what is Happening.UPDDONE and is_second and partner is not State.CONFLICT_DONE  # 8.10.2
            after = ON.get((mine, what, role))
            if after is not None and not waits:
                yield (after, partner) if role is Role.PRIMARY else (partner, after)


@pytest.mark.parametrize("secondary", [each for each in State if each is not State.CONFLICT_DONE], ids=str)
@pytest.mark.parametrize("primary", State, ids=str)
def test_every_pair_ends_in_normal(primary: State, secondary: State) -> None:
    """Whatever the order in which they see each other: nothing goes round, and all that can come to rest is NORMAL."""
    done: set[Pair] = set()

    def walk(pair: Pair, path: tuple[Pair, ...]) -> None:
        assert pair not in path, f"they go round: {path} {pair}"
        if pair in done:
            return
        nexts = {each for each in follow(pair) if each != pair}
        assert nexts or pair == (State.NORMAL, State.NORMAL), f"a dead end: {pair}"
        for each in nexts:
            walk(each, (*path, pair))
        done.add(pair)

    walk((primary, secondary), ())


@pytest.mark.parametrize("role", Role, ids=str)
@pytest.mark.parametrize("mine", State, ids=str)
def test_no_state_is_without_an_exit(mine: State, role: Role) -> None:
    exits = {after for (before, _), after in WHEN_PARTNER_IS.items() if before is mine}
    exits |= {after for (before, _, whose), after in ON.items() if before is mine and whose is role}
    assert exits - {mine}
    assert mine in {*WHEN_PARTNER_IS.values(), *ON.values(), State.RECOVER}, "nobody ever gets there"

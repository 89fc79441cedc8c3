"""What is accepted from a partner and what is not: RFC 8156 7.5.4, cell by cell, and that both sides agree."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tandem.failover.bindings import accepted, lease_update
from tandem.failover.verdict import FIGURE_4, Verdict, judge
from tandem.lease.lease import BindingStatus, Lease, key_of
from tandem.lease.space import Role
from tandem.wire.binding import Update
from tandem.wire.failover_options import FailoverStatus
from unit.pair_of_leases import EVEN, ODD, START, Side, cross

OUTDATED = FailoverStatus.OUTDATED_BINDING_INFORMATION
IN_USE = FailoverStatus.ADDRESS_IN_USE
SAME_EVERY_TIME = settings(derandomize=True, deadline=None, max_examples=400)
A, B = b"client A", b"client B"
T = START
LASTS_S = 3600

FIGURE = """
binding-status in
receiving server's
lease state DB     ACTIVE    EXPIRED   RELEASED  FREE      FREE-BACKUP RESET     ABANDONED
ACTIVE             accept(3) time(1)   accept    time(1)   time(1)     accept    accept
EXPIRED            accept    accept    accept    accept    accept      accept    accept
RELEASED           accept    accept    accept    accept    accept      accept    accept
FREE               accept    accept    accept    accept    accept      accept    accept
FREE-BACKUP        accept    accept    accept    accept    accept      accept    accept
RESET              time(2)   accept    accept    accept    accept      accept    accept
ABANDONED          accept    accept    accept    accept    accept      accept    accept
"""
"""RFC 8156 figure 4, with a column and a row for each status that it puts into one."""

_, _, _, HEAD, *ROWS = (line.split() for line in FIGURE.splitlines())
COLUMNS = HEAD[3:]
CELLS = [(row[0], column, rule) for row in ROWS for column, rule in zip(COLUMNS, row[1:], strict=True)]
cells = pytest.mark.parametrize(("mine", "theirs", "rule"), CELLS, ids=lambda value: value)


def status(name: str) -> BindingStatus:
    return BindingStatus[name.replace("-", "_")]


def version(name: str, duid: bytes, heard: int, until: int = 0, heard_there: int = 0, start: int = 0) -> Lease:
    """Give a record of the lease: since when it is so, and when either server heard the client."""
    fixed = (ODD, status(name), duid, 1, start or heard, heard, until, 3, 4, 1, 2, b"", True, 0, heard_there)
    return Lease(*fixed)


def decide(mine: Lease, theirs: Lease, role: Role = Role.SECONDARY, now: int = T + 600) -> Verdict:
    return judge(mine, lease_update(theirs), theirs.duid, role, now)


def test_the_table_is_figure_4() -> None:
    assert [(BindingStatus(each).name.replace("_", "-"), len(row)) for each, row in FIGURE_4.items()] == [
        (row[0], 7) for row in ROWS
    ]
    for mine, theirs, rule in CELLS:
        assert FIGURE_4[status(mine)][status(theirs)].value == rule


# -- cell by cell. The client was heard at T here; there a minute before, at the same second, or a minute after.

# rule     the client | before | equal | after
EXPECTED = """
accept     same         no       one     yes
accept     other        no       one     yes
accept(3)  same         no       one     yes
accept(3)  other        no       role    yes
time(1)    same         no       no      no
time(1)    other        no       no      no
time(2)    same         no       one     yes
time(2)    other        no       one     yes
"""
"""`one`: of the two sides, each with its version, exactly one accepts the other's; `role`: the primary's client keeps
the lease (design, decisions 7 and 8). By the RFC a matching client's update is accepted, and by
a secondary any, whatever the times are: then both sides would swap. For time(1) the lease is not over here."""
WHEN = {"before": -60, "equal": 0, "after": 60}


def expected(rule: str, client: str, when: str) -> str:
    row = next(line.split() for line in EXPECTED.splitlines() if line.split()[:2] == [rule, client])
    return dict(zip(WHEN, row[2:], strict=True))[when]


def says(verdict: Verdict) -> str:
    return "yes" if verdict.code is None else "no"


@cells
@pytest.mark.parametrize("client", ["same", "other"])
@pytest.mark.parametrize("when", WHEN)
def test_each_cell(mine: str, theirs: str, rule: str, client: str, when: str) -> None:
    until = T + LASTS_S
    here = version(mine, A, T, until)
    there = version(theirs, A if client == "same" else B, T + WHEN[when], until if mine == theirs else 0)
    got = {role: says(decide(here, there, role)) for role in Role}
    want = expected(rule, client, when)
    if want == "one":
        check_one_winner(here, there)
    elif want == "role":
        assert got == {Role.PRIMARY: "no", Role.SECONDARY: "yes"}
    else:
        assert set(got.values()) == {want}


def check_one_winner(here: Lease, there: Lease) -> None:
    if FIGURE_4[BindingStatus(there.status)][BindingStatus(here.status)].value not in ("accept", "accept(3)"):
        return  # the other side goes by other times
    for role in Role:
        both = [says(decide(here, there, role)), says(decide(there, here, role.partner))]
        assert sorted(both) == ["no", "yes"]


@cells
def test_what_is_rejected_says_why(mine: str, theirs: str, rule: str) -> None:
    """AddressInUse where two clients have it, OutdatedBindingInformation in all other cells."""
    verdict = decide(version(mine, A, T, T + LASTS_S), version(theirs, B, T - 60), Role.PRIMARY)
    assert verdict.code is (IN_USE if rule == "accept(3)" else OUTDATED)
    assert verdict.tell_partner


# -- time(1): over here or not


@pytest.mark.parametrize("theirs", ["EXPIRED", "FREE", "FREE-BACKUP"])
@pytest.mark.parametrize(("past_s", "is_accepted"), [(-1, False), (0, False), (1, True)])
def test_what_is_over_there_must_be_over_here(theirs: str, past_s: int, is_accepted: bool) -> None:
    """An update that is later in every way; the current time must be later than the state-expiration-time."""
    here = version("ACTIVE", A, T, T + 100)
    there = version(theirs, A, 0, heard_there=T, start=T + 90)
    verdicts = [decide(here, there, role, now=T + 100 + past_s) for role in Role]
    assert {each.code for each in verdicts} == {None if is_accepted else OUTDATED}
    assert not any(each.tell_partner for each in verdicts)  # nothing newer is known here: it comes again later


# -- time(2): heard since


@pytest.mark.parametrize(("after_s", "is_accepted"), [(-60, False), (-1, True), (1, True), (60, True)])
@pytest.mark.parametrize("role", Role)
def test_a_reset_lease_is_active_if_heard_since_or_at_about_that_time(
    after_s: int, is_accepted: bool, role: Role
) -> None:
    """By two clocks 5 s are the same time: then the promise counts. The other side decides the opposite."""
    here, there = version("RESET", A, T - 500, start=T), version("ACTIVE", A, T + after_s, T + 900, start=T - 900)
    assert (decide(here, there, role).code is None) is is_accepted
    assert (decide(there, here, role.partner).code is None) is not is_accepted


def test_who_gave_a_lease_since_knows_better_than_who_reset_what_he_knew_before() -> None:
    """Both ended an ABANDONED lease, the one a while after the other, which gave it to its client meanwhile."""
    ended, given = version("RESET", A, 0, heard_there=T - 600, start=T + 10), version("ACTIVE", A, T, T + 900, start=T)
    assert decide(ended, given).code is None
    assert decide(given, ended).code is OUTDATED


def test_a_reset_lease_is_not_active_without_a_time_of_the_client() -> None:
    here, there = version("RESET", A, T - 500, start=T), version("ACTIVE", A, 0, T + 900, start=T + 60)
    assert decide(here, there).code is OUTDATED


@pytest.mark.parametrize("role", Role)
def test_what_an_operator_reset_counts_from_then(role: Role) -> None:
    """7.5.4: for RESET, ABANDONED and FREE the time is the later of the client's and the start-time-of-state."""
    here, there = version("ACTIVE", A, T + 20, T + LASTS_S, start=T - 60), version("RESET", A, T, start=T + 40)
    assert decide(here, there, role).code is None


# -- times of one clock, and of two (design, decision 7)


@pytest.mark.parametrize("role", Role)
def test_a_release_3_s_after_its_active(role: Role) -> None:
    """The same clock says both times, so 3 s are not the same time."""
    here = version("ACTIVE", A, 0, T + LASTS_S, heard_there=T)
    assert decide(here, version("RELEASED", A, T + 3), role).code is None
    assert decide(here._replace(partner_raw_clt_time=T + 3), version("RELEASED", A, T), role).code is OUTDATED


@pytest.mark.parametrize(("apart_s", "answers"), [(-6, "no no"), (-5, "no yes"), (5, "no yes"), (6, "yes yes")])
def test_two_clients_at_the_same_time(apart_s: int, answers: str) -> None:
    """Within 5 s on two clocks the primary's wins."""
    here, there = version("ACTIVE", A, T, T + LASTS_S), version("ACTIVE", B, T + apart_s, T + LASTS_S)
    got = " ".join(says(decide(here, there, role)) for role in (Role.PRIMARY, Role.SECONDARY))
    assert got == answers if apart_s > 0 else got in (answers, "no yes")


@pytest.mark.parametrize("role", Role)
def test_the_longer_promise_within_5_s(role: Role) -> None:
    here = version("ACTIVE", A, T, T + 100)
    assert decide(here, version("ACTIVE", A, T + 2, T + 200), role).code is None
    assert decide(here, version("ACTIVE", A, T + 2, T + 50), role).code is OUTDATED


# -- what is not in the figure


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("name", COLUMNS)
def test_what_is_not_on_record_is_accepted(name: str, role: Role) -> None:
    assert judge(None, lease_update(version(name, A, T)), A, role, T) == Verdict()


@pytest.mark.parametrize("unknown", [0, 4, 9, 255])
def test_other_statuses_are_refused(unknown: int) -> None:
    """PENDING-FREE is never told (7.2)."""
    update = lease_update(version("ACTIVE", A, T))._replace(status=unknown)
    for mine in (None, version("ACTIVE", A, T - 60)):
        verdict = judge(mine, update, A, Role.PRIMARY, T)
        assert verdict.code is FailoverStatus.MISSING_BINDING_INFORMATION


# -- both sides: decision 8

seconds = st.just(0) | st.integers(T, T + 14)


@st.composite
def versions(draw: st.DrawFn) -> Lease:
    name = draw(st.sampled_from([each for each in COLUMNS if each != "FREE-BACKUP"]))
    start = draw(st.integers(T, T + 14))
    return version(
        name, draw(st.sampled_from([A, B])), draw(seconds), draw(st.integers(T, T + 40)), draw(seconds), start
    )


def over(lease: Lease) -> bool:
    return lease.status not in (BindingStatus.ACTIVE, BindingStatus.ABANDONED)


@given(here=versions(), there=versions(), now=st.sampled_from([T + 15, T + 60]))
@SAME_EVERY_TIME
def test_crossed_updates_have_one_winner(here: Lease, there: Lease, now: int) -> None:
    """Exactly one is accepted, or both sides end with the same client and status.

    Both are rejected only if one says that a lease is over which for the other is not: that is tried again.
    """
    sides = Side(Role.PRIMARY, ODD), Side(Role.SECONDARY, ODD)
    sides[0].lease, sides[1].lease = here, there
    first, second = cross(*sides, now)
    assert first is not None
    assert second is not None
    if first.code is None and second.code is None:
        assert sides[0].shown == sides[1].shown
    if first.code is not None and second.code is not None:
        assert over(here) != over(there)
        assert BindingStatus.ACTIVE in (here.status, there.status)


@given(before=st.none() | versions(), said=versions(), role=st.sampled_from(Role))
@SAME_EVERY_TIME
def test_an_equal_repeat_is_accepted(before: Lease | None, said: Lease, role: Role) -> None:
    """Its answer may have been lost: what was accepted once is accepted again, and changes nothing."""
    update = Update(said.duid, b"", (lease_update(said),))
    if judge(before, update.leases[0], said.duid, role, T + 60).code is None:
        stored = accepted(before, update.leases[0], update, T + 60, True)
        assert judge(stored, update.leases[0], said.duid, role, T + 60) == Verdict()
        assert accepted(stored, update.leases[0], update, T + 60, True) == stored


@pytest.mark.parametrize("name", ["EXPIRED", "RELEASED", "RESET", "FREE", "ABANDONED", "ACTIVE"])
def test_a_repeat_after_a_lost_answer_is_accepted(name: str) -> None:
    """The shortest of these: told, recorded, the answer is lost; told again on the next connection."""
    sender, receiver = Side(Role.SECONDARY, ODD), Side(Role.PRIMARY, ODD)
    sender.lease = version(name, A, T, T + 30, start=T + 40)
    for _ in range(2):
        assert receiver.take(sender.told(T + 50), T + 50) == Verdict()


# -- whole histories

STEPS = st.one_of(
    st.tuples(st.just("wait"), st.sampled_from(Role), st.sampled_from([1, 4, 6, 20, 40])),
    st.tuples(st.just("grant"), st.sampled_from(Role), st.sampled_from([A, B])),
    st.tuples(st.sampled_from(["release", "decline", "cross"]), st.sampled_from(Role), st.just(0)),
    st.tuples(st.sampled_from(["tell", "tell, and the answer is lost"]), st.sampled_from(Role), st.just(0)),
)


def happen(sides: dict[Role, Side], now: int, what: str, role: Role, more: int | bytes) -> None:
    side, other = sides[role], sides[role.partner]
    match what:
        case "grant":
            assert isinstance(more, bytes)
            side.grant(now + side.skew_s, more, 30)
        case "release":
            side.release(now + side.skew_s)
        case "decline":
            side.decline(now + side.skew_s, 30)
        case "cross":
            cross(sides[Role.PRIMARY], sides[Role.SECONDARY], now)
        case "tell" | "tell, and the answer is lost" if side.owes and side.lease is not None:
            sent, message = side.lease, side.told(now + side.skew_s)
            verdict = other.take(message, now + other.skew_s)
            if what == "tell":
                side.hear(sent, verdict)


@given(steps=st.lists(STEPS, max_size=9), key=st.sampled_from([ODD, EVEN]), skew_s=st.sampled_from([0, -3, 3]))
@SAME_EVERY_TIME
def test_every_history_ends_with_both_sides_alike(
    steps: list[tuple[str, Role, int | bytes]], key: int, skew_s: int
) -> None:
    """Whatever was granted by whom, and lost on the way: once they talk, neither owes the other for long."""
    sides = {Role.PRIMARY: Side(Role.PRIMARY, key), Role.SECONDARY: Side(Role.SECONDARY, key, skew_s)}
    now = T
    for what, role, more in steps:
        if what == "wait":
            assert isinstance(more, int)
            now += more
        for side in sides.values():
            side.lapse(now + side.skew_s)
        happen(sides, now, what, role, more)
    for _ in range(20):
        now += 10
        for side in sides.values():
            side.lapse(now + side.skew_s)
        cross(sides[Role.PRIMARY], sides[Role.SECONDARY], now)
    assert not any(side.owes for side in sides.values()), "what nobody takes over is owed for ever"
    assert sides[Role.PRIMARY].shown == sides[Role.SECONDARY].shown


# -- free prefixes that change hands


PREFIX = key_of(0x20010DB9 << 96, 56)
FREED = Lease(PREFIX, BindingStatus.FREE, A, 1, T, 0, T, 0, 0, 0, 0, b"", False, 0, T + 5)
"""Its last client was heard by the partner, which is not said of a prefix that is nobody's."""
GIVEN = Lease(PREFIX, BindingStatus.FREE_BACKUP, b"", 0, T + 10, 0, T + 10, 0, 0, 0, 0, b"")


@pytest.mark.parametrize("role", Role)
def test_freed_prefix_may_change_hands_whoever_heard_its_last_client(role: Role) -> None:
    update = Update(b"", b"", (lease_update(GIVEN),))
    assert judge(FREED, update.leases[0], b"", role, T + 20) == Verdict()
    assert accepted(FREED, update.leases[0], update, T + 20, True) == GIVEN


@pytest.mark.parametrize("role", Role)
def test_prefix_that_changed_hands_since_stays_where_it_is(role: Role) -> None:
    verdict = judge(GIVEN, lease_update(FREED), FREED.duid, role, T + 20)
    assert verdict.code is FailoverStatus.OUTDATED_BINDING_INFORMATION
    assert verdict.tell_partner

"""Lives a plan to its end and says what came of it; shrinks one that went wrong to the least that still does."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeVar

from tandem.sim.plan import Habitue, Plan
from tandem.sim.scene import Broken
from tandem.sim.story import Story

TRIALS_MAX = 400
"""How many worlds are lived to shrink one."""

T = TypeVar("T")


class Outcome(NamedTuple):
    """What came of a world. `kind` names what went wrong and `what` says it; both are empty if nothing did."""

    seed: int
    kind: str
    what: str
    simulated_s: float
    calls: int
    voids: dict[str, int]
    """How often nothing could be asked of the servers, by why."""


def live(plan: Plan, say: Callable[[str], None] | None = None) -> Outcome:
    """Live a world; `say` is told what happens, a line at a time."""
    story = Story(plan, say)
    kind = what = ""
    try:
        story.tell()
    except Broken as broken:
        kind, what = broken.kind, str(broken)
    except Exception as error:  # whatever a server cannot handle ends it, and so does it end the world
        where = traceback.extract_tb(error.__traceback__)[-1]
        kind = f"{type(error).__name__} in {where.name}"
        what = f"{kind}: at {story.world.agenda.now:.3f} {error}"
    if what and say is not None:
        say(what)
    scene = story.world.scene
    return Outcome(plan.seed, kind, what, scene.agenda.now, story.world.calls, scene.voids)


def shrink(plan: Plan, outcome: Outcome, progress: Callable[[Plan], None] | None = None) -> tuple[Plan, Outcome]:
    """Leave out of a plan whatever is not needed for the same kind of thing to go wrong."""
    trials = 0
    while True:
        for candidate in _smaller(plan):
            trials += 1
            if trials > TRIALS_MAX:
                return plan, outcome
            tried = live(candidate)
            if tried.kind == outcome.kind:
                plan, outcome = candidate, tried
                if progress is not None:
                    progress(plan)
                break
        else:
            return plan, outcome


def _smaller(plan: Plan) -> Iterator[Plan]:
    """Give plans with less in them, the boldest cuts first."""
    for faults in _fewer(plan.faults):
        yield plan._replace(faults=tuple(faults))
    for clients in _fewer(plan.clients):
        yield plan._replace(clients=tuple(clients))
    if any(len(client.acts) > 1 for client in plan.clients):
        yield plan._replace(clients=tuple(client._replace(acts=client.acts[:1]) for client in plan.clients))
    for at, client in enumerate(plan.clients):
        for simpler in _simpler(client):
            yield plan._replace(clients=(*plan.clients[:at], simpler, *plan.clients[at + 1 :]))
    quiet = plan._replace(loss=0.0, doubled=0.0, lag_s=0.01)
    exact = plan._replace(servers=tuple(each._replace(offset_s=0.0, drift=0.0, disk_s=0.0) for each in plan.servers))
    near = plan._replace(pairs=tuple(each._replace(latency_s=0.0) for each in plan.pairs))
    for calmer in (quiet, exact, near):
        if calmer != plan:
            yield calmer
    if plan.lasts_s > 20.0:
        yield plan._replace(lasts_s=plan.lasts_s / 2)


def _simpler(client: Habitue) -> Iterator[Habitue]:
    for acts in _fewer(client.acts):
        yield client._replace(acts=tuple(acts))
    for ias in _fewer(client.ias):
        if ias:
            yield client._replace(ias=tuple(ias))
    plain = client._replace(style="punctual", rapid_commit=False, is_reserved=False)
    if plain != client:
        yield plain


def _fewer(things: Sequence[T]) -> Iterator[list[T]]:
    """Leave out halves, then quarters, and at last each single one."""
    size = len(things)
    while size:
        size = size // 2 if size > 1 else 0
        step = max(size, 1)
        for at in range(0, len(things), step):
            if step < len(things) or len(things) == 1:
                yield [*things[:at], *things[at + step :]]

"""What a partner refused is no problem any more once both have the same on record."""

from __future__ import annotations

from pair.conversation import Conversation

APART_AND_BACK = (
    "serve campus",
    "tick 8s",
    "c1 request server=a na=1",
    "c2 request server=a pd=1",
    "tick 1s",
    "cut",
    "c2 request server=a pd=1 at=a",  # before the partner is missed, and not told
    "tick 20s",
    "c1 request server=a na=1 at=a",
    "tick 10s",
    "c1 rebind na=1 at=b",
    "c2 rebind pd=1 at=b",
    "heal",
    "tick 10s",
)


def test_updates_that_crossed_leave_no_problem() -> None:
    world = Conversation()
    said = [world.obey(command) for command in APART_AND_BACK]
    assert "rejected: OUTDATED_BINDING_INFORMATION" in said[-1]
    for server in world._servers.values():
        assert server.node is not None
        assert "updates-rejected" not in [each.id for each in server.node.problems(world._now(server))]

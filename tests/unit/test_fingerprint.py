"""What a partner says that it serves, whatever it says."""

from __future__ import annotations

import json

import pytest

from tandem.effects.effects import Effects
from tandem.effects.settings import Relationship
from tandem.failover.fingerprint import Fingerprint
from tandem.failover.handshake import DETAILS
from tandem.failover.history import ENTERPRISE
from tandem.lease.space import Range, Role
from tandem.wire.failover import FailoverType, message
from tandem.wire.options import VendorOptions

POOL = Range(0x20010DB8 << 96, (0x20010DB8 << 96) + 255, 128)
MINE = Relationship(
    "campus", Role.PRIMARY, "b", 60, 10, 5, None, False, 50, True, (), (POOL,), 0, 0, b"mine", {"options": "1"}
)


def told(text: str) -> Fingerprint:
    """Give what this server makes of a partner's details."""
    found = Fingerprint(MINE)
    details = VendorOptions(ENTERPRISE, ((DETAILS, text.encode()),))
    found.heard(message(FailoverType.CONTACT, 1, (details,)), Effects())
    return found


def is_clear(found: Fingerprint) -> bool:
    """Say whether nothing is known to differ."""
    return not found.differences and found.withheld is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "3",
        '{"parts": 3, "pools": []}',
        '{"parts": {}, "pools": 3}',
        '{"parts": {}, "pools": [["0", "1", Infinity]]}',
        '{"parts": {}, "pools": [["0", "1", 1e999]]}',
        '{"parts": {}, "pools": [["x", "1", 128]]}',
        '{"parts": {}, "pools": [["5", "1", 128]]}',
        "[" * 10_000,
    ],
)
def test_nonsense_is_a_difference_that_cannot_be_named(text: str) -> None:
    assert told(text).differences == ("more than can be named",)


def test_what_differs_is_named_and_what_only_one_has_is_withheld() -> None:
    first, last, length = POOL
    theirs = {"parts": {"options": "2"}, "pools": [[f"{first:x}", f"{last - 16:x}", length]]}
    found = told(json.dumps(theirs))
    assert found.differences == ("options",)
    assert found.withheld is not None
    assert found.withheld.touches(last, last)
    assert not found.withheld.touches(first, last - 16)
    found.connected(found.digest)
    assert is_clear(found)

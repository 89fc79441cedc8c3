"""What becomes of leases whose range joins a relationship: both partners come to hold them alike."""

from __future__ import annotations

from pathlib import Path

import pytest

from tandem.config.load import load
from tandem.effects.effects import Effects
from tandem.failover.membership import TERRITORIES_FACT, Membership, write_ranges
from tandem.lease.lease import BindingStatus, Lease, key_of
from tandem.lease.table import LeaseTable

CAMPUS = Path(__file__).parent.parent / "pair" / "campus.toml"
FIRST = 0x2001_0DB8_0001_0000_0001_0000_0000_0000


@pytest.mark.parametrize("duid", [b"client", b""])
@pytest.mark.parametrize(
    ("number", "status"), [(4, BindingStatus.FREE_BACKUP), (5, BindingStatus.FREE)], ids=["even", "odd"]
)
def test_free_address_that_joins_belongs_to_the_partner_that_its_last_bit_names(
    number: int, status: BindingStatus, duid: bytes
) -> None:
    settings = load(CAMPUS, "a").settings
    table = LeaseTable()
    table.use_territories((each, shared.name) for shared in settings.relationships for each in shared.territories)
    key = key_of(FIRST + number)
    table.put(Lease(key, BindingStatus.FREE, duid, 1, 5, 5, 99, 1, 2, 3, 4, b""))
    membership = Membership(table, {TERRITORIES_FACT: write_ranges({"campus": []})})
    membership.use(settings.relationships, (), ("campus",))
    effects = Effects()
    while membership.step(effects):
        pass
    lease = table.get(key)
    assert lease is not None
    assert lease.status == status
    assert lease.owes_partner == bool(duid)

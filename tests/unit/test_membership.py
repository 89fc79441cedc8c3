"""What becomes of leases whose range joins a relationship: both partners come to hold them alike."""

from __future__ import annotations

import pytest

from tandem.config.load import load_text
from tandem.effects.effects import Effects
from tandem.failover.membership import TERRITORIES_FACT, Membership, write_ranges
from tandem.lease.lease import BindingStatus, Lease, key_of
from tandem.lease.table import LeaseTable

FILE = """
[server.a]
interfaces = ["eth0"]
address = "2001:db8:ffff::a"
[server.b]
interfaces = ["eth0"]
address = "2001:db8:ffff::b"
[failover.campus]
primary = "a"
secondary = "b"
security = "insecure"
[[subnet]]
prefix = "2001:db8:1::/64"
interface = "eth0"
failover = "campus"
pools = ["2001:db8:1:0:1::/80"]
"""
FIRST = 0x2001_0DB8_0001_0000_0001_0000_0000_0000


@pytest.mark.parametrize("duid", [b"client", b""])
@pytest.mark.parametrize(
    ("number", "status"), [(4, BindingStatus.FREE_BACKUP), (5, BindingStatus.FREE)], ids=["even", "odd"]
)
def test_free_address_that_joins_belongs_to_the_partner_that_its_last_bit_names(
    number: int, status: BindingStatus, duid: bytes
) -> None:
    settings = load_text(FILE, "a").settings
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

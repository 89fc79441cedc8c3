"""How addresses are written: by RFC 5952, as Python's own `ipaddress` does it too."""

from __future__ import annotations

from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.wire.text import show_address, show_prefix

GROUPS = st.sampled_from([0, 0, 0, 1, 0xA0, 0x10, 0x2001, 0xFFFF])


@given(st.lists(GROUPS, min_size=8, max_size=8))
def test_an_address_is_written_as_the_rfc_asks(groups: list[int]) -> None:
    octets = b"".join(group.to_bytes(2, "big") for group in groups)
    number = IPv6Address(octets)
    if number.ipv4_mapped is None:  # ipaddress shows these with dots in some versions
        assert show_address(octets) == str(number)


@pytest.mark.parametrize(
    ("written", "length"),
    [("::", 0), ("::", 64), ("2001:db8::", 32), ("2001:db8:0:a00::", 56), ("0:0:0:1::", 64), ("2001:0:0:10::", 60)],
)
def test_a_prefix_is_written_with_its_length(written: str, length: int) -> None:
    assert show_prefix(IPv6Address(written).packed, length) == f"{IPv6Address(written)}/{length}"

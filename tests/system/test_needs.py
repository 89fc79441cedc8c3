"""CI installs what the tests look for."""

from __future__ import annotations

from pathlib import Path

from system.needs import PACKAGES

ONLY_TO_COMPARE = {"kea-dhcp6-server"}


def test_every_package_that_a_test_may_ask_for_is_installed_by_ci() -> None:
    listed = Path(__file__).with_name("packages.txt").read_text().split()
    assert set(PACKAGES.values()) - ONLY_TO_COMPARE <= set(listed)
    assert listed == sorted(set(listed))

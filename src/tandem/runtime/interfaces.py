"""What the kernel says of network interfaces: names, addresses, state, and multicast groups."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable, Set
from pathlib import Path

RTMGRP_LINK = 0x1
RTMGRP_IPV6_IFADDR = 0x100
INTERFACES = Path("/sys/class/net")
IF_INET6 = Path("/proc/net/if_inet6")
IGMP6 = Path("/proc/net/igmp6")
CONF = Path("/proc/sys/net/ipv6/conf")
DOWN = ("down", "lowerlayerdown", "notpresent", "dormant")
IPV6_MTU_MIN = 1280


def watch_interfaces() -> socket.socket:
    """Return a socket that becomes readable whenever an interface or an address appears, changes or goes away."""
    watcher = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
    watcher.bind((0, RTMGRP_LINK | RTMGRP_IPV6_IFADDR))
    return watcher


def missing_interfaces(names: Iterable[str]) -> list[str]:
    """Return those of the names that no interface of this machine has."""
    present = {name for _, name in socket.if_nameindex()}
    return [name for name in names if name not in present]


def is_up(name: str) -> bool:
    """True if an interface can carry packets, as far as the system knows."""
    try:
        return (INTERFACES / name / "operstate").read_text().strip() not in DOWN
    except OSError:
        return True


def addresses_by_interface() -> dict[int, tuple[int, ...]]:
    """Return this machine's IPv6 addresses, as numbers, by interface index."""
    found: dict[int, tuple[int, ...]] = {}
    with contextlib.suppress(FileNotFoundError):  # IPv6 is off
        for line in IF_INET6.read_text().splitlines():
            address, index, *_ = line.split()
            found[int(index, 16)] = (*found.get(int(index, 16), ()), int(address, 16))
    return found


def groups_by_interface() -> dict[int, Set[bytes]] | None:
    """Return the IPv6 multicast groups that each interface receives, by index; None if the system does not say."""
    found: dict[int, set[bytes]] = {}
    try:
        text = IGMP6.read_text()
    except OSError:
        return None
    for line in text.splitlines():
        index, _, group, *_ = line.split()
        found.setdefault(int(index), set()).add(bytes.fromhex(group))
    return {index: frozenset(groups) for index, groups in found.items()}


def why_no_ipv6(name: str) -> str:
    """Return why IPv6 is off on an interface, empty if it is not."""
    with contextlib.suppress(OSError, ValueError):
        mtu = int((INTERFACES / name / "mtu").read_text())
        if mtu < IPV6_MTU_MIN:
            return f"its MTU of {mtu} is below {IPV6_MTU_MIN}, so that the kernel turns IPv6 off on it"
    with contextlib.suppress(OSError, ValueError):
        if int((CONF / name / "disable_ipv6").read_text()):
            return f"IPv6 is disabled on it (sysctl net.ipv6.conf.{name}.disable_ipv6)"
    return ""

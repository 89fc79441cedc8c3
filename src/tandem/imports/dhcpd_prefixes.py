"""dhcpd's `prefix6 LOW HIGH /BITS` as pools of prefixes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import AddressValueError, IPv6Address, IPv6Network, summarize_address_range

from tandem.imports.dhcpd_text import Statement
from tandem.imports.report import ImportFailed


def read_network(statement: Statement, text: str) -> IPv6Network:
    """Return a prefix that a statement names. ImportFailed if it is none."""
    try:
        return IPv6Network(text, strict=False)
    except (AddressValueError, ValueError):
        raise ImportFailed(f"{statement.where}: {text!r} is not a prefix.") from None


def links(statements: Iterable[Statement]) -> Iterator[IPv6Network]:
    """Return the prefixes of all subnets, those inside of other declarations too."""
    for each in statements:
        if each.name == "subnet6":
            yield read_network(each, each.texts[0] if each.texts else "")
        yield from links(each.block or ())


def read_prefixes(statement: Statement) -> tuple[list[IPv6Network], int]:
    """Return the prefixes that make up `prefix6 LOW HIGH /BITS`, and the length of those that are delegated."""
    texts = [each for each in "".join(f"{each} " for each in statement.texts).replace("/", " ").split() if each]
    try:
        low, high, bits = IPv6Address(texts[0]), IPv6Address(texts[1]), int(texts[2])
        last = IPv6Address(int(high) | (1 << (128 - bits)) - 1)
        networks = list(summarize_address_range(low, last))
    except (ValueError, IndexError, TypeError):
        raise ImportFailed(f"{statement.where} is not LOW HIGH /BITS.") from None
    if any(network.prefixlen > bits for network in networks):
        raise ImportFailed(f"{statement.where} does not begin at a prefix of length {bits}.")
    return networks, bits


def without_links(pools: Sequence[IPv6Network], bits: int, taken: Iterable[IPv6Network]) -> list[IPv6Network]:
    """Return the pools without the prefixes of length `bits` that hold a part of a link, or lie on one."""
    left = list(pools)
    for link in taken:
        whole = link.supernet(new_prefix=bits) if link.prefixlen > bits else link
        found: list[IPv6Network] = []
        for pool in left:
            if not pool.overlaps(whole):
                found.append(pool)
            elif whole.prefixlen > pool.prefixlen:
                found += pool.address_exclude(whole)
        left = found
    return sorted(left)

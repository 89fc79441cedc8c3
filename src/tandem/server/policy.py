"""Which configured options an answer carries: those asked for, from the narrowest scope that has them.

Encoded once when the configuration is loaded; the joined octets of each combination are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from tandem.effects.options import OptionSet, Suboptions
from tandem.effects.reservations import Reservation
from tandem.effects.settings import PoolSettings, Settings, SubnetSettings
from tandem.server.client import Client
from tandem.server.places import Home
from tandem.wire.message import MessageType
from tandem.wire.names import read_name
from tandem.wire.octets import scan_options, write_option
from tandem.wire.option import write_options
from tandem.wire.options import (
    ClientFqdn,
    InformationRefreshTime,
    PrefixExclude,
    RelaySuppliedOptions,
    VendorClass,
    VendorOptions,
)
from tandem.wire.reader import Reader, WireError

COMBINATIONS_MAX: Final = 1024
ENTERPRISE_OCTETS: Final = 4
CABLE_LABS: Final = 4491
CABLE_LABS_REQUEST: Final = 1
"""The suboption in which cable modems list the suboptions that they ask for (CL-SP-CANN-DHCP)."""
FQDN_SERVER: Final = 0x01  # RFC 4704 4.1, the S bit
FQDN_SERVER_OVERRIDES: Final = 0x02  # the O bit
FQDN_NO_UPDATE: Final = 0x04  # the N bit

Combination = tuple[SubnetSettings | None, tuple[PoolSettings, ...], Reservation | None, frozenset[str], bytes, bool]


class _Joined(NamedTuple):
    """What all clients of one combination are told."""

    octets: bytes
    """All options but those of vendors."""
    vendors: Mapping[int, Suboptions]
    """The suboptions that there are for them, by enterprise number."""
    always_of_vendors: frozenset[tuple[int, int]]
    is_for_all_vendors: bool
    """Whether they are told the suboptions of all vendors, not only of the one that they name."""


class Policy:
    """Answers "which options" for one loaded configuration."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._joined: dict[Combination, _Joined] = {}

    def options_for(self, client: Client, homes: Sequence[Home]) -> bytes:
        """Give the encoded options that the client asked for (RFC 9915 18.3, 21.7). `homes` are those of its leases.

        Of several pools, the one of the first lease that has an option goes.
        """
        combination = _combination(client, homes)
        joined = self._joined.get(combination)
        if joined is None:
            if len(self._joined) >= COMBINATIONS_MAX:
                self._joined.clear()
            joined = self._joined[combination] = self._join(combination)
        octets = joined.octets
        if joined.vendors:
            octets += _vendor_options(client, joined)
        if client.relays:
            octets += self._supplied_by_relays(client, combination)
        return octets + _fqdn(client)

    def sources(self, client: Client, homes: Sequence[Home]) -> dict[int, str]:
        """Say where in the file each option stands that the client asked for and is told."""
        combination = _combination(client, homes)
        found = {code: where for where, options in self._scopes(combination) for code in options.encoded}
        told = {code: found[code] for code in self._codes_to_tell(combination) if code in found}
        joined = self._join(combination)
        if joined.vendors and _vendor_options(client, joined):
            *_, told[VendorOptions.code] = (where for where, each in self._scopes(combination) if each.vendors)
        return told

    def _join(self, combination: Combination) -> _Joined:
        effective = self._effective(combination)
        vendors: dict[int, dict[int, bytes]] = {}
        always: set[tuple[int, int]] = set()
        is_for_all = False
        for _, options in self._scopes(combination):
            for enterprise, suboptions in options.vendors.items():
                vendors.setdefault(enterprise, {}).update(suboptions)
            always |= options.always_of_vendors
            is_for_all = is_for_all or VendorOptions.code in options.always
        octets = b"".join(effective[code] for code in self._codes_to_tell(combination) if code in effective)
        return _Joined(octets, vendors, frozenset(always), is_for_all)

    def _effective(self, combination: Combination) -> Mapping[int, bytes]:
        return {code: encoded for _, options in self._scopes(combination) for code, encoded in options.encoded.items()}

    def _codes_to_tell(self, combination: Combination) -> Iterable[int]:
        """Return the codes of the options for this answer, each once: those asked for, then those that all are told."""
        *_, requested, is_information = combination
        codes = dict.fromkeys(codes_in(requested))
        for _, options in self._scopes(combination):
            codes.update(dict.fromkeys(sorted(options.always)))
        if not is_information:
            codes.pop(InformationRefreshTime.code, None)  # RFC 9915 21.23
        return codes

    def _scopes(self, combination: Combination) -> Iterator[tuple[str, OptionSet]]:
        """Give the options of each scope with its place in the file, the narrowest last."""
        subnet, pools, reservation, classes, _, _ = combination
        yield "options", self._settings.options
        for each in reversed(self._settings.classes):
            if each.name in classes:
                yield each.where, each.options
        for scope in (subnet, *reversed(pools), reservation):
            if scope is not None:
                yield scope.where, scope.options

    def _supplied_by_relays(self, client: Client, combination: Combination) -> bytes:
        """Give what relays supply and we have no value for; the innermost relay goes first (RFC 6422 section 6)."""
        wanted = self._settings.relay_supplied.intersection(codes_in(client.message.requested))
        found: dict[int, bytes] = {}
        data = client.message.data
        for relay in reversed(client.relays) if wanted else ():
            for code, start, end in relay.options:
                if code == RelaySuppliedOptions.code:
                    for inner, body, body_end in scan_options(data, start, end)[0]:
                        if inner in wanted:
                            found.setdefault(inner, data[body - 4 : body_end])
        if not found:
            return b""
        effective = self._effective(combination)
        return b"".join(option for code, option in found.items() if code not in effective)


def _combination(client: Client, homes: Sequence[Home]) -> Combination:
    subnet, reservation = homes[0].subnet if homes else _first_subnet(client), client.reservation
    pools = [home.pool for home in homes if home.pool is not None and home.pool.options.says_anything]
    return (  # without scopes that have no options: thousands of subnets have none of their own
        subnet if subnet is not None and subnet.options.says_anything else None,
        tuple(dict.fromkeys(pools)),
        reservation if reservation is not None and reservation.options.says_anything else None,
        client.classes,
        client.message.requested,
        client.message.type == MessageType.INFORMATION_REQUEST,
    )


def _first_subnet(client: Client) -> SubnetSettings | None:
    """Give the subnet of a client that gets no lease: the first on its link that is for it."""
    if client.place is None:
        return None
    return next((each for each in client.place.subnets if Home(each, None).admits(client.classes)), None)


@lru_cache(maxsize=COMBINATIONS_MAX)
def codes_in(requested: bytes) -> tuple[int, ...]:
    """Give the codes in the body of an Option Request option; a last odd octet is ignored."""
    return tuple(requested[at] << 8 | requested[at + 1] for at in range(0, len(requested) - 1, 2))


def _vendor_options(client: Client, joined: _Joined) -> bytes:
    """Return an option 17 for each vendor that the client names (RFC 9915 21.17), or for all of them.

    A client that asks for option 17 is told all suboptions of its vendor. One that lists suboptions is told those, as
    cable modems do. Suboptions that are sent always go to each client of the vendor.
    """
    message = client.message
    named = {int.from_bytes(body[:ENTERPRISE_OCTETS], "big"): body for body in _bodies_of_vendors(client)}
    is_asked_for = VendorOptions.code in codes_in(message.requested)
    found = b""
    for enterprise, suboptions in joined.vendors.items():
        if joined.is_for_all_vendors:
            wanted = set(suboptions)
        elif enterprise in named:
            listed = _listed_suboptions(named[enterprise]) if enterprise == CABLE_LABS else None
            wanted = set(suboptions) if listed is None and is_asked_for else set(listed or ())
            wanted |= {code for vendor, code in joined.always_of_vendors if vendor == enterprise}
        else:
            continue
        body = b"".join(encoded for code, encoded in suboptions.items() if code in wanted)
        if body:
            found += write_option(VendorOptions.code, enterprise.to_bytes(ENTERPRISE_OCTETS, "big") + body)
    return found


def _bodies_of_vendors(client: Client) -> Iterator[bytes]:
    """Return the bodies of the options that begin with an enterprise number, those with suboptions last."""
    message = client.message
    for wanted in (VendorClass.code, VendorOptions.code):
        for code, start, end in message.options:
            if code == wanted and end - start >= ENTERPRISE_OCTETS:
                yield message.data[start:end] if code == VendorOptions.code else message.data[start : start + 4]


def _listed_suboptions(body: bytes) -> tuple[int, ...] | None:
    """Return the suboptions that a cable modem lists in its option 17, None if it has no list."""
    listed = [
        body[start:end]
        for code, start, end in scan_options(body, ENTERPRISE_OCTETS, len(body))[0]
        if code == CABLE_LABS_REQUEST
    ]
    return codes_in(listed[0]) if listed else None


def wants(client: Client, code: int) -> bool:
    """Say whether the client asked for the option."""
    return code in codes_in(client.message.requested)


def exclude_option(client: Client, key: int, home: Home) -> bytes:
    """Give the Prefix Exclude option of a delegated prefix, nothing unless there is one and it was asked for."""
    exclude = home.pool.exclude if home.pool else None
    if client.reservation is not None and key in client.reservation.keys:
        exclude = client.reservation.exclude
    if exclude is None or not wants(client, PrefixExclude.code):
        return b""
    return encode_exclude(exclude, key & 0xFF)


def encode_exclude(exclude: tuple[int, int], delegated_length: int) -> bytes:
    """Encode a prefix to exclude, given relative to the delegated one (RFC 6603 4.2).

    The bits between the two lengths follow, from the left, filled up with zeros.
    """
    address, length = exclude
    bits = length - delegated_length
    octets = (bits + 7) // 8
    subnet_id = (address >> (128 - length)) & ((1 << bits) - 1)
    body = bytes((length,)) + (subnet_id << (octets * 8 - bits)).to_bytes(octets, "big")
    return write_option(PrefixExclude.code, body)


def _fqdn(client: Client) -> bytes:
    """Answer the client's FQDN: its reserved name, or its own; no DNS update is done.

    Only if the client sent the option and asks for it (RFC 4704 section 6), in a message that may have it (section 5).
    """
    is_due = client.message.type != MessageType.INFORMATION_REQUEST and wants(client, ClientFqdn.code)
    sent = _sent_fqdn(client) if is_due else None
    if sent is None:
        return b""
    hostname = client.reservation.hostname if client.reservation else None
    flags = FQDN_NO_UPDATE | (FQDN_SERVER_OVERRIDES if sent.flags & FQDN_SERVER else 0)
    return write_options((ClientFqdn(flags, sent.name if hostname is None else hostname),))


def details_of(client: Client) -> bytes:
    """Give what is worth remembering of the client with its leases: its FQDN, as it said it."""
    sent = _sent_fqdn(client)
    return b"" if sent is None else write_options((sent,))


def merge_details(new: bytes, before: bytes) -> bytes:
    """Give what is to be remembered of a client that is known: a new FQDN goes before the old one, the rest stays."""
    if not new or not before:
        return new or before
    kept = (
        before[start - 4 : end]
        for code, start, end in scan_options(before, 0, len(before))[0]
        if code != ClientFqdn.code
    )
    return new + b"".join(kept)


def _sent_fqdn(client: Client) -> ClientFqdn | None:
    """Give the client's FQDN, None if it said none, or none that is a name."""
    body = client.message.body(ClientFqdn.code)
    if body is None:
        return None
    reader = Reader(body)
    try:
        flags, name = reader.uint(1), read_name(reader)
        reader.done()
    except WireError:
        return None
    return ClientFqdn(flags, name)

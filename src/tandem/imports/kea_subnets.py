"""Kea's subnets, shared networks, pools and reservations as ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import AddressValueError, IPv6Address, IPv6Network
from typing import Any, NamedTuple

from tandem.imports.conditions import shown_octets
from tandem.imports.kea_classes import KeaClasses
from tandem.imports.kea_times import beside, lifetimes, odd_times, times_of
from tandem.imports.options import COMMENTS, OptionReader, ScopeOptions, merged
from tandem.imports.report import ImportFailed
from tandem.imports.source import Section

DDNS = "There are no DNS updates yet; the server tells clients so."
CACHE = "Each Renew extends the lease, and is on disk before it is answered."
EXTENDED = "What relays said of a client is not kept with its lease."
CHOICE = "A client is given what its DUID leads to, if that is free."
DDNS_SETTINGS = (
    "ddns-send-updates",
    "ddns-override-no-update",
    "ddns-override-client-update",
    "ddns-replace-client-name",
    "ddns-generated-prefix",
    "ddns-qualifying-suffix",
    "ddns-update-on-renew",
    "ddns-use-conflict-resolution",
    "ddns-conflict-resolution-mode",
    "ddns-ttl",
    "ddns-ttl-min",
    "ddns-ttl-max",
    "ddns-ttl-percent",
    "hostname-char-set",
    "hostname-char-replacement",
)
REASONS: Mapping[str, str] = {
    **dict.fromkeys(DDNS_SETTINGS, DDNS),
}
NEEDLESS: Mapping[str, str] = {
    **COMMENTS,
    "id": "Subnets are known by their prefix.",
    "pool-id": "Pools are known by their place in the file.",
    "cache-threshold": CACHE,
    "cache-max-age": CACHE,
    "store-extended-info": EXTENDED,
    "allocator": CHOICE,
    "pd-allocator": CHOICE,
}
IDENTIFIERS = {
    "flex-id": "Clients are named by DUID or link-layer address; a class can tell them by anything else.",
    "circuit-id": "It is of DHCPv4.",
    "client-id": "It is of DHCPv4.",
}


IS_EARLY = {"duid", "link-layer", "classes"}
"""What counts of a reservation that is looked up before the subnet is known."""


class Scope(NamedTuple):
    """What subnets have from around them."""

    interface: str = ""
    relays: tuple[str, ...] = ()
    interface_id: str = ""
    network: str = ""
    rapid_commit: bool | None = None
    classes: tuple[str, ...] = ()
    times: Mapping[str, float] = {}
    options: ScopeOptions = {}
    suffix: str = ""
    """What completes the names of reservations."""
    uses_global_reservations: bool = False
    uses_own_reservations: bool = True


class KeaSubnets:
    """Reads the subnets of a file; `relationship` is the one that they are all in, None if there is none."""

    def __init__(self, options: OptionReader, classes: KeaClasses, relationship: str | None) -> None:
        self._options = options
        self._classes = classes
        self._relationship = relationship
        self._general: dict[str, Any] = {}
        self._tables: list[dict[str, Any]] = []
        self._takes_global: list[bool] = []
        self.has_link_layers = False
        """Whether a reservation names a link-layer address."""

    def read(self, dhcp6: Section, times: Mapping[str, float]) -> list[dict[str, Any]]:
        """Give the `subnet` tables; `times` are those of the whole file."""
        self._general = lifetimes(times)
        around = self._with_reservation_mode(Scope(times=times, suffix=_suffix(dhcp6, "")), dhcp6)
        for section in dhcp6.sections("shared-networks"):
            name = section.take("name", str) or section.where
            network = self._scope(section, around)._replace(network=name)
            for subnet in section.sections("subnet6"):
                self._add(subnet, network)
            section.rest(REASONS, NEEDLESS)
        for subnet in dhcp6.sections("subnet6"):
            self._add(subnet, around)
        self._global_reservations(dhcp6, around)
        return self._tables

    def _scope(self, section: Section, around: Scope) -> Scope:
        """Give what a network or a subnet says for all inside of it, on top of what stands around it."""
        relays = tuple(_relays(section))
        classes = self._classes.both(list(around.classes), self._classes.admitted(section))
        rapid_commit = section.take("rapid-commit", bool)
        return self._with_reservation_mode(
            around._replace(
                interface=section.take("interface", str) or around.interface,
                relays=relays or around.relays,
                interface_id=section.take("interface-id", str) or around.interface_id,
                rapid_commit=around.rapid_commit if rapid_commit is None else rapid_commit,
                classes=tuple(classes),
                times={**around.times, **times_of(section)},
                options=merged(around.options, self._options_of(section), self._options.defined),
                suffix=_suffix(section, around.suffix),
            ),
            section,
        )

    def _options_of(self, section: Section) -> ScopeOptions:
        """Give the options of a scope, with those of the classes that it requires."""
        required = self._classes.required(section)
        return merged(required, self._options.read(section.sections("option-data")), self._options.defined)

    def _with_reservation_mode(self, scope: Scope, section: Section) -> Scope:
        mode = section.take("reservation-mode", str)
        uses_global, uses_own = section.take("reservations-global", bool), section.take("reservations-in-subnet", bool)
        if section.take("reservations-out-of-pool", bool):
            section.changed("reservations-out-of-pool", "Nobody else is given what is reserved, in a pool or not.")
        if mode is not None:
            uses_global, uses_own = mode == "global", mode not in ("global", "disabled")
        return scope._replace(
            uses_global_reservations=scope.uses_global_reservations if uses_global is None else uses_global,
            uses_own_reservations=scope.uses_own_reservations if uses_own is None else uses_own,
        )

    def _add(self, section: Section, around: Scope) -> None:
        prefix = section.take("subnet", str) or ""
        try:
            network = IPv6Network(prefix, strict=False)
        except (AddressValueError, ValueError):
            raise ImportFailed(f"{section.path('subnet')} is not a prefix: {prefix!r}.") from None
        scope = self._scope(section, around)
        link = scope.interface
        if link and not scope.network and any(each.get("interface") == link for each in self._tables):
            section.changed(
                "interface", "Subnets on one interface are one link: a client is given what the first for it has."
            )
        for name, how in odd_times(scope.times):
            section.report.changed(section.path(name), how)
        general = self._general
        table = {
            "prefix": str(network),
            "interface": scope.interface,
            "relay": [each for each in scope.relays if IPv6Address(each) not in network],
            "interface-id": shown_octets(scope.interface_id.encode()) if scope.interface_id else "",
            "shared-network": scope.network,
            "failover": self._relationship or "",
            "rapid-commit": scope.rapid_commit or "",
            "classes": list(scope.classes),
            "lifetimes": beside(lifetimes(scope.times), general),
            **scope.options,
            "pools": [self._pool(each) for each in section.sections("pools")],
            "pd-pools": [self._pd_pool(each) for each in section.sections("pd-pools")],
            "reservation": self._reservations(section, network, scope),
        }
        section.rest(REASONS, NEEDLESS)
        self._tables.append({name: each for name, each in table.items() if each not in ("", [], {})})
        self._takes_global.append(scope.uses_global_reservations)

    def _reservations(self, section: Section, network: IPv6Network, scope: Scope) -> list[dict[str, Any]]:
        found = [self._reservation(each, network, scope) for each in section.sections("reservations")]
        if found and not scope.uses_own_reservations:
            section.report.lost(section.path("reservations"), "Kea does not look at them either.")
            return []
        return [each for each in found if each is not None]

    def _pool(self, section: Section) -> Any:
        text = section.take("pool", str) or ""
        first, dash, last = (each.strip() for each in text.partition("-"))
        more = self._of_pool(section)
        section.rest(REASONS, NEEDLESS)
        try:
            range_ = f"{IPv6Address(first)}-{IPv6Address(last)}" if dash else str(IPv6Network(first, strict=False))
        except ValueError:
            raise ImportFailed(f"{section.path('pool')} is not a range of addresses: {text!r}.") from None
        return {"range": range_, **more} if more else range_

    def _of_pool(self, section: Section) -> dict[str, Any]:
        """Give whom a pool is for, and its options."""
        classes, options = self._classes.admitted(section), self._options_of(section)
        return {**({"classes": classes} if classes else {}), **options}

    def _pd_pool(self, section: Section) -> dict[str, Any]:
        prefix, length = section.take("prefix", str) or "", section.take("prefix-len", int) or 0
        delegated = section.take("delegated-len", int) or length
        excluded, excluded_length = section.take("excluded-prefix", str), section.take("excluded-prefix-len", int)
        more = self._of_pool(section)
        section.rest(REASONS, NEEDLESS)
        table: dict[str, Any] = {"prefix": _prefix(section, f"{prefix}/{length}"), "delegated-length": delegated}
        if excluded and excluded_length:
            table["exclude"] = _relative(section, f"{excluded}/{excluded_length}", delegated)
        return {**table, **more}

    def _reservation(self, section: Section, network: IPv6Network | None, scope: Scope) -> dict[str, Any] | None:
        """Give a reservation, None if nobody could be told that it is for."""
        table = self._client_named(section)
        addresses = []
        for address in section.texts("ip-addresses"):
            if network is not None and _address(section, address) not in network:
                section.lost("ip-addresses", f"{address} is not in {network}.")
            else:
                addresses.append(str(_address(section, address)))
        prefixes = section.texts("prefixes")
        hostname = section.take("hostname", str)
        classes = self._classes.reserved(section, is_named=table is not None)
        options = self._options.read(section.sections("option-data"))
        excluded = [each for each in section.texts("excluded-prefixes") if each]
        section.rest({**REASONS, **IDENTIFIERS}, NEEDLESS)
        if table is None:
            return None
        found = {
            "address": addresses,
            "prefix": [_prefix(section, each) for each in prefixes],
            "hostname": _qualified(hostname, scope.suffix) if hostname else "",
            "classes": classes,
            **options,
        }
        if excluded and prefixes:
            length = IPv6Network(_prefix(section, prefixes[0])).prefixlen
            found["exclude"] = _relative(section, excluded[0], length)
        return {**table, **{key: value for key, value in found.items() if value}}

    def _client_named(self, section: Section) -> dict[str, Any] | None:
        duid, hardware = section.take("duid", str), section.take("hw-address", str)
        if duid:
            return {"duid": duid}
        if hardware:
            self.has_link_layers = True
            return {"link-layer": hardware}
        for name, why in IDENTIFIERS.items():
            if name in section:
                section.lost(name, why)
        return None

    def _global_reservations(self, dhcp6: Section, around: Scope) -> None:
        """Put reservations of the whole file onto each link that looks at them."""
        are_early = dhcp6.take("early-global-reservations-lookup", bool) or False
        for section in dhcp6.sections("reservations"):
            table = self._reservation(section, None, around)
            if table is None:
                continue
            if are_early and "classes" in table:
                self._classes.put_into(table["classes"], table)
                section.changed("client-classes", "They are conditions of the classes, which hold on each link.")
            places = list(self._places_for(table, section))
            if places:
                section.report.changed(section.where, f"It counts in {', '.join(each['prefix'] for each in places)}.")
            elif section.where not in section.report.paths() and (not are_early or table.keys() - IS_EARLY):
                section.report.lost(section.where, "No subnet looks at the reservations of the whole file.")
            for place in places:
                network = IPv6Network(place["prefix"])
                inside = [each for each in table.get("address", ()) if IPv6Address(each) in network]
                of_place = {key: value for key, value in table.items() if key != "address"}
                place.setdefault("reservation", []).append({**of_place, **({"address": inside} if inside else {})})

    def _places_for(self, reservation: dict[str, Any], section: Section) -> Iterator[dict[str, Any]]:
        """Give a subnet of each link: the one that has an address of the reservation, else the first."""
        by_link: dict[str, list[dict[str, Any]]] = {}
        for table, takes in zip(self._tables, self._takes_global, strict=True):
            if takes:
                link = table.get("shared-network") or table.get("interface") or table["prefix"]
                by_link.setdefault(link, []).append(table)
        addresses = {IPv6Address(each) for each in reservation.get("address", ())}
        left = set(addresses)
        client = {key: reservation[key] for key in ("duid", "link-layer") if key in reservation}
        for tables in by_link.values():
            if any(client.items() <= each.items() for table in tables for each in table.get("reservation", ())):
                section.report.changed(section.where, "A reservation of a subnet for the same client goes before it.")
                continue
            fits = [table for table in tables if any(each in IPv6Network(table["prefix"]) for each in addresses)]
            place = (fits or tables)[0]
            left -= {each for each in addresses if each in IPv6Network(place["prefix"])}
            if fits or reservation.keys() - {"address"} - client.keys():
                yield place
        for address in sorted(left):
            section.lost("ip-addresses", f"{address} is in no subnet that looks at the reservations of the whole file.")


def _suffix(section: Section, around: str) -> str:
    """Give what completes names of a scope."""
    suffix = section.take("ddns-qualifying-suffix", str)
    if suffix is None:
        return around
    section.changed("ddns-qualifying-suffix", f"It completes the names of reservations, and no others. {DDNS}")
    return suffix


def _qualified(hostname: str, suffix: str) -> str:
    """Give a reserved name as Kea tells it: complete, and with the suffix unless it ends with it."""
    name, end = hostname.removesuffix("."), suffix.strip(".")
    if end and name == hostname and not name.lower().endswith(end.lower()):
        name = f"{name}.{end}"
    return f"{name}."


def _relays(section: Section) -> Iterator[str]:
    relay = section.section("relay")
    if relay is None:
        return
    single = relay.take("ip-address", str)
    for text in (*([single] if single else []), *relay.texts("ip-addresses")):
        yield str(_address(relay, text))
    relay.rest({})


def _address(section: Section, text: str) -> IPv6Address:
    try:
        return IPv6Address(text)
    except AddressValueError:
        raise ImportFailed(f"{section.where} has {text!r}, which is not an IPv6 address.") from None


def _prefix(section: Section, text: str) -> str:
    try:
        return str(IPv6Network(text, strict=False))
    except ValueError:
        raise ImportFailed(f"{section.where} has {text!r}, which is not a prefix.") from None


def _relative(section: Section, text: str, delegated: int) -> str:
    """Give an excluded prefix relative to the delegated one."""
    excluded = IPv6Network(_prefix(section, text))
    inside = int(excluded.network_address) & ((1 << (128 - delegated)) - 1)
    return f"{IPv6Address(inside)}/{excluded.prefixlen}"

"""A configuration of ISC dhcpd's, for DHCPv6, as one of ours."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import AddressValueError, IPv6Address, IPv6Network
from pathlib import Path
from typing import Any, NamedTuple

from tandem.imports.dhcpd_classes import PERMITS, DhcpdClasses
from tandem.imports.dhcpd_options import DhcpdOptions, is_definition
from tandem.imports.dhcpd_parameters import BY_ITSELF, NEEDLESS, REASONS
from tandem.imports.dhcpd_prefixes import links, read_network, read_prefixes, without_links
from tandem.imports.dhcpd_text import Statement, octets, padded, read_dhcpd
from tandem.imports.kea_subnets import DDNS
from tandem.imports.kea_times import FOREVER, beside, lifetimes
from tandem.imports.options import OptionReader, ScopeOptions, merged
from tandem.imports.report import ImportFailed, Report
from tandem.imports.tandem_file import reserved_for_several

DEFAULT_VALID_S = 43200
PREFERRED_EIGHTHS = 5
"""dhcpd's preferred lifetime, unless it is said, in eighths of the valid one."""
TIMES = {"default-lease-time": "valid-lifetime", "preferred-lifetime": "preferred-lifetime"}
OPTION_TIMES = {"dhcp-renewal-time": "renew-timer", "dhcp-rebinding-time": "rebind-timer"}
TEE_TIMES = "dhcpv6-set-tee-times"
NO_TIMERS = (
    "Where the file does not say T1 and T2, they are half and eight tenths of the preferred lifetime, and not 0."
)


class Scope(NamedTuple):
    """What a block has from those around it."""

    interface: str = ""
    network: str = ""
    rapid_commit: bool = False
    times: Mapping[str, float] = {}
    options: ScopeOptions = {}
    classes: tuple[str, ...] = ()


class Host(NamedTuple):
    """A host declaration, with what stands around it."""

    statement: Statement
    options: ScopeOptions


def import_dhcpd(path: Path, name: str | None, interfaces: Sequence[str], report: Report) -> dict[str, Any]:
    """Give the file of ours that says what a file of dhcpd's says. ImportFailed if it cannot be read."""
    return _Import(report, interfaces).file(read_dhcpd(path), name or "a")


class _Import:
    """Goes through a file once, from the outside in."""

    def __init__(self, report: Report, interfaces: Sequence[str]) -> None:
        self._report = report
        self._interfaces = list(interfaces)
        self._options = DhcpdOptions(OptionReader(), report)
        self._classes = DhcpdClasses(self._options, report)
        self._top: dict[str, Any] = {}
        self._server: dict[str, Any] = {}
        self._subnets: list[dict[str, Any]] = []
        self._hosts: list[Host] = []
        self._general: dict[str, Any] = {}
        self._links: list[IPv6Network] = []

    def file(self, statements: Sequence[Statement], name: str) -> dict[str, Any]:
        self._options.define(statements)
        self._links = list(links(statements))
        around = self._scope(statements, Scope(), is_general=True)
        self._general = _lifetimes(around.times)
        tells_timers = any(each.name == TEE_TIMES and each.texts[:1] in (("true",), ("on",)) for each in statements)
        if not tells_timers and not set(OPTION_TIMES.values()) <= around.times.keys():
            self._report.changed("dhcp-renewal-time, dhcp-rebinding-time", NO_TIMERS)
        self._declarations(statements, around._replace(options={}, rapid_commit=False))
        for host in self._hosts:
            self._place(host)
        shared = reserved_for_several(self._subnets)
        if shared:
            self._top["ip-reservations-unique"] = False
        for each in (each for host in self._hosts for each in host.statement.block or ()):
            if each.name == "fixed-address6" and any(IPv6Network(one) in shared for one in _listed(each)):
                self._report.changed(each.where, "It is for several clients in turn: who holds it keeps it.")
        preference = self._options.reader.preference
        if preference is not None:
            self._server["preference"] = preference
        used = [each["interface"] for each in self._subnets if "interface" in each]
        interfaces = list(dict.fromkeys([*self._interfaces, *used]))
        if around.rapid_commit:
            self._top["rapid-commit"] = True
        file = {
            **self._top,
            "server": {name: {"interfaces": interfaces, **self._server}},
            "lifetimes": self._general,
            **around.options,
            "option-definition": self._options.reader.defined,
            "class": self._classes.tables(),
            "subnet": self._subnets,
        }
        return {key: value for key, value in file.items() if value not in ({}, [])}

    # -- what a block says of itself

    def _scope(self, statements: Iterable[Statement], around: Scope, is_general: bool = False) -> Scope:
        """Give what a block says for all inside of it, on top of what stands around it."""
        times = dict(around.times)
        options: list[Statement] = []
        changes: dict[str, Any] = {}
        for each in statements:
            if each.block is not None or is_definition(each):
                continue
            if each.name == "option":
                option = each.texts[0] if each.texts else ""
                if option in OPTION_TIMES:
                    times[OPTION_TIMES[option]] = self._seconds(each, 1)
                elif option == "dhcp6.rapid-commit":
                    changes["rapid_commit"] = True
                    self._report.carried(each.where)
                elif option == "dhcp6.server-id":
                    self._server["duid"] = padded(each.texts[-1])
                    self._report.carried(each.where)
                else:
                    options.append(each)
            elif each.name in TIMES:
                times[TIMES[each.name]] = self._seconds(each, 0)
            elif each.name == "interface" and each.texts:
                changes["interface"] = each.texts[0]
                self._report.carried(each.where)
            else:
                self._parameter(each, changes)
        told = self._merged(around.options, self._options.read(options, is_general))
        return around._replace(times=times, options=told, **changes)

    def _merged(self, outer: ScopeOptions, inner: ScopeOptions) -> ScopeOptions:
        return merged(outer, inner, self._options.reader.defined)

    def _parameter(self, statement: Statement, changes: dict[str, Any]) -> None:
        """Take a statement without a block that is neither an option nor a time."""
        name, texts = statement.name, statement.texts
        if name in INSIDE_ONLY or name == "subclass":
            return  # it is taken where it belongs
        if name in PERMITS:
            if "client" not in " ".join(texts):
                self._report.not_needed(statement.where, BY_ITSELF)
            elif (classes := self._classes.permitted((statement,))) is not None:
                changes["classes"] = tuple(classes)
        elif name == "abandon-lease-time":
            self._top["decline-time"] = self._seconds(statement, 0)
        elif name == "server-duid":
            self._server_duid(statement)
        elif name in NEEDLESS:
            self._report.not_needed(statement.where, NEEDLESS[name])
        else:
            why = DDNS if name.startswith(("ddns-", "do-forward", "fqdn-")) else "Nothing like it is known here."
            self._report.lost(statement.where, REASONS.get(name, why))

    def _seconds(self, statement: Statement, at: int) -> float:
        text = statement.texts[at] if at < len(statement.texts) else ""
        if not text.lstrip("-").isdecimal():
            raise ImportFailed(f"{statement.where}: {text!r} is not a number of seconds.")
        self._report.carried(statement.where)
        return FOREVER if int(text) < 0 else min(int(text), FOREVER)

    def _server_duid(self, statement: Statement) -> None:
        kind, texts = (statement.texts or ("",))[0].upper(), statement.texts
        try:
            if kind == "EN" and len(texts) == 3:
                body = texts[2].encode("latin-1") if statement.words[3].is_text else octets(texts[2])
                duid = (2).to_bytes(2, "big") + int(texts[1]).to_bytes(4, "big") + body
            elif kind == "LLT" and len(texts) == 4:
                duid = bytes((0, 1, 0, 1)) + int(texts[2]).to_bytes(4, "big") + octets(texts[3])
            elif kind == "LL" and len(texts) == 3:
                duid = bytes((0, 3, 0, 1)) + octets(texts[2])
            else:
                raise ValueError
        except (ValueError, OverflowError):
            why = "dhcpd makes a part of it up. Copy the DUID from its leases file into [server.NAME]."
            self._report.lost(statement.where, why)
            return
        self._server["duid"] = duid.hex(":")
        self._report.carried(statement.where)

    # -- what is inside of a block

    def _declarations(self, statements: Iterable[Statement], around: Scope) -> None:
        for each in statements:
            block = each.block
            if each.name == "subclass":
                self._classes.add(each)
            elif block is None:
                continue
            elif each.name == "shared-network":
                inside = self._scope(block, around._replace(network=each.texts[0] if each.texts else each.where))
                self._report.carried(each.where)
                self._declarations(block, inside)
            elif each.name == "group":
                self._declarations(block, self._scope(block, around))
            elif each.name == "subnet6":
                self._subnet(each, around)
            elif each.name == "host":
                self._hosts.append(Host(each, around.options))
            elif each.name == "class":
                self._classes.define(each)
            elif each.name != "pool6":
                why = DDNS if each.name in ("zone", "key") else REASONS.get(each.name, "Nothing like it is known here.")
                self._report.lost(each.where, why)

    def _subnet(self, statement: Statement, around: Scope) -> None:
        block = statement.block or ()
        text = statement.texts[0] if statement.texts else ""
        network = read_network(statement, text)
        scope = self._scope(block, around)
        self._report.carried(statement.where)
        pools, pd_pools = self._pools(block, list(scope.classes), {})
        for each in block:
            if each.name == "pool6" and each.block is not None:
                inside = self._scope([one for one in each.block if one.name not in PERMITS], Scope())
                permitted = self._classes.permitted(each.block)
                classes = (
                    self._classes.both(list(scope.classes), permitted) if permitted is not None else list(scope.classes)
                )
                more = self._pools(each.block, classes, inside.options)
                self._report.carried(each.where)
                pools += more[0]
                pd_pools += more[1]
        general = self._general
        table = {
            "prefix": str(network),
            "interface": scope.interface,
            "shared-network": scope.network,
            "rapid-commit": scope.rapid_commit or "",
            "lifetimes": beside(_lifetimes(scope.times), general),
            **scope.options,
            "pools": pools,
            "pd-pools": pd_pools,
        }
        self._subnets.append({name: each for name, each in table.items() if each not in ("", [], {})})
        self._declarations([each for each in block if each.name != "pool6"], scope._replace(options={}))

    def _pools(
        self, statements: Iterable[Statement], classes: list[str], options: ScopeOptions
    ) -> tuple[list[Any], list[dict[str, Any]]]:
        more = {**({"classes": classes} if classes else {}), **options}
        pools: list[Any] = []
        pd_pools: list[dict[str, Any]] = []
        for each in statements:
            if each.name == "range6" and "temporary" in each.texts:
                self._report.lost(each.where, "There are no temporary addresses; clients make those by themselves.")
            elif each.name == "range6":
                range_ = "-".join(each.texts)
                pools.append({"range": range_, **more} if more else range_)
                self._report.carried(each.where)
            elif each.name == "prefix6":
                pd_pools += [{**prefix, **more} for prefix in self._pd_pools(each)]
                self._report.carried(each.where)
        return pools, pd_pools

    def _pd_pools(self, statement: Statement) -> list[dict[str, Any]]:
        networks, bits = read_prefixes(statement)
        pools = without_links(networks, bits, self._links)
        if pools != networks:
            self._report.changed(statement.where, "Prefixes that lie on a link, or hold one, are delegated to nobody.")
        elif len(pools) > 1:
            self._report.changed(statement.where, f"It takes {len(pools)} pools to say the same.")
        return [{"prefix": str(pool), "delegated-length": bits} for pool in pools]

    # -- hosts

    def _place(self, host: Host) -> None:
        """Put a reservation where its addresses are; one without, on each link."""
        block = host.statement.block or ()
        table = self._client(block)
        if table is None:
            why = "A client is named by its DUID or its link-layer address; a class can tell it by anything else."
            self._report.lost(host.statement.where, why)
            return
        addresses = [each for statement in block if statement.name == "fixed-address6" for each in _listed(statement)]
        prefixes = [str(each) for statement in block for each in self._fixed_prefixes(statement)]
        names = [each.texts[-1] for each in block if each.name == "ddns-hostname" and each.texts]
        rest = [each for each in block if each.name not in INSIDE_ONLY]
        options = self._merged(host.options, self._scope(rest, Scope()).options)
        table |= {"prefix": prefixes} if prefixes else {}
        table |= {"hostname": names[0]} if names else {}
        table |= options
        places = self._places_of(addresses)
        for each in block:
            if each.name in INSIDE_ONLY and not self._report.is_lost(each.where):
                self._report.carried(each.where)
        if not places:
            self._report.lost(host.statement.where, "No subnet of the file has its address.")
            return
        self._report.carried(host.statement.where)
        for place in places:
            if self._has_reservation(place, table):
                self._report.lost(host.statement.where, f"On {place['prefix']}, a host before it is the same client.")
                continue
            inside = [each for each in addresses if IPv6Address(each) in IPv6Network(place["prefix"])]
            place.setdefault("reservation", []).append({**table, **({"address": inside} if inside else {})})

    def _fixed_prefixes(self, statement: Statement) -> Iterator[IPv6Network]:
        """Give the prefix that a statement reserves, if no link lies in it: nobody there could be given an address."""
        if statement.name == "fixed-prefix6":
            prefix = read_network(statement, "".join(statement.texts))
            if any(prefix.overlaps(link) for link in self._links):
                self._report.lost(statement.where, "A link lies in it, or it lies on one.")
            else:
                yield prefix

    def _has_reservation(self, place: Mapping[str, Any], client: Mapping[str, Any]) -> bool:
        """True if the client has a reservation on the link of a subnet."""
        link = place.get("shared-network") or place["prefix"]
        on_link = (each for each in self._subnets if (each.get("shared-network") or each["prefix"]) == link)
        names = {key: client[key] for key in ("duid", "link-layer") if key in client}
        return any(names.items() <= each.items() for subnet in on_link for each in subnet.get("reservation", ()))

    def _client(self, block: Iterable[Statement]) -> dict[str, Any] | None:
        found: dict[str, Any] | None = None
        for each in block:
            if (
                each.name == "host-identifier"
                and each.texts[:2] == ("option", "dhcp6.client-id")
                and len(each.texts) > 2
            ):
                return {"duid": padded(each.texts[2])}
            if each.name == "hardware" and len(each.texts) == 2:
                found = {"link-layer": padded(each.texts[1])}
                self._top["link-layer-from-duid"] = True
        return found

    def _places_of(self, addresses: Sequence[str]) -> list[dict[str, Any]]:
        if addresses:
            wanted = [IPv6Address(each) for each in addresses]
            return [each for each in self._subnets if any(one in IPv6Network(each["prefix"]) for one in wanted)]
        by_link = {each.get("shared-network") or each["prefix"]: each for each in reversed(self._subnets)}
        return list(by_link.values())


INSIDE_ONLY = (
    "range6",
    "prefix6",
    "match",
    "spawn",
    "lease",
    "host-identifier",
    "hardware",
    "fixed-address6",
    "fixed-prefix6",
    "ddns-hostname",
)
"""Statements that are taken by the declaration that they stand in."""


def _lifetimes(times: Mapping[str, float]) -> dict[str, Any]:
    valid_s = times.get("valid-lifetime", DEFAULT_VALID_S)
    usual_s = valid_s if valid_s == FOREVER else valid_s * PREFERRED_EIGHTHS // 8
    return lifetimes(
        {**times, "valid-lifetime": valid_s, "preferred-lifetime": times.get("preferred-lifetime", usual_s)}
    )


def _listed(statement: Statement) -> Iterator[str]:
    for text in statement.texts:
        if text != ",":
            try:
                yield str(IPv6Address(text))
            except AddressValueError:
                raise ImportFailed(f"{statement.where}: {text!r} is not an IPv6 address.") from None

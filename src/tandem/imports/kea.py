"""A configuration of Kea's DHCPv6 server as one of ours: all but its subnets, which are in `kea_subnets`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tandem.config.options import NOT_TO_BE_SUPPLIED
from tandem.imports.kea_classes import KeaClasses
from tandem.imports.kea_subnets import DDNS, DDNS_SETTINGS, KeaSubnets
from tandem.imports.kea_subnets import NEEDLESS as SUBNET_NEEDLESS
from tandem.imports.kea_text import read_kea
from tandem.imports.kea_times import lifetimes, times_of
from tandem.imports.options import COMMENTS, OptionReader, spaces_in
from tandem.imports.report import ImportFailed, Report
from tandem.imports.source import Section
from tandem.imports.tandem_file import reserved_for_several

UINT16_MAX = 0xFFFF
ERP_DOMAIN = 65
"""What relays may supply without Kea being told so."""
RELATIONSHIP = "ha"
LOG_LEVELS = {"DEBUG": "debug", "INFO": "info", "WARN": "warning", "ERROR": "error", "FATAL": "error"}
HA_ROLES = {"primary": "primary", "secondary": "secondary", "standby": "secondary"}
STORE = "Leases are kept by the server itself, each on disk before it is promised."
METRICS = "Metrics are at /metrics of `tandem web`."
FILE_ONLY = "Configuration and reservations are read from this file only."
BY_ITSELF = "The server does this by itself."
REASONS: Mapping[str, str] = {
    "config-control": FILE_ONLY,
    "dhcp-ddns": DDNS,
    "dhcp4o6-port": "There is no DHCPv4 over DHCPv6 here.",
    "hosts-databases": FILE_ONLY,
    "hosts-database": FILE_ONLY,
    "data-directory": "Say state-dir in [server.NAME] if it should not be /var/lib/tandem.",
    **dict.fromkeys(DDNS_SETTINGS, DDNS),
}
NEEDLESS: Mapping[str, str] = {
    **SUBNET_NEEDLESS,
    "control-socket": "The server has a control socket of its own: see `tandem status`, and `tandem web` for HTTP.",
    "control-sockets": "The server has a control socket of its own: see `tandem status`, and `tandem web` for HTTP.",
    "server-tag": FILE_ONLY,
    "dhcp-queue-control": BY_ITSELF,
    "expired-leases-processing": "Leases end by themselves, and are remembered as long as there is room.",
    "multi-threading": BY_ITSELF,
    "parked-packet-limit": "No answer waits for the partner.",
    "sanity-checks": BY_ITSELF,
    "compatibility": BY_ITSELF,
    "statistic-default-sample-age": METRICS,
    "statistic-default-sample-count": METRICS,
    "host-reservation-identifiers": "Reservations are looked up by DUID, then by link-layer address.",
    "reservations-lookup-first": "What is reserved is given to nobody else.",
}
HOOKS: Mapping[str, str] = {
    "lease_cmds": "`tandem lease`, and the HTTP API of `tandem web`, do what it does.",
    "stat_cmds": "`tandem status` and the metrics of `tandem web` say what it says.",
    "host_cmds": "Reservations are changed in the file, and read by SIGHUP.",
    "legal_log": "The log has a line for each lease that is promised.",
    "flex_option": "Options of a class do a part of what it does.",
    "flex_id": "Clients are named by DUID or link-layer address; classes tell them apart by anything else.",
    "mysql": "Leases and reservations are kept by the server itself.",
    "pgsql": "Leases and reservations are kept by the server itself.",
}


def import_kea(path: Path, name: str | None, interfaces: Sequence[str], report: Report) -> dict[str, Any]:
    """Give the file of ours that says what a file of Kea's says; `name` is the server's. ImportFailed if unreadable."""
    settings = read_kea(path)
    whole = Section(settings, "", report)
    dhcp6 = whole.section("Dhcp6")
    assert dhcp6 is not None  # read_kea has looked
    for other in ("Dhcp4", "DhcpDdns", "Control-agent"):
        if other in whole:
            whole.lost(other, "It is of another server of Kea's.")
    whole.rest({})
    return _file(dhcp6, name, interfaces, OptionReader(spaces_in(settings["Dhcp6"])))


def _file(dhcp6: Section, name: str | None, interfaces: Sequence[str], options: OptionReader) -> dict[str, Any]:
    options.define(dhcp6.sections("option-def"))
    pair = _high_availability(dhcp6, name)
    own = pair["own"] if pair else name or "a"
    classes = KeaClasses(options, frozenset(pair["servers"]) if pair else frozenset())
    classes.read(dhcp6.sections("client-classes"))
    times = times_of(dhcp6)
    subnets = KeaSubnets(options, classes, RELATIONSHIP if pair else None)
    global_options = options.read(dhcp6.sections("option-data"), is_general=True)
    subnet_tables = subnets.read(dhcp6, times)
    server: dict[str, Any] = {
        "interfaces": _interfaces(dhcp6, subnet_tables, [*interfaces, *classes.interfaces]),
        **_duid(dhcp6),
    }
    if options.preference is not None:
        server["preference"] = options.preference
    file = _top(dhcp6, options, subnets.has_link_layers)
    file["server"] = {each: dict(server) for each in (pair["servers"] if pair else (own,))}
    if dhcp6.take("ip-reservations-unique", bool) is False or reserved_for_several(subnet_tables):
        file["ip-reservations-unique"] = False
    if pair:
        for each, address in pair["servers"].items():
            file["server"][each]["address"] = address
            if each != own:
                file["server"][each].pop("duid", None)
        file["failover"] = {RELATIONSHIP: pair["failover"]}
    level = _log_level(dhcp6)
    if level:
        file["log"] = {"level": level}
    file["lifetimes"] = lifetimes(times)
    file |= global_options
    file["option-definition"] = options.defined
    classes.complete_times([{**lifetimes(times), **each.get("lifetimes", {})} for each in subnet_tables])
    file["class"] = classes.tables()
    file["subnet"] = subnet_tables
    _lease_database(dhcp6)
    dhcp6.rest(REASONS, NEEDLESS)
    return {key: value for key, value in file.items() if value not in ({}, [])}


def _top(dhcp6: Section, options: OptionReader, has_link_layers: bool) -> dict[str, Any]:
    """Give the keys that stand at the top of our file."""
    file: dict[str, Any] = {}
    decline_time_s = dhcp6.take("decline-probation-period", int)
    if decline_time_s is not None:
        file["decline-time"] = decline_time_s
    supplied = _relay_supplied(dhcp6, options)
    if supplied:
        file["relay-supplied-options"] = list(dict.fromkeys([ERP_DOMAIN, *supplied]))
    if _link_layer_from_duid(dhcp6, has_link_layers):
        file["link-layer-from-duid"] = True
    return file


def _interfaces(dhcp6: Section, subnets: list[dict[str, Any]], said: Sequence[str]) -> list[str]:
    """Name the interfaces to serve: those that are listed, and those of subnets."""
    config = dhcp6.section("interfaces-config")
    listed = config.texts("interfaces") if config is not None else []
    names = [each.partition("/")[0] for each in listed if each != "*"]
    of_subnets = [each["interface"] for each in subnets if "interface" in each]
    if config is not None:
        if "*" in listed and of_subnets:
            config.changed("interfaces", "Only the interfaces of subnets are served; add others to [server.NAME].")
        elif "*" in listed and not said:
            config.lost("interfaces", "Name the interfaces to serve, with --interface or in [server.NAME].")
        elif set(of_subnets) - set(names):
            config.changed("interfaces", "The interfaces of subnets are served, too.")
        as_soon = "An interface that is not there is served as soon as it is."
        retries = (
            "re-detect",
            *(f"service-sockets-{each}" for each in ("require-all", "max-retries", "retry-wait-time")),
        )
        config.rest({}, {**COMMENTS, **dict.fromkeys(retries, as_soon)})
    return list(dict.fromkeys([*said, *names, *of_subnets]))


def _duid(dhcp6: Section) -> dict[str, str]:
    """Give the server's DUID, if its whole content is configured."""
    section = dhcp6.section("server-id")
    if section is None:
        return {}
    kind, identifier = section.take("type", str) or "LLT", section.take("identifier", str) or ""
    hardware, time_s = section.take("htype", int) or 1, section.take("time", int) or 0
    enterprise = section.take("enterprise-id", int) or 0
    if hardware > UINT16_MAX:
        raise ImportFailed(f"{section.path('htype')} is not a kind of hardware.")
    heads = {
        "LLT": (1).to_bytes(2, "big") + hardware.to_bytes(2, "big") + time_s.to_bytes(4, "big"),
        "EN": (2).to_bytes(2, "big") + enterprise.to_bytes(4, "big"),
        "LL": (3).to_bytes(2, "big") + hardware.to_bytes(2, "big"),
        "UUID": (4).to_bytes(2, "big"),
    }
    try:
        body = bytes.fromhex(identifier.replace(":", ""))
    except ValueError:
        raise ImportFailed(f"{section.path('identifier')} is not in hexadecimal.") from None
    section.rest({}, {**COMMENTS, "persist": BY_ITSELF})
    if not body or kind not in heads or (kind == "LLT" and not time_s) or (kind == "EN" and not enterprise):
        section.lost("type", "Kea makes a part of it up. Copy the DUID from its kea-dhcp6-serverid into [server.NAME].")
        return {}
    return {"duid": (heads[kind] + body).hex(":")}


def _relay_supplied(dhcp6: Section, options: OptionReader) -> list[int]:
    found = []
    for text in dhcp6.texts("relay-supplied-options"):
        code = int(text) if text.isdecimal() else options.code_of(text)
        if code is None or not 0 < code <= 0xFFFF or code in NOT_TO_BE_SUPPLIED:
            dhcp6.changed("relay-supplied-options", f"Option {text} is not one for relays to supply; it is left out.")
        else:
            found.append(code)
    return found


def _link_layer_from_duid(dhcp6: Section, is_needed: bool) -> bool:
    sources = dhcp6.texts("mac-sources") or ["any"]
    known = {"any", "duid", "client-link-addr-option", "rfc6939"}
    others = [each for each in sources if each not in known]
    if others:
        dhcp6.changed("mac-sources", f"A link-layer address is not taken from {', '.join(others)}.")
    return is_needed and bool({"any", "duid"} & set(sources))


def _log_level(dhcp6: Section) -> str | None:
    level = None
    for logger in dhcp6.sections("loggers"):
        severity, of = logger.take("severity", str), logger.take("name", str) or ""
        if severity is not None and of == "kea-dhcp6":
            level = LOG_LEVELS.get(severity.upper())
        elif severity is not None:
            logger.report.not_needed(logger.path("severity"), "There is one level for all that is logged.")
        where = "The log goes to stderr, and so to the journal."
        debug = "There is one level, debug."
        logger.rest({}, {**COMMENTS, "output_options": where, "output-options": where, "debuglevel": debug})
    return None if level == "info" else level


def _lease_database(dhcp6: Section) -> None:
    section = dhcp6.section("lease-database")
    if section is None:
        return
    kind = section.take("type", str)
    if kind == "memfile":
        section.changed("type", f"{STORE} Bring over what Kea has with --leases.")
    else:
        section.lost("type", f"{STORE} Dump what Kea has with `kea-admin lease-dump`, and bring it over with --leases.")
    section.rest({}, dict.fromkeys(section.names(), STORE))


def _high_availability(dhcp6: Section, name: str | None) -> dict[str, Any] | None:
    """Give both servers of Kea's HA, and what makes them a pair here; None if there are none, or not two."""
    pair = None
    for library in dhcp6.sections("hooks-libraries"):
        path = library.take("library", str) or ""
        if "libdhcp_ha" in path:
            parameters = library.section("parameters")
            for relationship in parameters.sections("high-availability") if parameters is not None else ():
                pair = _pair(relationship, name)
            library.rest({})
        else:
            reason = next((why for part, why in HOOKS.items() if part in path), "There is nothing like it here.")
            library.lost("library", f"{path.rpartition('/')[2]}: {reason}")
            library.rest({"parameters": reason})
    return pair


def _pair(section: Section, name: str | None) -> dict[str, Any] | None:
    own = section.take("this-server-name", str) or ""
    mode = section.take("mode", str) or ""
    servers: dict[str, str] = {}
    roles: dict[str, str] = {}
    for peer in section.sections("peers"):
        each, url = peer.take("name", str) or "", peer.take("url", str) or ""
        role = HA_ROLES.get(peer.take("role", str) or "")
        address = _address_of(url)
        if role is None or address is None:
            why = "A lease has two servers here, and no backup." if role is None else "Its address is to be a number."
            peer.lost("role" if role is None else "url", why)
            peer.rest({})
            continue
        if address.startswith("::ffff:"):
            peer.changed("url", f"The partners meet over TCP at {address}, port 647; an IPv6 address does as well.")
        else:
            peer.changed("url", "The partners meet there over TCP, port 647.")
        at_once = "A dead partner is stood in for at once, whatever its load."
        peer.rest({}, {**COMMENTS, "auto-failover": at_once})
        servers[each], roles[role] = address, each
    if set(roles) != {"primary", "secondary"}:
        section.lost("peers", "A pair has a primary and a secondary (or standby).")
        section.rest({})
        return None
    if mode == "load-balancing":
        section.changed("mode", "The primary answers all clients while both are well.")
    own = name or own
    if own not in servers:
        raise ImportFailed(f"{own!r} is none of the servers of the pair: {', '.join(servers)}.")
    section.changed("this-server-name", f"The file is the same on both; say --server {own} on this one.")
    times = "Failover has times of its own, which need no tuning: see docs/failover.md."
    section.rest({}, dict.fromkeys(section.names(), times))
    section.report.changed(
        section.path("peers"), "The partners prove to each other who they are: make certificates with `tandem pki new`."
    )
    failover = {"primary": roles["primary"], "secondary": roles["secondary"]}
    return {"own": own, "servers": servers, "failover": failover}


def _address_of(url: str) -> str | None:
    """Give the address in a URL as an IPv6 address, None if it is a name."""
    try:
        address = ip_address(urlsplit(url).hostname or "")
    except ValueError:
        return None
    return str(address) if address.version == 6 else f"::ffff:{address}"

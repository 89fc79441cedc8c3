"""dhcpd's parameters that have nothing like them here, or need nothing, and why."""

from __future__ import annotations

from collections.abc import Mapping

from tandem.imports.dhcpd_options import OF_DHCPV4
from tandem.imports.kea_subnets import DDNS

HINTS = "A client is given the lifetimes of its subnet, whatever it asks for."
BY_ITSELF = "The server does this by itself."
LOG = "The log goes to stderr, and so to the journal."
REASONS: Mapping[str, str] = {
    **dict.fromkeys(("min-lease-time", "max-lease-time"), HINTS),
    **dict.fromkeys(("zone", "key", "update-static-leases", "update-conflict-detection", "update-optimization"), DDNS),
    **dict.fromkeys(("subnet", "range", "pool", "filename", "next-server", "server-name", "failover"), OF_DHCPV4),
    **dict.fromkeys(
        ("if", "elsif", "else", "switch", "on", "set", "execute", "eval"),
        "Nothing is worked out for each packet; say it with classes.",
    ),
    "local-address6": "Answers come from the address that was asked.",
    "prefix-length-mode": "A client that wants a length is given it, else a shorter prefix, else a longer one.",
    "use-eui-64": "An address is not made of a link-layer address; reserve those that should be.",
    "omapi-port": "See `tandem lease`, and `tandem web` for HTTP.",
    "omapi-key": "See `tandem lease`, and `tandem web` for HTTP.",
}
NEEDLESS: Mapping[str, str] = {
    **dict.fromkeys(("log-facility", "log-threshold-low", "log-threshold-high"), LOG),
    **dict.fromkeys(
        (
            "authoritative",
            "not",
            "one-lease-per-client",
            "limit-addrs-per-ia",
            "dhcpv6-set-tee-times",
            "delayed-ack",
            "max-ack-delay",
            "persist-eui-64-leases",
            "bind-local-address6",
            "lease-id-format",
            "db-time-format",
            "use-host-decl-names",
            "ping-check",
            "get-lease-hostnames",
            "dhcp-cache-threshold",
            "release-on-roam",
        ),
        BY_ITSELF,
    ),
    **dict.fromkeys(
        ("lease-file-name", "dhcpv6-lease-file-name", "pid-file-name", "dhcpv6-pid-file-name"),
        "The server keeps all in its state-dir.",
    ),
}

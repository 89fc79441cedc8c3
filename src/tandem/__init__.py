"""Tandem: a DHCPv6 server that runs in pairs."""

__version__ = "0.1.0"

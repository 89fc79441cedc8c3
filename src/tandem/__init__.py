"""Tandem: a DHCPv6 server that runs in pairs."""

from importlib.util import find_spec

__version__ = "0.1.0"


def is_compiled() -> bool:
    """Say whether this installation's pure core is compiled (docs/decisions/014)."""
    core = find_spec("tandem.node")
    return core is not None and core.origin is not None and not core.origin.endswith(".py")

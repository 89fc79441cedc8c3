"""The servers that the clients are tried against: Tandem, and Kea to see whose fault a failure is."""

from __future__ import annotations

import json
import subprocess
import sysconfig
from abc import ABC, abstractmethod
from ipaddress import IPv6Network
from pathlib import Path
from typing import ClassVar

from system.net import Host, until

INTERFACE = "srv0"
PORT = 547
READY_WITHIN_S = 30

SERVER_ON_CLIENT_LINK, SERVER_ON_UPLINK = "2001:db8:1::1", "2001:db8:2::1"

SUBNET = "2001:db8:1::/64"
ADDRESS_POOL = IPv6Network("2001:db8:1:0:1::/80")
PREFIX_POOL = IPv6Network("2001:db9::/32")
DELEGATED_LENGTH = 56

# As short as the clients allow, for a test lives through all of them but the last.
RENEW_TIMER_S = 3
PREFERRED_LIFETIME_S = 40
VALID_LIFETIME_S = 60


def duid(number: int) -> str:
    """A server's DUID-LL; another number is another server to every client."""
    return f"00:03:00:01:02:00:00:00:00:{number:02x}"


class Server(ABC):
    """A server program on a host, with its files in a scratch directory that outlives its restarts."""

    program: ClassVar[str]

    def __init__(self, host: Host, scratch: Path, rebind_timer_s: int, on_link: bool) -> None:
        self.host = host
        self.scratch = scratch
        self.log = scratch / "server.log"
        self.rebind_timer_s = rebind_timer_s
        self.on_link = on_link

    @abstractmethod
    def configure(self, number: int) -> list[str]:
        """Write the configuration of the server with that number, and give the command that runs it."""

    def start(self, number: int = 1) -> None:
        """Return once the server listens. Its leases are those that it had; its DUID is that number's."""
        process = self.host.start(self.configure(number), self.log)
        until(lambda: process.listens(PORT), READY_WITHIN_S, f"listening, see {self.log}")

    def crash(self) -> None:
        """The server is gone in the middle of whatever it did."""
        self.host.kill_all()


class Tandem(Server):
    """The server that all this is about."""

    program = str(Path(sysconfig.get_path("scripts")) / "tandem")

    def configure(self, number: int) -> list[str]:
        """See `Server`."""
        file = self.scratch / "tandem.toml"
        file.write_text(f"""\
[server.a]
interfaces = ["{INTERFACE}"]
state-dir = "{self.scratch / "state"}"
duid = "{duid(number)}"

[lifetimes]
preferred-lifetime = {PREFERRED_LIFETIME_S}
valid-lifetime = {VALID_LIFETIME_S}
renew-timer = {RENEW_TIMER_S}
rebind-timer = {self.rebind_timer_s}

[options]
dns-servers = ["2001:db8::53"]

[[subnet]]
prefix = "{SUBNET}"
{f'interface = "{INTERFACE}"' if self.on_link else "# matched by the relay's link-address"}
pools = ["{ADDRESS_POOL}"]
pd-pools = [{{ prefix = "{PREFIX_POOL}", delegated-length = {DELEGATED_LENGTH} }}]
""")
        return [self.program, "serve", str(file), "--server", "a"]

    def statuses(self) -> dict[IPv6Network, str]:
        """The leases that `tandem lease list` shows, each with its status; an address is a /128."""
        command = [self.program, "lease", "list", "--format", "json", "--state-dir", str(self.scratch / "state")]
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        leases = map(json.loads, printed.splitlines())
        return {IPv6Network(lease["lease"]): lease["status"] for lease in leases}


class Kea(Server):
    """ISC's server."""

    program = "kea-dhcp6"

    def configure(self, number: int) -> list[str]:
        """See `Server`."""
        prefixes = {
            "prefix": str(PREFIX_POOL.network_address),
            "prefix-len": PREFIX_POOL.prefixlen,
            "delegated-len": DELEGATED_LENGTH,
        }
        subnet = {"id": 1, "subnet": SUBNET, "pools": [{"pool": str(ADDRESS_POOL)}], "pd-pools": [prefixes]}
        identifier = duid(number).replace(":", "")[8:]
        settings = {
            # It takes what a relay sends to it alone only at addresses that are named here.
            "interfaces-config": {"interfaces": [INTERFACE if self.on_link else f"{INTERFACE}/{SERVER_ON_UPLINK}"]},
            "server-id": {"type": "LL", "htype": 1, "identifier": identifier, "persist": False},
            "lease-database": {"type": "memfile", "name": str(self.scratch / "leases.csv")},
            "preferred-lifetime": PREFERRED_LIFETIME_S,
            "valid-lifetime": VALID_LIFETIME_S,
            "renew-timer": RENEW_TIMER_S,
            "rebind-timer": self.rebind_timer_s,
            "subnet6": [subnet | ({"interface": INTERFACE} if self.on_link else {})],
        }
        file = self.scratch / "kea.json"
        file.write_text(json.dumps({"Dhcp6": settings}))
        places = [f"{name}={self.scratch}" for name in ("KEA_PIDFILE_DIR", "KEA_LOCKFILE_DIR")]
        return ["env", *places, self.program, "-c", str(file)]

"""The DHCPv6 clients of Debian, all driven alike: start, what do you hold, release, lose power."""

from __future__ import annotations

import enum
import signal
from abc import ABC, abstractmethod
from ipaddress import IPv6Network
from pathlib import Path
from typing import ClassVar

from system.net import Host
from system.servers import DELEGATED_LENGTH

WAN = "wan0"  # the interface that asks
HOME = "home0"  # the interface behind the client, which a delegated prefix is for


class Want(enum.Enum):
    """What a client is told to ask for."""

    ADDRESS = "address"
    PREFIX = "prefix"


class Client(ABC):
    """A client program on a host, with its files in a scratch directory that outlives its restarts."""

    program: ClassVar[str]
    # Directories that the program insists on; it sees empty ones of its own there, never the machine's.
    state: ClassVar[tuple[str, ...]] = ()
    # The shortest rebind timer that lets it send a Renew before, and a Rebind soon after.
    rebind_timer_s: ClassVar[int] = 6
    # Whether it takes the server that answered its Rebind for its own from then on.
    follows_rebind: ClassVar[bool] = True
    can_release: ClassVar[bool] = True

    def __init__(self, host: Host, scratch: Path, want: Want) -> None:
        self.host = host
        self.scratch = scratch
        self.want = want
        self.log = scratch / "client.log"
        self.hidden = {place: scratch / place.strip("/").replace("/", "-") for place in self.state}
        for directory in self.hidden.values():
            directory.mkdir()
        self.configure()

    @abstractmethod
    def configure(self) -> None:
        """Write the configuration."""

    @abstractmethod
    def command(self) -> list[str]:
        """How the program is started in the foreground."""

    @abstractmethod
    def release(self) -> None:
        """Ask the running program to give its lease back."""

    def start(self) -> None:
        """Start the program, with whatever it has left on its disk."""
        self.process = self.host.start(self.command(), self.log, self.hidden)

    def lose_power(self) -> None:
        """The program ends without a word and the kernel forgets; what is on the client's disk stays."""
        self.host.kill_all()
        self.host.forget(WAN, HOME)

    def leases(self) -> frozenset[IPv6Network]:
        """What the client itself has put to use; an address is a /128."""
        if self.want is Want.ADDRESS:
            return frozenset(IPv6Network(address) for address in self.host.addresses(WAN))
        return frozenset(self.prefixes())

    def prefixes(self) -> set[IPv6Network]:
        """The prefixes delegated to the client: routers make such a prefix unreachable until they use it."""
        return self.host.routes("type", "unreachable")


class Dhclient(Client):
    """ISC's client. Its hook script does what Debian's does, less the files of the machine's resolver."""

    program = "dhclient"

    SCRIPT = f"""#!/bin/sh
case "$reason" in
BOUND6|RENEW6|REBIND6)
    [ -z "$new_ip6_address" ] || ip -6 address replace "$new_ip6_address/128" dev {WAN} \\
        valid_lft "$new_max_life" preferred_lft "$new_preferred_life"
    [ -z "$new_ip6_prefix" ] || ip -6 route replace unreachable "$new_ip6_prefix" ;;
EXPIRE6|RELEASE6|STOP6)
    [ -z "$old_ip6_address" ] || ip -6 address delete "$old_ip6_address/128" dev {WAN}
    [ -z "$old_ip6_prefix" ] || ip -6 route delete unreachable "$old_ip6_prefix" ;;
esac
"""

    def configure(self) -> None:
        """See `Client`."""
        script = self.scratch / "script"
        script.write_text(self.SCRIPT)
        script.chmod(0o755)
        (self.scratch / "dhclient.conf").write_text("request dhcp6.name-servers;\n")

    def command(self) -> list[str]:
        """See `Client`."""
        files = {"-cf": "dhclient.conf", "-lf": "leases", "-pf": "pid", "-sf": "script"}
        words = [word for option, name in files.items() for word in (option, str(self.scratch / name))]
        return ["dhclient", "-6", "-d", "-v", "-N" if self.want is Want.ADDRESS else "-P", *words, WAN]

    def release(self) -> None:
        """See `Client`."""
        # A second dhclient ends the first by its pid file and sends the Release itself.
        first, *rest = self.command()
        self.host.start([first, "-r", *rest], self.log)


class Dhcpcd(Client):
    """Roy Marples' client."""

    program = "dhcpcd"
    state = ("/run", "/var/lib/dhcpcd")

    def configure(self) -> None:
        """See `Client`."""
        wants = {Want.ADDRESS: "ia_na 1", Want.PREFIX: f"ia_pd 1 {HOME}/1"}
        # Routers do not advertise in the lab, so it must ask without being told to.
        lines = ["noipv4", "noipv6rs", "duid", "script /bin/true", f"interface {WAN}", wants[self.want]]
        (self.scratch / "dhcpcd.conf").write_text("\n".join(lines) + "\n")

    def command(self) -> list[str]:
        """See `Client`."""
        return ["dhcpcd", "-B", "-d", "-f", str(self.scratch / "dhcpcd.conf"), WAN]

    def release(self) -> None:
        """See `Client`."""
        # The signal that does the same is lost now and then when it comes right after a lease did.
        self.host.start(["dhcpcd", "-k", "-f", str(self.scratch / "dhcpcd.conf"), WAN], self.log, self.hidden)


class WideClient(Client):
    """The client of the KAME and WIDE projects. It keeps no leases on disk, only its DUID."""

    program = "dhcp6c"
    state = ("/run", "/var/lib/dhcpv6")
    rebind_timer_s = 30  # it takes a shorter one for 30 s, and then renews after 18 s

    def configure(self) -> None:
        """See `Client`."""
        text = {
            Want.ADDRESS: f"interface {WAN} {{ send ia-na 1; }};\nid-assoc na 1 {{ }};\n",
            Want.PREFIX: f"interface {WAN} {{ send ia-pd 1; }};\n"
            f"id-assoc pd 1 {{ prefix-interface {HOME} {{ sla-id 1; sla-len {64 - DELEGATED_LENGTH}; }}; }};\n",
        }
        (self.scratch / "dhcp6c.conf").write_text(text[self.want])

    def command(self) -> list[str]:
        """See `Client`."""
        return ["dhcp6c", "-f", "-D", "-c", str(self.scratch / "dhcp6c.conf"), WAN]

    def release(self) -> None:
        """See `Client`."""
        self.process.signal(signal.SIGTERM)

    def prefixes(self) -> set[IPv6Network]:
        """It tells of a prefix only by the address that it takes from it for the inner interface."""
        inner = self.host.addresses(HOME)
        return {IPv6Network((int(address), DELEGATED_LENGTH), strict=False) for address in inner}


class DibblerClient(Client):
    """Dibbler's client, which keeps its leases in an XML file."""

    program = "dibbler-client"
    state = ("/run", "/var/lib/dibbler", "/var/log/dibbler", "/etc/dibbler")
    follows_rebind = False  # 1.0.1 sends its Renews and its Release to the first server for ever

    def configure(self) -> None:
        """See `Client`."""
        wants = {Want.ADDRESS: "ia", Want.PREFIX: "pd"}
        lines = ["log-level 8", f'downlink-prefix-ifaces "{HOME}"', f"iface {WAN} {{", wants[self.want], "}"]
        (self.hidden["/etc/dibbler"] / "client.conf").write_text("\n".join(lines) + "\n")

    def command(self) -> list[str]:
        """See `Client`."""
        return ["dibbler-client", "run"]

    def release(self) -> None:
        """See `Client`."""
        self.process.signal(signal.SIGTERM)

    def prefixes(self) -> set[IPv6Network]:
        """It routes the prefix to the inner interface, and leaves it to others to make addresses of it."""
        return self.host.routes("dev", HOME)


class Networkd(Client):
    """systemd's network daemon, without the rest of systemd: it sees neither its bus nor udev."""

    program = "/lib/systemd/systemd-networkd"
    state = ("/run",)
    rebind_timer_s = 14  # its timers may be late by 10 s, and one that passes T2 with T1 sends no Renew
    can_release = False  # Debian 12's version 252 has no Release for DHCPv6

    def configure(self) -> None:
        """See `Client`."""
        directory = self.hidden["/run"] / "systemd" / "network"
        directory.mkdir(parents=True)
        (directory / "wan.network").write_text(f"""\
[Match]
Name={WAN}
[Network]
DHCP=ipv6
IPv6AcceptRA=no
[DHCPv6]
WithoutRA=solicit
DUIDType=link-layer
UseHostname=no
UseAddress={self.want is Want.ADDRESS}
UseDelegatedPrefix={self.want is Want.PREFIX}
""")

    def command(self) -> list[str]:
        """See `Client`."""
        # Where /sys can be written it waits for udev to name the interfaces, and there is no udev in a namespace.
        return ["sh", "-c", f"mount -o remount,ro,bind /sys && exec {self.program}"]

    def release(self) -> None:
        """See `Client`."""
        raise NotImplementedError


CLIENTS: tuple[type[Client], ...] = (Dhclient, Dhcpcd, WideClient, DibblerClient, Networkd)

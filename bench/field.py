"""Where servers are measured: a client, two servers, the link to the client and a private one between the servers.

The servers share one processor and the load has the other. All of it is in network namespaces.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from system.net import Host, Lab, Process
from tandem.sim.client import SimClient
from tandem.wire.message import Message, read_message

SERVER_CPU = "0"
CLIENT_CPU = "1"
LAN = "lan0"
PRIVATE = "sync0"
SERVERS_GROUP = "ff02::1:2"


class Field:
    """The hosts. `servers` are two; with one server alone the second does nothing."""

    def __init__(self, lab: Lab, scratch: Path) -> None:
        self.scratch = scratch
        lab.link("lan")
        lab.link("private")
        self.client = lab.host("client")
        self.servers = (lab.host("s1"), lab.host("s2"))
        lab.plug(self.client, LAN, "lan", "2001:db8:1::99/64")
        for number, host in enumerate(self.servers, 1):
            lab.plug(host, LAN, "lan", f"2001:db8:1::{number}/64")
            lab.plug(host, PRIVATE, "private", f"fd00:99::{number}/64", f"10.99.0.{number}/24")

    def folder(self, name: str) -> Path:
        """Give an empty folder."""
        folder = self.scratch / name
        folder.mkdir(parents=True)
        return folder

    def start(self, host: Host, argv: list[str], log: Path, **environment: object) -> Process:
        """Start a server's program on the servers' processor."""
        settings = [f"{name}={value}" for name, value in environment.items()]
        return host.start(["env", *settings, "taskset", "-c", SERVER_CPU, *argv], log)

    def advertisement(self, within_s: float) -> Message | None:
        """Give what a server advertises to a client that asks once, None if none does."""
        client = SimClient(int.from_bytes(os.urandom(3), "big"), with_prefix=False)
        with self.client.inside(), contextlib.closing(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)) as asking:
            index = socket.if_nametoindex(LAN)
            asking.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            asking.bind(("::", 546, 0, index))
            question = client.solicit()
            asking.sendto(question.write(), (SERVERS_GROUP, 547, 0, index))
            deadline = time.monotonic() + within_s
            while (left_s := deadline - time.monotonic()) > 0:
                asking.settimeout(left_s)
                try:
                    answer = asking.recv(2048)
                except TimeoutError:
                    return None
                message = read_message(answer)
                if isinstance(message, Message) and client.take(message):
                    return message
        return None


@contextlib.contextmanager
def field(scratch: Path) -> Iterator[Field]:
    """Lay out a field, and take it away."""
    with Lab() as lab:
        yield Field(lab, scratch)


def cpu_s(pid: int) -> float:
    """Give the processor time that a process has used, all its threads together."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def resident_octets(pid: int) -> int:
    """Give how much memory a process has."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024

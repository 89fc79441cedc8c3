"""Large configurations: what a start takes beside Kea's, and how long answers take while the file is read again.

    python -m bench.large                                       1,000 subnets with 50,000 reservations, Kea beside
    python -m bench.large --subnets 10000 --reservations 200000 --no-kea

All traffic stays on loopback. No root is needed but for Kea, which keeps its files where only root may write.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any, NamedTuple

from tandem.sim.client import SimClient, SimRelay
from tandem.wire.message import Message

KEA = "/usr/sbin/kea-dhcp6"
CLIENTS = 100
PERIOD_S = 0.005
"""Between two Renews."""
ANSWER_WITHIN_S = 300.0
LOOPBACK = "::1"


class Reserved(NamedTuple):
    """A reservation of the file that is made."""

    duid: str
    address: str


def reservations_of(subnet: int, subnets: int, reservations: int) -> Iterator[Reserved]:
    """Yield the reservations of a subnet: as many as of any other."""
    each, more = divmod(reservations, subnets)
    first = subnet * each + min(subnet, more)
    for item in range(each + (subnet < more)):
        number = first + item + 0x10000000
        yield Reserved("00:03:00:01:02:00:" + number.to_bytes(4, "big").hex(":"), f"2001:db8:{subnet:x}::{item + 16:x}")


def tandem_file(subnets: int, reservations: int, port: int, folder: Path) -> Iterator[str]:
    """Yield a file of ours in pieces."""
    yield f'[server.a]\nlisten = ["[{LOOPBACK}]:{port}"]\nstate-dir = "{folder}"\n[log]\nformat = "json"\n'
    yield '[options]\ndns-servers = ["2001:db8:2::45"]\n'
    for number in range(subnets):
        yield f'\n[[subnet]]\nprefix = "2001:db8:{number:x}::/64"\npools = ["2001:db8:{number:x}:0:1::/80"]\n'
        yield f'pd-pools = [{{ prefix = "2001:db9:{number:x}::/48", delegated-length = 56 }}]\n'
        for each in reservations_of(number, subnets, reservations):
            yield f'\n[[subnet.reservation]]\nduid = "{each.duid}"\naddress = "{each.address}"\n'


def kea_file(subnets: int, reservations: int, folder: Path) -> Mapping[str, Any]:
    """Return the same for Kea."""
    links = [
        {
            "id": number + 1,
            "subnet": f"2001:db8:{number:x}::/64",
            "pools": [{"pool": f"2001:db8:{number:x}:0:1::/80"}],
            "pd-pools": [{"prefix": f"2001:db9:{number:x}::", "prefix-len": 48, "delegated-len": 56}],
            "reservations": [
                {"duid": each.duid, "ip-addresses": [each.address]}
                for each in reservations_of(number, subnets, reservations)
            ],
        }
        for number in range(subnets)
    ]
    output = {"output": str(folder / "kea.log")}
    return {
        "Dhcp6": {
            "interfaces-config": {"interfaces": [f"lo/{LOOPBACK}"]},
            "server-id": {"type": "EN", "enterprise-id": 32473, "identifier": "01", "persist": False},
            "lease-database": {"type": "memfile", "persist": True, "name": str(folder / "leases.csv")},
            "option-data": [{"name": "dns-servers", "data": "2001:db8:2::45"}],
            "loggers": [{"name": "kea-dhcp6", "severity": "INFO", "output_options": [output]}],
            "subnet6": links,
        }
    }


class Stream:
    """Clients on the first subnet, behind a relay."""

    def __init__(self, server_port: int, own_port: int = 0) -> None:
        self._server = (LOOPBACK, server_port)
        self._relay = SimRelay(IPv6Address("2001:db8::1").packed)
        self._socket = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self._socket.bind((LOOPBACK, own_port))
        self.clients = [SimClient(number, with_prefix=False) for number in range(CLIENTS)]

    def first_answer_s(self, began: float) -> float:
        """Ask again and again; give how long after `began` the first answer came."""
        while time.monotonic() < began + ANSWER_WITHIN_S:
            if self._exchange(self.clients[0], self.clients[0].solicit(), 0.05):
                return time.monotonic() - began
        raise TimeoutError("the server did not answer")

    def fill(self) -> None:
        """Have each client get a lease."""
        for client in self.clients:
            for question in (client.solicit, client.request):
                while not self._exchange(client, question(), 2.0):
                    pass

    def renew(self, until: float) -> list[float]:
        """Renew at a steady rate; give how long each answer took, or how long it has been waited for."""
        sent: dict[bytes, float] = {}
        took: list[float] = []
        due, number = time.monotonic(), 0
        while (now := time.monotonic()) < until or (sent and now < until + 2.0):
            if now >= due and now < until:
                client = self.clients[number % CLIENTS]
                if client.duid in sent:  # it still waits
                    took.append(now - sent[client.duid])
                sent[client.duid] = now
                self._socket.sendto(self._relay.forward(client.renew(), client.duid), self._server)
                number, due = number + 1, due + PERIOD_S
            if select.select([self._socket], [], [], max(0.0, min(due - time.monotonic(), 0.05)))[0]:
                answer = self._relay.unwrap(self._socket.recv(65_535))
                for client in self.clients if answer is not None else ():
                    if client.duid in sent and answer is not None and client.take(answer):
                        took.append(time.monotonic() - sent.pop(client.duid))
                        break
        return took + [time.monotonic() - since for since in sent.values()]

    def _exchange(self, client: SimClient, question: Message, within_s: float) -> bool:
        self._socket.sendto(self._relay.forward(question, client.duid), self._server)
        deadline = time.monotonic() + within_s
        while (left_s := deadline - time.monotonic()) > 0 and select.select([self._socket], [], [], left_s)[0]:
            try:
                answer = self._relay.unwrap(self._socket.recv(65_535))
            except ConnectionRefusedError:
                continue
            if answer is not None and client.take(answer):
                return True
        time.sleep(0.01)
        return False


def resident_mb(pid: int) -> tuple[int, int]:
    """Return the memory of a process, now and at most so far, in MB."""
    found = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(found["VmRSS"].split()[0]) // 1024, int(found["VmHWM"].split()[0]) // 1024


def processor_s(pid: int) -> float:
    """Return the processor time of a process, which other work on the machine changes little."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Start(NamedTuple):
    """What a start took until the first answer."""

    seconds: float
    processor_s: float


def free_port() -> int:
    """Return a port of loopback that nothing listens on."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def measure_kea(subnets: int, reservations: int, folder: Path) -> Start:
    """Return how long Kea takes from its start to its first answer."""
    port, own = free_port(), free_port()
    path = folder / "kea.json"
    path.write_text(json.dumps(kea_file(subnets, reservations, folder)))
    environment = {**os.environ, "KEA_PIDFILE_DIR": str(folder), "KEA_LOCKFILE_DIR": str(folder)}
    command = [KEA, "-c", str(path), "-p", str(port), "-P", str(own)]
    stream = Stream(port, own)
    began = time.monotonic()
    with (
        (folder / "kea.out").open("w") as out,
        subprocess.Popen(command, env=environment, stdout=out, stderr=out) as kea,
    ):
        try:
            took = Start(stream.first_answer_s(began), processor_s(kea.pid))
            print(f"Kea: first answer after {_took(took)}; memory {resident_mb(kea.pid)[0]} MB")
        finally:
            kea.terminate()
    return took


def measure_tandem(subnets: int, reservations: int, folder: Path, reloads: int) -> Start:
    """Return how long Tandem takes; then let clients renew without and with reloads, and say how long they waited."""
    port = free_port()
    path = folder / "tandem.toml"
    with path.open("w") as out:
        out.writelines(tandem_file(subnets, reservations, port, folder / "state"))
    print(f"{subnets:,} subnets, {reservations:,} reservations: {path.stat().st_size / 1e6:.1f} MB")
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "tandem", "check", str(path)], check=True, stdout=subprocess.DEVNULL)
    print(f"Tandem: check {time.monotonic() - began:.1f} s")
    stream = Stream(port)
    log = folder / "tandem.log"
    began = time.monotonic()
    command = [sys.executable, "-m", "tandem", "serve", str(path)]
    with log.open("w") as out, subprocess.Popen(command, stdout=out, stderr=out) as server:
        try:
            took = Start(stream.first_answer_s(began), processor_s(server.pid))
            now, most = resident_mb(server.pid)
            print(f"Tandem: first answer after {_took(took)}; memory {now} MB, at most {most} MB")
            stream.fill()
            _show("undisturbed", stream.renew(time.monotonic() + 5.0))
            for number in range(reloads):
                _reload(number, path, log, server, stream)
            print(f"memory {'{} MB, at most {} MB'.format(*resident_mb(server.pid))}")
        finally:
            server.terminate()
    return took


def _reload(number: int, path: Path, log: Path, server: subprocess.Popen[bytes], stream: Stream) -> None:
    """Have the file read again, with something else in it each time, while clients renew."""
    text = path.read_text()
    changed = [text, text.replace("::45", "::46", 1), text.replace('::10"', '::ffff"', 1)][number % 3]
    path.write_text(changed)
    before = log.read_text().count('"reloaded"')
    took: list[float] = []
    began = time.monotonic()
    server.send_signal(signal.SIGHUP)
    while log.read_text().count('"reloaded"') == before and time.monotonic() < began + ANSWER_WITHIN_S:
        took += stream.renew(time.monotonic() + 0.5)
    seconds = time.monotonic() - began
    took += stream.renew(time.monotonic() + 1.0)
    _show(f"during reload {number + 1}, which took about {seconds:.1f} s", took)


def _took(start: Start) -> str:
    return f"{start.seconds:.1f} s ({start.processor_s:.1f} s of a processor)"


def _show(what: str, took: list[float]) -> None:
    ordered = sorted(took)
    shown = [
        f"{name} {ordered[min(len(ordered) - 1, int(len(ordered) * part))] * 1000:.1f}"
        for name, part in (("median", 0.5), ("99 of 100", 0.99), ("longest", 1.0))
    ]
    print(f"Renews {what}: {len(ordered)}, ms to the answer: {', '.join(shown)}")


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subnets", type=int, default=1000)
    parser.add_argument("--reservations", type=int, default=50_000)
    parser.add_argument("--reloads", type=int, default=3)
    parser.add_argument("--no-kea", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tandem-large-") as name:
        folder = Path(name)
        ours = measure_tandem(arguments.subnets, arguments.reservations, folder, arguments.reloads)
        if not arguments.no_kea:
            kea = measure_kea(arguments.subnets, arguments.reservations, folder)
            print(f"times Kea: {ours.seconds / kea.seconds:.2f}, of processor {ours.processor_s / kea.processor_s:.2f}")


if __name__ == "__main__":
    main()

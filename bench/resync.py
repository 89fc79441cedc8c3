"""How fast an empty partner gets all leases, and whether clients notice. `python -m bench.resync [LEASES]`.

Server a serves alone with so many leases on disk; b starts with none, and asks for all of them (RFC 8156 8.5).
Meanwhile a client renews without a pause at a.
"""

from __future__ import annotations

import json
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tandem.admin.demo_pair import Link, Server, free_port
from tandem.sim.client import SimClient

LEASES = 100_000
WITHIN_S = 600.0
PAUSE_S = 0.002
CONFIGURATION = """\
[server.a]
listen = ["[::1]:{ports[0]}"]
address = "::1"
state-dir = "{folder}/a"
[server.b]
listen = ["[::1]:{ports[1]}"]
address = "::1"
state-dir = "{folder}/b"
[lifetimes]
valid-lifetime = "1d"
[failover.bench]
primary = "a"
secondary = "b"
port = {ports[2]}
startup = 1
start-alone = true
security = "insecure"
[[subnet]]
prefix = "2001:db8:1::/64"
failover = "bench"
pools = ["2001:db8:1:0:1::/80"]
"""


def renew_until_synced(a: Server, b: Server, client: SimClient, leases: int) -> tuple[float, list[float]]:
    """Let the client renew until b has all leases; give the seconds that took and those of each answer."""
    link = Link(a.address)
    took: list[float] = []
    started = time.monotonic()
    looked = 0.0
    while time.monotonic() - started < WITHIN_S:
        took.append(link.exchange(client, client.renew()))
        if time.monotonic() - looked > 0.25:
            looked = time.monotonic()
            found = b.status()
            if found is not None and found["leases-known"] >= leases:
                link.close()
                return looked - started, took
        time.sleep(PAUSE_S)
    raise SystemExit("The partner did not get all leases in time.")


def main() -> None:
    """Print what was measured, for people, and as one JSON object on the last line."""
    leases = int(sys.argv[1]) if len(sys.argv) > 1 else LEASES
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ports = [free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_STREAM)]
        a, b = Server("a", ports[0], folder), Server("b", ports[1], folder)
        for server in (a, b):
            server.state_dir.mkdir()
            server.file.write_text(CONFIGURATION.format(ports=ports, folder=folder))
        subprocess.run([sys.executable, "-m", "bench.leases", str(leases), str(a.state_dir)], check=True)
        try:
            a.start()
            client = SimClient(1, with_prefix=False)
            link = Link(a.address)
            link.exchange(client, client.solicit())
            link.exchange(client, client.request())
            alone = [link.exchange(client, client.renew()) for _ in range(500)]
            link.close()
            b.start()
            seconds, during = renew_until_synced(a, b, client, leases)
        finally:
            for server in (a, b):
                server.kill(signal.SIGTERM)
    found = {
        "leases": leases,
        "seconds": round(seconds, 2),
        "leases_per_s": round(leases / seconds),
        "renew_ms_alone": round(statistics.median(alone) * 1000, 2),
        "renew_ms_during": round(statistics.median(during) * 1000, 2),
        "renew_ms_during_p99": round(sorted(during)[int(len(during) * 0.99)] * 1000, 2),
        "renews_during": len(during),
    }
    print(f"{leases} leases in {seconds:.1f} s, {found['leases_per_s']} a second")
    print(json.dumps(found))


if __name__ == "__main__":
    main()

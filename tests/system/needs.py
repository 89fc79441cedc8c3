"""What must be installed and allowed before a test with real programs can run.

What is missing skips the test with a sentence that says so; where TANDEM_REQUIRE_SYSTEM=1, as in CI, it fails it.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

# Where Debian has each program. `packages.txt`, which CI installs, lists all of these packages.
PACKAGES = {
    "chromedriver": "chromium-driver",
    "dhclient": "isc-dhcp-client",
    "dpkg-deb": "dpkg",
    "systemd-analyze": "systemd",
    "systemd-nspawn": "systemd-container",
    "dhcp6c": "wide-dhcpv6-client",
    "dhcpcd": "dhcpcd-base",
    "dhcpd": "isc-dhcp-server",
    "dhcrelay": "isc-dhcp-relay",
    "dibbler-client": "dibbler-client",
    "dnsmasq": "dnsmasq-base",
    "groff": "groff",
    "ip": "iproute2",
    "kea-dhcp6": "kea-dhcp6-server",
    "mmdebstrap": "mmdebstrap",
    "mount": "mount",
    "perfdhcp": "kea-admin",
    "podman": "podman",
    "prlimit": "util-linux",
    "promtool": "prometheus",
    "rpmbuild": "rpm",
    "setpriv": "util-linux",
    "strace": "strace",
    "tcpdump": "tcpdump",
    "tshark": "tshark",
    "/lib/systemd/systemd-networkd": "systemd",
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1": "libfaketime",
}


def _lacks(sentence: str) -> NoReturn:
    if os.environ.get("TANDEM_REQUIRE_SYSTEM") == "1":
        pytest.fail(sentence, pytrace=False)
    pytest.skip(sentence)


def need_program(program: str) -> None:
    """Return if the program is installed."""
    if not shutil.which(program):
        _lacks(f"There is no {program}; Debian has it in the package {PACKAGES.get(program, program)}.")


def need_system_python() -> None:
    """Return if this runs with a Python of the version that the system has, for which a package is made."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    if Path("/usr/bin/python3").resolve().name != f"python{version}":
        _lacks(f"The system's Python is not {version}, which this runs with, so that a package would not fit it.")


def need_file(path: str) -> None:
    """Return if the file, which is no program, is installed."""
    if not Path(path).exists():
        _lacks(f"There is no {path}; Debian has it in the package {PACKAGES.get(path, path)}.")


def need_namespaces() -> None:
    """Return if this process may make network namespaces."""
    if os.geteuid() != 0:
        _lacks("Network namespaces need root, and this is not root.")
    if complaint := _complaint():
        _lacks(f"Root may not make network namespaces here: {complaint}.")


@functools.cache
def _complaint() -> str:
    tried = subprocess.run(["unshare", "--net", "--mount", "true"], capture_output=True, text=True, check=False)
    return tried.stderr.strip() if tried.returncode else ""

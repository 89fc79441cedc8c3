"""Builds packages for Debian and RPM systems: `python packaging/build.py deb|rpm [--compiled] [--into FOLDER]`.

What a package needs of Python is in it, so that it depends on nothing but the system's Python: everything is pinned in
requirements.lock, and nothing of it is seen by other programs. Needs dpkg-deb, or rpmbuild.
"""

from __future__ import annotations

import argparse
import gzip
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
TREE = HERE.parent
LIBRARY = Path("usr/lib/tandem")
VERSION = str(tomllib.loads((TREE / "pyproject.toml").read_text())["project"]["version"])
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
NEXT_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor + 1}"
SUMMARY = "DHCPv6 server that runs in pairs"
DESCRIPTION = (
    "Two servers hold the same leases, and when one dies, the other goes on with the same addresses and the same "
    "delegated prefixes. Follows RFC 9915 and RFC 8156."
)
PROGRAM = """\
#!/usr/bin/python3 -I
import sys

sys.path.insert(0, "/usr/lib/tandem")

from tandem.admin.cli import main

main()
"""
COMPILED_AWAY = "find /usr/lib/tandem -name __pycache__ -prune -exec rm -rf {} +\n"
INSTALLED = """\
python3 -m compileall -q /usr/lib/tandem || true
if [ -d /run/systemd/system ]; then
    systemd-sysusers tandem.conf || true
    systemctl daemon-reload || true
    systemctl try-restart 'tandem@*.service' 'tandem-web@*.service' || true
else
    systemd-sysusers tandem.conf 2>/dev/null || {
        getent group tandem >/dev/null || groupadd --system tandem
        getent passwd tandem >/dev/null || useradd --system --gid tandem --home-dir /var/lib/tandem tandem
        getent passwd tandem-web >/dev/null || useradd --system --user-group --groups tandem --no-create-home tandem-web
    }
fi
install -d -m 0700 -o tandem -g tandem /var/lib/tandem
for key in /var/lib/tandem/*.key; do
    if [ -f "$key" ]; then chmod go= "$key"; fi
done
install -d -m 0755 /etc/tandem
if [ ! -e /etc/tandem/tokens ]; then
    echo '{}' > /etc/tandem/tokens
    chgrp tandem-web /etc/tandem/tokens
    chmod 0640 /etc/tandem/tokens
fi
"""
REMOVING = """\
if [ -d /run/systemd/system ]; then
    systemctl stop 'tandem-web@*.service' 'tandem@*.service' || true
fi
"""


def stage(into: Path, compiled: bool) -> None:
    """Put all that is installed below `into`."""
    library = into / LIBRARY
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    subprocess.run([*pip, "--require-hashes", "--target", str(library), "-r", str(runtime_lock(into))], check=True)
    hook = {"HATCH_BUILD_HOOKS_ENABLE": "1"} if compiled else {}
    own = [*pip, "--no-deps", "--no-build-isolation", "--target", str(library), str(TREE)]
    subprocess.run(own, check=True, env={**os.environ, **hook})
    shutil.rmtree(library / "bin", ignore_errors=True)
    program = into / "usr/bin/tandem"
    write(program, PROGRAM)
    program.chmod(0o755)
    for unit in ("tandem@.service", "tandem-web@.service"):
        copy(HERE / unit, into / "usr/lib/systemd/system" / unit)
    copy(HERE / "tandem.sysusers", into / "usr/lib/sysusers.d/tandem.conf")
    for name in ("alerts.yaml", "dashboard.json"):
        copy(TREE / "monitoring" / name, into / "usr/share/tandem" / name)
    copy(HERE / "example.toml", into / "usr/share/doc/tandem/examples/tandem.toml")
    copy(TREE / "LICENSE", into / "usr/share/doc/tandem/copyright")
    manual = into / "usr/share/man/man1/tandem.1.gz"
    manual.parent.mkdir(parents=True)
    manual.write_bytes(gzip.compress((HERE / "tandem.1").read_bytes(), mtime=0))


def runtime_lock(scratch: Path) -> Path:
    """Write the lock of what runs, without what is for development; give the file, which is beside `scratch`."""
    wanted = needed_to_run()
    text = (TREE / "requirements.lock").read_text()
    entries = re.split(r"(?m)^(?=\S)", text)
    file = scratch.with_name(scratch.name + ".lock")
    file.write_text("".join(entry for entry in entries if re.split("[=;\\s]", entry, maxsplit=1)[0] in wanted))
    return file


def needed_to_run() -> set[str]:
    """Name what the program depends on, however far."""
    found: set[str] = set()
    wanted = list(tomllib.loads((TREE / "pyproject.toml").read_text())["project"]["dependencies"])
    while wanted:
        name = normal(wanted.pop())
        if name not in found:
            found.add(name)
            wanted += [each for each in requirements(name) if "extra ==" not in each]
    return found


def requirements(name: str) -> list[str]:
    """Give what an installed distribution requires; nothing if it is not installed, as on another system."""
    from importlib.metadata import PackageNotFoundError, requires

    try:
        return list(requires(name) or ())
    except PackageNotFoundError:
        return []


def normal(requirement: str) -> str:
    """Give the name in a requirement as the lock spells it."""
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found is not None
    return re.sub(r"[-_.]+", "-", found[0]).lower()


def write(file: Path, text: str) -> None:
    """Write a file, and the folders that it is in."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def copy(source: Path, target: Path) -> None:
    """Copy a file for everybody to read."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def deb(tree: Path, into: Path) -> Path:
    """Make a Debian package of what is staged."""
    architecture = subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True, check=True).stdout
    size_kib = sum(file.stat().st_size for file in tree.rglob("*") if file.is_file()) // 1024
    control = (
        f"Package: tandem\nVersion: {VERSION}\nArchitecture: {architecture.strip()}\nMaintainer: The Tandem authors "
        f"<tandem@example.net>\nInstalled-Size: {size_kib}\n"
        f"Depends: python3 (>= {PYTHON}), python3 (<< {NEXT_PYTHON}~)\n"
        f"Recommends: chrony | time-daemon\nSection: net\nPriority: optional\nDescription: {SUMMARY}\n {DESCRIPTION}\n"
    )
    write(tree / "DEBIAN/control", control)
    scripts = {
        "postinst": f'if [ "$1" = configure ]; then\n{INSTALLED}fi\n',
        "prerm": f'if [ "$1" = remove ]; then\n{REMOVING}fi\n{COMPILED_AWAY}',
        "postrm": 'if [ "$1" = purge ]; then\n    rm -rf /var/lib/tandem /etc/tandem/tokens\nfi\n',
    }
    for name, text in scripts.items():
        write(tree / "DEBIAN" / name, f"#!/bin/sh\nset -e\n{text}")
        (tree / "DEBIAN" / name).chmod(0o755)
    package = into / f"tandem_{VERSION}_{architecture.strip()}.deb"
    subprocess.run(
        ["dpkg-deb", "--build", "--root-owner-group", "-Zxz", tree, package], check=True, stdout=subprocess.DEVNULL
    )
    return package


def rpm(tree: Path, into: Path) -> Path:
    """Make an RPM package of what is staged."""
    files = sorted({f"/{file.relative_to(tree)}" for file in tree.rglob("*") if file.is_file()})
    spec = tree.with_name("tandem.spec")
    listed = "\n".join(f'"{file}"' for file in files)
    spec.write_text(
        f"Name: tandem\nVersion: {VERSION}\nRelease: 1\nSummary: {SUMMARY}\nLicense: Apache-2.0\nAutoReqProv: no\n"
        f"Requires: python3 >= {PYTHON}, python3 < {NEXT_PYTHON}\n%global debug_package %{{nil}}\n"
        f"%global __os_install_post %{{nil}}\n%description\n{DESCRIPTION}\n"
        f"%post\n{INSTALLED}\n%preun\nif [ $1 -eq 0 ]; then\n{REMOVING}{COMPILED_AWAY}fi\n"
        f"%files\n%defattr(-,root,root)\n{listed}\n"
    )
    top = tree.with_name("rpmbuild")
    defines = ["--define", f"_topdir {top}", "--define", f"_rpmdir {into}", "--define", "_build_id_links none"]
    command = ["rpmbuild", "-bb", "--quiet", "--buildroot", str(tree), *defines, str(spec)]
    subprocess.run(command, check=True)
    return next(into.rglob("tandem-*.rpm"))


def main() -> None:
    """Build what is asked for, and print where it is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=("deb", "rpm"))
    parser.add_argument("--compiled", action="store_true", help="with the pure core compiled; needs a C compiler")
    parser.add_argument("--into", type=Path, default=TREE / "dist", metavar="FOLDER")
    wanted = parser.parse_args()
    wanted.into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="tandem-package-") as scratch:
        tree = Path(scratch) / "tree"
        tree.mkdir()
        stage(tree, wanted.compiled)
        print({"deb": deb, "rpm": rpm}[wanted.kind](tree, wanted.into.resolve()))


if __name__ == "__main__":
    main()

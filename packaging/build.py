"""Builds what is installed: `python3 packaging/build.py [deb|rpm|wheel|all] [--into FOLDER] [--pure | --compiled]`.

A package has inside what it needs of Python, so that it depends on nothing but the system's Python: everything is
pinned in requirements.lock, and nothing of it is seen by other programs. The core is compiled if there is a C compiler.

This needs Python 3.11 or newer and makes an environment of its own (.venv-packages). On Debian, as root, it also
installs the system's packages that it lacks (packages.txt).
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
ENVIRONMENT = TREE / ".venv-packages"
SYSTEM_PYTHON = Path("/usr/bin/python3")
TOOLS = {"deb": "dpkg-deb", "rpm": "rpmbuild"}
TOOLS_ARE_IN = {"deb": "dpkg", "rpm": "rpm"}
LIBRARY = Path("usr/lib/tandem")
VERSION = str(tomllib.loads((TREE / "pyproject.toml").read_text())["project"]["version"])
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
NEXT_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor + 1}"
NOT_COMPILED = (
    "What follows is pure Python, which does the same at about half the speed: the core was not compiled. "
    "That takes a C compiler and Python's header files (on Debian: apt-get install gcc libc6-dev python3-dev)."
)
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
COMPLETION = {
    "bash": ["bash-completion/completions/tandem"],
    "zsh": ["zsh/vendor-completions/_tandem", "zsh/site-functions/_tandem"],  # Debian's place, and that of others
    "fish": ["fish/vendor_completions.d/tandem.fish"],
}
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


class NotBuilt(Exception):
    """Something that was asked for cannot be built here; the message is a sentence."""


# -- where it is built


def prepare(python: Path) -> Path:
    """Return the Python of the environment for building, made if it is not there. NotBuilt if that fails."""
    made = ENVIRONMENT / "bin/python"
    lock = TREE / "requirements.lock"
    stamp = ENVIRONMENT / "ready"
    if stamp.exists() and stamp.stat().st_mtime >= lock.stat().st_mtime:
        return made
    install_system_packages(python)
    print(f"Preparing {ENVIRONMENT}; this takes a minute or two.", file=sys.stderr)
    if subprocess.run([python, "-m", "venv", "--clear", ENVIRONMENT], check=False, stdout=sys.stderr).returncode:
        raise NotBuilt(f"{python} cannot make an environment; on Debian, as root: apt-get install python3-venv.")
    pip = [str(made), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if subprocess.run([*pip, "--require-hashes", "-r", str(lock)], check=False, stdout=sys.stderr).returncode:
        raise NotBuilt("The packages of requirements.lock cannot be installed; what pip says is above.")
    stamp.touch()
    return made


def install_system_packages(python: Path) -> None:
    """Install what Debian has and this machine lacks, as root; others are told what is missing when it is needed."""
    wanted = (HERE / "packages.txt").read_text().split()
    is_debian = shutil.which("apt-get") and python.resolve().parent == SYSTEM_PYTHON.parent
    if not is_debian or os.geteuid() != 0:
        return
    if subprocess.run(["dpkg", "-s", *wanted], check=False, capture_output=True).returncode == 0:
        return
    print(f"Installing {', '.join(wanted)}.", file=sys.stderr)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "-q", "-y", "--no-install-recommends", *wanted]
    for command in (["apt-get", "update", "-q"], install):
        if subprocess.run(command, check=False, stdout=sys.stderr, env=environment).returncode:
            print("That failed; what cannot be built without them is told.", file=sys.stderr)
            return


# -- what is built


def wheel(into: Path, how: str) -> Path:
    """Build a wheel: `compiled`, `pure`, or compiled if that is possible."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps"]
    with tempfile.TemporaryDirectory(prefix="tandem-wheel-") as folder:
        done = subprocess.run(
            [*command, "--no-build-isolation", "--wheel-dir", folder, str(TREE)],
            env={**os.environ, "TANDEM_BUILD": how},
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise NotBuilt(f"The wheel cannot be built:\n{done.stdout}{done.stderr}")
        (made,) = Path(folder).glob("*.whl")
        into.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copy(made, into / made.name))


def is_compiled(built: Path) -> bool:
    """True if a wheel has the compiled core."""
    return not built.name.endswith("-none-any.whl")


def stage(into: Path, own: Path) -> None:
    """Put all that is installed below `into`; `own` is the wheel of Tandem itself."""
    library = into / LIBRARY
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    subprocess.run([*pip, "--require-hashes", "--target", str(library), "-r", str(runtime_lock(into))], check=True)
    shutil.rmtree(library / "bin")  # programs of others, and what pip would warn of
    subprocess.run([*pip, "--no-deps", "--target", str(library), str(own)], check=True)
    shutil.rmtree(library / "bin")
    program = into / "usr/bin/tandem"
    write(program, PROGRAM)
    program.chmod(0o755)
    for unit in ("tandem@.service", "tandem-web@.service"):
        copy(HERE / unit, into / "usr/lib/systemd/system" / unit)
    copy(HERE / "tandem.sysusers", into / "usr/lib/sysusers.d/tandem.conf")
    for name in ("alerts.yaml", "dashboard.json"):
        copy(TREE / "monitoring" / name, into / "usr/share/tandem" / name)
    stage_documents(into / "usr/share")
    stage_completion(into / "usr/share", library)


def stage_documents(share: Path) -> None:
    """Put the manual, the documents and the example below `share`."""
    manual = share / "man/man1/tandem.1.gz"
    manual.parent.mkdir(parents=True)
    manual.write_bytes(gzip.compress((HERE / "tandem.1").read_bytes(), mtime=0))
    documents = share / "doc/tandem"
    copy(HERE / "example.toml", documents / "examples/tandem.toml")
    copy(TREE / "LICENSE", documents / "copyright")
    for file in (TREE / "README.md", TREE / "CHANGELOG.md"):
        copy(file, documents / file.name)
    for file in sorted((TREE / "docs").rglob("*")):
        if file.suffix in (".md", ".png", ".svg") and file.is_file():
            copy(file, documents / "docs" / file.relative_to(TREE / "docs"))


def stage_completion(share: Path, library: Path) -> None:
    """Put scripts below `share` with which shells complete the commands."""
    made = (
        "import sys\nsys.path.insert(0, sys.argv[1])\n"
        "from typer.completion import get_completion_script\n"
        "print(get_completion_script(prog_name='tandem', complete_var='_TANDEM_COMPLETE', shell=sys.argv[2]))\n"
    )
    for shell, files in COMPLETION.items():
        command = [sys.executable, "-I", "-c", made, str(library), shell]
        script = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        for file in files:
            write(share / file, script + ('_tandem_completion "$@"\n' if shell == "zsh" else ""))


def runtime_lock(scratch: Path) -> Path:
    """Write the lock of what runs, without what is for development; return the file, which is beside `scratch`."""
    wanted = needed_to_run()
    text = (TREE / "requirements.lock").read_text()
    entries = re.split(r"(?m)^(?=\S)", text)
    file = scratch.with_name(scratch.name + ".lock")
    file.write_text("".join(entry for entry in entries if re.split("[=;\\s]", entry, maxsplit=1)[0] in wanted))
    return file


def needed_to_run() -> set[str]:
    """Return the names of what the program depends on, however far."""
    found: set[str] = set()
    wanted = list(tomllib.loads((TREE / "pyproject.toml").read_text())["project"]["dependencies"])
    while wanted:
        name = normal(wanted.pop())
        if name not in found:
            found.add(name)
            wanted += [each for each in requirements(name) if "extra ==" not in each]
    return found


def requirements(name: str) -> list[str]:
    """Return what an installed distribution requires; nothing if it is not installed, as on another system."""
    from importlib.metadata import PackageNotFoundError, requires

    try:
        return list(requires(name) or ())
    except PackageNotFoundError:
        return []


def normal(requirement: str) -> str:
    """Return the name in a requirement as the lock spells it."""
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
    depends = [f"python3 (>= {PYTHON})", f"python3 (<< {NEXT_PYTHON}~)"]
    _, _, libc = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    if libc:
        depends.append(f"libc6 (>= {libc})")
    control = (
        f"Package: tandem\nVersion: {VERSION}\nArchitecture: {architecture.strip()}\nMaintainer: The Tandem authors "
        f"<tandem@example.net>\nInstalled-Size: {size_kib}\nDepends: {', '.join(depends)}\n"
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


def build(kinds: list[str], into: Path, how: str) -> None:
    """Build what is asked for, and print where it is. NotBuilt says what is missing."""
    for kind in kinds:
        if kind in TOOLS and not shutil.which(TOOLS[kind]):
            raise NotBuilt(f"There is no {TOOLS[kind]} here; Debian has it in the package {TOOLS_ARE_IN[kind]}.")
    into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="tandem-package-") as scratch:
        own = wheel(into if "wheel" in kinds else Path(scratch), how)
        if not is_compiled(own) and how != "pure":
            print(NOT_COMPILED, file=sys.stderr)
        if "wheel" in kinds:
            print(own)
        if "wheel" in kinds and is_compiled(own):
            print(wheel(into, "pure"))
        for kind in kinds:
            if kind in TOOLS:
                tree = Path(scratch) / kind / "tree"
                tree.mkdir(parents=True)
                stage(tree, own)
                print({"deb": deb, "rpm": rpm}[kind](tree, into))


def main() -> None:
    """Build what is asked for, in an environment made for it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=(*TOOLS, "wheel", "all"), nargs="?", default="all")
    parser.add_argument("--into", type=Path, default=TREE / "dist", metavar="FOLDER")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--pure", action="store_const", const="pure", dest="how", help="without compiling")
    how.add_argument(
        "--compiled", action="store_const", const="compiled", dest="how", help="fail if it cannot be compiled"
    )
    parser.add_argument(
        "--python", type=Path, help=f"for packages of another Python than {SYSTEM_PYTHON}, or if there is none"
    )
    parser.add_argument("--here", action="store_true", help="in the environment of the Python that runs this")
    wanted = parser.parse_args()
    kinds = ["wheel", *TOOLS] if wanted.kind == "all" else [wanted.kind]
    try:
        if wanted.here:
            build(kinds, wanted.into.resolve(), wanted.how or "")
            return
        python = wanted.python or (SYSTEM_PYTHON if SYSTEM_PYTHON.exists() else Path(sys.executable))
        inside = [str(prepare(python)), "-I", str(HERE / "build.py"), wanted.kind, "--into", str(wanted.into), "--here"]
        raise SystemExit(
            subprocess.run([*inside, *([f"--{wanted.how}"] if wanted.how else [])], check=False).returncode
        )
    except NotBuilt as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()

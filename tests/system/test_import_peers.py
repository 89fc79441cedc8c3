"""What an imported file serves is what the other server serves: the same packets to both, answer beside answer.

The files are the examples that come with Kea, those of dhcpd's, and files of our own in `tests/imports/corpus` that use
every feature. What differs must be in the import's report, or in the short list of what RFC 9915 demands.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from imports.test_dhcpd import unaccounted as unaccounted_statements
from imports.test_kea import unaccounted
from system.needs import need_namespaces, need_program
from system.net import Lab
from system.replay import LINKS, Client, Hop, Site, conversations, unknown
from system.servers import Tandem
from tandem.config.load import load_text
from tandem.effects.settings import Settings
from tandem.imports.dhcpd import import_dhcpd
from tandem.imports.kea import import_kea
from tandem.imports.kea_text import read_kea
from tandem.imports.report import ImportFailed, Report, Verdict
from tandem.imports.standard_options import DHCP6, STANDARD
from tandem.imports.tandem_file import write_file
from tandem.wire.option import Option
from tandem.wire.options import ClientLinkLayer, InterfaceId

pytestmark = pytest.mark.system

EXAMPLES = Path("/usr/share/doc/kea/examples/kea6")
DEBIANS_EXAMPLE = Path("/etc/dhcp/dhcpd6.conf")
MANUAL = Path("/usr/share/man/man5/dhcpd.conf.5.gz")
CORPUS = Path(__file__).parent.parent / "imports" / "corpus"
MESSAGES_MIN = 40
"""Packets that each file is tried with."""
SERVER_DUID = {"type": "LL", "htype": 1, "identifier": "020000000001", "persist": False}
NOT_HERE = (
    "hooks-libraries",
    "control-socket",
    "hosts-databases",
    "config-control",
    "loggers",
    "dhcp-ddns",
    "data-directory",
)
"""What this machine has not: databases, hooks, other people's paths."""
KINDS: Mapping[str, tuple[Option, ...]] = {
    "plain": (),
    "cable modem": (unknown(17, "0000118b 0001 0004 0020 0021".replace(" ", "")),),
    "ipxe": (unknown(15, "0004" + b"iPXE".hex()),),
    "efi": (unknown(61, "0007"),),
    "phone": (unknown(16, "00000009" + "0007" + b"phone-7".hex()),),
}


class Demand(NamedTuple):
    """A difference that RFC 9915, or another, demands."""

    section: str
    why: str
    parts: str
    """A pattern of the parts of an answer."""
    steps: str = ".*"
    is_left_out: bool = True
    """Whether this server does not tell it."""

    def covers(self, step: str, part: str, ours: Any) -> bool:
        """True if this is why the part is told otherwise."""
        is_it = re.fullmatch(self.parts, part) is not None and re.fullmatch(self.steps, step) is not None
        return is_it and (ours is None or not self.is_left_out)


LEASES = "solicit|request|renew|rebind|bare solicit"
DEMANDS = (
    Demand("RFC 9915 18.3.9", "the preference goes with each Advertise", "option 7", is_left_out=False),
    Demand("RFC 9915 21.23", "the refresh time is for clients without leases", "option 32", LEASES),
    Demand("RFC 9915 18.3.7", "a Reply to a Release has a status", "status|IaNa|IaPd", "release", is_left_out=False),
    Demand("RFC 9915 18.3.7", "and no options", "option .*", "release"),
    Demand("RFC 9915 18.3.3, 21.7", "a Confirm asks for no options", "option .*", "confirm"),
    Demand("RFC 9915 18.3.3", "addresses of all subnets on a link fit it", "status", "confirm", is_left_out=False),
    Demand("RFC 4704 6", "the client's name goes to clients that ask for it", "option 39", "bare .*"),
    Demand("RFC 6422 6, RFC 9915 18.3", "as does what relays supply", "option (65|143)", "bare .*"),
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    need_namespaces()
    need_program("kea-dhcp6")
    need_program("dhcpd")
    with Lab() as lab:
        yield Site(lab, tmp_path_factory.mktemp("import"))


# -- who asks, and from where


class Way(NamedTuple):
    """From where a client's messages come."""

    name: str
    link: str
    relays: tuple[Hop, ...] = ()


def clients(ways: list[Way], declared: list[dict[str, Any]], reserved: list[Client]) -> list[list[Client]]:
    """Give the clients of a file in rounds: those with reservations on one way after the other, all others at once."""
    others: list[tuple[str, tuple[Option, ...], Mapping[str, Any]]] = [(*each, {}) for each in KINDS.items()]
    others += [(each["name"], _options(each.get("options", {})), each) for each in declared]
    first = [
        _on(way, Client(name, _duid(f"{way.name} {name}", more), options), _options(more.get("relay", {})))
        for way in ways
        for name, options, more in others
    ]
    rounds = [[*first, *(_on(ways[0], each, ()) for each in reserved)]]
    rounds += [[_on(way, each, ()) for each in reserved] for way in ways[1:] if reserved]
    return rounds


def _options(described: Mapping[str, str]) -> tuple[Option, ...]:
    return tuple(unknown(int(code), octets) for code, octets in described.items())


def _duid(name: str, more: Mapping[str, Any]) -> bytes:
    """Return a DUID of its own for each name, unless one is said; the octets behind a `*` are its own."""
    number = sum(each * (at + 1) for at, each in enumerate(name.encode())) & 0xFFFF
    head, star, tail = str(more.get("duid", "0003000102*")).partition("*")
    return bytes.fromhex(head) + (number.to_bytes(2, "big") + bytes.fromhex(tail or "0000aa") if star else b"")


def _on(way: Way, client: Client, relay_options: tuple[Option, ...]) -> Client:
    relays = way.relays
    if relays:
        *outer, inner = relays
        hardware = (ClientLinkLayer(1, client.duid[4:]),) if client.duid[:2] == b"\0\3" else ()
        options = {each.code: each for each in (*hardware, *inner.options, *relay_options)}
        relays = (*outer, inner.__class__(inner.link_address, tuple(options.values())))
    return Client(f"{client.name} / {way.name}", client.duid, client.options, way.link, relays, client.asked)


def kea_ways(dhcp6: Mapping[str, Any]) -> list[Way]:
    """Give the ways to the subnets of a file of Kea's."""
    found: dict[str, Way] = {}
    scopes: list[tuple[Mapping[str, Any], Mapping[str, Any]]] = [({}, each) for each in dhcp6.get("subnet6", ())]
    for network in dhcp6.get("shared-networks", ()):
        scopes += [(network, each) for each in network.get("subnet6", ())]
    for around, subnet in scopes:
        whole = {**around, **subnet}
        if whole.get("interface") in LINKS:
            found.setdefault(whole["interface"], Way(whole["interface"], whole["interface"]))
        addresses = [*whole.get("relay", {}).get("ip-addresses", ())] or [_inside(subnet["subnet"])]
        names = [whole["interface-id"], "unheard-of"] if whole.get("interface-id") else ["x"]
        for address in addresses:
            for name in names:
                found.setdefault(
                    f"{address} {name}",
                    Way(f"{address} {name}", LINKS[0], (Hop(address, (InterfaceId(name.encode()),)),)),
                )
    far = next((each for each in found.values() if each.relays), None)
    if far is not None:
        found["far"] = Way("far", LINKS[1], (Hop("2001:db8:fffe::1", (InterfaceId(b"up"),)), *far.relays))
    return list(found.values()) or [Way(link, link) for link in LINKS]


def _inside(prefix: str) -> str:
    return str(IPv6Network(prefix, strict=False)[1])


def kea_reserved(dhcp6: Any) -> Iterator[Client]:
    """Give the clients that a file of Kea's reserves something for."""
    for each in _sections(dhcp6, "reservations"):
        if "duid" in each:
            yield Client(f"reserved {each['duid']}", bytes.fromhex(each["duid"].replace(":", "")))
        elif "hw-address" in each:
            hardware = bytes.fromhex(each["hw-address"].replace(":", ""))
            yield Client(f"reserved {each['hw-address']}", b"\0\3\0\1" + hardware)


def _sections(value: Any, name: str) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == name and isinstance(inner, list):
                yield from inner
            yield from _sections(inner, name)
    elif isinstance(value, list):
        for each in value:
            yield from _sections(each, name)


# -- what differs, and what is said of it


class Difference(NamedTuple):
    """What a client is told otherwise at a step."""

    client: str
    step: str
    part: str
    theirs: Any
    ours: Any

    def __str__(self) -> str:
        return f"{self.client}, {self.step}, {self.part}:\n    theirs {self.theirs}\n    ours   {self.ours}"


def differences(
    theirs: Mapping[str, Any], ours: Mapping[str, Any], demands: Sequence[Demand] = DEMANDS
) -> Iterator[Difference]:
    """Give all that is told otherwise, but what the RFCs demand."""
    for client, steps in theirs.items():
        for step in {**steps, **ours[client]}:
            their_answer, our_answer = steps.get(step), ours[client].get(step)
            if their_answer is None or our_answer is None:
                # A client that no subnet is for is told so by Kea, and nothing by dhcpd and here.
                if _gives_something(their_answer) or _gives_something(our_answer):
                    yield Difference(client, step, "answer", their_answer, our_answer)
                continue
            for part in sorted({*their_answer, *our_answer}):
                pair = _with_time_passed(their_answer.get(part), our_answer.get(part)), our_answer.get(part)
                if pair[0] != pair[1] and not any(each.covers(step, part, pair[1]) for each in demands):
                    yield Difference(client, step, part, *pair)


def _gives_something(answer: Mapping[str, Any] | None) -> bool:
    if answer is None:
        return False
    return any("leases" in (answer.get(name) or {}) for name in ("IaNa", "IaPd"))


def said_of(report: Report) -> list[str]:
    """Give the paths of all settings of which the report says that they are lost or changed."""
    return [path for path in report.paths() if report.verdict(path) in (Verdict.NOT_CARRIED, Verdict.CHANGED)]


PLACES = ("pool", "reservation", "subnet", "interface")
"""What decides which leases a client is given."""


def is_reported(difference: Difference, dhcp6: Mapping[str, Any], report: Report) -> bool:
    """True if the report names a setting of Kea's that has to do with the difference."""
    paths = said_of(report)
    if _is_of_times(difference):
        return any("lifetime" in path or "timer" in path or "tee-times" in path for path in paths)
    if any(path.endswith((".test", ".client-class", ".only-if-required")) for path in paths):
        return True
    code = difference.part.removeprefix("option ")
    for path in paths:
        if ".ddns-" in path and code == "39":
            return True
        if ".option-data[" in path or ".option-def[" in path:
            if str(_code(_at({"Dhcp6": dhcp6}, path.rpartition(".")[0]))) == code:
                return True
        elif not difference.part.startswith("option") and any(word in path for word in PLACES):
            return True
    return False


def _is_of_times(difference: Difference) -> bool:
    """True if the same leases are told, for other times."""
    pair = (difference.theirs, difference.ours)
    leases = [each.get("leases", ()) if isinstance(each, dict) else () for each in pair]
    return bool(leases[0]) and [one["from"] for one in leases[0]] == [one["from"] for one in leases[1]]


def _at(value: Any, path: str) -> Any:
    for name, number in re.findall(r"([^.\[\]]+)|\[(\d+)\]", path):
        value = value[int(number) - 1] if number else value[name]
    return value


def _code(section: Mapping[str, Any]) -> int | None:
    space = section.get("space", DHCP6)
    if space.startswith("vendor-"):
        return 17
    if "code" in section:
        return int(section["code"])
    found = STANDARD.get(space, {}).get(section.get("name", ""))
    return found.code if found is not None else None


def serve(site: Site, text: str, name: str) -> tuple[list[str], Settings]:
    """Write the imported file, and give the command that serves it."""
    file = site.folder / f"{name}.toml"
    state = site.folder / f"{name}-state"
    table = text.index("[server.")
    end = text.index("\n", table) + 1
    file.write_text(f'{text[:end]}state-dir = "{state}"\n{text[end:]}')
    chosen = text[table + len("[server.") : end - 2]
    return [Tandem.program, "serve", str(file), "--server", chosen], load_text(text, chosen).settings


def answers(
    site: Site,
    argv: list[str],
    name: str,
    settings: Settings,
    rounds: list[list[Client]],
    theirs: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Give what all clients are told by a server."""
    found: dict[str, Any] = {}
    with site.running(argv, name):
        for each in rounds:
            found |= conversations(site, each, settings, theirs)
    return found


# -- Kea


def kea_settings(path: Path) -> dict[str, Any]:
    """Give a file of Kea's without what this machine has not."""
    dhcp6: dict[str, Any] = read_kea(path)["Dhcp6"]
    for name in NOT_HERE:
        dhcp6.pop(name, None)
    dhcp6["lease-database"] = {"type": "memfile", "persist": False}
    dhcp6["server-id"] = SERVER_DUID
    dhcp6["interfaces-config"] = {"interfaces": list(LINKS)}
    dhcp6["multi-threading"] = {"enable-multi-threading": False}
    return dhcp6


def compared_with_kea(site: Site, path: Path) -> tuple[list[Difference], dict[str, Any], Report, dict[str, Any]]:
    """Have a file served by Kea, and as it was imported; give what differs."""
    name = path.stem
    dhcp6 = kea_settings(path)
    file = site.folder / f"{name}.json"
    file.write_text(json.dumps({"Dhcp6": dhcp6}))
    report = Report()
    argv, settings = serve(site, write_file(import_kea(file, None, ["eth0"], report), name), name)
    declared = dhcp6.get("user-context", {}).get("clients", [])
    reserved = {each.duid: each for each in kea_reserved(dhcp6)}
    rounds = clients(kea_ways(dhcp6), declared, list(reserved.values()))
    places = [f"{each}={site.folder}" for each in ("KEA_PIDFILE_DIR", "KEA_LOCKFILE_DIR")]
    theirs = answers(site, ["env", *places, "kea-dhcp6", "-c", str(file)], f"kea-{name}", settings, rounds)
    ours = answers(site, argv, f"ours-{name}", settings, rounds, theirs)
    assert sum(len(steps) for steps in theirs.values()) >= MESSAGES_MIN
    return list(differences(theirs, ours)), dhcp6, report, theirs


KEA_SERVES = (
    "simple",
    "several-subnets",
    "shared-network",
    "multiple-options",
    "reservations",
    "global-reservations",
    "classify",
    "classify2",
    "advanced",
    "iPXE",
    "tee-times",
    "duid",
    "stateless",
    "all-options",
    "softwire46",
    "comments",
    "leases-expiration",
    "ha-hot-standby",
    "with-ddns",
    "hooks",
    "dhcpv4-over-dhcpv6",
)
KEA_CORPUS = sorted((CORPUS / "kea").glob("*.json"))


@pytest.mark.parametrize(
    "path", [*(EXAMPLES / f"{name}.json" for name in KEA_SERVES), *KEA_CORPUS], ids=lambda path: path.stem
)
def test_kea_and_the_import_of_its_file_answer_alike(site: Site, path: Path) -> None:
    found, dhcp6, report, theirs = compared_with_kea(site, path)
    assert any(each.get("solicit") for each in theirs.values()) or path.stem == "stateless"
    unsaid = [each for each in found if not is_reported(each, dhcp6, report)]
    kinds = {(each.step, each.part): each for each in reversed(unsaid)}
    assert not unsaid, f"{len(unsaid)} differences, such as:\n" + "\n".join(map(str, kinds.values()))


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.json")), ids=lambda path: path.stem)
def test_every_example_of_kea_is_accounted_for(path: Path) -> None:
    report = Report()
    text = write_file(import_kea(path, None, ["eth0"], report), path.name)
    assert unaccounted(path, report) == []
    server = text.partition("[server.")[2].partition("]")[0]
    assert load_text(text, server).complaints == ()


# -- dhcpd


def of_manual() -> list[str]:
    """Give the examples in dhcpd.conf(5): what stands there as it is, and has a block."""
    text = gzip.decompress(MANUAL.read_bytes()).decode() if MANUAL.exists() else ""
    blocks = re.findall(r"(?m)^\.nf$(.*?)^\.fi$", text, re.DOTALL)
    plain = [re.sub(r"\\f[BIRP]|\\&", "", re.sub(r"(?m)^\.(?!\d).*$", "", block)) for block in blocks]
    return [each.replace("\\-", "-").replace("\\(", "(") for each in plain if "{" in each and "[" not in each]


def test_every_example_of_dhcpds_manual_is_accounted_for(tmp_path: Path) -> None:
    need_program("dhcpd")
    examples = of_manual()
    read = 0
    for number, example in enumerate(examples):
        path = tmp_path / f"{number}.conf"
        path.write_text(example)
        report = Report()
        with contextlib.suppress(ImportFailed):  # some have dots where something was left out
            import_dhcpd(path, None, ["eth0"], report)
            read += 1
            assert unaccounted_statements(path, report) == [], example
    assert len(examples) > 10
    assert read > len(examples) * 2 // 3


def debians_example() -> str:
    """Return the file that comes with the package, with what is commented out in it, but no temporary addresses."""
    text = re.sub(r"(?m)^#(?=[a-z}\t ]*(?:host|subnet6|\}|\t))", "", DEBIANS_EXAMPLE.read_text())
    return re.sub(r"(?m)^.*temporary;$|^.*packet\(0,1\).*$", "", text)


def dhcpd_clients(text: str, settings: Settings) -> list[list[Client]]:
    """Give the clients of a file of dhcpd's: those that its comments describe, and those with reservations."""
    declared = [
        {"name": name, "options": dict(each.split("=") for each in options.split())}
        for name, options in re.findall(r"(?m)^# client (\S+)((?: \d+=\w+)+)$", text)
    ]
    subnets = [subnet for link in settings.links for subnet in link.subnets]
    ways = [Way(link, link) for link in LINKS]
    ways += [
        Way(f"{address} x", LINKS[0], (Hop(address, (InterfaceId(b"x"),)),))
        for address in (str(IPv6Address(subnet.first + 1)) for subnet in subnets)
    ]
    reserved = {
        each.duid or b"\0\3\0\1" + (each.link_layer or b""): each
        for link in settings.links
        for each in link.reservations
    }
    return clients(ways, declared, [Client(f"reserved {duid.hex()}", duid) for duid in reserved])


DEMANDED_OF_DHCPD = (
    *DEMANDS,
    Demand("RFC 9915 21.14", "a Reply has Rapid Commit only after a Solicit that had it", "option 14"),
)


def _is_one_of_few(client: Client) -> bool:
    return client.name.startswith("reserved") or (client.name.startswith("plain") and bool(client.relays))


def _as_pools(told: Mapping[str, Any]) -> dict[str, Any]:
    """Let all pools of prefixes of a subnet be one: of one statement there may be several."""
    found: dict[str, Any] = json.loads(re.sub(r"pd-pools\[\d+\]", "pd-pools", json.dumps(told)))
    return found


def _with_time_passed(theirs: Any, ours: Any) -> Any:
    """Return what they said of an IA, with our lifetimes where theirs are those less the time that an exchange took.

    dhcpd counts the lifetimes of a lease from when it made it.
    """
    if not (isinstance(theirs, dict) and isinstance(ours, dict) and {*theirs} == {*ours} == {"t1", "t2", "leases"}):
        return theirs
    leases = []
    for their, our in zip(theirs["leases"], ours["leases"], strict=False):
        passed = {name: our[name] - their[name] for name in ("preferred", "valid")}
        close = {name: our[name] for name, s in passed.items() if 0 < s <= TIME_PASSED_MAX_S}
        leases.append({**their, **close})
    return {**theirs, "leases": leases + theirs["leases"][len(leases) :]}


def is_reported_of_dhcpd(difference: Difference, report: Report) -> bool:
    """True if the report says so: of timers which the file does not have, or of a prefix that a host has no more."""
    if difference.part == "IaPd" and any("fixed-prefix6" in path for path in said_of(report)):
        return difference.client.startswith("reserved")
    pair = [dict(each) for each in (difference.theirs, difference.ours) if isinstance(each, dict)]
    timers = [(each.pop("t1", None), each.pop("t2", None)) for each in pair]
    is_said = any("dhcp-renewal-time" in path for path in said_of(report))
    return is_said and len(pair) == 2 and pair[0] == pair[1] and timers[0] == (0, 0)


TIME_PASSED_MAX_S = 60
DHCPD_FILES = (None, *sorted((CORPUS / "dhcpd").glob("*.conf")))


@pytest.mark.parametrize("path", DHCPD_FILES, ids=lambda path: path.stem if path else "debian")
def test_dhcpd_and_the_import_of_its_file_answer_alike(site: Site, path: Path | None) -> None:
    text = path.read_text() if path is not None else debians_example()
    name = path.stem if path is not None else "debian"
    file = site.folder / f"{name}.conf"
    file.write_text(text)
    report = Report()
    argv, settings = serve(site, write_file(import_dhcpd(file, None, list(LINKS), report), name), f"dhcpd-{name}")
    subnets = [subnet for link in settings.links for subnet in link.subnets]
    for link, subnet in zip(LINKS, subnets, strict=False):  # it serves links where it has an address in a subnet
        site.server.ip("address", "replace", f"{IPv6Address(subnet.first + 0xFE)}/64", "dev", link, "nodad")
    leases = site.folder / f"{name}.leases"
    leases.write_text("")
    command = ["dhcpd", "-6", "-f", "-d", "-cf", str(file), "-lf", str(leases), "-pf", str(site.folder / "pid"), *LINKS]
    rounds = dhcpd_clients(text, settings)
    if path is None:  # it has two addresses on each link
        rounds = [[each for each in round_ if _is_one_of_few(each)] for round_ in rounds]
    theirs = answers(site, command, f"dhcpd-{name}", settings, rounds)
    ours = answers(site, argv, f"ours-{name}", settings, rounds, theirs)
    assert sum(len(steps) for steps in theirs.values()) >= MESSAGES_MIN
    found = [
        each
        for each in differences(_as_pools(theirs), _as_pools(ours), DEMANDED_OF_DHCPD)
        if not is_reported_of_dhcpd(each, report)
    ]
    kinds = {(each.step, each.part): each for each in reversed(found)}
    assert not found, f"{len(found)} differences, such as:\n" + "\n".join(map(str, kinds.values()))

"""What an imported file serves is what the other server serves: the same packets to both, answer beside answer.

The files are those that come with Kea as its examples, and one of dhcpd's. Which address of a pool a client is given is
each server's own choice; all else is to be the same, or a reason is given here.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import select
import socket
from collections.abc import Iterator, Mapping
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from imports.test_dhcpd import unaccounted as unaccounted_statements
from imports.test_kea import unaccounted
from system.needs import need_namespaces, need_program
from system.net import Lab, Process, until
from system.servers import Tandem
from tandem.config.load import load_text
from tandem.effects.settings import Settings
from tandem.imports.dhcpd import import_dhcpd
from tandem.imports.kea import import_kea
from tandem.imports.kea_text import read_kea
from tandem.imports.report import ImportFailed, Report
from tandem.imports.tandem_file import write_file
from tandem.lease.lease import key_of
from tandem.wire.message import Message, MessageType, Relayed, read_message
from tandem.wire.option import Option, Unknown, write_options
from tandem.wire.options import (
    ClientId,
    IaAddress,
    IaNa,
    IaPd,
    IaPrefix,
    InterfaceId,
    OptionRequest,
    ServerId,
    Status,
    UserClass,
    VendorClass,
    VendorOptions,
)

pytestmark = pytest.mark.system

EXAMPLES = Path("/usr/share/doc/kea/examples/kea6")
MANUAL = Path("/usr/share/man/man5/dhcpd.conf.5.gz")
OWN = Path(__file__).parent.parent / "imports"
WITHIN_S = 20.0
ANSWER_WITHIN_S = 1.0
SERVERS_AND_RELAYS = "ff02::1:2"
ASKED = (
    *range(21, 25),
    *range(27, 36),
    40,
    41,
    42,
    51,
    52,
    *range(57, 61),
    64,
    65,
    82,
    83,
    94,
    95,
    96,
    103,
    143,
    250,
    300,
)
LINKS = ("eth0", "eth1")
PLAIN = ClientId(bytes.fromhex("0003000102000000aa01"))
IAS = ("IaNa", "IaPd")
ON_ITS_OWN = {ClientId.code, ServerId.code, IaNa.code, IaPd.code}

ELSEWHERE = ("config-backend", "mysql-reservations", "pgsql-reservations", "backends")
"""Examples whose leases or reservations lie in a database."""


class Question(NamedTuple):
    """A client, and the way it takes: directly on a link, or through a relay with a link-address."""

    name: str
    options: tuple[Option, ...]
    link: str
    relay: str = ""


class Site:
    """A server with two links, and a host with a client and a relay on both."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.folder = folder
        self.server = lab.host("server")
        self._clients = lab.host("clients")
        for number, link in enumerate(LINKS):
            lab.link(link)
            lab.plug(self.server, link, link, f"2001:db8:ffff:{number}::1/64")
            lab.plug(self._clients, link, link, f"2001:db8:ffff:{number}::2/64")

    @contextlib.contextmanager
    def running(self, argv: list[str], name: str) -> Iterator[Process]:
        """Run a server until it is not needed any more."""
        process = self.server.start(argv, self.folder / f"{name}.log")
        try:
            until(lambda: process.listens(547), WITHIN_S, f"listening, see {process.log}")
            yield process
        finally:
            self.server.kill_all()

    def ask(self, question: Question, message: Message) -> Message | None:
        """Give the answer, None if there is none in time."""
        port, sent = 546, message.write()
        if question.relay:
            port = 547
            peer = IPv6Address("fe80::c").packed
            link_address = IPv6Address(question.relay).packed
            relayed = Relayed(MessageType.RELAY_FORW, 0, link_address, peer, (InterfaceId(b"x"),), message)
            sent = relayed.write()
        with self._clients.inside():
            door = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
            index = socket.if_nametoindex(question.link)
        with door:
            door.bind(("::", port))
            door.sendto(sent, (SERVERS_AND_RELAYS, 547, 0, index))
            while select.select([door], [], [], ANSWER_WITHIN_S)[0]:
                answer = read_message(door.recv(65_535))
                while isinstance(answer, Relayed):
                    answer = answer.message
                if answer.transaction_id == message.transaction_id:
                    return answer
        return None


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    need_namespaces()
    need_program("kea-dhcp6")
    need_program("dhcpd")
    with Lab() as lab:
        yield Site(lab, tmp_path_factory.mktemp("import"))


def told(answer: Message | None, settings: Settings) -> dict[str, Any] | None:
    """Give what a client is told, with the pool in the place of an address that is of one; None without an answer."""
    if answer is None:
        return None
    found: dict[str, Any] = {"type": answer.type.name}
    for each in answer.options:
        if isinstance(each, IaNa | IaPd):
            found[type(each).__name__] = _of_ia(each, settings)
        elif each.code not in ON_ITS_OWN and not isinstance(each, Status):
            found.setdefault(f"option {each.code}", []).append(write_options((each,)).hex())
    return found


def _of_ia(ia: IaNa | IaPd, settings: Settings) -> dict[str, Any]:
    leases = [each for each in ia.options if isinstance(each, IaAddress | IaPrefix)]
    live = [each for each in leases if each.valid]
    if not live:
        return {"refused": True}
    inside = [
        {
            "from": _place(each, settings),
            # dhcpd tells the time that is left of what it gave a moment ago.
            "preferred": round(each.preferred, -1),
            "valid": round(each.valid, -1),
            "options": write_options(tuple(one for one in each.options if not isinstance(one, Status))).hex(),
        }
        for each in live
    ]
    return {"t1": ia.t1, "t2": ia.t2, "leases": inside}


def _place(lease: IaAddress | IaPrefix, settings: Settings) -> str:
    """Say which pool a lease is of, or which lease it is if it is reserved."""
    length = lease.length if isinstance(lease, IaPrefix) else 128
    packed = lease.prefix if isinstance(lease, IaPrefix) else lease.address
    key = key_of(int.from_bytes(packed, "big"), length)
    for link in settings.links:
        if key in link.reservations.leases():
            return f"{IPv6Address(packed)}/{length}"
    for link in settings.links:
        for subnet in link.subnets:
            for pool in subnet.pools:
                if pool.range.first <= key >> 8 <= pool.range.last and pool.range.length == length:
                    return pool.where
    return f"{IPv6Address(packed)}/{length}"


def conversation(site: Site, question: Question, settings: Settings) -> dict[str, Any]:
    """Let a client solicit, request and renew, and only ask for information; give what it is told each time."""
    number = sum(map(ord, question.name)) & 0xFFFF
    asked = OptionRequest(ASKED)
    ias = (IaNa(1), IaPd(2))
    found: dict[str, Any] = {}
    answer = site.ask(question, Message(MessageType.SOLICIT, number << 4, (*question.options, asked, *ias)))
    found["solicit"] = told(answer, settings)
    if answer is not None:
        server = next(each for each in answer.options if isinstance(each, ServerId))
        offered = tuple(each for each in answer.options if isinstance(each, IaNa | IaPd))
        for step, (name, type_) in enumerate((("request", MessageType.REQUEST), ("renew", MessageType.RENEW)), 1):
            options = (*question.options, server, asked, *offered)
            answer = site.ask(question, Message(type_, (number << 4) + step, options))
            found[name] = told(answer, settings)
            offered = tuple(each for each in answer.options if isinstance(each, IaNa | IaPd)) if answer else offered
    stateless = site.ask(
        question, Message(MessageType.INFORMATION_REQUEST, (number << 4) + 9, (*question.options, asked))
    )
    found["information"] = told(stateless, settings)
    return found


def duids(settings: Settings) -> Iterator[bytes]:
    """Give DUIDs of those who have reservations."""
    for link in settings.links:
        for reservation in link.reservations:
            if reservation.duid is not None:
                yield reservation.duid
            elif reservation.link_layer is not None:
                yield b"\0\3\0\1" + reservation.link_layer


def questions(settings: Settings) -> Iterator[Question]:
    """Ask from everywhere as everybody who could be told something of their own."""
    kinds: Mapping[str, tuple[Option, ...]] = {
        "plain": (),
        "cable modem": (VendorOptions(4491, ((1, b"\0\x20"),)),),
        "ipxe": (UserClass((b"iPXE",)),),
        "efi": (Unknown(61, b"\0\x07"),),
        "phone": (VendorClass(9, (b"phone-7",)),),
    }
    clients = [(name, (PLAIN, *options)) for name, options in kinds.items()]
    clients += [(f"reserved {number}", (ClientId(duid),)) for number, duid in enumerate(dict.fromkeys(duids(settings)))]
    ways = [(link, "") for link in LINKS if any(s.interface == link for each in settings.links for s in each.subnets)]
    ways += [("eth0", str(IPv6Address(subnet.first + 1))) for each in settings.links for subnet in each.subnets]
    for link, relay in ways:
        for name, options in clients:
            # Each is another client on each way, or it would ask for what it was given elsewhere.
            own = tuple(_elsewhere(each, f"{link}{relay}{name}") if each == PLAIN else each for each in options)
            yield Question(f"{name} {relay or link}", own, link, relay)


def _elsewhere(client: ClientId, way: str) -> ClientId:
    return ClientId(client.duid[:-3] + (sum(map(ord, way)) & 0xFFFFFF).to_bytes(3, "big"))


def answers(site: Site, argv: list[str], name: str, settings: Settings) -> dict[str, Any]:
    with site.running(argv, name):
        return {each.name: conversation(site, each, settings) for each in questions(settings)}


def serve(site: Site, text: str, name: str) -> tuple[list[str], Settings]:
    """Write the imported file, and give the command that serves it."""
    file = site.folder / f"{name}.toml"
    state = site.folder / f"{name}-state"
    table = text.index("[server.")
    end = text.index("\n", table) + 1
    file.write_text(f'{text[:end]}state-dir = "{state}"\n{text[end:]}')
    chosen = text[table + len("[server.") : end - 2]
    return [Tandem.program, "serve", str(file), "--server", chosen], load_text(text, chosen).settings


def differences(
    theirs: dict[str, Any], ours: dict[str, Any], settings: Settings, explained: Mapping[str, str]
) -> list[str]:
    """Give all that a client is told otherwise, in a line each, but what is explained."""
    found = []
    for client, their_steps in theirs.items():
        steps = [(step, their_answer, ours[client].get(step)) for step, their_answer in their_steps.items()]
        # Who is given leases of another subnet on its link is also told what is said there.
        is_elsewhere = any(_is_one_link((a.get(ia), b.get(ia)), settings) for _, a, b in steps if a and b for ia in IAS)
        for step, their_answer, our_answer in steps:
            if their_answer is None or our_answer is None:
                # A client that no subnet is for is told so by Kea, and nothing by dhcpd and here.
                if _gives_leases(their_answer) or _gives_leases(our_answer):
                    found.append(f"{client}, {step}: theirs {their_answer}, ours {our_answer}")
                continue
            for part in sorted({*their_answer, *our_answer} - explained.keys()):
                pair = their_answer.get(part), our_answer.get(part)
                if pair[0] != pair[1] and not (is_elsewhere and (part not in IAS or _is_one_link(pair, settings))):
                    found.append(f"{client}, {step}, {part}: theirs {pair[0]}, ours {pair[1]}")
    return found


def _gives_leases(answer: dict[str, Any] | None) -> bool:
    return answer is not None and any("leases" in (answer.get(name) or {}) for name in IAS)


def _is_one_link(pair: tuple[Any, Any], settings: Settings) -> bool:
    """Say whether all differs in the subnet, of two on one interface: for Kea each is a link, here they are one."""
    theirs, ours = pair
    if theirs == ours or not isinstance(theirs, dict) or not isinstance(ours, dict):
        return False
    shared = {
        subnet.where: link.name
        for link in settings.links
        for subnet in link.subnets
        if len(link.subnets) > 1 and link.name in LINKS
    }
    ours_in = {shared.get(each["from"].partition(".")[0]) for each in ours.get("leases", ())}
    if theirs == {"refused": True}:
        return None not in ours_in and bool(ours_in)
    theirs_in = {shared.get(each["from"].partition(".")[0]) for each in theirs.get("leases", ())}
    return theirs_in == ours_in and None not in ours_in and bool(ours_in) and _times(theirs) == _times(ours)


def _times(ia: dict[str, Any]) -> list[Any]:
    return [
        ia["t1"],
        ia["t2"],
        *(each["valid"] for each in ia["leases"]),
        *(each["preferred"] for each in ia["leases"]),
    ]


EXPLAINED = {
    "option 7": "the preference goes with each Advertise, asked for or not (RFC 9915 18.3.9), and nowhere else",
    "option 32": "the information refresh time is for clients without leases (RFC 9915 21.23)",
}


EXPLAINED_OF_DHCPD = {
    **EXPLAINED,
    "option 14": "a Reply has Rapid Commit only after a Solicit that had it (RFC 9915 21.14)",
    "option 22": "what dhcpd works out for each packet is not carried over",
}


def kea_settings(path: Path) -> dict[str, Any]:
    """Give an example without what this machine has not: databases, hooks, other people's paths."""
    dhcp6: dict[str, Any] = read_kea(path)["Dhcp6"]
    for name in (
        "hooks-libraries",
        "control-socket",
        "hosts-databases",
        "config-control",
        "loggers",
        "dhcp-ddns",
        "data-directory",
    ):
        dhcp6.pop(name, None)
    dhcp6["lease-database"] = {"type": "memfile", "persist": False}
    dhcp6["server-id"] = {"type": "LL", "htype": 1, "identifier": "020000000001", "persist": False}
    return dhcp6


KEA_SERVES = (
    "simple",
    "several-subnets",
    "shared-network",
    "multiple-options",
    "reservations",
    "classify",
    "classify2",
    "advanced",
    "iPXE",
    "tee-times",
    "duid",
    "stateless",
    "all-options",
)


@pytest.mark.parametrize("name", KEA_SERVES)
def test_kea_and_the_import_of_its_file_answer_alike(site: Site, name: str) -> None:
    path = site.folder / f"{name}.json"
    dhcp6 = kea_settings(EXAMPLES / f"{name}.json")
    dhcp6["interfaces-config"] = {"interfaces": list(LINKS)}
    path.write_text(json.dumps({"Dhcp6": dhcp6}))
    argv, settings = serve(site, write_file(import_kea(path, None, ["eth0"], Report()), name), name)
    places = [f"{each}={site.folder}" for each in ("KEA_PIDFILE_DIR", "KEA_LOCKFILE_DIR")]
    theirs = answers(site, ["env", *places, "kea-dhcp6", "-c", str(path)], f"kea-{name}", settings)
    ours = answers(site, argv, f"ours-{name}", settings)
    assert any(each["solicit"] for each in theirs.values()) or name == "stateless"
    found = differences(theirs, ours, settings, EXPLAINED)
    assert not found, "\n".join(found)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.json")), ids=lambda path: path.stem)
def test_every_example_of_kea_is_accounted_for(path: Path) -> None:
    report = Report()
    text = write_file(import_kea(path, None, ["eth0"], report), path.name)
    assert unaccounted(path, report) == []
    server = text.partition("[server.")[2].partition("]")[0]
    assert load_text(text, server).complaints == ()


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


def test_dhcpd_and_the_import_of_its_file_answer_alike(site: Site) -> None:
    path = OWN / "dhcpd6.conf"
    argv, settings = serve(site, write_file(import_dhcpd(path, None, list(LINKS), Report()), "dhcpd"), "dhcpd")
    for number, link in enumerate(LINKS, 1):  # it serves links where it has an address in a subnet
        site.server.ip("address", "add", f"2001:db8:{number}::fe/64", "dev", link, "nodad")
    leases = site.folder / "dhcpd6.leases"
    leases.write_text("")
    theirs = answers(
        site,
        ["dhcpd", "-6", "-f", "-d", "-cf", str(path), "-lf", str(leases), "-pf", str(site.folder / "pid"), *LINKS],
        "dhcpd",
        settings,
    )
    ours = answers(site, argv, "ours-dhcpd", settings)
    assert any(each["solicit"] for each in theirs.values())
    found = differences(theirs, ours, settings, EXPLAINED_OF_DHCPD)
    assert not found, "\n".join(found)

"""One node and its clients, driven by the words of a script.

serve FILE                        start a node with FILE.toml
restart [FILE]                    start again from what is on disk
reload FILE                       read another file
tick 61s                          let time pass
disk full|ok                      let the store refuse or accept
utc +30s                          step the wall clock alone
accept-clock                      an operator says that the clock is right
c1 solicit na=1 pd=2@::/60        a message from client c1; @ names leases, separated by commas
    server=ours|other|none  oro=23,24  rapid  unicast  no-client-id  fqdn=NAME  hw=02:00:...
    na-again=1 (that IA once more)  tail=OCTETS (behind the last option)
    vendor=ENTERPRISE:TEXT  user=TEXT  opt=CODE:OCTETS
    link=ADDRESS (through a relay there; several, innermost first, separated by >)  rsoo=65:0102
    remote=TEXT  port-name=TEXT (of the innermost relay, and of all)  from=ADDRESS (the datagram's source)
lease ADDRESS                     what the table holds
why c1 solicit na=1               how that message would be answered, step by step
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv6Address, IPv6Interface
from pathlib import Path

from tandem.config.load import load
from tandem.effects.effects import Answer, Effects, Send
from tandem.effects.events import Command, Datagram, Disk, Event, Interfaces, Reload
from tandem.effects.now import Now
from tandem.lease.change import Put
from tandem.lease.lease import FOREVER, BindingStatus, show_key, unpack
from tandem.lease.table import load_table
from tandem.node import Identity, Node
from tandem.wire.message import RELAY_HEADER, Message, MessageType, Relayed, read_message
from tandem.wire.octets import write_option
from tandem.wire.option import Option, Unknown, show_option, write_options
from tandem.wire.options import (
    ClientFqdn,
    ClientId,
    ClientLinkLayer,
    IaAddress,
    IaNa,
    IaPd,
    IaPrefix,
    InterfaceId,
    OptionRequest,
    RapidCommit,
    RelayMessage,
    RelaySuppliedOptions,
    ServerId,
    UserClass,
    VendorClass,
)

HERE = Path(__file__).parent
START_UTC = 1_800_000_000
DUID = bytes.fromhex("00030001020000000001")
OTHER_DUID = bytes.fromhex("00030001020000000002")
IDENTITY = Identity(DUID, b"secret of a test")
MULTICAST = IPv6Address("ff02::1:2").packed
UNICAST = IPv6Address("2001:db8:1::1").packed
UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
NAMES_OUR_SERVER = ("request", "renew", "release", "decline")
QUIET_NOTES = ("answered",)


class World:
    """A node, its disk, and the time."""

    def __init__(self) -> None:
        self._mono = 1000.0
        self._utc = START_UTC
        self._disk: dict[int, bytes] = {}
        self._node: Node | None = None

    def obey(self, command: str) -> str:
        """Do one command of a script and give what it prints."""
        verb, *words = command.split()
        match verb:
            case "serve" | "restart":
                return self._serve(words[0] if words else self._file)
            case "reload":
                return self._handle(Reload(load(HERE / f"{words[0]}.toml", None).settings))
            case "tick":
                passed_s = seconds(words[0])
                self._mono += passed_s
                self._utc += passed_s
                return self._handle()
            case "utc":
                self._utc += seconds(words[0])
                return self._handle()
            case "disk":
                return self._handle(Disk(words[0] == "ok", words[0]))
            case "accept-clock":
                return self._handle(Command(1, "clock-accept", {}))
            case "lease":
                return self._handle(Command(1, "lease-show", {"lease": words[0]}))
            case "explain":
                return self._handle(Command(1, "explain", {"duid": duid_of(words[0]).hex()}))
            case "why":
                datagram = self._datagram(words[0], words[1], words[2:])
                heard_on = {1: "eth0", 2: "eth1"}[datagram.interface]
                arguments = {"packet": datagram.data.hex(), "interface": heard_on, "from": datagram.peer}
                return self._handle(Command(1, "explain", arguments))
            case _:
                return self._handle(self._datagram(verb, words[0], words[1:]))

    def _serve(self, name: str) -> str:
        self._file = name
        table = load_table(Put(key, record) for key, record in self._disk.items())
        settings = load(HERE / f"{name}.toml", None).settings
        self._node = Node(settings, IDENTITY, table, Now(self._mono, self._utc))
        return self._handle(Interfaces({1: ("eth0", ()), 2: ("eth1", (int(IPv6Address("2001:db8:2::1")),))}))

    def _handle(self, *events: Event) -> str:
        assert self._node is not None
        effects = self._node.handle(Now(self._mono, self._utc), events)
        for change in effects.commit:
            assert isinstance(change, Put)
            if change.record is None:
                self._disk.pop(change.key, None)
            else:
                self._disk[change.key] = change.record
        return "\n".join(self._show(effects))

    def _show(self, effects: Effects) -> Iterator[str]:
        for change in effects.commit:
            assert isinstance(change, Put)
            yield f"commit {self._show_change(change)}"
        for note in effects.notes:
            if note.event == "dropped":
                yield f"drop: {note.values['reason']}"
            elif note.event not in (*QUIET_NOTES, "lease-ended"):
                values = " ".join(f"{name}={value}" for name, value in note.values.items())
                yield f"note {note.event} {values}".rstrip()
        for at, out in (("at once", effects.at_once), ("then", effects.then)):
            for each in out:
                if isinstance(each, Answer):
                    yield from _show_answer(each)
                elif isinstance(each, Send):
                    yield from _show_send(each, at)

    def _show_change(self, change: Put) -> str:
        if change.record is None:
            return f"{show_key(change.key)} forgotten"
        lease = unpack(change.key, change.record)
        until = "forever" if lease.state_expiration_time == FOREVER else f"{lease.state_expiration_time - self._utc:+}s"
        return f"{show_key(lease.key)} {BindingStatus(lease.status).name} {_client(lease.duid)} ia={lease.iaid} {until}"

    def _datagram(self, client: str, kind: str, words: list[str]) -> Datagram:
        given = dict(word.partition("=")[::2] for word in words)
        data = write_question(client, kind, given, _server_duid(kind, given)) + bytes.fromhex(given.get("tail", ""))
        for hops, link in enumerate(given["link"].split(">") if "link" in given else ()):
            data = _relayed(data, hops, link, given)
        local = UNICAST if "unicast" in given else MULTICAST
        return Datagram(data, given.get("from", "fe80::1"), 1546, int(given.get("interface", "1")), 1, local)


def write_question(client: str, kind: str, given: dict[str, str], server_duid: bytes | None) -> bytes:
    """Give a client's message, described as in a script, to the server of that DUID or to any."""
    type_ = MessageType[kind.upper().replace("-", "_")]
    server = () if server_duid is None else (ServerId(server_duid),)
    return Message(type_, 0x7A11, (*_client_id(client, given), *server, *_options(given))).write()


def _client_id(client: str, given: dict[str, str]) -> Iterator[Option]:
    if "no-client-id" not in given:
        yield ClientId(duid_of(client))


def _server_duid(kind: str, given: dict[str, str]) -> bytes | None:
    server = given.get("server", "ours" if kind in NAMES_OUR_SERVER else "none")
    return None if server == "none" else DUID if server == "ours" else OTHER_DUID


def _options(given: dict[str, str]) -> Iterator[Option]:
    if "oro" in given:
        yield OptionRequest(tuple(int(code) for code in given["oro"].split(",")))
    if "rapid" in given:
        yield RapidCommit()
    if "fqdn" in given:
        yield ClientFqdn(1, given["fqdn"])
    if "vendor" in given:
        enterprise, _, text = given["vendor"].partition(":")
        yield VendorClass(int(enterprise), (text.encode(),))
    if "user" in given:
        yield UserClass((given["user"].encode(),))
    if "opt" in given:
        code, _, body = given["opt"].partition(":")
        yield Unknown(int(code), bytes.fromhex(body))
    for name, value in given.items():
        iaid, _, leases = value.partition("@")
        asked = leases.split(",") if leases else []
        if name.startswith("na"):
            yield IaNa(int(iaid), 0, 0, tuple(IaAddress(IPv6Address(each).packed) for each in asked))
        elif name.startswith("pd"):
            yield IaPd(int(iaid), 0, 0, tuple(_prefix(each) for each in asked))
        elif name == "ta":
            yield Unknown(4, int(iaid).to_bytes(4, "big"))


def _relayed(data: bytes, hops: int, link: str, given: dict[str, str]) -> bytes:
    options: list[Option] = [InterfaceId(given.get("port-name", f"port{hops}").encode())]
    if "hw" in given and hops == 0:
        options.append(ClientLinkLayer(1, bytes.fromhex(given["hw"].replace(":", ""))))
    if "rsoo" in given:
        code, _, body = given["rsoo"].partition(":")
        options.append(RelaySuppliedOptions((Unknown(int(code), bytes.fromhex(body) + bytes((hops,))),)))
    if "remote" in given and hops == 0:
        options.append(Unknown(37, bytes(4) + given["remote"].encode()))
    if "port" in given:
        options.append(Unknown(135, b"\0\0"))
    peer = IPv6Address("fe80::c").packed
    address = IPv6Address(link).packed
    header = RELAY_HEADER.pack(MessageType.RELAY_FORW, hops, address, peer)
    return header + write_options(options) + write_option(RelayMessage.code, data)


def _prefix(text: str) -> IaPrefix:
    prefix = IPv6Interface(text)  # with whatever bits behind its length
    return IaPrefix(0, 0, prefix.network.prefixlen, prefix.ip.packed)


def _show_send(send: Send, at: str) -> Iterator[str]:
    message = read_message(send.data)
    indent = ""
    yield f"{at}, to port {send.port}:"
    while isinstance(message, Relayed):
        indent += "  "
        link, options = IPv6Address(message.link_address), ", ".join(map(show_option, message.options))
        yield f"{indent}{message.type.name} hops={message.hop_count} link={link} {options}"
        message = message.message
    indent += "  "
    yield f"{indent}{message.type.name}"
    for each in message.options:
        if not isinstance(each, ClientId | ServerId):
            yield f"{indent}  {show_option(each)}"


def _show_answer(answer: Answer) -> Iterator[str]:
    if answer.error is not None:
        yield answer.error
    elif "links" in answer.result:
        for link in answer.result["links"]:
            yield f"{link['link']}:"
            yield from (f"  {step}" for step in link["steps"])
    elif "seconds" in answer.result:
        yield " ".join(f"{name}={value}" for name, value in answer.result.items())
    else:
        shown = {name: answer.result[name] for name in ("lease", "status", "held", "fqdn")}
        yield " ".join(f"{name}={value}" for name, value in shown.items())


def duid_of(client: str) -> bytes:
    """Give the DUID of client c1, c2, ..."""
    return b"\0\3\0\1\2\0\0\0\0" + bytes((int(client.removeprefix("c")),))


def _client(duid: bytes) -> str:
    return f"c{duid[-1]}"


def seconds(text: str) -> int:
    """Read `61s`, `+2m` or `-1d`."""
    return int(text[:-1]) * UNITS_S[text[-1]]

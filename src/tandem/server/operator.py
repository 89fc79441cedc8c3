"""What an operator may ask of the server and its leases. Results are values as JSON has them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from ipaddress import AddressValueError, IPv6Address, IPv6Network
from itertools import count
from typing import Any, Final, TypeVar

from tandem.effects.effects import Effects
from tandem.effects.events import Datagram
from tandem.effects.now import Moment
from tandem.effects.rules import Rules
from tandem.effects.settings import PoolSettings
from tandem.lease.lease import FOREVER, STATUS_AT, BindingStatus, Lease, duid_of, is_held, key_of, show_key, unpack
from tandem.server.engine import Engine
from tandem.server.explain import IA_NAMES, explain, explain_packet, why_lease
from tandem.wire.option import read_options
from tandem.wire.options import ClientFqdn
from tandem.wire.reader import Reader
from tandem.wire.received import ADDRESS_LENGTH
from tandem.wire.text import read_octets, show_address, show_octets

LISTINGS_MAX: Final = 4
"""Lists that are being read page by page at the same time; the oldest is given up."""
EXAMINED_PER_PAGE: Final = 20_000
FOUND_PER_PAGE: Final = 500
"""Leases on a page, of so many that were looked at: a few milliseconds in which nobody is answered."""

SERVERS: Final = "ff02::1:2"
"""Where clients send to (RFC 9915 7.1)."""
Arguments = Mapping[str, Any]
Some = TypeVar("Some")


class CommandError(Exception):
    """The command cannot be obeyed; the message is a sentence for the operator."""


class Operator:
    """Obeys commands by name. Each does a bounded amount of work."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._listings: dict[int, Iterator[int | None]] = {}
        self._tickets = count(1)
        self._rules: Mapping[str | None, Rules] = {None: Rules()}
        self._commands: dict[str, Callable[[Moment, Arguments, Effects], Any]] = {
            "status": self._status,
            "lease-list": self._list,
            "lease-show": self._show,
            "lease-release": self._release,
            "explain": self._explain,
        }

    @property
    def names(self) -> Collection[str]:
        """The names of all commands."""
        return self._commands.keys()

    def obey(
        self, now: Moment, name: str, arguments: Arguments, rules: Mapping[str | None, Rules], effects: Effects
    ) -> Any:
        """Do what is asked, by the rules that hold now, and give the result. CommandError says why not."""
        self._rules = rules
        command = self._commands.get(name)
        if command is None:
            known = ", ".join(sorted(self._commands))
            raise CommandError(f"There is no command {name!r}; there are {known}.")
        return command(now, arguments, effects)

    def _status(self, now: Moment, _arguments: Arguments, _effects: Effects) -> Any:
        settings, table = self._engine.settings, self._engine.table
        return {
            "server": settings.server,
            "duid": show_octets(self._engine.duid),
            "time": now.utc,
            "leases-known": len(table),
            "links": [
                {
                    "name": link.name,
                    "subnets": [subnet.name for subnet in link.subnets],
                    "pools": [self._pool(pool) for subnet in link.subnets for pool in subnet.pools],
                }
                for link in settings.links
            ],
        }

    def _pool(self, settings: PoolSettings) -> dict[str, Any]:
        pool = self._engine.table.pool_from(settings.range.first)
        first, _, length = settings.range
        return {
            "where": settings.where,
            "first": show_key(key_of(first, length)),
            "last": show_key(key_of(settings.range.last_start, length)),
            "size": pool.size if pool else 0,
            "in-use": pool.in_use if pool else 0,
            "remembered": pool.remembered if pool else 0,
        }

    def _list(self, now: Moment, arguments: Arguments, _effects: Effects) -> Any:
        """Give one page. `next`, if not null, is the argument `from` that asks for the next one."""
        wanted = _filters(arguments)
        table = self._engine.table
        token = arguments.get("from")
        keys = self._listings.pop(token, None) if isinstance(token, int) else None
        if token is not None and keys is None:
            raise CommandError("That list is no longer open; begin it again.")
        if keys is None:
            keys = self._keys_to_look_at(arguments)
        found, more = [], False
        for key in keys:
            record = table.record(key) if key is not None else None
            if key is not None and record is not None and wanted(key, record):
                found.append(describe(unpack(key, record), now.lapse_utc))
            if key is None or len(found) == FOUND_PER_PAGE:
                more = True
                break
        return {"leases": found, "next": self._keep(keys) if more else None}

    def _keys_to_look_at(self, arguments: Arguments) -> Iterator[int | None]:
        """Give the keys among which all that is asked for must be: few, where an index knows them.

        None among them says that many were looked at, and clients should have their turn.
        """
        table = self._engine.table
        if arguments.get("duid") is not None:
            duid = _read_duid(arguments["duid"])
            yield from (*table.keys_of_client(duid), *table.abandoned_by(duid))
        elif arguments.get("within") is not None and (key := _read_key(arguments["within"])) & 0xFF == ADDRESS_LENGTH:
            yield key
        elif arguments.get("client") is not None:
            part = _read_duid(arguments["client"])
            for duids in _portions(table.clients()):
                yield from [
                    key
                    for duid in duids
                    if part in duid
                    for key in (*table.keys_of_client(duid), *table.abandoned_by(duid))
                ]
                yield None
        else:
            for keys in _portions(table.keys()):
                yield from keys
                yield None

    def _keep(self, keys: Iterator[int | None]) -> int:
        if len(self._listings) >= LISTINGS_MAX:
            del self._listings[min(self._listings)]
        token = next(self._tickets)
        self._listings[token] = keys
        return token

    def _show(self, now: Moment, arguments: Arguments, _effects: Effects) -> Any:
        return describe(self._find(arguments), now.lapse_utc)

    def _release(self, now: Moment, arguments: Arguments, effects: Effects) -> Any:
        """End a lease as if its client had released it. The client is not told."""
        lease = self._find(arguments)
        if lease.status not in (BindingStatus.ACTIVE, BindingStatus.ABANDONED):
            raise CommandError(f"{show_key(lease.key)} is not held: it is {_status_name(lease)}.")
        status = BindingStatus.RELEASED
        if lease.status != BindingStatus.ACTIVE:
            shared = self._engine.table.relationship_of(lease.key) is not None
            status = BindingStatus.RESET if shared else BindingStatus.FREE
        ended = lease.ended(status, now.utc, now.utc)
        effects.commit.append(self._engine.table.change(ended))
        effects.note("lease-released-by-operator", "warning", key=lease.key, duid=lease.duid)
        return describe(ended, now.lapse_utc)

    def _explain(self, now: Moment, arguments: Arguments, _effects: Effects) -> Any:
        address, packet = arguments.get("lease"), arguments.get("packet")
        if packet is not None:
            interface, to = self._interface(arguments.get("interface")), _read_address(arguments.get("to", SERVERS))
            source = arguments.get("from")
            peer = "" if source is None else show_address(_read_address(source))
            datagram = Datagram(_read_packet(packet), peer, 0, interface, 0, to)
            return explain_packet(self._engine, now, datagram, self._rules)
        if address is not None:
            key = _read_key(address)
            lease = self._engine.table.get(key)
            return {
                "where": why_lease(self._engine, key >> 8, key & 0xFF),
                "lease": describe(lease, now.lapse_utc) if lease else None,
            }
        return explain(self._engine, now, _read_duid(arguments.get("duid")), arguments.get("link"), self._rules)

    def _interface(self, name: Any) -> int:
        """Give the index of a network interface; 0, which is none, if it is not said."""
        found = {each: index for index, (each, _) in self._engine.interfaces.items()}
        if name is not None and (not isinstance(name, str) or name not in found):
            raise CommandError(f"No interface {name!r} is served; there are {', '.join(sorted(found)) or 'none'}.")
        return found.get(str(name), 0)

    def _find(self, arguments: Arguments) -> Lease:
        key = _read_key(arguments.get("lease"))
        lease = self._engine.table.get(key)
        if lease is None:
            raise CommandError(f"Nothing is known of a lease {show_key(key)}.")
        return lease


def describe(lease: Lease, lapse_utc: int) -> dict[str, Any]:
    """Give a lease as JSON has it; absolute times in UTC seconds, null for never."""
    return {
        "lease": show_key(lease.key),
        "type": IA_NAMES[lease.ia_code],
        "status": _status_name(lease),
        "held": is_held(lease, lapse_utc),
        "duid": show_octets(lease.duid),
        "iaid": lease.iaid,
        "start-time-of-state": lease.start_time_of_state,
        "client-last-transaction-time": max(lease.client_last_transaction_time, lease.partner_raw_clt_time) or None,
        "state-expiration-time": None if lease.state_expiration_time == FOREVER else lease.state_expiration_time,
        "preferred-lifetime": lease.preferred_s,
        "valid-lifetime": lease.valid_s,
        "fqdn": _fqdn(lease),
    }


def _portions(things: Sequence[Some]) -> Iterator[Sequence[Some]]:
    for first in range(0, len(things), EXAMINED_PER_PAGE):
        yield things[first : first + EXAMINED_PER_PAGE]


def _fqdn(lease: Lease) -> str | None:
    try:
        described = read_options(Reader(lease.details))
    except ValueError:  # kept as the client said it
        return None
    return next((each.name for each in described if isinstance(each, ClientFqdn)), None)


def _status_name(lease: Lease) -> str:
    return BindingStatus(lease.status).name.replace("_", "-")


def _filters(arguments: Arguments) -> Callable[[int, bytes], bool]:
    """Make a test of a lease's key and record, of which a million have to be looked at for one answer.

    All of the filters `status`, `duid`, `client` (a part of a DUID) and `within` must hold.
    """
    # Free space that changed hands between partners is on record too, but is no lease, and was nobody's.
    tests: list[Callable[[int, bytes], bool]] = [lambda _, record: bool(duid_of(record))]
    status = arguments.get("status")
    if status is not None:
        try:
            wanted = BindingStatus[str(status).upper().replace("-", "_")]
        except KeyError:
            raise CommandError(f"{status!r} is not a binding status, such as ACTIVE or EXPIRED.") from None
        tests.append(lambda _, record: record[STATUS_AT] == wanted)
    if arguments.get("duid") is not None:
        duid = _read_duid(arguments["duid"])
        tests.append(lambda _, record: duid_of(record) == duid)
    if arguments.get("client") is not None:
        part = _read_duid(arguments["client"])
        tests.append(lambda _, record: part in duid_of(record))
    if arguments.get("within") is not None:
        key = _read_key(arguments["within"])
        first = key >> 8
        last = first + (1 << 128 - (key & 0xFF)) - 1
        tests.append(lambda key, _: first <= key >> 8 <= last)
    if len(tests) == 1:
        return tests[0]
    return lambda key, record: all(test(key, record) for test in tests)


def _read_key(text: Any) -> int:
    try:
        network = IPv6Network(str(text))
    except (AddressValueError, ValueError):
        raise CommandError(f"{text!r} is not an IPv6 address or prefix, such as 2001:db8::1.") from None
    return key_of(int(network.network_address), network.prefixlen)


def _read_address(text: Any) -> bytes:
    try:
        return IPv6Address(str(text)).packed
    except AddressValueError:
        raise CommandError(f"{text!r} is not an IPv6 address, such as {SERVERS}.") from None


def _read_packet(text: Any) -> bytes:
    try:
        return bytes.fromhex(str(text))
    except ValueError:
        raise CommandError("The packet is not in hexadecimal.") from None


def _read_duid(text: Any) -> bytes:
    try:
        duid = read_octets(str(text))
    except ValueError:
        duid = b""
    if not duid:
        raise CommandError(f"{text!r} is not a DUID, such as 00:03:00:01:02:00:5e:10:00:01.")
    return duid

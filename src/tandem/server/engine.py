"""The way of a client's datagram: unwrap, validate, locate, decide, commit, answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from tandem.effects.effects import Effects, Note, Send
from tandem.effects.events import Datagram
from tandem.effects.now import Moment
from tandem.effects.rules import Rules, Serve
from tandem.effects.settings import Limits, Settings
from tandem.lease.lease import TIMED, BindingStatus, key_of
from tandem.lease.table import LeaseTable
from tandem.server.allocation import Allocator
from tandem.server.bindings import NONE_FREE, Decision, decide, off_link_addresses, renewal_times
from tandem.server.classes import Classes
from tandem.server.client import Client, identify
from tandem.server.grants import granted_lease
from tandem.server.limits import LimitAlarms, Quotas, Rates
from tandem.server.offers import Offers
from tandem.server.places import Home, Places
from tandem.server.policy import Policy, details_of
from tandem.server.release import Releases
from tandem.server.reply import relay_port, status_option, wrap, write_client_message, write_ia, write_ia_status
from tandem.server.validate import reason_to_discard
from tandem.wire.message import MessageType
from tandem.wire.octets import TooLong, write_option
from tandem.wire.options import IaNa, Preference, RapidCommit, ServerId, StatusCode
from tandem.wire.reader import WireError
from tandem.wire.received import ClientMessage, Ignored, Relay, read_client_message, unwrap

DATAGRAM_MAX: Final = 65_527  # what UDP over IPv6 carries
CLIENT_PORT: Final = 546
SERVER_PORT: Final = 547
POOL_LOW_PERCENT: Final = 90
WAITED_MAX_S: Final = 1.0
"""What lay unread for longer is dropped: its client has asked again by now (RFC 9915 7.6), or gone on.

After a sleep, an old RELEASE would end what the partner gave the client since. A Renew, for which clients wait 10 s,
is not in a hurry.
"""
RATE_REASONS: Final = {
    "messages-per-client": "client-rate",
    "messages-per-remote-id": "remote-id-rate",
    "messages-per-relay": "relay-rate",
}
RAPID_COMMIT: Final = write_option(RapidCommit.code, b"")

Parts = list[bytes]
Exchange = Callable[[Client, Effects], tuple[MessageType, Parts] | None]


class Engine:
    """Serves clients from a lease table by a configuration. Knows its own DUID and a secret, and no clock."""

    def __init__(self, settings: Settings, table: LeaseTable, duid: bytes, secret: bytes) -> None:
        self.table = table
        self.offers = Offers()
        self.rates = Rates()
        self.quotas = Quotas(table)
        self._limit_alarms = LimitAlarms()
        self.duid = duid
        self._secret = secret
        self._server_id = write_option(ServerId.code, duid)
        self.interfaces: Mapping[int, tuple[str, tuple[int, ...]]] = {}
        self._low_pools: set[int] = set()
        self._exchanges: dict[int, Exchange] = {
            MessageType.SOLICIT: self._solicit,
            MessageType.REQUEST: self._request,
            MessageType.CONFIRM: self._confirm,
            MessageType.RENEW: self._extend,
            MessageType.REBIND: self._extend,
            MessageType.RELEASE: self._release,
            MessageType.DECLINE: self._decline,
            MessageType.INFORMATION_REQUEST: self._information_request,
        }
        self.use(settings, Places(settings.links))

    def use(self, settings: Settings, places: Places) -> None:
        """Serve by these settings from now on; `places` are its links, indexed."""
        self.settings = settings
        self.policy = Policy(settings)
        self.classes = Classes(settings)
        self._preference = write_option(Preference.code, bytes((settings.preference,))) if settings.preference else b""
        self.places = places
        self.releases = Releases(self.table, self.offers, self.quotas, self._limit_alarms, settings.decline_time_s)
        self.use_interfaces(self.interfaces)

    def use_interfaces(self, interfaces: Mapping[int, tuple[str, tuple[int, ...]]]) -> None:
        """Take over which network interfaces there are, by index: names and own addresses."""
        self.interfaces = interfaces
        self.places.use_interfaces(interfaces)
        own = frozenset(key_of(address) for _, addresses in interfaces.values() for address in addresses)
        self.allocator = Allocator(self.table, self.offers, self.quotas, self._secret, self.settings.reuse_grace_s, own)

    def name_of(self, interface: int) -> str:
        """Give the name of a network interface by its index; empty if it is none of those that are served."""
        found = self.interfaces.get(interface)
        return found[0] if found is not None else ""

    def receive(self, now: Moment, datagram: Datagram, rules: Mapping[str | None, Rules], effects: Effects) -> None:
        """Answer one datagram by the rules of its link's relationship, or drop it with a note that says why."""
        data = datagram.data
        if datagram.waited_s > WAITED_MAX_S:
            effects.note("dropped", "debug", reason="waited-too-long", peer=datagram.peer)
            return
        ignored: list[Ignored] = []
        try:
            relays, start, end = unwrap(data, ignored)
            place = self.places.locate(data, relays, datagram.interface)
            permitted = rules[place.relationship if place is not None else None]
            if permitted.serve is Serve.ADDRESSED_TO_ME and self._server_id not in data:
                # It cannot be addressed to this server. In step with a partner, that is most of what a secondary hears.
                effects.note("dropped", "debug", reason=permitted.reason, peer=datagram.peer)
                return
            message = read_client_message(data, start, end, ignored)
        except WireError as error:
            effects.note("dropped", "debug", reason="malformed", why=str(error), peer=datagram.peer)
            return
        for part in ignored:
            effects.note("option-ignored", "debug", reason=part.reason, option=part.code, peer=datagram.peer)
        reason = reason_to_discard(message, self.duid)
        if reason is None and not (relays or datagram.multicast):
            reason = "unicast"  # RFC 9915 section 16
        if reason is None and permitted.serve is not Serve.ALL and not is_served(permitted.serve, message):
            reason = permitted.reason
        if reason is not None:
            effects.note("dropped", "debug", reason=reason, peer=datagram.peer, type=message.type)
            return
        interface = self.name_of(datagram.interface) if self.classes.any else ""
        client = identify(now, message, relays, place, self.table, permitted, self.classes, interface)
        client.source = datagram.peer
        reason = self._reason_to_refuse(client, effects)
        if reason is not None:
            effects.note("dropped", "debug", reason=reason, peer=datagram.peer, type=message.type)
            return
        self._answer(client, datagram, effects)

    def _reason_to_refuse(self, client: Client, effects: Effects) -> str | None:
        """Name the reason not to look at a valid message at all; None if there is none."""
        place = client.place
        if client.relays and place is not None and not place.believes(client.source):
            return "untrusted-relay"
        limit = self.rates.exceeded_by(client)
        if limit:
            self._limit_alarms.reached(limit, client, effects)
            return RATE_REASONS[limit]
        return None

    def _answer(self, client: Client, datagram: Datagram, effects: Effects) -> None:
        """Answer a valid message by its exchange, or drop it."""
        message, relays = client.message, client.relays
        is_dropped = bool(client.classes) and self.classes.is_dropped(client.classes)
        committed = len(effects.commit)
        answered = None if is_dropped else self._exchanges[message.type](client, effects)
        if answered is None:
            self._note_unanswered(client, datagram, is_dropped, effects)
            return
        type_, parts = answered
        try:
            answer = wrap(datagram.data, relays, write_client_message(type_, client, self._server_id, parts))
        except TooLong:
            answer = b""
        if not 0 < len(answer) <= DATAGRAM_MAX:
            effects.note("dropped", "warning", reason="answer-too-long", peer=datagram.peer, type=message.type)
            return
        port = _port_to_answer(datagram, relays)
        came = client.now.mono - datagram.waited_s
        send = Send(answer, datagram.peer, port, datagram.interface, datagram.door, datagram.local, type_, came)
        promises = type_ is not MessageType.ADVERTISE or len(effects.commit) > committed
        (effects.then if promises else effects.at_once).append(send)

    def _note_unanswered(self, client: Client, datagram: Datagram, is_dropped: bool, effects: Effects) -> None:
        """Note that a valid message gets no answer; of one from an unknown link also where it came from."""
        reason = "class" if is_dropped else "unknown-link" if client.place is None else "nothing-to-say"
        values: dict[str, Any] = {"reason": reason, "peer": datagram.peer, "type": client.message.type}
        if reason == "unknown-link":
            interface = self.name_of(datagram.interface)
            values.update(duid=client.message.client_id, relays=client.relays, interface=interface)
        effects.notes.append(Note("dropped", "debug", values))

    # -- exchanges: each gives the type of the answer and its options, or None for no answer

    def _solicit(self, client: Client, effects: Effects) -> tuple[MessageType, Parts] | None:
        """RFC 9915 18.3.1, 18.3.9."""
        place = client.place
        if place is None:
            return None
        decisions = decide(self.allocator, client)
        if place.rapid_commit and client.message.body(RapidCommit.code) is not None:
            return MessageType.REPLY, [*self._grant(client, decisions, effects), RAPID_COMMIT]
        self._offer(client, place.limits, decisions, effects)
        parts = self._describe(MessageType.ADVERTISE, client, decisions, renewal_times(decisions), effects)
        return MessageType.ADVERTISE, [*parts, self._preference]

    def _offer(self, client: Client, limits: Limits, decisions: list[Decision], effects: Effects) -> None:
        """Remember what the client is offered; beyond a limit, the oldest offer that counts for it is forgotten."""
        relay, remote_id = client.behind() if client.relays else (b"", b"")
        bounds = ((remote_id, limits.offers_per_remote_id), (relay, limits.offers_per_relay)) if relay else ()
        for decision in decisions:
            for told in decision.granted:
                pool = told.home.pool.range.first if told.home is not None and told.home.pool is not None else 0
                full = self.offers.add(told.key, pool, client.duid, client.now.mono, limits.leases_per_client, bounds)
                if full:
                    limit = "offers-per-relay" if full == relay else "offers-per-remote-id"
                    self._limit_alarms.reached(limit, client, effects)

    def _request(self, client: Client, effects: Effects) -> tuple[MessageType, Parts] | None:
        """RFC 9915 18.3.2."""
        if client.place is None:
            return None
        return MessageType.REPLY, self._grant(client, decide(self.allocator, client), effects)

    def _extend(self, client: Client, effects: Effects) -> tuple[MessageType, Parts] | None:
        """RFC 9915 18.3.4, 18.3.5."""
        if client.place is None:
            return None
        decisions = [each for each in decide(self.allocator, client) if not each.left_to_partner]
        if not decisions and client.message.ias:
            return None
        return MessageType.REPLY, self._grant(client, decisions, effects)

    def _confirm(self, client: Client, effects: Effects) -> tuple[MessageType, Parts] | None:
        """RFC 9915 18.3.3."""
        ias = [ia for ia in client.message.ias if ia.code == IaNa.code and ia.asked]
        if client.place is None or not ias:
            return None
        status = StatusCode.SUCCESS
        if any(off_link_addresses(client, ia) for ia in ias):
            status = StatusCode.NOT_ON_LINK
        self._note_answer(MessageType.REPLY, client, [], effects, status.name)
        return MessageType.REPLY, [status_option(status)]

    def _release(self, client: Client, effects: Effects) -> tuple[MessageType, Parts] | None:
        """RFC 9915 18.3.7."""
        if client.place is None:
            return None
        parts, given_up = self.releases.release(client, effects)
        return self._acknowledge(client, parts, given_up, BindingStatus.RELEASED, effects)

    def _decline(self, client: Client, effects: Effects) -> tuple[MessageType, Parts] | None:
        """RFC 9915 18.3.8."""
        if client.place is None:
            return None
        parts, given_up = self.releases.decline(client, effects)
        return self._acknowledge(client, parts, given_up, BindingStatus.ABANDONED, effects)

    def _acknowledge(
        self, client: Client, parts: Parts, given_up: list[int], status: BindingStatus, effects: Effects
    ) -> tuple[MessageType, Parts]:
        """Answer a Release or Decline; what is not served of it gets a status of its own."""
        parts += [write_ia_status(ia, StatusCode.UNSPEC_FAIL) for ia in client.message.excess_ias]
        self._note_answer(MessageType.REPLY, client, [], effects, status.name, given_up)
        return MessageType.REPLY, [status_option(StatusCode.SUCCESS), *parts]

    def _information_request(self, client: Client, effects: Effects) -> tuple[MessageType, Parts] | None:
        """RFC 9915 18.3.6."""
        self._note_answer(MessageType.REPLY, client, [], effects)
        return MessageType.REPLY, [self.policy.options_for(client, [])]

    # -- what they share

    def _grant(self, client: Client, decisions: list[Decision], effects: Effects) -> Parts:
        """Record what the decisions grant, and encode the Reply that says so."""
        times = renewal_times(decisions)
        self._commit(client, decisions, times, effects)
        return self._describe(MessageType.REPLY, client, decisions, times, effects)

    def _describe(
        self,
        type_: MessageType,
        client: Client,
        decisions: list[Decision],
        times: tuple[int, int],
        effects: Effects,
    ) -> Parts:
        """Encode the decisions, with T1 and T2, and the options that go with them; note it."""
        t1, t2 = times
        for limit in dict.fromkeys(decision.limit for decision in decisions if decision.limit):
            self._limit_alarms.reached(limit, client, effects)
        self._note_answer(type_, client, decisions, effects)
        homes = [told.home for decision in decisions for told in decision.told if told.home]
        parts = [write_ia(client, decision, t1, t2) for decision in decisions]
        if client.message.excess_ias:
            parts += [write_ia_status(ia, NONE_FREE[ia.code == IaNa.code]) for ia in client.message.excess_ias]
        parts.append(self.policy.options_for(client, homes))
        return parts

    def _commit(self, client: Client, decisions: list[Decision], times: tuple[int, int], effects: Effects) -> None:
        """Record what the decisions grant: from here on it is promised."""
        details = details_of(client)
        for decision in decisions:
            for told in decision.granted:
                before = self.table.get(told.key)
                lease = granted_lease(client, decision.ia.iaid, told, times, details, before)
                effects.commit.append(self.table.change(lease))
                if told.home is not None and told.lifetimes.valid_s < _valid_s(client, told.home):
                    effects.note("held-to-mclt", "debug")
                self.offers.drop(told.key)
                if client.relays:
                    self.quotas.count(client, told.key)
                if before is None or before.status not in TIMED:
                    self._watch_pool(told.home, effects)

    def _watch_pool(self, home: Home | None, effects: Effects) -> None:
        """Note once that a pool has become low, and again only after it was not."""
        if home is None or home.pool is None:
            return
        first = home.pool.range.first
        pool = self.table.pool_from(first)
        if pool is None:
            return
        if pool.in_use * 100 < pool.size * POOL_LOW_PERCENT:
            self._low_pools.discard(first)
        elif first not in self._low_pools:
            self._low_pools.add(first)
            effects.note("pool-low", "warning", pool=home.pool.where, in_use=pool.in_use, size=pool.size)

    def _note_answer(
        self,
        type_: MessageType,
        client: Client,
        decisions: list[Decision],
        effects: Effects,
        status: str = "",
        given_up: list[int] | None = None,
    ) -> None:
        """Note the answer to one message: one line of the log."""
        values: dict[str, Any] = {
            "type": client.message.type,
            "reply": type_,
            "transaction_id": client.message.transaction_id,
            "duid": client.duid,
        }
        if client.place is not None:
            values["link"] = client.place.name
        if client.relays:
            values["relays"] = client.relays
            values["relay"] = client.source
        if client.classes:
            values["classes"] = client.classes
        if decisions:
            values["decisions"] = decisions
        if status:
            values["status"] = status
        if given_up:
            values["given_up"] = given_up
        if client.message.ignored:
            values["ignored"] = client.message.ignored
        effects.notes.append(Note("answered", "debug" if type_ is MessageType.ADVERTISE else "info", values))


def _port_to_answer(datagram: Datagram, relays: list[Relay]) -> int:
    """Give the UDP port that the answer goes to (RFC 9915 7.2, RFC 8357 5.2)."""
    if not relays:
        return CLIENT_PORT
    return SERVER_PORT if relay_port(datagram.data, relays[0]) is None else datagram.port


def is_served(serve: Serve, message: ClientMessage) -> bool:
    """Say whether a client that not everybody's server answers is answered all the same."""
    if not message.server_id:  # validated before: if there is one, it is ours
        return False
    return serve is Serve.ADDRESSED_TO_ME or (serve is Serve.RENEW_OF_KNOWN and message.type == MessageType.RENEW)


def _valid_s(client: Client, home: Home) -> int:
    """Return the valid lifetime that the file has for the client there."""
    return home.subnet.lifetimes_of(client.classes).valid_s

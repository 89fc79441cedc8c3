"""Why a client gets what it gets: the steps of the decision, in words, by the very code that decides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from tandem.effects.events import Datagram
from tandem.effects.now import Moment
from tandem.effects.rules import Rules, Serve
from tandem.lease.lease import BindingStatus, Lease, is_held, key_of, show_key
from tandem.lease.space import interval_of
from tandem.server.bindings import Decision, decide, off_link_addresses
from tandem.server.client import Client, identify
from tandem.server.engine import Engine, is_served
from tandem.server.places import Home, Place
from tandem.server.validate import reason_to_discard
from tandem.wire.message import MessageType
from tandem.wire.options import IaNa, IaPd, InterfaceId, RapidCommit
from tandem.wire.reader import WireError
from tandem.wire.received import (
    ASKED_MAX,
    IAS_MAX,
    ClientMessage,
    Ia,
    Ignored,
    Relay,
    body_of,
    read_client_message,
    unwrap,
)
from tandem.wire.text import show_address, show_octets

IA_NAMES: Final = {IaNa.code: "IA_NA", IaPd.code: "IA_PD"}
GIVES_LEASES: Final = (MessageType.SOLICIT, MessageType.REQUEST, MessageType.RENEW, MessageType.REBIND)
GIVES_UP: Final = (MessageType.RELEASE, MessageType.DECLINE)
WHY_DISCARDED: Final = {
    "message-type": "no client sends messages of this type",
    "no-client-id": "it has no Client Identifier",
    "server-id-present": "it names a server, and must not",
    "other-server": "it is for another server",
    "no-server-id": "it names no server, and must",
    "ia-present": "it has identity associations, and must not",
    "unicast": "a client has to send to the servers' multicast address, and not to one server",
}

WHY_IGNORED: Final = {
    "option-cut-off": "it is cut off",
    "option-too-short": "it is shorter than its format",
    "option-repeated": "it may be there once only; the first one counts",
    "duid-length": "a DUID has 3 to 130 octets",
    "prefix-length": "a prefix to delegate is shorter than 128 bits",
    "ia-repeated": "the same identity association came before; what both ask for is put together",
    "too-many-ias": f"a message may ask for {IAS_MAX} identity associations; the others are refused",
    "too-many-options": "so many stand beside it that it and those behind it are not looked at",
    "too-many-leases": f"a message may name {ASKED_MAX} leases",
}


def explain(
    engine: Engine, now: Moment, duid: bytes, link: str | None, rules: Mapping[str | None, Rules]
) -> dict[str, Any]:
    """Say what the client holds, and for each link (or the one named) what it would be given there and why."""
    leases = engine.table.of_client(duid)
    places = [place for place in engine.places if link in (None, place.name)]
    message = ClientMessage(b"", MessageType.SOLICIT, b"\0\0\0", [])
    message.client_id = duid
    for code in IA_NAMES:
        iaids = [lease.iaid for lease in leases if lease.ia_code == code] or [0]
        message.ias += [Ia(code, iaid, ()) for iaid in dict.fromkeys(iaids)]
    links = []
    for place in places:
        client = identify(now, message, [], place, engine.table, rules[place.relationship], engine.classes, "")
        steps = [
            *_who(engine, client),
            *_refused(engine, client),
            *_what(engine, client, decide(engine.allocator, client)),
        ]
        links.append({"link": place.name, "steps": steps})
    return {"holds": [_describe(lease, now.lapse_utc) for lease in leases], "links": links}


def explain_packet(
    engine: Engine, now: Moment, datagram: Datagram, rules: Mapping[str | None, Rules]
) -> dict[str, Any]:
    """Say how a datagram would be answered if it came in now, step by step. Nothing is changed or sent."""
    data = datagram.data
    try:
        ignored: list[Ignored] = []
        relays, start, end = unwrap(data, ignored)
        message = read_client_message(data, start, end, ignored)
    except WireError as error:
        return {"holds": [], "links": [{"link": "none", "steps": [f"It is discarded: {error}."]}]}
    place = engine.places.locate(data, relays, datagram.interface)
    permitted = rules[place.relationship if place is not None else None]
    leases = engine.table.of_client(message.client_id)
    client = identify(
        now, message, relays, place, engine.table, permitted, engine.classes, engine.name_of(datagram.interface)
    )
    client.source = datagram.peer
    steps = [*_way(engine, data, relays, place), *_steps(engine, client, datagram.multicast)]
    link = place.name if place is not None else "none"
    return {
        "holds": [_describe(lease, now.lapse_utc) for lease in leases],
        "links": [{"link": link, "steps": steps}],
    }


def _way(engine: Engine, data: bytes, relays: Sequence[Relay], place: Place | None) -> Iterator[str]:
    """Say how the client was found to be on its link."""
    if not relays:
        yield "It came directly from the client."
    for relay in reversed(relays):
        name = body_of(data, relay.options, InterfaceId.code)
        called = f", interface-id {show_octets(name)}" if name else ""
        yield f"It came through a relay: link-address {show_address(relay.link_address)}{called}."
    if place is None:
        yield "No subnet is for this link, so that no leases are given."
        return
    for subnet in place.subnets:
        yield f"{engine.settings.place(subnet.where)}, {subnet.name}, is for this link."
        if relays and subnet.trusted_relays:
            yield f"{engine.settings.place(subnet.where)} names the relays that are believed, others are not."


def _steps(engine: Engine, client: Client, multicast: bool) -> Iterator[str]:
    message = client.message
    reason = reason_to_discard(message, engine.duid)
    if reason is None and not (client.relays or multicast):
        reason = "unicast"
    if reason is not None:
        yield f"It is discarded: {WHY_DISCARDED.get(reason, reason)} (RFC 9915 section 16)."
        return
    name = MessageType(message.type).name.replace("_", "-")
    article = "an" if name.startswith("I") else "a"
    whose = show_octets(client.duid) if client.duid else "a client that does not say who it is"
    yield f"It is {article} {name} of {whose}."
    yield from _left_out(message)
    yield from _who(engine, client)
    refused = list(_refused(engine, client))
    if refused:
        yield from refused
        return
    if client.rules.serve is not Serve.ALL and not is_served(client.rules.serve, message):
        yield "It gets no answer here."
        return
    if engine.classes.is_dropped(client.classes):
        yield "It is dropped, as one of its classes says."
        return
    if message.type in GIVES_LEASES and client.place is not None:
        yield from _exchange(engine, client)
    elif message.type == MessageType.INFORMATION_REQUEST:
        yield from _options(engine, client, [])
        yield "The answer is a REPLY."
    elif message.type in GIVES_UP and client.place is not None:
        for ia in message.ias:
            yield from _given_up(engine, client, ia)
        yield "The answer is a REPLY."
    elif (
        message.type == MessageType.CONFIRM
        and client.place is not None
        and any(_is_confirmed(ia) for ia in message.ias)
    ):
        is_off_link = any(off_link_addresses(client, ia) for ia in message.ias)
        yield f"Its addresses {'do not fit' if is_off_link else 'fit'} the link; the answer is a REPLY that says so."
    else:
        yield "It gets no answer."


def _left_out(message: ClientMessage) -> Iterator[str]:
    """Say which parts of the message are ignored, and why."""
    for part in dict.fromkeys(message.ignored):
        option = f"Option {part.code}" if part.code else "What stands behind the last option"
        yield f"{option} is ignored: {WHY_IGNORED.get(part.reason, part.reason)}."


def _refused(engine: Engine, client: Client) -> Iterator[str]:
    """Yield why a valid message is dropped; nothing if it is answered."""
    if client.source and client.relays and client.place is not None and not client.place.believes(client.source):
        yield f"It is dropped: {client.source} is none of the relay agents that are believed."
    limit = engine.rates.exceeded_by(client, is_counted=False)
    if limit:
        yield f"It is dropped: there were more messages in the last minute than the limit {limit} allows."


def _given_up(engine: Engine, client: Client, ia: Ia) -> Iterator[str]:
    """Say which leases a Release or Decline is about."""
    name = f"{IA_NAMES[ia.code]} {ia.iaid}"
    held = {lease.key for lease in client.held(ia)}
    for key in ia.asked:
        is_here = client.place is not None and client.place.home_of(key) is not None
        if key not in held:
            yield f"{name} does not hold {show_key(key)}."
        elif not is_here:
            yield f"{name} holds {show_key(key)} on another link; it counts only there."
        elif client.message.type == MessageType.DECLINE and ia.code != IaNa.code:
            yield f"{show_key(key)} cannot be declined: it is a prefix."
        else:
            yield f"{name} gives up {show_key(key)}."
            limit = engine.releases.limit_reached(client, key) if client.message.type == MessageType.DECLINE else ""
            if limit:
                yield f"{show_key(key)} is not set aside, and others may be given it: the limit {limit} is reached."


def _is_confirmed(ia: Ia) -> bool:
    return ia.code == IaNa.code and bool(ia.asked)


def _exchange(engine: Engine, client: Client) -> Iterator[str]:
    """Say what a message that asks for leases is given."""
    message = client.message
    decisions = decide(engine.allocator, client)
    yield from _what(engine, client, decisions)
    if decisions and all(each.left_to_partner for each in decisions):
        yield "It gets no answer here."
        return
    homes = [told.home for decision in decisions for told in decision.told if told.home is not None]
    yield from _options(engine, client, homes)
    may_commit = client.place is not None and client.place.rapid_commit
    at_once = may_commit and message.body(RapidCommit.code) is not None
    reply = "an ADVERTISE" if message.type == MessageType.SOLICIT and not at_once else "a REPLY"
    yield f"The answer is {reply}."


def _who(engine: Engine, client: Client) -> Iterator[str]:
    """Say what is known of who asks."""
    place = engine.settings.place
    if client.reservation:
        yield f"It is named by the reservation {place(client.reservation.where)}."
    elif client.place is not None:
        yield "No reservation on this link names it."
    for each in engine.settings.classes:
        if each.name in client.classes:
            yield f"It is in the class {each.name}, by {place(each.where)}."
    if client.rules.serve is not Serve.ALL:
        yield f"Answered here: {client.rules.serve.value} ({client.rules.reason})."


def _what(engine: Engine, client: Client, decisions: Sequence[Decision]) -> Iterator[str]:
    """Say what each identity association would be given, and why."""
    for decision in decisions:
        name = f"{IA_NAMES[decision.ia.code]} {decision.ia.iaid}"
        if decision.left_to_partner:
            yield f"{name} is left to the partner: {decision.reason}."
        elif not decision.told:
            yield f"{name} would be refused: {decision.reason}."
        for told in decision.told:
            home = told.home
            if home is None:
                yield f"{name} would be told to stop using {show_key(told.key)}: {told.reason}."
                continue
            whose = engine.settings.place(home.subnet.where)
            yield (
                f"{name} would be given {show_key(told.key)}, because it is {_reason(engine, told.reason, home)}, "
                f"with the lifetimes of {whose}: "
                f"preferred {told.lifetimes.preferred_s} s, valid {told.lifetimes.valid_s} s."
            )
            if told.lifetimes.valid_s < home.subnet.lifetimes_of(client.classes).valid_s and told.granted:
                yield f"{name} is held to the MCLT: the partner has not agreed to more yet."


def _reason(engine: Engine, reason: str, home: Home) -> str:
    """Say why a lease was chosen, with the lines of the pool or the reservation that it is of."""
    head, _, where = reason.rpartition(" ")
    if where.startswith("subnet["):
        reason = f"{head} {engine.settings.place(where)}"
    elif home.pool is not None:
        reason += f", of {engine.settings.place(home.pool.where)}"
    if home.pool is not None and home.pool.classes:
        reason += f", which is for {' or '.join(sorted(home.pool.classes))}"
    return reason


def _options(engine: Engine, client: Client, homes: Sequence[Home]) -> Iterator[str]:
    """Say where the options come from that the client asks for."""
    for code, where in engine.policy.sources(client, homes).items():
        yield f"Option {code} is that of {engine.settings.place(where)}."


def _describe(lease: Lease, lapse_utc: int) -> dict[str, Any]:
    return {
        "lease": show_key(lease.key),
        "ia": IA_NAMES[lease.ia_code],
        "iaid": lease.iaid,
        "status": BindingStatus(lease.status).name.replace("_", "-"),
        "held": is_held(lease, lapse_utc),
        "since": lease.start_time_of_state,
        "until": lease.state_expiration_time,
    }


def why_lease(engine: Engine, address: int, length: int) -> str:
    """Say in one sentence where an address or prefix belongs, or that it is nowhere."""
    key = key_of(address, length)
    for place in engine.places:
        home = place.home_of(key)
        if home:
            if home.pool:
                return f"{show_key(key)} belongs to {engine.settings.place(home.pool.where)}."
            return f"{show_key(key)} belongs to {engine.settings.place(home.subnet.where)}, in none of its pools."
    first, last = interval_of(key)
    for subnet in (subnet for place in engine.places for subnet in place.subnets):
        if first <= subnet.first and subnet.last <= last:
            return f"{show_key(key)} holds {engine.settings.place(subnet.where)}, {subnet.name}."
    return f"{show_key(key)} belongs to no subnet of this server."

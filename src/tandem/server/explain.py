"""Why a client gets what it gets: the steps of the decision, in words, by the very code that decides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from tandem.effects.now import Moment
from tandem.effects.rules import Rules, Serve
from tandem.lease.lease import BindingStatus, Lease, is_held, key_of, show_key
from tandem.server.allocation import Refusal
from tandem.server.client import Client, identify
from tandem.server.engine import Engine
from tandem.server.places import Place
from tandem.wire.message import MessageType
from tandem.wire.options import IaNa, IaPd
from tandem.wire.received import ClientMessage, Ia

IA_NAMES: Final = {IaNa.code: "IA_NA", IaPd.code: "IA_PD"}


def explain(
    engine: Engine, now: Moment, duid: bytes, link: str | None, rules: Mapping[str | None, Rules]
) -> dict[str, Any]:
    """Say what the client holds, and for each link (or the one named) what it would be given there and why."""
    leases = engine.table.of_client(duid)
    places = [place for place in engine.places if link in (None, place.name)]
    return {
        "holds": [_describe(lease, now.lapse_utc) for lease in leases],
        "links": [
            {"link": place.name, "steps": list(_steps(engine, now, duid, leases, place, rules[place.relationship]))}
            for place in places
        ],
    }


def _steps(engine: Engine, now: Moment, duid: bytes, leases: list[Lease], place: Place, rules: Rules) -> Iterator[str]:
    message = ClientMessage(b"", MessageType.SOLICIT, b"\0\0\0", [])
    message.client_id = duid
    client = identify(now, message, [], place, leases, rules, engine.classes)
    if client.reservation:
        yield f"It is named by the reservation {client.reservation.where}."
    else:
        yield "No reservation on this link names it."
    if client.classes:
        yield f"By its DUID and reservation alone it is in {', '.join(sorted(client.classes))}."
    if rules.serve is not Serve.ALL:
        yield f"Answered here: {rules.serve.value} ({rules.reason})."
    taken: set[int] = set()
    for code, name in IA_NAMES.items():
        iaids = [lease.iaid for lease in leases if lease.ia_code == code] or [0]
        for iaid in dict.fromkeys(iaids):
            yield from _steps_of_ia(engine, client, Ia(code, iaid, ()), name, taken)


def _steps_of_ia(engine: Engine, client: Client, ia: Ia, name: str, taken: set[int]) -> Iterator[str]:
    chosen = engine.allocator.choose(client, ia, taken)
    if isinstance(chosen, Refusal):
        yield f"{name} {ia.iaid} would be refused: {chosen.reason}."
        return
    taken.update(choice.key for choice in chosen)
    for choice in chosen:
        lifetimes = choice.home.subnet.lifetimes
        yield (
            f"{name} {ia.iaid} would be given {show_key(choice.key)}, because it is {choice.reason}, "
            f"with the lifetimes of {choice.home.subnet.where}: "
            f"preferred {lifetimes.preferred_s} s, valid {lifetimes.valid_s} s."
        )


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
            where = home.pool.where if home.pool else f"{home.subnet.where}, in none of its pools"
            return f"{show_key(key)} belongs to {where}."
    return f"{show_key(key)} belongs to no subnet of this server."

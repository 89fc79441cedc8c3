"""From the file to one server's settings, or to all that is wrong with it."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from ipaddress import IPv6Network
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tandem.config import model
from tandem.config.check import contradictions, effective_lifetimes, nobodys
from tandem.config.definitions import OptionDefinition
from tandem.config.lines import Lines
from tandem.config.partners import PartnerLine, partner_lines, relationships, servers_of
from tandem.config.problems import ConfigError, Problem, show_location
from tandem.effects.settings import (
    ClientClass,
    Link,
    PoolSettings,
    Reservation,
    Settings,
    SubnetSettings,
)
from tandem.lease.lease import FOREVER, key_of
from tandem.lease.promise import Lifetimes
from tandem.lease.space import Range

Definitions = Mapping[str, OptionDefinition]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A file that can be served, and the server that was chosen from it."""

    name: str
    server: model.Server
    settings: Settings
    log: model.Log
    web: model.Web
    lines: tuple[PartnerLine, ...]
    """How the partners are reached."""
    complaints: tuple[str, ...]
    """What is wrong with the file, but does not keep the server from serving."""

    @property
    def endpoints(self) -> list[tuple[str, int]]:
        """Give the addresses and ports to listen on beside the interfaces."""
        return [model.read_endpoint(each) for each in self.server.listen]


def load(path: Path, name: str | None) -> Loaded:
    """Read the file for the server `name`, which may be None if there is one only. ConfigError says what is wrong."""
    return load_text(read_text(path), name)


def load_text(text: str, name: str | None) -> Loaded:
    """Do what `load` does with the text of a file."""
    file = parse(text)
    if name is None and len(file.server) > 1:
        raise ConfigError([f"The file has several servers; say --server with one of {', '.join(sorted(file.server))}."])
    chosen = name if name is not None else next(iter(file.server))
    if chosen not in file.server:
        raise ConfigError([f"The file has no [server.{chosen}]; it has {', '.join(sorted(file.server))}."])
    complaints = _sorted_sentences(list(nobodys(file)), Lines(text))
    settings = _settings(file, chosen, text)
    return Loaded(
        chosen, file.server[chosen], settings, file.log, file.web, tuple(partner_lines(file, chosen)), tuple(complaints)
    )


def read_text(path: Path) -> str:
    """Read the file's text. ConfigError if it cannot be read."""
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise ConfigError([f"{path} cannot be read: {error.strerror}."]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path} is not a text in UTF-8: octet {error.start} does not belong there."]) from error


def parse(text: str) -> model.File:
    """Read and check the whole file. ConfigError has all problems, in the order of their lines."""
    try:
        raw = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # TOMLDecodeError is a ValueError, as is a number too long to read
        raise ConfigError([f"The file is not TOML: {error}."]) from error
    lines = Lines(text)
    try:
        file = model.File.model_validate(raw, context=defined_options(raw))
    except ValidationError as error:
        raise ConfigError(_sorted_sentences(_problems(error), lines)) from error
    found = list(contradictions(file))
    if found:
        raise ConfigError(_sorted_sentences(found, lines))
    return file


def defined_options(raw: Mapping[str, Any]) -> tuple[str, ...]:
    """Name the options that a file defines, as long as that is all that is known of it."""
    definitions = raw.get("option-definition")
    return tuple(definitions) if isinstance(definitions, dict) else ()


def _problems(error: ValidationError) -> list[Problem]:
    return [Problem(tuple(each["loc"]), _sentence(each["type"], each["msg"])) for each in error.errors()]


def _sentence(kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        return "there is no such key"
    if kind == "missing":
        return "this key is missing"
    message = message.removeprefix("Value error, ")
    return message[:1].lower() + message[1:]


def _sorted_sentences(problems: list[Problem], lines: Lines) -> list[str]:
    numbered = sorted((lines.of(each.location) or 0, show_location(each.location), each.text) for each in problems)
    return [f"line {line}, {where}: {text}." if line else f"{where}: {text}." for line, where, text in numbered]


def _settings(file: model.File, name: str, text: str) -> Settings:
    server = file.server[name]
    local_names = (
        server.interfaces if isinstance(server.interfaces, dict) else {each: each for each in server.interfaces}
    )
    grouped: dict[str, list[SubnetSettings]] = {}
    shared: dict[str, str | None] = {}
    for number, subnet in enumerate(file.subnet):
        if name in servers_of(file, subnet):
            made = _subnet(file, number, local_names)
            link = subnet.shared_network or made.interface or made.name
            grouped.setdefault(link, []).append(made)
            shared[link] = subnet.failover
    links = tuple(Link(link, tuple(subnets), shared[link]) for link, subnets in grouped.items())
    return Settings(
        server=name,
        interfaces=tuple(local_names.values()),
        links=links,
        preference=server.preference,
        options=file.options.encode(file.option_definition),
        decline_time_s=file.decline_time,
        reuse_grace_s=file.reuse_grace,
        relationships=tuple(relationships(file, name, links)),
        relay_supplied=frozenset(file.relay_supplied_options),
        link_layer_from_duid=file.link_layer_from_duid,
        classes=tuple(_class(file, each, local_names) for each in file.class_),
        lines=Lines(text).by_name(),
        digest=sha256(text.encode()).hexdigest(),
    )


def _class(file: model.File, name: str, local_names: Mapping[str, str]) -> ClientClass:
    described = file.class_[name]
    condition = described.when.condition(local_names) if described.when is not None else None
    options = described.options.encode(file.option_definition)
    return ClientClass(show_location(("class", name)), name, condition, options, described.drop)


def _subnet(file: model.File, number: int, local_names: dict[str, str]) -> SubnetSettings:
    subnet = file.subnet[number]
    definitions = file.option_definition
    where = show_location(("subnet", number))
    return SubnetSettings(
        where=where,
        name=str(subnet.prefix),
        first=int(subnet.prefix[0]),
        last=int(subnet.prefix[-1]),
        interface=local_names.get(subnet.interface) if subnet.interface else None,
        lifetimes=_lifetimes(*effective_lifetimes(file, subnet)),
        options=subnet.options.encode(definitions),
        rapid_commit=file.rapid_commit if subnet.rapid_commit is None else subnet.rapid_commit,
        pools=tuple(_pools(subnet, where, definitions)),
        reservations=tuple(
            _reservation(each, f"{where}.reservation[{item}]", definitions)
            for item, each in enumerate(subnet.reservation, 1)
        ),
        classes=frozenset(subnet.classes),
        relays=tuple(map(int, subnet.relay)),
        interface_ids=tuple(subnet.interface_id),
    )


def _lifetimes(preferred_s: int, valid_s: int, renew_s: int | None, rebind_s: int | None) -> Lifetimes:
    """Complete T1 and T2: half, and eight tenths, of the preferred lifetime (RFC 9915 21.4)."""

    def share(configured_s: int | None, tenths: int) -> int:
        if configured_s is not None:
            return configured_s
        return FOREVER if preferred_s == FOREVER else preferred_s * tenths // 10

    return Lifetimes(preferred_s, valid_s, share(renew_s, 5), share(rebind_s, 8))


def _pools(subnet: model.Subnet, where: str, definitions: Definitions) -> Iterator[PoolSettings]:
    for item, pool in enumerate(subnet.pools, 1):
        first, last = pool.range
        yield PoolSettings(
            f"{where}.pools[{item}]",
            Range(int(first), int(last), 128),
            pool.options.encode(definitions),
            classes=frozenset(pool.classes),
        )
    for item, pd_pool in enumerate(subnet.pd_pools, 1):
        length = pd_pool.delegated_length
        first, last = pd_pool.prefix[0], pd_pool.prefix[-1]
        yield PoolSettings(
            f"{where}.pd-pools[{item}]",
            Range(int(first), int(last), length),
            pd_pool.options.encode(definitions),
            _relative(pd_pool.exclude),
            frozenset(pd_pool.classes),
        )


def _reservation(reservation: model.Reservation, where: str, definitions: Definitions) -> Reservation:
    keys = [key_of(int(address)) for address in reservation.address]
    keys += [key_of(int(prefix[0]), prefix.prefixlen) for prefix in reservation.prefix]
    return Reservation(
        where=where,
        duid=reservation.duid,
        link_layer=reservation.link_layer,
        keys=tuple(keys),
        hostname=reservation.hostname,
        options=reservation.options.encode(definitions),
        exclude=_relative(reservation.exclude),
        classes=frozenset(reservation.classes),
    )


def _relative(exclude: IPv6Network | None) -> tuple[int, int] | None:
    return None if exclude is None else (int(exclude[0]), exclude.prefixlen)

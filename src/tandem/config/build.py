"""From a checked file to the settings of one of its servers."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping
from hashlib import sha256
from ipaddress import IPv6Network

from tandem.config import model
from tandem.config.definitions import OptionDefinition
from tandem.config.lifetimes import Lifetimes, effective, of_class
from tandem.config.lines import Lines
from tandem.config.options import Options
from tandem.config.partners import relationships, servers_of
from tandem.config.problems import show_location
from tandem.effects.reservations import NO_RESERVATIONS, Reservations, Row, pack
from tandem.effects.settings import (
    NO_HOLES,
    ClientClass,
    Limits,
    Link,
    PoolSettings,
    Settings,
    SubnetSettings,
)
from tandem.lease.holes import Holes
from tandem.lease.pool import holes_of
from tandem.lease.space import Interval, Range, interval_of

Definitions = Mapping[str, OptionDefinition]


class Reserved:
    """The space of all reservations of a server: intervals that do not overlap."""

    def __init__(self, intervals: Iterable[Interval]) -> None:
        self._intervals = sorted(intervals)
        self._firsts = [first for first, _ in self._intervals]
        self._lasts = [last for _, last in self._intervals]

    def within(self, range_: Range) -> Holes:
        """Give what of it lies in a pool, or reaches into it."""
        start, end = bisect_left(self._lasts, range_.first), bisect_right(self._firsts, range_.last)
        if start == end:
            return NO_HOLES
        holes = holes_of(range_, Holes(self._intervals[start:end]))
        return holes if holes else NO_HOLES


def settings_of(file: model.File, name: str, lines: Lines, text: str) -> Settings:
    """Give all that the server of that name is to do."""
    server = file.server[name]
    local_names = (
        server.interfaces if isinstance(server.interfaces, dict) else {each: each for each in server.interfaces}
    )
    links = tuple(_links(file, name, local_names))
    return Settings(
        server=name,
        interfaces=tuple(local_names.values()),
        links=links,
        preference=server.preference,
        options=file.options.encode(file.option_definition, file.always_send),
        decline_time_s=file.decline_time,
        reuse_grace_s=file.reuse_grace,
        relationships=tuple(relationships(file, name, links)),
        relay_supplied=frozenset(file.relay_supplied_options),
        link_layer_from_duid=file.link_layer_from_duid,
        classes=tuple(_class(file, each, local_names) for each in file.class_),
        lines=lines.index([(len(each.pools), len(each.pd_pools), len(each.reservation)) for each in file.subnet]),
        digest=sha256(text.encode()).hexdigest(),
    )


def _links(file: model.File, name: str, local_names: Mapping[str, str]) -> Iterator[Link]:
    """Give the links that the server serves, each with its subnets."""
    mine = [(number, subnet) for number, subnet in enumerate(file.subnet) if name in servers_of(file, subnet)]
    reserved = Reserved(
        interval
        for _, subnet in mine
        for row in subnet.reservation
        if row is not None
        for interval in (*zip(row.addresses, row.addresses, strict=True), *map(interval_of, row.prefixes))
    )
    shared = frozenset() if file.ip_reservations_unique else _shared_leases(subnet for _, subnet in mine)
    grouped: dict[str, list[tuple[int, SubnetSettings]]] = {}
    for number, subnet in mine:
        made = _subnet(file, number, local_names, reserved)
        grouped.setdefault(subnet.shared_network or made.interface or made.name, []).append((number, made))
    for link, subnets in grouped.items():
        rows = [
            row
            for on_link, (number, _) in enumerate(subnets)
            for row in _rows(file.subnet[number], number, on_link, file.option_definition, shared)
        ]
        reservations = Reservations(pack(rows)) if rows else NO_RESERVATIONS
        last, _ = subnets[-1]
        limits = _limits(file.limits, [file.subnet[number].limits for number, _ in subnets])
        yield Link(link, tuple(made for _, made in subnets), file.subnet[last].failover, reservations, limits)


def _limits(general: model.Limits, own: Iterable[model.Limits]) -> Limits:
    """Return the limits of a link: of each, what the first of its subnets says that does, or the whole file."""
    chosen: dict[str, int] = {}
    for each in (*own, general):
        for name, value in each.model_dump(exclude_none=True).items():
            chosen.setdefault(name, value)
    return Limits(**chosen)


def _class(file: model.File, name: str, local_names: Mapping[str, str]) -> ClientClass:
    described = file.class_[name]
    condition = described.when.condition(local_names) if described.when is not None else None
    options = described.options.encode(file.option_definition, described.always_send)
    return ClientClass(show_location(("class", name)), name, condition, options, described.drop)


def _subnet(file: model.File, number: int, local_names: Mapping[str, str], reserved: Reserved) -> SubnetSettings:
    subnet = file.subnet[number]
    definitions = file.option_definition
    where = show_location(("subnet", number))
    lifetimes = effective(subnet.lifetimes, file.lifetimes)
    of_classes = {name: each.lifetimes for name, each in file.class_.items() if each.lifetimes != Lifetimes()}
    return SubnetSettings(
        where=where,
        name=str(subnet.prefix),
        first=int(subnet.prefix[0]),
        last=int(subnet.prefix[-1]),
        interface=local_names.get(subnet.interface) if subnet.interface else None,
        lifetimes=lifetimes.complete(),
        class_lifetimes={name: of_class(own, lifetimes).complete() for name, own in of_classes.items()},
        options=subnet.options.encode(definitions, subnet.always_send),
        rapid_commit=file.rapid_commit if subnet.rapid_commit is None else subnet.rapid_commit,
        pools=tuple(_pools(subnet, where, definitions, reserved)),
        classes=frozenset(subnet.classes),
        relays=tuple(map(int, subnet.relay)),
        interface_ids=tuple(subnet.interface_id),
        trusted_relays=tuple((int(prefix[0]), int(prefix[-1])) for prefix in subnet.relays),
    )


def _pools(subnet: model.Subnet, where: str, definitions: Definitions, reserved: Reserved) -> Iterator[PoolSettings]:
    for item, pool in enumerate(subnet.pools, 1):
        range_ = Range(int(pool.range[0]), int(pool.range[1]), 128)
        yield PoolSettings(
            f"{where}.pools[{item}]",
            range_,
            pool.options.encode(definitions, pool.always_send),
            classes=frozenset(pool.classes),
            holes=reserved.within(range_),
        )
    for item, pd_pool in enumerate(subnet.pd_pools, 1):
        range_ = Range(int(pd_pool.prefix[0]), int(pd_pool.prefix[-1]), pd_pool.delegated_length)
        yield PoolSettings(
            f"{where}.pd-pools[{item}]",
            range_,
            pd_pool.options.encode(definitions, pd_pool.always_send),
            _relative(pd_pool.exclude),
            frozenset(pd_pool.classes),
            reserved.within(range_),
        )


def _shared_leases(subnets: Iterable[model.Subnet]) -> frozenset[int]:
    """Return the keys of the leases that are reserved for several clients."""
    clients: dict[int, object] = {}
    found: set[int] = set()
    for row in (row for subnet in subnets for row in subnet.reservation if row is not None):
        found.update(key for key in row.keys if clients.setdefault(key, row.client) != row.client)
    return frozenset(found)


def _rows(
    subnet: model.Subnet, number: int, on_link: int, definitions: Definitions, shared: Collection[int]
) -> Iterator[Row]:
    """Give the reservations of a subnet as they are packed."""
    for item, row in enumerate(subnet.reservation, 1):
        if row is None:
            continue
        more = None
        keys = row.keys
        also_others = frozenset(key for key in keys if key in shared) if shared else frozenset()
        if row.hostname or row.exclude or row.classes or row.options or row.always_send or also_others:
            encoded = (row.options or Options()).encode(definitions, row.always_send).packed()
            more = (row.hostname, encoded, _relative(row.exclude), frozenset(row.classes), also_others)
        yield Row(number, on_link, item, row.duid or row.link_layer or b"", row.duid is None, keys, more)


def _relative(exclude: IPv6Network | None) -> tuple[int, int] | None:
    return None if exclude is None else (int(exclude[0]), exclude.prefixlen)

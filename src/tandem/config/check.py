"""What no key shows by itself: keys that contradict each other. Each rule yields its problems."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import itemgetter

from tandem.config.lifetimes import Effective, Lifetimes, effective, of_class
from tandem.config.model import Failover, File, ReservationRow, Subnet
from tandem.config.options import NAMES, NOT_TO_BE_CONFIGURED, Options, code_of
from tandem.config.problems import Location, Problem, show_location
from tandem.config.table import kebab
from tandem.failover.handshake import MCLT_MAX_S
from tandem.lease.lease import FOREVER
from tandem.lease.pool import is_reserved_interface_id
from tandem.lease.space import Interval, interval_of
from tandem.wire.octets import write_option
from tandem.wire.received import ADDRESS_LENGTH
from tandem.wire.text import show_address, show_octets, show_prefix

ANYCAST_SIZE_MIN = 4
"""In smaller subnets the first address is no subnet-router anycast address (RFC 6164 section 3)."""


def contradictions(file: File) -> Iterator[Problem]:
    """Give all that is wrong between the keys of a file whose single values are right."""
    yield from _references(file)
    yield from _classes(file)
    yield from _options(file)
    yield from _shared_links(file)
    yield from _ways_to_links(file)
    yield from _lifetimes(file)
    yield from _overlaps(
        ((int(each.prefix[0]), int(each.prefix[-1]), number, 0) for number, each in enumerate(file.subnet)),
        lambda number, _: ("subnet", number, "prefix"),
    )
    yield from _overlaps(_pool_spaces(file), _pool_location)
    for number, subnet in enumerate(file.subnet):
        yield from _inside(("subnet", number), subnet)
    yield from _reserved_twice(file)
    yield from _clients_twice(file)


def nobodys(file: File) -> Iterator[Problem]:
    """Give the subnets that say no server although there are several.

    That is an error in the file, but one that can be served through: the first server has them, so that never two
    servers give out the same pool without knowing of each other.
    """
    if len(file.server) > 1:
        first = next(iter(file.server))
        for number, subnet in enumerate(file.subnet):
            if subnet.server is None and subnet.failover is None:
                text = (
                    f"say server = NAME or failover = NAME, since there are several; until then only {first} serves it"
                )
                yield Problem(("subnet", number), text)


def doubts(file: File) -> Iterator[Problem]:
    """Give what can be served as it stands, and is hardly what was meant."""
    for number, subnet in enumerate(file.subnet):
        for address in subnet.relay:
            if address.is_link_local:
                text = (
                    f"{address} is link-local: relay agents on other links may have the same; an interface-id is safer"
                )
                yield Problem(("subnet", number, "relay"), text)
    yield from _pools_under_prefixes(file)


def _pools_under_prefixes(file: File) -> Iterator[Problem]:
    """Give the pools of addresses that reach into a prefix that is reserved for one client."""
    prefixes = sorted(
        (*interval_of(key), number, item)
        for number, subnet in enumerate(file.subnet)
        for item, row in enumerate(subnet.reservation)
        if row is not None
        for key in row.prefixes
    )
    firsts = [each[0] for each in prefixes]
    for number, subnet in enumerate(file.subnet):
        for item, pool in enumerate(subnet.pools):
            first, last = int(pool.range[0]), int(pool.range[1])
            at = bisect_right(firsts, last) - 1  # reserved prefixes do not overlap: the last one reaches farthest
            if at >= 0 and prefixes[at][1] >= first:
                where = show_location(("subnet", prefixes[at][2], "reservation", prefixes[at][3]))
                text = (
                    f"the prefix that {where} reserves for one client reaches into it; nobody is given these addresses"
                )
                yield Problem(("subnet", number, "pools", item), text)


def _references(file: File) -> Iterator[Problem]:
    for name, failover in file.failover.items():
        yield from _failover(name, failover, file)
        for role in ("primary", "secondary"):
            if getattr(failover, role) not in file.server:
                yield Problem(("failover", name, role), f"there is no [server.{getattr(failover, role)}]")
    known = {name for server in file.server.values() for name in server.interfaces}
    for number, subnet in enumerate(file.subnet):
        at: Location = ("subnet", number)
        if subnet.failover is not None and subnet.failover not in file.failover:
            yield Problem((*at, "failover"), f"there is no [failover.{subnet.failover}]")
        if subnet.server is not None and subnet.server not in file.server:
            yield Problem((*at, "server"), f"there is no [server.{subnet.server}]")
        if subnet.server is not None and subnet.failover is not None:
            yield Problem((*at, "server"), "a subnet has either server or failover")
        if subnet.interface is not None and subnet.interface not in known:
            yield Problem((*at, "interface"), f"no server lists {subnet.interface!r} in its interfaces")
    identifiers: dict[bytes, str] = {}
    for name, server in file.server.items():
        if not server.interfaces and not server.listen:
            yield Problem(("server", name), "name the interfaces to serve, or addresses to listen on")
        if server.duid is not None and identifiers.setdefault(server.duid, name) != name:
            text = f"server {identifiers[server.duid]} has the DUID {show_octets(server.duid)}, too; each needs its own"
            yield Problem(("server", name, "duid"), text)


def _classes(file: File) -> Iterator[Problem]:
    """Classes are known, and one that another depends on stands before it."""
    before: set[str] = set()
    served = {name for server in file.server.values() for name in server.interfaces}
    for name, each in file.class_.items():
        at: Location = ("class", name)
        for condition in each.when.whole() if each.when is not None else ():
            other = condition.class_
            if other is not None and other not in before:
                text = f"[class.{other}] has to stand before it" if other in file.class_ else f"there is no {other!r}"
                yield Problem((*at, "when"), text)
            for interface in condition.interface or ():
                if interface not in served:
                    yield Problem((*at, "when"), f"no server lists {interface!r} in its interfaces")
        before.add(name)
    for number, subnet in enumerate(file.subnet):
        where: Location = ("subnet", number)
        users: list[tuple[Location, Iterable[str]]] = [(where, subnet.classes)]
        users += [((*where, "pools", item), each.classes) for item, each in enumerate(subnet.pools)]
        users += [((*where, "pd-pools", item), each.classes) for item, each in enumerate(subnet.pd_pools)]
        users += [(_reservation_location(number, item), row.classes) for item, row in _rows(subnet) if row.classes]
        for place, names in users:
            yield from (
                Problem((*place, "classes"), f"there is no [class.{name}]") for name in names if name not in before
            )


def _options(file: File) -> Iterator[Problem]:
    """What is not an option of ours is defined in the file, and is as it is defined."""
    known = {kebab(name) for name in Options.model_fields}
    codes: dict[int, str] = {}
    for name, definition in file.option_definition.items():
        at: Location = ("option-definition", name)
        if name in known or name.isdecimal():
            yield Problem(at, f"{name!r} means something already; take another name")
        if definition.code in NOT_TO_BE_CONFIGURED:
            yield Problem(at, f"option {definition.code} is not one to configure")
        if definition.code in NAMES:
            yield Problem(at, f"option {definition.code} has a name: {NAMES[definition.code]}")
        if definition.code in codes:
            yield Problem(at, f"{codes[definition.code]} has that code, too")
        codes.setdefault(definition.code, name)
    for at, options, always_send in option_scopes(file):
        for item, each in enumerate(always_send):
            if code_of(each, file.option_definition) is None:
                yield Problem((*at[:-1], "always-send", item), f"there is no option {each!r}")
        numbers = {int(each) for each in options.numbered()}
        for name, option in options.defined().items():
            defined = file.option_definition[name]
            if defined.code in numbers:
                yield Problem((*at, name), f"option {defined.code} stands here by its number, too")
            try:
                write_option(defined.code, option.body(defined))
            except ValueError as error:
                yield Problem((*at, name), str(error))


def option_scopes(file: File) -> Iterator[tuple[Location, Options, Sequence[str]]]:
    """Give all `options` tables of the file, each with its place and the `always-send` beside it."""
    yield ("options",), file.options, file.always_send
    for name, each in file.class_.items():
        yield ("class", name, "options"), each.options, each.always_send
    for number, subnet in enumerate(file.subnet):
        at: Location = ("subnet", number)
        yield (*at, "options"), subnet.options, subnet.always_send
        for item, pool in enumerate(subnet.pools):
            yield (*at, "pools", item, "options"), pool.options, pool.always_send
        for item, pd_pool in enumerate(subnet.pd_pools):
            yield (*at, "pd-pools", item, "options"), pd_pool.options, pd_pool.always_send
        for item, row in _rows(subnet):
            if row.options is not None or row.always_send:
                yield (*at, "reservation", item, "options"), row.options or Options(), row.always_send


def _failover(name: str, failover: Failover, file: File) -> Iterator[Problem]:
    at: Location = ("failover", name)
    if failover.primary == failover.secondary:
        yield Problem((*at, "secondary"), "a server cannot be its own partner")
    for role in ("primary", "secondary"):
        server = file.server.get(getattr(failover, role))
        if server is not None and server.address is None:
            yield Problem(("server", getattr(failover, role)), f"say its address, where {name}'s partner reaches it")
    if failover.security == "insecure" and failover.tls is not None:
        yield Problem((*at, "security"), "with tls it cannot be insecure; take one of the two out")
    if FOREVER in (failover.mclt, failover.keepalive, failover.startup, failover.auto_partner_down):
        yield Problem(at, "no time here can be for ever")
    elif failover.mclt > MCLT_MAX_S:
        yield Problem((*at, "mclt"), "more than seven days: recovery waits for so long, and serves nobody meanwhile")


def _shared_links(file: File) -> Iterator[Problem]:
    """All subnets on one link are in the same relationship, or in none: one answer is about all of them."""
    first_on: dict[str, int] = {}
    for number, subnet in enumerate(file.subnet):
        link = subnet.shared_network or subnet.interface
        if link is None:
            continue
        first = first_on.setdefault(link, number)
        if file.subnet[first].failover != subnet.failover:
            text = f"{show_location(('subnet', first))} is on the same link; both need the same failover, or none"
            yield Problem(("subnet", number), text)


def _ways_to_links(file: File) -> Iterator[Problem]:
    """What relays say leads to one link only."""
    ways: dict[tuple[str, object], tuple[int | str, int]] = {}
    for number, subnet in enumerate(file.subnet):
        link = subnet.shared_network or subnet.interface or number
        for key, values in (("relay", subnet.relay), ("interface-id", subnet.interface_id)):
            for value in values:
                other, first = ways.setdefault((key, value), (link, number))
                is_told_apart = key == "relay" and subnet.interface_id  # by what goes before a relay's address
                if other != link and not is_told_apart:
                    text = f"{show_location(('subnet', first))} has it too, and is on another link"
                    yield Problem(("subnet", number, key), text)


def _lifetimes(file: File) -> Iterator[Problem]:
    of_classes = {name: each.lifetimes for name, each in file.class_.items() if each.lifetimes != Lifetimes()}
    checked: set[tuple[str, Effective, bool]] = set()
    for number, subnet in enumerate(file.subnet):
        at: Location = ("subnet", number, "lifetimes") if subnet.lifetimes != Lifetimes() else ("lifetimes",)
        with_failover = subnet.failover is not None
        here = effective(subnet.lifetimes, file.lifetimes)
        yield from (Problem(at, text) for text in here.faults(with_failover))
        for name, own in of_classes.items():
            members = of_class(own, here)
            if (name, members, with_failover) not in checked:
                checked.add((name, members, with_failover))
                where = show_location(("subnet", number))
                faults = (text for text in members.faults(with_failover))
                yield from (Problem(("class", name, "lifetimes"), f"in {where}, {text}") for text in faults)


Space = tuple[int, int, int, int]
"""Its first and last address, and what it is of: the number of its subnet, and another one in that."""


def _rows(subnet: Subnet) -> Iterator[tuple[int, ReservationRow]]:
    """Give the reservations of a subnet that could be read, with their numbers."""
    return ((item, row) for item, row in enumerate(subnet.reservation) if row is not None)


def _reservation_location(subnet: int, item: int) -> Location:
    return ("subnet", subnet, "reservation", item)


def _pool_spaces(file: File) -> Iterator[Space]:
    """Give the space of each pool; those of prefixes have negative numbers in their subnet."""
    for number, subnet in enumerate(file.subnet):
        for item, pool in enumerate(subnet.pools):
            yield int(pool.range[0]), int(pool.range[1]), number, item
        for item, pd_pool in enumerate(subnet.pd_pools):
            yield int(pd_pool.prefix[0]), int(pd_pool.prefix[-1]), number, ~item


def _pool_location(subnet: int, item: int) -> Location:
    return ("subnet", subnet, "pools", item) if item >= 0 else ("subnet", subnet, "pd-pools", ~item)


def _overlaps(spaces: Iterable[Space], locate: Callable[[int, int], Location]) -> Iterator[Problem]:
    widest: Space | None = None
    for each in sorted(spaces, key=itemgetter(0)):
        if widest is not None and each[0] <= widest[1]:
            yield Problem(locate(*each[2:]), f"it overlaps {show_location(locate(*widest[2:]))}")
        if widest is None or each[1] > widest[1]:
            widest = each


def _inside(at: Location, subnet: Subnet) -> Iterator[Problem]:
    """Addresses belong into the subnet; the space that is delegated does not lie on the link."""
    for item, pool in enumerate(subnet.pools):
        if pool.range[0] not in subnet.prefix or pool.range[1] not in subnet.prefix:
            first, last = pool.range
            yield Problem((*at, "pools", item), f"{first}-{last} is not inside {subnet.prefix}")
    space = int(subnet.prefix[0]), int(subnet.prefix[-1])
    for item, row in _rows(subnet):
        for address in row.addresses:
            fault = _fault_of_address(address, space)
            if fault:
                shown = show_address(address.to_bytes(16, "big"))
                yield Problem((*at, "reservation", item, "address"), f"{shown} {fault}")
        exclude = row.exclude
        for key in row.prefixes if exclude is not None else ():
            if exclude is not None and exclude.prefixlen <= key & 0xFF:
                shown = show_prefix((key >> 8).to_bytes(16, "big"), key & 0xFF)
                yield Problem((*at, "reservation", item, "exclude"), f"it does not fit into {shown}")


def _fault_of_address(address: int, space: Interval) -> str:
    """Say why no client in the subnet can have the address; nothing if one can."""
    first, last = space
    if not first <= address <= last:
        return f"is not inside {show_prefix(first.to_bytes(16, 'big'), ADDRESS_LENGTH - (last ^ first).bit_length())}"
    if address == first and last - first >= ANYCAST_SIZE_MIN - 1:
        return "is the subnet-router anycast address; reserve another one"
    if is_reserved_interface_id(address):
        return "has a reserved interface identifier (RFC 5453); reserve another address"
    return ""


def _reserved_twice(file: File) -> Iterator[Problem]:
    """What is reserved does not overlap; the same lease may be reserved for one client, or if that is said for many."""
    spaces = list(_reserved_spaces(file))
    spaces.sort()
    left: list[Space] = []
    first = last = -1
    for space in spaces:
        if space[0] != first or space[1] != last:
            first, last, _, _ = space
            left.append(space)
        elif file.ip_reservations_unique and _client_of(file, *left[-1][2:]) != _client_of(file, *space[2:]):
            shared = "say ip-reservations-unique = false if both clients are to have it in turn"
            where = show_location(_reservation_location(*left[-1][2:]))
            yield Problem(_reservation_location(*space[2:]), f"it overlaps {where}; {shared}")
    yield from _overlaps(left, _reservation_location)


def _client_of(file: File, subnet: int, item: int) -> tuple[bytes | None, bytes | None] | None:
    row = file.subnet[subnet].reservation[item]
    return row.client if row is not None else None


def _reserved_spaces(file: File) -> Iterator[Space]:
    for number, subnet in enumerate(file.subnet):
        for item, row in _rows(subnet):
            for address in row.addresses:
                yield address, address, number, item
            for key in row.prefixes:
                yield *interval_of(key), number, item


def _clients_twice(file: File) -> Iterator[Problem]:
    """Each client has one reservation on a link."""
    by_link: dict[str | int, list[int]] = {}
    for number, subnet in enumerate(file.subnet):
        by_link.setdefault(subnet.shared_network or subnet.interface or number, []).append(number)
    for numbers in by_link.values():
        clients: dict[bytes, tuple[int, int]] = {}
        for number in numbers:
            for item, row in _rows(file.subnet[number]):
                first = clients.setdefault(row.duid or row.link_layer or b"", (number, item))
                if first != (number, item):
                    text = f"{show_location(_reservation_location(*first))} is for the same client; put them together"
                    yield Problem(_reservation_location(number, item), text)

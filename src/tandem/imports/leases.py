"""Leases of another server, put into the state-dir of one of ours."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from ipaddress import IPv6Address
from pathlib import Path
from typing import NamedTuple

from tandem.config.partners import territories
from tandem.effects.settings import Settings
from tandem.imports.report import ImportFailed
from tandem.lease.change import Change
from tandem.lease.holes import Holes
from tandem.lease.lease import FOREVER, BindingStatus, Lease, key_of, show_key
from tandem.lease.space import interval_of
from tandem.lease.table import LeaseTable
from tandem.runtime.state import STORE_NAME, State
from tandem.stores.sqlite import SqliteStore
from tandem.stores.store import StoreBroken, StoreError, StoreFull
from tandem.wire.option import write_options
from tandem.wire.options import ClientFqdn
from tandem.wire.received import ADDRESS_LENGTH, DUID_OCTETS_MAX

BATCH = 1000


class Imported(NamedTuple):
    """A lease as another server knows it; times in UTC seconds, `until_utc` FOREVER for never."""

    key: int
    duid: bytes
    iaid: int
    status: BindingStatus
    heard_utc: int
    until_utc: int
    preferred_s: int
    valid_s: int
    hostname: str = ""
    remark: str = ""
    """What is to be said of how it was read."""


def key_in_range(address: int, length: int) -> int:
    """Give the key of an address or a prefix, without bits behind its length. ValueError if that is no length."""
    if not 0 < length <= ADDRESS_LENGTH:
        raise ValueError(f"{length} is not the length of a prefix")
    spare = ADDRESS_LENGTH - length
    return key_of(address >> spare << spare, length)


def cut_remark(address: int, key: int, where: str) -> str:
    """Say that an address had bits behind the length of its prefix, nothing if it had none."""
    if address == key >> 8:
        return ""
    return f"{where}: {IPv6Address(address)} has bits behind its length, and was read as {show_key(key)}."


def checked(lease: Imported) -> Imported:
    """Give the lease. ValueError if it cannot be one."""
    if not 2 < len(lease.duid) <= DUID_OCTETS_MAX:
        raise ValueError(f"a DUID has 3 to {DUID_OCTETS_MAX} octets, and not {len(lease.duid)}")
    numbers = (lease.iaid, lease.heard_utc, lease.until_utc, lease.preferred_s, lease.valid_s)
    if not all(0 <= each <= FOREVER for each in numbers):
        raise ValueError("a number is out of its bounds")
    return lease


class Counts(NamedTuple):
    """What became of the leases."""

    taken: int
    elsewhere: int
    """Those that belong to no subnet of the file; they are left out."""
    remarks: list[str]
    """What is to be said of how some were read."""


def put_leases(leases: Iterable[Imported], settings: Settings, folder: Path, progress: Callable[[int], None]) -> Counts:
    """Write the leases durably into a state-dir that has none. ImportFailed says why that is not possible.

    What is shared with a partner is marked as not acknowledged, so that the partner is told.
    """
    table = LeaseTable()
    table.use_territories((each, shared.name) for shared in settings.relationships for each in shared.territories)
    known = Holes(territories(settings.links))
    store = _store_without_leases(folder)
    pending: list[Change] = []
    taken = elsewhere = 0
    remarks: list[str] = []
    try:
        for lease in leases:
            if not known.touches(*interval_of(lease.key)):
                elsewhere += 1
                continue
            if lease.remark:
                remarks.append(lease.remark)
            pending.append(table.change(_ours(lease)))
            taken += 1
            if len(pending) == BATCH:
                store.commit(pending)
                pending = []
                progress(taken)
        if pending:
            store.commit(pending)
        while store.tidy():
            pass
    except (StoreFull, StoreBroken) as error:
        raise ImportFailed(
            f"{folder / STORE_NAME} cannot be written: {error}. Remove it before trying again."
        ) from error
    finally:
        store.close()
        _give_to_owner_of(folder)
    return Counts(taken, elsewhere, remarks)


def _store_without_leases(folder: Path) -> SqliteStore:
    try:
        state = State(folder, lambda _done, _total: None)
        found = sum(1 for _ in state.leases())
    except StoreError as error:
        raise ImportFailed(str(error)) from error
    if found:
        state.store.close()
        raise ImportFailed(f"{folder} has {found} leases already. Import into a state-dir without any.")
    return state.store


def _ours(lease: Imported) -> Lease:
    renew_s, rebind_s = (
        FOREVER if lease.preferred_s == FOREVER else lease.preferred_s * tenths // 10 for tenths in (5, 8)
    )
    return Lease(
        lease.key,
        lease.status,
        lease.duid,
        lease.iaid,
        lease.heard_utc,
        lease.heard_utc,
        lease.until_utc,
        lease.preferred_s,
        lease.valid_s,
        renew_s,
        rebind_s,
        write_options((ClientFqdn(0, lease.hostname),)) if lease.hostname else b"",
    )


def _give_to_owner_of(folder: Path) -> None:
    """Let the user whose folder it is use what root wrote into it."""
    owner = folder.stat()
    for path in folder.glob(f"{STORE_NAME}*") if os.geteuid() == 0 else ():
        os.chown(path, owner.st_uid, owner.st_gid)

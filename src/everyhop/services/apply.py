"""Apply a topology: check it, remember its addresses, and store it as what should be.

Rules: a file with faults changes nothing. The stored topology is what the control loop makes true; storing it is the
whole act. Chosen addresses are remembered for ever, so that callers find their callees after a restart.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime

from everyhop.core.hop import Address
from everyhop.core.layout import lay_out, open_addresses
from everyhop.core.plan import Plan
from everyhop.core.topology import Topology
from everyhop.core.validation import read
from everyhop.ports import AuditEntry, Store
from everyhop.services.records import Records

FreeAddress = Callable[[Collection[Address], range], Address]
"""Finds an address: none of those given, and with a port of the band."""


@dataclass(frozen=True, slots=True)
class Wish:
    """The topology that should be true: its text, and where it came from."""

    text: str
    file: str
    file_dir: str
    applied_at: datetime


@dataclass(frozen=True, slots=True)
class Remembered:
    """An address that was chosen once."""

    key: str
    address: str


WISHES = Records("topology", Wish)
ADDRESSES = Records("address", Remembered)
WISH_KEY = "current"
DASHBOARD = "dashboard"
"""The key of the dashboard's address, where the file leaves it open."""


async def apply(store: Store, text: str, *, file: str, file_dir: str, actor: str, now: datetime) -> bool:
    """Store a topology as what should be; True if it differs from what was wished before.

    Raises ``topology-invalid`` with every fault, and changes nothing then.
    """
    known = await WISHES.get(store, WISH_KEY)
    if known is not None and (known.value.text, known.value.file_dir) == (text, file_dir):
        return False  # accepted before: an exception that ended since is a finding, not a reason not to start
    read(text, file=file, today=now.date())
    await WISHES.put(store, WISH_KEY, Wish(text, file, file_dir, now), expect=known.version if known else 0)
    await store.audit(AuditEntry(now, actor, "apply topology", file, "accepted"))
    return True


async def remember_addresses(store: Store, topology: Topology, free: FreeAddress) -> dict[str, Address]:
    """An address for every key that the topology leaves open: the remembered one, or a free one of its band that
    is remembered from now on. Another band later does not move what is remembered."""
    known = await remembered(store)
    fixed = [
        address
        for service in topology.services.values()
        for address in (service.mesh, service.listen, *(call.at for call in service.calls))
        if address is not None
    ]
    if topology.edge is not None:
        fixed += [address for address in (topology.edge.https, topology.edge.http) if address is not None]
    if topology.dashboard is not None and topology.dashboard.listen is not None:
        fixed.append(topology.dashboard.listen)
    keys = [*open_addresses(topology)]
    if topology.dashboard is not None and topology.dashboard.listen is None:
        keys.append(DASHBOARD)
    for key in keys:
        if key not in known:
            known[key] = free([*fixed, *known.values()], topology.policy.mesh_ports)
            await ADDRESSES.put(store, key, Remembered(key, str(known[key])), expect=0)
    return known


async def remembered(store: Store) -> dict[str, Address]:
    """Every address that was chosen so far, by key."""
    return {one.value.key: Address.parse(one.value.address) for one in await ADDRESSES.all(store)}


async def wished(store: Store) -> tuple[Topology, Wish, int] | None:
    """The stored topology, the wish it came from and the wish's version, or None before the first apply.

    It is read as of the day it was applied: an exception that ended since is a finding, not a reason to stop.
    """
    wish = await WISHES.get(store, WISH_KEY)
    if wish is None:
        return None
    topology = read(wish.value.text, file=wish.value.file, today=wish.value.applied_at.date())
    return topology, wish.value, wish.version


async def planned(store: Store, data: str) -> tuple[Topology, Plan] | None:
    """The stored topology and its plan, or None before the first apply. Addresses that are not chosen yet are shown
    as port 0."""
    found = await wished(store)
    if found is None:
        return None
    topology, wish, _ = found
    return topology, plan_of(topology, await remembered(store), data=data, file_dir=wish.file_dir)


def plan_of(topology: Topology, known: dict[str, Address], *, data: str, file_dir: str) -> Plan:
    """The plan of a topology, with port 0 for addresses that are yet to be chosen."""
    open_ones = {key: Address("127.0.0.1", 0) for key in open_addresses(topology)}
    return lay_out(topology, open_ones | known, data=data, file_dir=file_dir)

"""A small world to play stories in: three nodes, durable fakes, and a control plane that can be killed.

Rules: what outlives a crash is in :class:`World` (disk, keys, proxies, clock, randomness); everything else is made anew
by :meth:`World.life`. A life does what the control loop does, one tick a call, without sleeping.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field
from datetime import date

from cryptography import x509
from tests.fakes.clock import MovedClock
from tests.fakes.crash import Fuse, Ledger, WatchedKeys, check_journal
from tests.fakes.keys import HeldKey
from tests.fakes.plane import FakeEnvoys
from tests.fakes.random import SeededRandom
from tests.fakes.store import Disk, MemoryStore

from everyhop.core.certificate import public_key_bytes
from everyhop.core.layout import issuance_policy, renewal_policy
from everyhop.core.lifecycle import CredentialState, Rotation, Slot
from everyhop.core.plan import Plan
from everyhop.core.policy import IssuancePolicy
from everyhop.core.topology import Topology
from everyhop.core.validation import read
from everyhop.drivers.keys.algorithms import make, public_bytes
from everyhop.ports import Event, Keys, Store
from everyhop.services.apply import plan_of
from everyhop.services.deploy import Deployment
from everyhop.services.establish import Authorities
from everyhop.services.issue import Gate
from everyhop.services.records import ROTATIONS, SLOTS
from everyhop.services.renew import Renewer, Tick
from everyhop.services.rotate import Rotator

TEXT = """\
everyhop: 1
trust_domain: shop.internal
environment: test
owners:
  shop: {contact: shop@shop.example}
  data: {contact: data@shop.example}
services:
  web: {owner: shop, listen: "127.0.0.1:7001", mesh: "127.0.0.1:9001", calls: [{service: db, at: "127.0.0.1:7101"}]}
  db: {owner: data, listen: "127.0.0.1:7002", mesh: "127.0.0.1:9002", protocol: postgres}
edge:
  https: 127.0.0.1:8443
  hosts:
    shop.localhost: {to: web}
"""
"""edge -> web -> db: three nodes, four credentials."""
NODES = ("db", "web", "edge")


def topology(text: str = TEXT) -> Topology:
    """A topology from its text, read on a fixed day."""
    return read(text, file="everyhop.yaml", today=date(2026, 3, 1))


def plan(text: str = TEXT) -> Plan:
    """Its plan."""
    return plan_of(topology(text), {}, data="/data", file_dir="/shop")


def policy(text: str = TEXT) -> IssuancePolicy:
    """What it allows to be signed."""
    return issuance_policy(topology(text))


@dataclass
class World:
    """What outlives the control plane."""

    text: str = TEXT
    disk: Disk = field(default_factory=Disk)
    held: dict[str, HeldKey] = field(default_factory=dict[str, HeldKey])
    envoys: FakeEnvoys = field(default_factory=FakeEnvoys)
    clock: MovedClock = field(default_factory=MovedClock)
    random: SeededRandom = field(default_factory=SeededRandom)
    ledger: Ledger = field(default_factory=Ledger)
    events: list[Event] = field(default_factory=list[Event])
    wire: bool = True
    """False: nothing is seen on the wire."""

    def life(self, fuse: Fuse | None = None) -> Life:
        """A new control plane on what is left."""
        fuse = fuse or Fuse()
        store = fuse.fit(MemoryStore(self.disk))
        return Life(self, store, fuse.fit(WatchedKeys(self.held, self.disk, self.ledger)))

    def copy(self) -> World:
        """The same world a second time; what is frozen in it is shared."""
        disk = self.disk
        return World(
            text=self.text,
            disk=Disk(
                dict(disk.documents),
                dict(disk.leases),
                set(disk.released),
                dict(disk.journal),
                list(disk.audit),
                list(disk.observed),
                list(disk.seals),
                disk.revision,
            ),
            held=dict(self.held),
            envoys=FakeEnvoys({node: dict(has) for node, has in self.envoys.has.items()}),
            clock=MovedClock(self.clock.now()),
            random=copy(self.random),
            ledger=Ledger({request: set(tbs) for request, tbs in self.ledger.signed.items()}),
        )

    @property
    def nodes(self) -> list[str]:
        """The names of the planned nodes."""
        return [node.name for node in plan(self.text).nodes]


class Life:
    """One run of the control plane."""

    def __init__(self, world: World, store: Store, keys: Keys) -> None:
        self.world = world
        self.store = store
        self.keys = keys
        self.deployment = Deployment()
        clock, random, report = world.clock, world.random, world.events.append
        self.gate = Gate(store, keys, clock, random, make)
        self.authorities = Authorities(store, keys, self.gate)
        self.renewer = Renewer(store, keys, self.gate, self.authorities, self.deployment, clock, random, report)
        self.rotator = Rotator(store, self.authorities, self.deployment, clock, report)
        asked = topology(world.text)
        self.overlap = asked.policy.rotation_overlap
        self.the = Tick(plan(world.text), issuance_policy(asked), renewal_policy(asked), None)

    async def begin(self) -> None:
        """Finish what a crash left, and make sure that an authority exists."""
        await self.gate.recover(await self.authorities.key_ids())
        await self.authorities.establish(self.the.policy)
        await self.renewer.sweep()

    async def tick(self) -> None:
        """What the control loop does in one tick."""
        sightings = self.world.envoys.sightings(self.world.clock.now()) if self.world.wire else {}
        moved = True
        while moved:
            moved = await self.renewer.tick(self.the, sightings)
            moved = await self.rotator.tick(self.the) or moved

    async def settle(self, *, checked: bool = True) -> None:
        """Tick, and let the proxies take one thing after the other, until nobody has anything left to do."""
        busy = True
        while busy:
            await self.tick()
            busy = self.world.envoys.step(self.deployment, self.world.nodes)
            if checked:
                self.world.envoys.check(self.world.clock.now())
        await self.tick()
        while self.world.envoys.step(self.deployment, self.world.nodes):
            await self.settle(checked=checked)

    async def slots(self) -> dict[str, Slot]:
        """Every slot by its key."""
        return {one.value.key: one.value for one in await SLOTS.all(self.store)}

    async def rotations(self) -> list[Rotation]:
        """Every rotation, oldest first."""
        return [one.value for one in await ROTATIONS.all(self.store)]


async def start(world: World) -> Life:
    """A life in which everything is established and served."""
    life = world.life()
    await life.begin()
    await life.settle(checked=False)
    slots = await life.slots()
    assert len(slots) == 4
    assert all(slot.state is CredentialState.SERVED for slot in slots.values())
    world.envoys.check(world.clock.now())
    return life


async def check_all(world: World) -> None:
    """What must be true once a story has come to its end."""
    check_journal(world.disk, world.ledger)
    life = world.life()
    slots = await life.slots()
    assert slots
    for slot in slots.values():
        assert slot.state is CredentialState.SERVED
        assert slot.current is not None
        line = await life.store.issuance(serial=int(slot.current.serial, 16))
        assert line is not None
        assert line.certificate is not None
        served = x509.load_der_x509_certificate(line.certificate)
        assert public_bytes(world.held[slot.current.key_id].private) == public_key_bytes(served)
        assert world.envoys.has[slot.node][slot.name].version == slot.current.serial
    leaves = {key for key in world.held if key.startswith("leaf/")}
    in_use = {slot.current.key_id for slot in slots.values() if slot.current}
    assert leaves == in_use, f"keys that nobody will use again: {sorted(leaves - in_use)}"

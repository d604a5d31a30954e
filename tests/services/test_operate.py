"""The control loop on fakes: from nothing to ready, over faults of the outside, to an orderly end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from tests.fakes.clock import MovedClock
from tests.fakes.crash import Ledger, WatchedKeys
from tests.fakes.keys import HeldKey
from tests.fakes.plane import FakeEnvoys, FakePlane
from tests.fakes.prober import Asked, FakeProber
from tests.fakes.random import SeededRandom
from tests.fakes.runner import FakeRunner
from tests.fakes.store import Disk, MemoryStore
from tests.fakes.world import TEXT

from everyhop.core.hop import Address
from everyhop.core.lifecycle import CredentialState, RotationState
from everyhop.drivers.keys.algorithms import make
from everyhop.errors import EveryhopError
from everyhop.ports import Connection, Event, Handshake
from everyhop.services.apply import ADDRESSES, Remembered, apply
from everyhop.services.deploy import LeafMaterial
from everyhop.services.inventory import Status, status
from everyhop.services.operate import Mesh, Outside
from everyhop.services.records import ROTATIONS, SLOTS
from everyhop.services.rotate import request_rotation
from everyhop.settings import Settings

OFF = "dashboard: off\n"
RUN = TEXT.replace("protocol: postgres}", "protocol: postgres, run: {command: [db], health: {tcp: true}}}") + OFF
NODES = ("db", "web", "edge")
PLACES = {9001: ("web", "identity"), 9002: ("db", "identity"), 8443: ("edge", "host:shop.localhost")}


@dataclass
class Machine:
    """Everything outside of the control loop. It lives on when the loop ends."""

    disk: Disk = field(default_factory=Disk)
    held: dict[str, HeldKey] = field(default_factory=dict[str, HeldKey])
    clock: MovedClock = field(default_factory=MovedClock)
    runner: FakeRunner = field(default_factory=FakeRunner)
    plane: FakePlane = field(default_factory=FakePlane)
    envoys: FakeEnvoys = field(default_factory=FakeEnvoys)
    random: SeededRandom = field(default_factory=SeededRandom)
    ledger: Ledger = field(default_factory=Ledger)
    events: list[Event] = field(default_factory=list[Event])
    published: list[str] = field(default_factory=list[str])
    taken: set[int] = field(default_factory=set[int])
    """Ports that strangers listen on."""

    def __post_init__(self) -> None:
        self.store = MemoryStore(self.disk)
        self.prober = FakeProber(self.clock)
        for port, place in PLACES.items():
            self.prober.answer(Address("127.0.0.1", port), self.server(*place))
        self.prober.speak_plainly(Address("127.0.0.1", 7002), b"")

    def server(self, node: str, name: str):  # an Answer
        def how(asked: Asked, at: datetime) -> Handshake:
            leaf = self.envoys.has.get(node, {}).get(name)
            if not isinstance(leaf, LeafMaterial):
                return Handshake(asked.address, at, usable=False, refused="unreachable")
            chain = [one.public_bytes(Encoding.DER) for one in x509.load_pem_x509_certificates(leaf.chain.encode())]
            return Handshake(
                asked.address, at, True, version="TLSv1.3", cipher="A", group="X25519MLKEM768", chain=tuple(chain)
            )

        return how

    def outside(self, instance: str = "one") -> Outside:
        def free(taken: Collection[Address], band: range) -> Address:
            raise AssertionError(f"every address is fixed or remembered, beside {taken}")

        return Outside(
            store=self.store,
            keys=WatchedKeys(self.held, self.disk, self.ledger),
            clock=self.clock,
            random=self.random,
            sleep=self.clock.sleep,
            runner=self.runner,
            plane=self.plane,
            prober=self.prober,
            throw_away_key=make,
            free_address=free,
            is_free=lambda address: address.port not in self.taken,
            publish_bundle=self.published.append,
            report=self.events.append,
            data="/data",
            instance=instance,
        )

    async def live(self, mesh: Mesh) -> None:
        """The proxies: they run once they were started, take what is pushed, call each other and log it."""
        while True:
            await self.clock.sleep(0.1)
            running = {process.name for process in await self.runner.running()}
            up = [node for node in NODES if f"envoy-{node}" in running]
            while self.envoys.step(mesh.deployment, up):
                self.envoys.check(self.clock.now())
            for caller, callee in (("edge", "web"), ("web", "db")):
                shown = self.envoys.has.get(caller, {}).get("identity")
                if isinstance(shown, LeafMaterial):
                    self.plane.seen.append(self.call(caller, callee, int(shown.version, 16)))

    def call(self, caller: str, callee: str, serial: int) -> Connection:
        return Connection(
            self.clock.now(),
            callee,
            "inbound",
            "127.0.0.1:5",
            "TLSv1.3",
            "A",
            "X25519MLKEM768",
            f"spiffe://shop.internal/test/{caller}",
            serial,
        )

    def told(self, name: str) -> list[Event]:
        return [one for one in self.events if one.name == name]

    async def status(self) -> Status:
        return await status(self.store, "/data", self.clock.now())

    async def served(self) -> bool:
        slots = [one.value for one in await SLOTS.all(self.store)]
        return len(slots) == 4 and all(one.state is CredentialState.SERVED for one in slots)


@asynccontextmanager
async def running(
    machine: Machine, text: str = RUN, instance: str = "one"
) -> AsyncGenerator[tuple[Mesh, asyncio.Task[None]]]:
    """A mesh that runs; at the end it is told to stop and awaited, unless it has ended already."""
    await apply(machine.store, text, file="f", file_dir="/shop", actor="t", now=machine.clock.now())
    mesh, stop = Mesh(machine.outside(instance), Settings()), asyncio.Event()
    life = asyncio.create_task(machine.live(mesh))
    task = asyncio.create_task(mesh.run(stop))
    try:
        yield mesh, task
        stop.set()
        await machine.clock.until(task.done)
        if not task.cancelled():  # a test may have killed it
            await task
    finally:
        life.cancel()
        task.cancel()
        await asyncio.gather(life, task, return_exceptions=True)


async def ready(machine: Machine, mesh: Mesh) -> None:
    await machine.clock.until(mesh.ready.is_set)
    for _ in range(200):
        if (await machine.status()).ok and await machine.served():
            return
        await machine.clock.pass_by(timedelta(seconds=0.5))
    raise AssertionError([(one.hop, one.seen, one.note) for one in (await machine.status()).hops])


def test_from_nothing_to_every_hop_seen_and_to_an_orderly_end() -> None:
    async def play() -> None:
        machine = Machine()
        begun = machine.clock.now()
        async with running(machine) as (mesh, _):
            await ready(machine, mesh)
            assert [one.name for one in machine.runner.started] == ["envoy-db", "envoy-web", "envoy-edge", "db"]
            assert machine.clock.now() - begun < timedelta(seconds=20)
            found = await machine.status()
            assert (found.running, found.state) == (True, "running")
            assert {one.group for one in found.hops} == {"X25519MLKEM768"}
            assert machine.published[-1].count("BEGIN CERTIFICATE") == 1
            assert [one.name for one in machine.events].count("ready") == 1
            process = next(one for one in await machine.runner.running() if one.name == "envoy-db")
            assert mesh.may_serve(process.pid, "db")
            assert not mesh.may_serve(process.pid, "web")
            assert not mesh.may_serve(1, "db")
        assert machine.runner.stopped == ["db", "envoy-edge", "envoy-web", "envoy-db"]
        assert (await machine.status()).state == "stopped"
        assert machine.disk.released == {"control"}
        assert not machine.told("fault")

    asyncio.run(play())


def test_after_a_kill_it_takes_over_what_still_runs() -> None:
    async def play() -> None:
        machine = Machine()
        async with running(machine) as (mesh, task):
            await ready(machine, mesh)
            pids = {one.name: one.pid for one in await machine.runner.running()}
            certificates = {one.serial for one in (await machine.status()).certificates}
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            mesh.supervisor.abandon()
            machine.store = MemoryStore(machine.disk)
            async with running(machine) as (mesh, _):
                await ready(machine, mesh)
                assert {one.name: one.pid for one in await machine.runner.running()} == pids
                assert {one.serial for one in (await machine.status()).certificates} == certificates
                assert machine.runner.stopped == []

    asyncio.run(play())


def test_renewals_and_rotations_happen_by_themselves() -> None:
    async def play() -> None:
        machine = Machine()
        async with running(machine, RUN + "policy: {leaf_lifetime: 2m, intermediate_lifetime: 20m}\n") as (mesh, _):
            await ready(machine, mesh)
            first = {one.serial for one in (await machine.status()).certificates}
            await machine.clock.pass_by(timedelta(minutes=12))
            assert await machine.served()
            found = await machine.status()
            assert not first & {one.serial for one in found.certificates}
            assert found.rotation is not None
            assert (found.rotation.kind, found.rotation.state) == ("intermediate", RotationState.DONE)

    asyncio.run(play())


def test_a_root_rotation_is_driven_to_its_end_and_published() -> None:
    async def play() -> None:
        machine = Machine()
        async with running(machine) as (mesh, _):
            await ready(machine, mesh)
            before = machine.published[-1]
            now = machine.clock.now()
            overlap = timedelta(seconds=5)
            await request_rotation(machine.store, "root", reason="r", actor="t", overlap=overlap, now=now)
            await machine.clock.pass_by(timedelta(seconds=30))
            assert [one.value.state for one in await ROTATIONS.all(machine.store)] == [RotationState.DONE]
            sizes = [one.count("BEGIN CERTIFICATE") for one in machine.published]
            assert sizes == [1, 2, 1]
            assert machine.published[-1] != before

    asyncio.run(play())


def test_another_topology_is_taken_up_while_it_runs() -> None:
    async def play() -> None:
        machine = Machine()
        async with running(machine) as (mesh, _):
            await ready(machine, mesh)
            smaller = RUN.partition("edge:")[0]
            await apply(machine.store, smaller + OFF, file="f", file_dir="/shop", actor="t", now=machine.clock.now())
            await machine.clock.until(lambda: "envoy-edge" in machine.runner.stopped)
            assert machine.told("plan.changed")
            assert mesh.deployment.target("edge") is None

    asyncio.run(play())


def test_a_fault_of_the_outside_is_told_once_and_tried_again() -> None:
    class Moody(MemoryStore):
        down = False

        async def revision(self) -> int:
            return await super().revision()

        async def all(self, kind: str):  # as in the port
            if self.down:
                raise EveryhopError("store-unavailable", "the disk is full")
            return await super().all(kind)

    async def play() -> None:
        machine = Machine()
        store = Moody(machine.disk)
        machine.store = store
        async with running(machine) as (mesh, task):
            await ready(machine, mesh)
            store.down = True
            await machine.clock.pass_by(timedelta(seconds=20))
            faults = [one.fields["why"] for one in machine.told("fault")]
            assert 1 <= len(faults) <= 3
            assert set(faults) == {"the disk is full"}
            store.down = False
            await ready(machine, mesh)
            assert not task.done()
            assert machine.runner.stopped == []

    asyncio.run(play())


def test_a_bug_ends_the_loop_and_leaves_the_proxies_alone() -> None:
    async def play() -> None:
        machine = Machine()
        with pytest.raises(ZeroDivisionError):  # noqa: PT012  # the whole life is what raises
            async with running(machine) as (mesh, task):
                await ready(machine, mesh)

                async def broken(node: str, since: str) -> list[Connection]:
                    raise ZeroDivisionError

                machine.plane.connections = broken  # pyright: ignore[reportAttributeAccessIssue]
                await machine.clock.until(task.done)
        assert len(await machine.runner.running()) == 4
        assert machine.runner.stopped == []

    asyncio.run(play())


def test_who_lost_the_lease_stops_and_touches_nothing_more() -> None:
    async def play() -> None:
        machine = Machine()
        with pytest.raises(EveryhopError) as end:  # noqa: PT012  # the whole life is what raises
            async with running(machine) as (mesh, task):
                await ready(machine, mesh)
                later = machine.clock.now() + timedelta(hours=1)
                assert await machine.store.acquire("control", "two", timedelta(hours=2), later)
                await machine.clock.until(task.done)
        assert end.value.code.name == "store-fenced"
        assert machine.runner.stopped == []
        assert machine.disk.leases["control"].holder == "two"

    asyncio.run(play())


def test_two_do_not_run_on_one_store() -> None:
    async def play() -> None:
        machine = Machine()
        async with running(machine) as (mesh, _):
            await ready(machine, mesh)
            with pytest.raises(EveryhopError) as refusal:
                await Mesh(machine.outside("two"), Settings()).run(asyncio.Event())
            assert refusal.value.code.name == "store-fenced"

    asyncio.run(play())


def test_it_does_not_begin_without_a_topology_or_with_a_broken_store() -> None:
    async def play() -> None:
        machine = Machine()
        with pytest.raises(EveryhopError) as refusal:
            await Mesh(machine.outside(), Settings()).run(asyncio.Event())
        assert refusal.value.code.name == "topology-unreadable"
        machine.store.crash()
        with pytest.raises(EveryhopError) as refusal:
            await Mesh(machine.outside(), Settings()).run(asyncio.Event())
        assert refusal.value.code.name == "store-unavailable"
        assert await machine.runner.running() == []

    asyncio.run(play())


def test_a_port_that_a_stranger_holds_is_said_before_anything_is_started() -> None:
    async def play() -> None:
        machine = Machine(taken={9002})
        with pytest.raises(EveryhopError) as refusal:
            async with running(machine) as (_, task):
                await machine.clock.until(task.done)
        assert refusal.value.code.name == "address-in-use"
        assert "envoy-db needs 127.0.0.1:9002" in refusal.value.message
        assert "or change the address in the topology" in refusal.value.hint
        assert (machine.runner.started, machine.disk.journal, machine.held) == ([], {}, {})

    asyncio.run(play())


@pytest.mark.parametrize(
    ("key", "fixed", "opened", "way"),
    [
        ("mesh/db", ', mesh: "127.0.0.1:9002"', "", "`mesh:` of db"),
        ("call/web/db", '{service: db, at: "127.0.0.1:7101"}', "db", "`at:` in web's call of db"),
    ],
)
def test_of_a_chosen_port_that_a_stranger_holds_it_is_said_how_to_fix_another(
    key: str, fixed: str, opened: str, way: str
) -> None:
    async def play() -> None:
        machine = Machine(taken={15777})
        await ADDRESSES.put(machine.store, key, Remembered(key, "127.0.0.1:15777"), expect=0)
        with pytest.raises(EveryhopError) as refusal:
            async with running(machine, RUN.replace(fixed, opened)) as (_, task):
                await machine.clock.until(task.done)
        assert "needs 127.0.0.1:15777" in refusal.value.message
        assert f"(`ss -ltnp 'sport = 15777'` shows it) or fix another address with {way}" in refusal.value.hint

    asyncio.run(play())


def test_what_a_proxy_refuses_is_the_state_until_it_is_mended() -> None:
    async def play() -> None:
        machine = Machine()
        async with running(machine) as (mesh, _):
            await ready(machine, mesh)
            mesh.deployment.refuse("db", "inbound", "1", "address in use")
            await machine.clock.pass_by(timedelta(seconds=3))
            assert (await machine.status()).fault == "db: inbound: address in use"
            assert machine.told("plane.refused")
            mesh.deployment.acknowledge("db", "inbound", "1")
            await machine.clock.pass_by(timedelta(seconds=3))
            assert (await machine.status()).fault == ""

    asyncio.run(play())


def test_a_proxy_that_dies_is_started_again_and_served_the_same() -> None:
    async def play() -> None:
        machine = Machine()
        async with running(machine) as (mesh, _):
            await ready(machine, mesh)
            before = {one.serial for one in (await machine.status()).certificates}
            machine.envoys.has.pop("db")
            machine.envoys = replace(machine.envoys)
            machine.runner.end("envoy-db", -9)
            mesh.deployment.disconnected("db")
            await machine.clock.until(lambda: [one.name for one in machine.runner.started].count("envoy-db") == 2)
            await ready(machine, mesh)
            assert {one.serial for one in (await machine.status()).certificates} == before

    asyncio.run(play())

"""Operate: the control loop that makes the stored topology true and keeps it so.

The story: take the lease; finish what a crash left in the journal; make sure an authority exists; issue what the plan
needs; start the proxies, then the apps, callees first; then, until told to stop, compare what is stored with the clock
and with what was seen, and do the next thing. Every tick can be killed and repeated.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from everyhop.core.hop import Address
from everyhop.core.layout import fixing, issuance_policy, open_addresses, renewal_policy
from everyhop.core.plan import CLIENT, AppPlan, EdgeTls, HopPlan, Plan
from everyhop.core.topology import Topology
from everyhop.errors import EveryhopError
from everyhop.ports import (
    Clock,
    Event,
    Keys,
    Lease,
    Plane,
    Prober,
    ProcessSpec,
    Random,
    Reporter,
    Runner,
    Sleep,
    Store,
)
from everyhop.services.apply import WISH_KEY, WISHES, FreeAddress, plan_of, remember_addresses, remembered, wished
from everyhop.services.deploy import Deployment
from everyhop.services.establish import Authorities
from everyhop.services.issue import Gate, ThrowAwayKey
from everyhop.services.observe import HOPS_SEEN, HopSeen, Observer
from everyhop.services.records import SLOTS, Records
from everyhop.services.renew import Renewer, Tick
from everyhop.services.rotate import Rotator
from everyhop.services.supervise import Backoff, Supervisor, Wanted
from everyhop.settings import Settings

_LEASE = "control"
_LEASE_LIFE = timedelta(seconds=30)
_ENVOY_START = timedelta(seconds=30)
_SELDOM = 10
"""Ticks between two looks at which processes run: their ends are heard at once, only strangers are looked for."""


@dataclass(frozen=True, slots=True)
class Outside:
    """Everything the control loop needs from outside."""

    store: Store
    keys: Keys
    clock: Clock
    random: Random
    sleep: Sleep
    runner: Runner
    plane: Plane
    prober: Prober
    throw_away_key: ThrowAwayKey
    free_address: FreeAddress
    is_free: Callable[[Address], bool]
    """Whether nobody listens on a TCP address."""
    publish_bundle: Callable[[str], None]
    """Writes the roots (PEM) to where clients outside the mesh find them."""
    report: Reporter
    data: str
    """The data directory, absolute."""
    instance: str
    """The holder of leases."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What a watch works on: what should be true now, and the right to write."""

    topology: Topology
    plan: Plan
    lease: Lease | None


@dataclass(frozen=True, slots=True)
class Watch:
    """Something that looks at the mesh beside the control loop, again and again. Its faults are told and never end
    anything: who watches must not be able to stop who is watched."""

    name: str
    every: float
    """Seconds between the end of one step and the begin of the next."""
    step: Callable[[Scene], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Beat:
    """A sign of life of the control loop, for status."""

    at: datetime
    state: str
    """``starting``, ``running`` or ``stopped``."""
    instance: str
    fault: str = ""


BEATS = Records("beat", Beat)
BEAT_KEY = "control"


@dataclass(slots=True)
class _World:
    """What the loop works on between two changes of the wish."""

    version: int
    topology: Topology
    plan: Plan


class Mesh:
    """One machine's mesh."""

    def __init__(self, outside: Outside, settings: Settings) -> None:
        """Nothing happens before :meth:`run`."""
        self._out = outside
        self._settings = settings
        out = outside
        self.deployment = Deployment()
        self.gate = Gate(out.store, out.keys, out.clock, out.random, out.throw_away_key)
        self.authorities = Authorities(out.store, out.keys, self.gate)
        self.observer = Observer(
            out.store, out.plane, out.prober, out.clock, out.report, refusals_kept=settings.refusals_kept
        )
        self.renewer = Renewer(
            out.store, out.keys, self.gate, self.authorities, self.deployment, out.clock, out.random, out.report
        )
        self.rotator = Rotator(out.store, self.authorities, self.deployment, out.clock, out.report)
        self.supervisor = Supervisor(
            out.runner,
            out.store,
            out.clock,
            out.sleep,
            out.report,
            Backoff(settings.restart_backoff_first_seconds, settings.restart_backoff_max_seconds),
            grace=settings.stop_grace_seconds,
        )
        self.ready = asyncio.Event()
        """Set once the plan runs: every proxy and app was started and asked."""
        self._lease: Lease | None = None
        self._world: _World | None = None
        self._beat: Beat | None = None
        self._published = ""
        self._replanned = asyncio.Event()

    def may_serve(self, pid: int, node: str) -> bool:
        """Whether a process is the proxy that was started for this node: only it gets the node's secrets."""
        return pid == self.supervisor.pid(f"envoy-{node}")

    async def run(self, stop: asyncio.Event, watches: Sequence[Watch] = ()) -> None:
        """Make the stored topology true until ``stop`` is set, then end what was started. ``watches`` run beside the
        control loop once it has begun.

        Raises ``topology-invalid``, ``key-unavailable``... when it cannot begin; once it runs, a
        fault is reported and tried again.
        """
        await self._hold_lease()
        await self._sign_of_life("starting")
        await self._begin()
        tick = self._settings.tick_seconds
        try:
            async with asyncio.TaskGroup() as group:
                loops = [
                    group.create_task(self._loop(self._control, tick, self.deployment.bell)),
                    group.create_task(self._loop(self._converge, tick * _SELDOM, self._replanned)),
                    group.create_task(self._loop(self._look_around, tick, None)),
                    group.create_task(self._loop(self._count, self._settings.count_seconds, None)),
                    group.create_task(self._loop(self._out.runner.trim_logs, self._settings.log_trim_seconds, None)),
                    *(group.create_task(self._watch(watch)) for watch in watches),
                ]
                await stop.wait()
                for loop in loops:
                    loop.cancel()
        except BaseExceptionGroup as group:
            # Whatever it was, the proxies go on with what they have: nothing is ended because of our own fault.
            self.supervisor.abandon()
            raise group.exceptions[0] from None
        await self.supervisor.stop_all()
        await self._last_look()
        await self._sign_of_life("stopped")
        if self._lease is not None:
            await self._out.store.release(self._lease)

    # --- the beginning --------------------------------------------------------------------------------------------

    async def _begin(self) -> None:
        recovery = await self.gate.recover(await self.authorities.key_ids())
        if recovery.completed or recovery.abandoned:
            details: dict[str, Any] = {"completed": list(recovery.completed), "abandoned": list(recovery.abandoned)}
            self._tell("journal.recovered", **details)
        await self._load()
        world = self._need_world()
        self._wanted(world.plan)  # what cannot be started at all is said now, not in a loop
        await self._refuse_taken(world)
        policy = issuance_policy(world.topology)
        trust = await self.authorities.establish(policy, self._lease)
        self._tell("authority.ready", signer=trust.signer, bundle=", ".join(trust.bundle))
        await self.renewer.sweep()
        await self._control()

    async def _refuse_taken(self, world: _World) -> None:
        """Say which address another program holds, before anything is started, and where the file can change it."""
        plan, known = world.plan, await remembered(self._out.store)
        chosen = {known[key]: key for key in open_addresses(world.topology)}
        ours = {process.name for process in await self._out.runner.running()}
        wanted = [(f"envoy-{node.name}", listener.address) for node in plan.nodes for listener in node.listeners]
        wanted += [(app.name, app.listen) for app in plan.apps]
        for name, address in wanted:
            if name not in ours and address.port and not self._out.is_free(address):
                key = chosen.get(address)
                change = f"fix another address with {fixing(key)}" if key else "change the address"
                raise EveryhopError(
                    "address-in-use",
                    f"{name} needs {address}, and another program listens there",
                    hint=f"end it (`ss -ltnp 'sport = {address.port}'` shows it) or {change} in the topology",
                )

    async def _load(self) -> bool:
        """Read the wish if it changed; True if it did."""
        document = await WISHES.get(self._out.store, WISH_KEY)
        if self._world is not None and document is not None and document.version == self._world.version:
            return False
        found = await wished(self._out.store)
        if found is None:
            raise EveryhopError("topology-unreadable", "no topology was applied yet", hint="`everyhop up FILE`")
        topology, wish, version = found
        known = await remember_addresses(self._out.store, topology, self._out.free_address)
        plan = plan_of(topology, known, data=self._out.data, file_dir=wish.file_dir)
        self._world = _World(version, topology, plan)
        self._replanned.set()
        return True

    # --- the loops ------------------------------------------------------------------------------------------------

    async def _loop(self, step: Callable[[], Any], pause: float, bell: asyncio.Event | None) -> None:
        """Repeat a step for ever. A fault of the world outside is reported once and tried again; a bug ends us."""
        told = ""
        while True:
            try:
                await step()
                told = ""
            except (EveryhopError, OSError) as error:
                code = error.code.name if isinstance(error, EveryhopError) else "store-unavailable"
                if code == "store-fenced":
                    raise
                if str(error) != told and code != "store-conflict":
                    self._tell("fault", code=code, why=str(error))
                told = str(error)
            await _pause(self._out.sleep, pause, bell)

    async def _control(self) -> None:
        """One tick of everything that follows from stored state and the clock."""
        await self._hold_lease()
        if await self._load():
            self._tell("plan.changed")
        world = self._need_world()
        tick = Tick(world.plan, issuance_policy(world.topology), renewal_policy(world.topology), self._lease)
        overlap = world.topology.policy.rotation_overlap
        await _each(
            lambda: self._move(tick),
            lambda: self.rotator.start_due(overlap, tick.policy.scope),
            self._publish,
            lambda: self._sign_of_life("running" if self.ready.is_set() else "starting"),
        )

    async def _move(self, tick: Tick) -> None:
        """Renewals and the rotation, until neither goes further. Clients outside hear of a root before it signs."""
        moved = True
        while moved:
            await self._publish()
            moved = await self.renewer.tick(tick, self.observer.sightings)
            moved = await self.rotator.tick(tick) or moved

    async def _converge(self) -> None:
        """Run the processes of the plan; blocks while they start, so it has a loop of its own."""
        self._replanned.clear()
        await self.supervisor.ensure(self._wanted(self._need_world().plan), self._replanned)
        if not self.ready.is_set():
            self.ready.set()
            self._tell("ready")

    async def _look_around(self) -> None:
        world = self._need_world()
        await self.observer.collect(world.plan, self._lease)
        await self.observer.look(world.plan, [one.value for one in await SLOTS.all(self._out.store)])
        await self._look_at_edge(world)
        self.deployment.bell.set()

    async def _count(self) -> None:
        await self.observer.count(self._need_world().plan, self._lease)

    async def _last_look(self) -> None:
        """What the proxies wrote at their end, and what was not written down yet."""
        try:
            await self.observer.collect(self._need_world().plan, self._lease)
            await self.observer.write(self._lease)
        except (EveryhopError, OSError) as error:  # the logs stay, and are read by the next life
            self._tell("fault", code="store-unavailable", why=str(error))

    async def _watch(self, watch: Watch) -> None:
        """Repeat a watch for ever, whatever it does."""
        told = ""
        while True:
            world = self._need_world()
            try:
                await watch.step(Scene(world.topology, world.plan, self._lease))
                told = ""
            except Exception as error:  # noqa: BLE001  # see Watch
                if (text := f"{type(error).__name__}: {error}") != told:
                    self._tell("watch.failed", watch=watch.name, why=text)
                told = text
            await self._out.sleep(watch.every)

    async def _look_at_edge(self, world: _World) -> None:
        """The edge's hop has no caller of ours: ask it from outside, as often as an idle hop proves itself."""
        for hop in world.plan.hops:
            if hop.hop.caller != CLIENT:
                continue
            seen = await HOPS_SEEN.get(self._out.store, str(hop.hop))
            if seen is None or abs(self._out.clock.now() - seen.value.at) >= world.topology.policy.heartbeat:
                await self._look_at_host(world.plan, hop)

    async def _look_at_host(self, plan: Plan, hop: HopPlan) -> None:
        listener = next(one for one in plan.node(hop.node).listeners if isinstance(one, EdgeTls))
        host = next((host for host in listener.hosts if host.credential), None)
        if host is None:
            return
        answer = await self._out.prober.handshake(listener.address, server_name=host.host.replace("*", "any", 1))
        if not answer.version:
            return
        await self.observer.saw(
            HopSeen(
                hop=str(hop.hop),
                at=answer.at,
                version=answer.version,
                cipher=answer.cipher,
                group=answer.group,
                peer_identity="",
                peer_serial="",
                connections=0,
                source=f"handshake with {listener.address}",
            ),
            self._lease,
        )

    # --- parts ----------------------------------------------------------------------------------------------------

    def _wanted(self, plan: Plan) -> Sequence[Wanted]:
        proxies = [
            Wanted(self._out.plane.spec(node.name), _ask_plane(self._out.plane, node.name), _ENVOY_START)
            for node in plan.nodes
        ]
        apps = [Wanted(_app_spec(app), _ask_app(self._out.prober, app), app.start_timeout) for app in plan.apps]
        return [*proxies, *apps]

    async def _hold_lease(self) -> None:
        now = self._out.clock.now()
        if self._lease is None or self._lease.expires_at - now < _LEASE_LIFE / 2:
            lease = await self._out.store.acquire(_LEASE, self._out.instance, _LEASE_LIFE, now)
            if lease is None:
                raise EveryhopError(
                    "store-fenced", "another everyhop holds the lease on this store", hint="end it, or wait a minute"
                )
            self._lease = lease

    async def _publish(self) -> None:
        bundle = await self.authorities.bundle((await self.authorities.trust()).value)
        if bundle != self._published:
            self._out.publish_bundle(bundle)
            self._published = bundle

    async def _sign_of_life(self, state: str) -> None:
        now = self._out.clock.now()
        fault = "; ".join(
            f"{node}: {name}: {refusal.reason}"
            for node, refused in self.deployment.refusals().items()
            for name, refusal in refused.items()
        )
        beat = Beat(now, state, self._out.instance, fault[:2000])
        before = self._beat
        if before and replace(before, at=now) == beat and abs(now - before.at) < timedelta(seconds=2):
            return
        await BEATS.put(self._out.store, BEAT_KEY, beat)
        if fault and (before is None or before.fault != beat.fault):
            self._tell("plane.refused", why=beat.fault)
        self._beat = beat

    def _need_world(self) -> _World:
        if self._world is None:
            raise EveryhopError("internal", "the plan was used before it was made")
        return self._world

    def _tell(self, name: str, **fields: Any) -> None:
        self._out.report(Event(name, self._out.clock.now(), fields))


async def _each(*steps: Callable[[], Awaitable[object]]) -> None:
    """Do every step, also after one that failed; then raise the first failure."""
    faults: list[EveryhopError] = []
    for step in steps:
        try:
            await step()
        except EveryhopError as error:
            faults.append(error)
    if faults:
        raise next((fault for fault in faults if fault.code.name == "store-fenced"), faults[0])


async def _pause(sleep: Sleep, seconds: float, bell: asyncio.Event | None) -> None:
    """Wait, but not when the bell rings."""
    waits: set[asyncio.Task[Any]] = {asyncio.create_task(sleep(seconds))}
    if bell is not None:
        waits.add(asyncio.create_task(bell.wait()))
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in waits:
            one.cancel()
    if bell is not None:
        bell.clear()


def _app_spec(app: AppPlan) -> ProcessSpec:
    return ProcessSpec(app.name, app.command, dict(app.environment), app.directory)


def _ask_plane(plane: Plane, node: str) -> Callable[[], Any]:
    async def ask() -> bool:
        return await plane.live(node)

    return ask


def _ask_app(prober: Prober, app: AppPlan) -> Callable[[], Any]:
    async def ask() -> bool:
        if not app.health_path:
            return (await prober.plaintext(app.listen, b"", timeout=0.2)).connected
        request = f"GET {app.health_path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
        answer = await prober.plaintext(app.listen, request, timeout=2.0)
        parts = answer.answer.split(b" ", 2)
        return len(parts) > 1 and parts[0].startswith(b"HTTP/") and parts[1][:1] in (b"2", b"3")

    return ask

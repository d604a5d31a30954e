"""Watch: everything that looks at the mesh beside the control loop, put together.

Rules: each watch has its own pace and its own faults, and none can hurt another. The order of the story: flows are
seen, endpoints asked, indicators measured and alerts judged, people told, metrics and traces sent, observations summed
up, sealed and forgotten.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from cryptography import x509

from everyhop.core.guidelines.everyhop_2026_11 import EVERYHOP
from everyhop.core.guidelines.everyhop_edge_2026_11 import EVERYHOP_EDGE
from everyhop.core.layout import issuance_policy
from everyhop.ports import EndpointProber, Sockets
from everyhop.services.alert import Alerter, MakeNotifier
from everyhop.services.chronicle import Chronicler
from everyhop.services.flows import Catch, FlowWatcher, Sample
from everyhop.services.forward import Forwarder, MakeTelemetry
from everyhop.services.inspect import Inspector, MakeScanner
from everyhop.services.inventory import status
from everyhop.services.keep import Keeper
from everyhop.services.measure import Meter
from everyhop.services.operate import Mesh, Outside, Scene, Watch
from everyhop.services.prove import Prover, SealTimes
from everyhop.settings import Settings

_OFTEN = 2.0
"""Seconds between two looks at whether something is due."""


@dataclass(frozen=True, slots=True)
class Senses:
    """What watching needs from outside, beyond what the control loop has."""

    sockets: Sockets
    prober: EndpointProber
    make_scanner: MakeScanner
    make_notifier: MakeNotifier
    make_telemetry: MakeTelemetry
    catch: Catch | None = None
    sample: Sample | None = None


class Watching:
    """All watches of one mesh."""

    def __init__(self, mesh: Mesh, outside: Outside, senses: Senses, settings: Settings) -> None:
        """Nothing happens before the control loop runs the :attr:`watches`."""
        store, clock, report = outside.store, outside.clock, outside.report
        self._mesh = mesh
        self._store = store
        self._clock = clock
        self._data = outside.data
        self._settings = settings
        self.meter = Meter(store, clock, every=timedelta(0))
        self._flows = FlowWatcher(
            store, senses.sockets, senses.prober, clock, report, catch=senses.catch, sample=senses.sample
        )
        self._inspector = Inspector(
            store,
            clock,
            senses.make_scanner,
            self._roots,
            every=timedelta(seconds=settings.inspect_seconds),
            inside=EVERYHOP,
            edge=EVERYHOP_EDGE,
        )
        self._alerter = Alerter(store, clock, report, senses.make_notifier)
        self._keeper = Keeper(store, clock, detail_days=settings.detail_days, record_days=settings.record_days)
        times = SealTimes(
            timedelta(seconds=settings.seal_record_seconds), timedelta(seconds=settings.seal_detail_seconds)
        )
        self._prover = Prover(store, outside.keys, mesh.gate, mesh.authorities, clock, times)
        self._chronicler = Chronicler(store)
        self._forwarder = Forwarder(store, clock, report, self.meter, senses.make_telemetry, instance=outside.instance)

    @property
    def watches(self) -> Sequence[Watch]:
        """Every watch with its pace."""
        settings = self._settings
        return (
            Watch("flows", settings.flows_seconds, self._see_flows),
            Watch("endpoints", _OFTEN, self._inspect),
            Watch("indicators", settings.measure_seconds, self._measure),
            Watch("notifications", _OFTEN, self._tell),
            Watch("certificates", settings.count_seconds, self._note_events),
            Watch("telemetry", settings.tick_seconds, self._forward),
            Watch("retention", settings.log_trim_seconds, self._keep),
            Watch("seals", settings.count_seconds, self._seal),
        )

    async def _see_flows(self, scene: Scene) -> None:
        await self._flows.tick(scene.plan, scene.topology, scene.lease)

    async def _inspect(self, scene: Scene) -> None:
        await self._inspector.tick(scene.plan, scene.lease)

    async def _measure(self, scene: Scene) -> None:
        found = await status(self._store, self._data, self._clock.now())
        if await self.meter.tick(found, scene.topology, scene.lease) and self.meter.snapshot is not None:
            await self._alerter.tick(self.meter.snapshot, scene.topology, scene.lease)

    async def _tell(self, scene: Scene) -> None:
        await self._alerter.deliver(scene.topology, scene.lease)

    async def _note_events(self, scene: Scene) -> None:
        await self._chronicler.tick(scene.lease)

    async def _forward(self, scene: Scene) -> None:
        await self._forwarder.tick(scene.topology, scene.lease)

    async def _keep(self, scene: Scene) -> None:
        await self._keeper.tick(scene.lease)

    async def _seal(self, scene: Scene) -> None:
        await self._prover.tick(issuance_policy(scene.topology), scene.lease)

    async def _roots(self) -> Sequence[x509.Certificate]:
        bundle = await self._mesh.authorities.bundle((await self._mesh.authorities.trust()).value)
        return x509.load_pem_x509_certificates(bundle.encode()) if bundle else ()

"""Forward: metrics and traces to the collector that the topology names, at its pace.

Rules: nothing is sent unless it is asked for. Metrics are as of the last measurement and are not kept: counters are
cumulative, so a gap costs resolution, not truth. Traces wait in the store. A collector that is down is told of once,
and once more when it is back; whatever it does, nothing else waits for it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta

from everyhop.core.sending import METRICS, TRACES, Otlp
from everyhop.core.topology import Topology
from everyhop.errors import EveryhopError
from everyhop.ports import Clock, Event, Lease, Reporter, Store, Telemetry
from everyhop.services.measure import Meter
from everyhop.services.trace import Tracer

MakeTelemetry = Callable[[Otlp, Mapping[str, str]], Telemetry]
"""Makes a way to a collector, and what is said about ourselves in everything that is sent (OpenTelemetry: resource
attributes). Raises ``telemetry-failed`` if that cannot be."""


class Forwarder:
    """Keeps a collector told."""

    def __init__(
        self, store: Store, clock: Clock, report: Reporter, meter: Meter, make: MakeTelemetry, *, instance: str
    ) -> None:
        """Nothing is sent before :meth:`tick`. ``meter`` begins to count now; ``instance`` tells our numbers from those
        of other machines."""
        self._clock = clock
        self._report = report
        self._meter = meter
        self._make = make
        self._instance = instance
        self._tracer = Tracer(store, clock, instance)
        self._began_at = clock.now()
        self._tried_at: datetime | None = None
        self._sent: datetime | None = None
        self._way: tuple[Otlp, Mapping[str, str], Telemetry] | None = None
        self._told: dict[str, str] = {}

    async def tick(self, topology: Topology, fence: Lease | None) -> None:
        """Send what is due. Never raises because of the collector; raises ``store-fenced`` as ``Store.put``."""
        asked = topology.telemetry.otlp
        if asked is None:
            await self._close()
            return
        now = self._clock.now()
        if self._tried_at is not None and timedelta(0) <= now - self._tried_at < asked.every:
            return
        self._tried_at = now
        if METRICS in asked.signals and self._meter.judged_at not in (None, self._sent):
            await self._try(METRICS, self._metrics(asked, topology))
        if TRACES in asked.signals:
            await self._try(TRACES, self._traces(asked, topology, fence))

    async def _metrics(self, asked: Otlp, topology: Topology) -> int:
        at = self._meter.judged_at or self._clock.now()
        telemetry = await self._telemetry(asked, topology)
        refused = await telemetry.metrics(self._meter.samples(), began_at=min(self._began_at, at), at=at)
        self._sent = at
        return refused

    async def _traces(self, asked: Otlp, topology: Topology, fence: Lease | None) -> int:
        return await self._tracer.tick(await self._telemetry(asked, topology), fence)

    async def _try(self, signal: str, sending: Awaitable[int]) -> None:
        """Send, and tell of a fault when it is new, or over."""
        try:
            refused = await sending
        except EveryhopError as error:
            if error.code.name != "telemetry-failed":
                raise
            self._tell(signal, str(error))
            return
        self._tell(signal, f"expected the collector to keep all {signal}, got some refused" if refused else "")

    def _tell(self, signal: str, fault: str) -> None:
        before, self._told[signal] = self._told.get(signal, ""), fault
        if fault and fault != before:
            self._report(Event("fault", self._clock.now(), {"code": "telemetry-failed", "why": fault}))
        elif before and not fault:
            self._report(Event("telemetry.recovered", self._clock.now(), {"signal": signal}))

    async def _telemetry(self, asked: Otlp, topology: Topology) -> Telemetry:
        about = {
            "service.name": "everyhop",
            "service.instance.id": self._instance,
            "deployment.environment.name": topology.environment,
            "everyhop.trust_domain": topology.trust_domain.name,
        }
        if self._way is not None and self._way[:2] == (asked, about):
            return self._way[2]
        await self._close()
        telemetry = self._make(asked, about)
        self._way = asked, about, telemetry
        return telemetry

    async def _close(self) -> None:
        if self._way is not None:
            way, self._way = self._way, None
            await way[2].close()

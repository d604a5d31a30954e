"""Measure: indicators, what alerts look at, and metrics, from stored facts.

The story of a tick: read the observations that came since the last one (at the first: those of the last hours, and the
hours of a month); read what stands in documents (hops, certificates, flows, findings, seals); judge; write every
indicator down. Rules: nothing is measured here that is not stored, so that a restart shows the same numbers; windows go
on across restarts, counters for Prometheus begin at 0 with each life. Own probes are counted apart.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from everyhop.core import tally
from everyhop.core.alerts.snapshot import CertificateState, Excuse, Snapshot
from everyhop.core.chain import Authority
from everyhop.core.flow import Flow, FlowClass
from everyhop.core.hop import Posture
from everyhop.core.lifecycle import Slot
from everyhop.core.measures.look import snapshot
from everyhop.core.measures.readings import WINDOWS, HopReading, Readings, ServiceReading
from everyhop.core.measures.samples import Counters, samples
from everyhop.core.measures.values import values
from everyhop.core.metrics import Sample
from everyhop.core.observation import Kind, Observation, Plain, Source, Stream
from everyhop.core.sli.counts import MTLS, PLAINTEXT, SOCKETS, TLS, UNKNOWN, Counts, counts_of
from everyhop.core.sli.m08_issuance import DENIALS, FAILED_AFTER, Orders
from everyhop.core.sli.value import SliValue
from everyhop.core.sli.window import HOUR, PERIOD, History, Key
from everyhop.core.topology import Criticality, Topology
from everyhop.ports import Clock, IssuanceState, Lease, Store
from everyhop.services.alert import silences_of
from everyhop.services.flows import DETECTOR_KEY, DETECTORS, FLOWS
from everyhop.services.inspect import FINDINGS
from everyhop.services.inventory import CertificateStatus, HopStatus, Status
from everyhop.services.records import SLOTS, Records

SLIS = Records("sli", SliValue)

EVERY = timedelta(seconds=15)
"""How often indicators are judged unless a setting says otherwise."""
CHART_EVERY = timedelta(minutes=5)
"""How often they become observations, from which charts are drawn."""
_REACH = timedelta(days=3)
"""How far back minutes are read that no hour has summed up yet."""
_PAGE = 5000
_LINES, _ALL_LINES = 200, 5000
"""Lines of the issuance journal that are read at once, and when all of those were new."""
_DAY = timedelta(days=1)
_LONG = timedelta(hours=6)
"""Windows longer than this are summed up once a minute only: they move slowly, and reach far."""

_CARRIED = {
    FlowClass.MTLS: MTLS,
    FlowClass.TLS: TLS,
    FlowClass.PLAINTEXT: PLAINTEXT,
    FlowClass.UNKNOWN: UNKNOWN,
}
"""Flows that count, by their class. What stays within a service or a user, or encrypts by itself, is no TLS matter."""


@dataclass(slots=True)
class _Read:
    """How far the store was read."""

    connections: int = 0
    endpoints: int = 0
    """Sequence numbers of the detail stream."""
    flows: dict[str, int] = field(default_factory=dict[str, int])
    """Connections of each flow that are counted already."""
    issued: dict[int, datetime] = field(default_factory=dict[int, datetime])
    """Serials of the last day, and when they were issued."""
    failing: set[str] = field(default_factory=set[str])
    """Slots whose present order has been counted as failed or denied."""
    checks: deque[tuple[datetime, str, str]] = field(default_factory=deque[tuple[datetime, str, str]])
    """Revocation checks of the last hour: when, source, result."""


class Meter:
    """Keeps the counts, and judges them."""

    def __init__(self, store: Store, clock: Clock, *, every: timedelta = EVERY) -> None:
        """Nothing is read before :meth:`tick`; ``every`` is how often it judges."""
        self._every = every
        self._store = store
        self._clock = clock
        self._history = History()
        self._counters = Counters()
        self._read = _Read()
        self._loaded = False
        self._judged_at: datetime | None = None
        self._charted_at: datetime | None = None
        self._long: tuple[datetime, dict[timedelta, dict[Key, Counts]]] | None = None
        self._values: tuple[SliValue, ...] = ()
        self._samples: tuple[Sample, ...] = ()
        self._snapshot: Snapshot | None = None

    @property
    def judged_at(self) -> datetime | None:
        """When the last tick judged; None before the first."""
        return self._judged_at

    @property
    def snapshot(self) -> Snapshot | None:
        """What alerts look at; None before the first tick."""
        return self._snapshot

    @property
    def values(self) -> tuple[SliValue, ...]:
        """Every indicator as of the last tick."""
        return self._values

    def samples(self) -> tuple[Sample, ...]:
        """Every metric as of the last tick."""
        return self._samples

    async def tick(self, found: Status, topology: Topology, fence: Lease | None) -> bool:
        """Judge everything anew if it is time; True if it was. ``found`` is what the inventory shows now."""
        now = self._clock.now()
        if self._judged_at is not None and timedelta(0) <= now - self._judged_at < self._every:
            return False
        await self._catch_up(now)
        readings = await self._readings(found, topology, now)
        self._values = values(readings)
        self._snapshot = snapshot(readings)
        self._samples = samples(readings, self._counters, self._values)
        await self._write(now, fence)
        self._judged_at = now
        return True

    # --- what was observed ----------------------------------------------------------------------------------------

    async def _catch_up(self, now: datetime) -> None:
        if not self._loaded:
            await self._load(now)
            self._loaded = True
        else:
            async for one in _pages(self._store, Kind.CONNECTIONS, after=self._read.connections):
                key, counts = _counted(one)
                self._history.add(one.at, key, counts)
                self._counters.connections.setdefault(key, Counts()).add(counts)
                self._read.connections = one.sequence
        async for one in _pages(self._store, Kind.ENDPOINT, after=self._read.endpoints, since=now - HOUR):
            self._note_endpoint(one)
            self._read.endpoints = one.sequence
        self._history.forget(now)

    async def _load(self, now: datetime) -> None:
        """Take up what was counted before: a month of hours, and the minutes that no hour has summed up."""
        through = now - _REACH
        async for one in _pages(self._store, Kind.HOUR, stream=Stream.RECORD, since=now - PERIOD):
            self._history.add_hour(one.at, *_counted(one))
            through = max(through, one.at)
        async for one in _pages(self._store, Kind.CONNECTIONS, since=min(through, now - 6 * HOUR)):
            self._history.add(one.at, *_counted(one), hour_too=one.at >= through)
            self._read.connections = one.sequence
        self._read.issued = {
            line.serial: line.finished_at or line.intended_at
            for line in await self._store.issuances(state=IssuanceState.ISSUED, limit=_ALL_LINES)
        }
        self._read.flows = {one.value.key: one.value.connections for one in await FLOWS.all(self._store)}

    def _note_endpoint(self, one: Observation) -> None:
        """What a look at an endpoint cost, and what a source of revocation answered to it."""
        hellos = one.body.get("hellos")
        source = str(one.body.get("revocation_source") or "")
        if self._judged_at is not None and isinstance(hellos, int):
            self._counters.probe_hellos += hellos
        if source:
            result = str(one.body.get("revocation_status") or "none")
            self._read.checks.append((one.at, source, result))
            if self._judged_at is not None:
                key = source, result
                self._counters.revocation[key] = self._counters.revocation.get(key, 0) + 1

    def _note_flows(self, flows: Sequence[Flow], hops: Sequence[HopStatus], now: datetime) -> None:
        """Count what the socket table saw beside the proxies. What they carry themselves is theirs to count, and so is
        whoever else comes to their doors: only they know whom they let in. What other programs of this host talk is
        no service's."""
        planned = {hop.hop for hop in hops}
        doors = {hop.address for hop in hops if hop.wanted is not Posture.EXEMPT}
        for flow in (flow for flow in flows if flow.ours):
            before = self._read.flows.get(flow.key, 0)
            fresh = flow.connections - before if flow.connections >= before else flow.connections
            self._read.flows[flow.key] = flow.connections
            scope = f"{flow.caller} -> {flow.callee or flow.server}"
            encryption = _CARRIED.get(flow.encryption)
            carried = flow.server in doors or (encryption in (TLS, MTLS) and scope in planned)
            if not fresh or encryption is None or carried:
                continue
            counts = Counts(carried={encryption: fresh})
            self._history.add(now, (scope, SOCKETS), counts)
            self._counters.connections.setdefault((scope, SOCKETS), Counts()).add(counts)
        self._read.flows = {flow.key: flow.connections for flow in flows}

    # --- what stands in documents ---------------------------------------------------------------------------------

    async def _readings(self, found: Status, topology: Topology, now: datetime) -> Readings:
        flows = tuple(one.value for one in await FLOWS.all(self._store))
        self._note_flows(flows, found.hops, now)
        slots = {one.value.key: one.value for one in await SLOTS.all(self._store)}
        detector = await DETECTORS.get(self._store, DETECTOR_KEY)
        rotating = _rotating(found)
        return Readings(
            at=now,
            environment=found.environment,
            hops=tuple(_hop(hop) for hop in found.hops),
            services=tuple(
                ServiceReading(name, one.owner, one.criticality.value) for name, one in topology.services.items()
            ),
            certificates=(
                *(_certificate(one, slots[one.name], rotating) for one in found.certificates if _holds(slots, one)),
                *(_authority(one, rotating) for one in found.authorities if _trusted(found, one)),
            ),
            windows=self._windows(now),
            flows=flows,
            findings=tuple(one.value for one in await FINDINGS.all(self._store)),
            excuses=tuple(Excuse(str(one.hop), one.owner, one.until, one.reason) for one in topology.exceptions),
            silences=silences_of(topology),
            orders=await self._orders(slots.values(), now),
            revocation=self._revocation(now),
            detector_last_run=detector.value.last_run_at if detector else None,
            detector_fault=detector.value.fault if detector else "",
            heartbeat=topology.policy.heartbeat,
            observer_last_run=_last_heard(found),
            unsealed_since=await self._unsealed(),
            overrides=overrides_of(topology),
        )

    def _windows(self, now: datetime) -> dict[timedelta, Mapping[Key, Counts]]:
        if self._long is None or not timedelta(0) <= now - self._long[0] < timedelta(minutes=1):
            self._long = now, {window: self._history.over(now, window) for window in WINDOWS if window > _LONG}
        short = {window: self._history.over(now, window) for window in WINDOWS if window <= _LONG}
        return {**short, **self._long[1]}

    async def _orders(self, slots: Iterable[Slot], now: datetime) -> Orders:
        """The orders of the last day: fulfilled ones from the journal, failing ones from the slots."""
        lines = await self._store.issuances(state=IssuanceState.ISSUED, limit=_LINES)
        if lines and lines[-1].serial not in self._read.issued:
            lines = await self._store.issuances(state=IssuanceState.ISSUED, limit=_ALL_LINES)
        for line in lines:
            if line.serial not in self._read.issued:
                self._read.issued[line.serial] = line.finished_at or line.intended_at
                self._counters.orders["ok"] += 1
        failing = {slot.key: _outcome(slot) for slot in slots if slot.attempts >= FAILED_AFTER}
        for key in failing.keys() - self._read.failing:
            self._counters.orders[failing[key]] += 1
        self._read.failing = set(failing)
        ok = sum(now - _DAY <= at for at in self._read.issued.values())
        outcomes = list(failing.values())
        return Orders(ok, outcomes.count("error"), outcomes.count("denied"))

    def _revocation(self, now: datetime) -> dict[str, dict[str, int]]:
        checks = self._read.checks
        while checks and checks[0][0] < now - HOUR:
            checks.popleft()
        found: dict[str, dict[str, int]] = {}
        for _, source, result in checks:
            results = found.setdefault(source, {})
            results[result] = results.get(result, 0) + 1
        return found

    async def _unsealed(self) -> dict[str, datetime]:
        """Since when observations wait for a seal, by stream."""
        found: dict[str, datetime] = {}
        for stream in Stream:
            seals = await self._store.seals(stream, newest_first=True, limit=1)
            last = seals[0].last if seals else 0
            waiting = await self._store.observations(stream=stream, after=last, limit=1)
            if waiting:
                found[stream.value] = waiting[0].at
        return found

    # --- what is written down -------------------------------------------------------------------------------------

    async def _write(self, now: datetime, fence: Lease | None) -> None:
        documents = {(SLIS.kind, _key(one)): SLIS.encode(one) for one in self._values}
        hour = self._charted_at is None or self._charted_at.hour != now.hour
        due = self._charted_at is None or not timedelta(0) <= now - self._charted_at < CHART_EVERY
        streams = (Stream.DETAIL, *((Stream.RECORD,) if hour else ())) if due else ()
        charted = [_observed(one, now, stream) for stream in streams for one in self._values]
        await self._store.observe(charted, beside=documents, fence=fence)
        if due:
            self._charted_at = now
        for one in await self._store.all(SLIS.kind):
            if (SLIS.kind, one.key) not in documents:
                await self._store.delete(SLIS.kind, one.key, fence=fence)


async def _pages(
    store: Store, kind: Kind, *, stream: Stream = Stream.DETAIL, after: int = 0, since: datetime | None = None
) -> AsyncGenerator[Observation]:
    """Observations of a kind, page by page, so that memory does not grow with them."""
    while True:
        page = await store.observations(stream=stream, kind=kind, after=after, since=since, limit=_PAGE)
        for one in page:
            yield one
        if len(page) < _PAGE:
            return
        after = page[-1].sequence


def _counted(one: Observation) -> tuple[Key, Counts]:
    shape, counts = tally.read(one)
    return (shape.subject, shape.end.value), counts_of(shape, counts)


def overrides_of(topology: Topology) -> dict[str, dict[Criticality, float]]:
    """The targets that a topology sets itself, by indicator and criticality."""
    found: dict[str, dict[Criticality, float]] = {}
    for sli, targets in topology.objectives.by_indicator.items():
        by = {
            Criticality.CRITICAL: targets.critical,
            Criticality.HIGH: targets.high,
            Criticality.MEDIUM: targets.medium,
            Criticality.LOW: targets.low,
        }
        found[sli] = {criticality: target for criticality, target in by.items() if target is not None}
    return found


def _key(one: SliValue) -> str:
    return f"{one.sli}|{one.name}|{one.scope}"


def _observed(one: SliValue, now: datetime, stream: Stream) -> Observation:
    """An indicator's value as an observation: each in the detail, the first of an hour in the record, too."""
    body: dict[str, Plain] = {
        "sli": one.sli,
        "name": one.name,
        "value": _rounded(one.value),
        "unit": one.unit,
        "window_seconds": one.window_seconds,
        "good": one.good,
        "total": one.total,
        "unknown": one.unknown,
        "objective": _rounded(one.objective),
        "budget_left": _rounded(one.budget_left),
        "owner": one.owner,
    }
    return Observation(now, Kind.INDICATOR, Source.RULES, one.scope, "everyhop", one.verdict, body, stream)


def _rounded(value: float | None) -> float | None:
    """Nine decimals: what is hashed has no more digits than it means."""
    return None if value is None else round(value, 9)


def _hop(hop: HopStatus) -> HopReading:
    return HopReading(
        hop.hop, hop.owner, hop.criticality, hop.wanted, hop.seen, hop.ok, seen_at=hop.seen_at, note=hop.note
    )


def _last_heard(found: Status) -> datetime | None:
    """When a proxy last told of a connection. What our own probes saw at the edge is no proof that we hear proxies."""
    told = [hop.seen_at for hop in found.hops if hop.seen_at is not None and hop.wanted is Posture.MTLS]
    return max(told, default=None)


def _rotating(found: Status) -> str:
    rotation = found.rotation
    if rotation is None or rotation.finished:
        return ""
    return f"the rotation of the {rotation.kind} is {rotation.state}"


def _holds(slots: Mapping[str, Slot], one: CertificateStatus) -> bool:
    slot = slots.get(one.name)
    return slot is not None and (slot.pending or slot.current) is not None


def _certificate(one: CertificateStatus, slot: Slot, rotating: str) -> CertificateState:
    issued = slot.pending or slot.current
    if issued is None:
        raise ValueError(f"expected {slot.key} to hold a certificate")
    return CertificateState(
        slot=one.name,
        service=one.node,
        owner=one.owner,
        not_before=issued.not_before,
        not_after=issued.not_after,
        renew_at=slot.due_at,
        served_not_after=slot.current.not_after if slot.current else None,
        rotating=rotating,
        attempts=slot.attempts,
        fault=slot.fault,
    )


def _trusted(found: Status, one: Authority) -> bool:
    """Whether an authority is in use now: it signs, or its root is trusted."""
    return found.trust is not None and one.name in (found.trust.signer, *found.trust.bundle)


def _authority(one: Authority, rotating: str) -> CertificateState:
    return CertificateState(
        slot=f"authority/{one.name}",
        service="authority",
        owner="",
        not_before=one.not_before,
        not_after=one.not_after,
        served_not_after=one.not_after,
        rotating=rotating,
    )


def _outcome(slot: Slot) -> str:
    """What a failing order counts as: what policy or lint denies is no error."""
    return "denied" if slot.fault.startswith(DENIALS) else "error"

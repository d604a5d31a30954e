"""Overview: everything that a person looks at, for one moment.

Rules: read-only, and from the store alone, so that it is true whether or not the control loop runs. Nothing is
measured here and nothing assumed: every word rests on a stored fact with a date. What was not seen stays unknown and
stays in every denominator. One reading is made of one moment: its parts never contradict each other by more than the
time that reading takes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum

from everyhop.core.alerts.state import AlertPhase, AlertState
from everyhop.core.finding import Finding, Severity
from everyhop.core.flow import Flow, FlowClass, ListenerSeen
from everyhop.core.hop import End, Posture
from everyhop.core.plan import EDGE, Inbound, Plan
from everyhop.core.sli.m10_plaintext_flows import blindness
from everyhop.core.sli.value import SliValue
from everyhop.core.topology import CLIENT, Topology
from everyhop.core.verdict import Verdict
from everyhop.errors import EveryhopError
from everyhop.ports import Store
from everyhop.services.alert import ALERTS
from everyhop.services.apply import WISH_KEY, WISHES, planned
from everyhop.services.flows import DETECTOR_KEY, DETECTORS, FLOWS, LISTENERS, FlowDetector
from everyhop.services.inspect import FINDINGS
from everyhop.services.inventory import CertificateStatus, HopStatus, Status, status
from everyhop.services.measure import SLIS
from everyhop.services.refusals import REFUSALS_SEEN, RefusalSeen, explained

_ALL_SEVERITIES = tuple(Severity)
_PHASES = (AlertPhase.FIRING, AlertPhase.PENDING, AlertPhase.ENDED)
_VERDICTS = (Verdict.FAIL, Verdict.UNKNOWN, Verdict.PASS, Verdict.NOT_APPLICABLE)


class Protection(StrEnum):
    """What one sees of a hop or a flow, the worst first."""

    PLAINTEXT = "not encrypted"
    WEAK = "weaker than wanted"
    """Encrypted, but not as the topology asks: the caller proved no identity."""
    UNKNOWN = "unknown"
    EXEMPT = "exempt"
    """Plaintext that somebody allowed, until a day."""
    CARRIED = "carried unopened"
    """The service's own TLS passes through: everyhop sees the name in it and no more."""
    ENCRYPTED = "encrypted"


WORST_FIRST = tuple(Protection)


@dataclass(frozen=True, slots=True)
class HopView:
    """A hop and what it comes to."""

    caller: str
    callee: str
    protection: Protection
    status: HopStatus

    @property
    def quantum_safe(self) -> bool:
        """True if its key was agreed with a hybrid of ML-KEM (FIPS 203), and it is encrypted as wanted."""
        return self.protection is Protection.ENCRYPTED and "MLKEM" in self.status.group.upper()


@dataclass(frozen=True, slots=True)
class Beside:
    """A flow that goes past the mesh, and what it comes to."""

    protection: Protection
    flow: Flow


@dataclass(frozen=True, slots=True)
class Share:
    """A part of a whole; what is unknown is in the whole."""

    good: int
    unknown: int
    total: int

    @property
    def ratio(self) -> float | None:
        """The part, from 0 to 1; None of nothing."""
        return self.good / self.total if self.total else None


@dataclass(frozen=True, slots=True)
class ServiceView:
    """A service of the topology."""

    name: str
    owner: str
    criticality: str
    identity: str


@dataclass(frozen=True, slots=True)
class ExceptionView:
    """Something that is allowed to fall short, with the one who answers for it."""

    what: str
    reason: str
    owner: str
    until: date | None
    ended: bool


@dataclass(frozen=True, slots=True)
class OwnerView:
    """An owner and what waits for them."""

    name: str
    contact: str
    escalation: str
    services: tuple[str, ...]
    hops: int
    hops_well: int
    findings: Mapping[Severity, int]
    """Open findings: failed, and covered by no exception."""
    exceptions: int
    firing: int

    @property
    def open(self) -> int:
        """All open findings."""
        return sum(self.findings.values())


@dataclass(frozen=True, slots=True)
class RefusalView:
    """Somebody who was refused, in words; told by the end that refused, or by the one whose call failed."""

    end: End
    node: str
    who: str
    code: str
    why: str
    remedy: str
    count: int
    first_at: datetime
    last_at: datetime
    last_peer: str


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything at one moment. Sequences are sorted: what needs somebody comes first."""

    at: datetime
    status: Status
    file: str
    """The topology file that was applied, and when."""
    applied_at: datetime
    heartbeat: timedelta
    services: tuple[ServiceView, ...]
    owners: tuple[OwnerView, ...]
    hops: tuple[HopView, ...]
    beside: tuple[Beside, ...]
    """Flows beside the mesh, between services or not; those within one host or service are no part of it."""
    flows: tuple[Flow, ...]
    listeners: tuple[ListenerSeen, ...]
    detector: FlowDetector | None
    """Who looks for flows, and when it last did."""
    slis: tuple[SliValue, ...]
    alerts: tuple[AlertState, ...]
    findings: tuple[Finding, ...]
    exceptions: tuple[ExceptionView, ...]
    refusals: tuple[RefusalView, ...]
    counts: Mapping[Protection, int] = field(default_factory=dict[Protection, int])
    """Hops by protection; every protection is there."""

    @property
    def encrypted(self) -> Share:
        """Hops that were seen encrypted as wanted, of all hops."""
        return Share(self.counts[Protection.ENCRYPTED], self.counts[Protection.UNKNOWN], len(self.hops))

    @property
    def quantum_safe(self) -> Share:
        """Hops whose key exchange is a post-quantum hybrid, of all hops."""
        return Share(sum(hop.quantum_safe for hop in self.hops), self.counts[Protection.UNKNOWN], len(self.hops))

    @property
    def plaintext_flows(self) -> tuple[Beside, ...]:
        """Flows in the clear that no exception covers."""
        return tuple(one for one in self.beside if one.protection is Protection.PLAINTEXT)

    @property
    def unknown_flows(self) -> tuple[Beside, ...]:
        """Flows of which nobody can tell whether they are encrypted."""
        return tuple(one for one in self.beside if one.protection is Protection.UNKNOWN)

    @property
    def blind(self) -> str:
        """Why nobody can say now what flows beside the mesh; empty: somebody looked."""
        last_run, fault = (self.detector.last_run_at, self.detector.fault) if self.detector else (None, "")
        return blindness(self.at, last_run, fault)

    @property
    def firing(self) -> tuple[AlertState, ...]:
        """Alerts that are true now and for long enough."""
        return tuple(one for one in self.alerts if one.phase is AlertPhase.FIRING)

    @property
    def open_findings(self) -> tuple[Finding, ...]:
        """Findings that somebody must act on."""
        return tuple(one for one in self.findings if one.counts)

    @property
    def first_to_expire(self) -> CertificateStatus | None:
        """The certificate with the least time left."""
        held = [one for one in self.status.certificates if one.not_after is not None]
        return min(held, key=lambda one: one.not_after or self.at, default=None)

    @property
    def renewals(self) -> tuple[CertificateStatus, ...]:
        """Every certificate, the next to be renewed first."""
        return tuple(sorted(self.status.certificates, key=lambda one: (not one.fault, one.renews_at, one.name)))

    @property
    def verdict(self) -> Verdict:
        """The whole: failed if anything is in the clear, weak or firing; unknown if anything is unknown."""
        bad = self.counts[Protection.PLAINTEXT] or self.counts[Protection.WEAK] or self.plaintext_flows
        if bad or self.firing or self.status.fault:
            return Verdict.FAIL
        if (
            self.counts[Protection.UNKNOWN]
            or self.unknown_flows
            or self.blind
            or not self.status.running
            or not self.hops
        ):
            return Verdict.UNKNOWN
        return Verdict.PASS

    def hop(self, name: str) -> HopView | None:
        """A hop by its name ``web -> api``, or None."""
        return next((hop for hop in self.hops if hop.status.hop == name), None)

    def owner_of(self, identity: str) -> str:
        """Who owns the service with this identity; empty if there is none."""
        return next((one.owner for one in self.services if one.identity == identity), "")


async def overview(store: Store, data: str, now: datetime, *, overdue: timedelta = timedelta(seconds=30)) -> Overview:
    """Read everything; raises ``not-running`` if nothing was ever applied here."""
    found = await status(store, data, now, overdue=overdue)
    topology, plan, file, applied_at = await _wished(store, data)
    flows = tuple(one.value for one in await FLOWS.all(store))
    alerts = tuple(sorted((one.value for one in await ALERTS.all(store)), key=_alert_order))
    findings = tuple(sorted((one.value for one in await FINDINGS.all(store)), key=_finding_order))
    refusals = [one.value for one in await REFUSALS_SEEN.all(store)]
    detector = await DETECTORS.get(store, DETECTOR_KEY)
    hops = tuple(sorted((_view(one) for one in found.hops), key=lambda hop: WORST_FIRST.index(hop.protection)))
    exceptions = _exceptions(topology, findings, flows, now.date())
    counted = Counter(hop.protection for hop in hops)
    return Overview(
        at=now,
        status=found,
        file=file,
        applied_at=applied_at,
        heartbeat=topology.policy.heartbeat,
        services=_services(topology),
        owners=_owners(topology, hops, findings, exceptions, alerts),
        hops=hops,
        beside=_beside(flows),
        flows=tuple(sorted(flows, key=_flow_order)),
        listeners=tuple(one.value for one in await LISTENERS.all(store)),
        detector=detector.value if detector else None,
        slis=tuple(sorted((one.value for one in await SLIS.all(store)), key=lambda one: (_number(one.sli), one.scope))),
        alerts=alerts,
        findings=findings,
        exceptions=exceptions,
        refusals=tuple(_refusal(one, plan) for one in sorted(refusals, key=lambda one: one.last_at, reverse=True)),
        counts={protection: counted[protection] for protection in Protection},
    )


def protection(hop: HopStatus) -> Protection:
    """What a hop comes to. What was not seen lately is unknown, whatever was seen before."""
    if hop.seen is Posture.UNKNOWN:
        return Protection.UNKNOWN
    if hop.seen is Posture.PLAINTEXT or (hop.seen is Posture.EXEMPT and not hop.ok):
        return Protection.PLAINTEXT
    if hop.seen is Posture.EXEMPT:
        return Protection.EXEMPT
    if hop.seen is Posture.PASSTHROUGH:
        return Protection.CARRIED
    return Protection.ENCRYPTED if hop.ok else Protection.WEAK


def flow_protection(flow: Flow) -> Protection | None:
    """What a flow comes to; None for those that never leave a service or a host."""
    match flow.encryption:
        case FlowClass.PLAINTEXT:
            return Protection.EXEMPT if flow.excused else Protection.PLAINTEXT
        case FlowClass.UNKNOWN:
            return Protection.UNKNOWN
        case FlowClass.MTLS | FlowClass.TLS:
            return Protection.ENCRYPTED
        case FlowClass.WITHIN_SERVICE | FlowClass.WITHIN_HOST:
            return None


async def _wished(store: Store, data: str) -> tuple[Topology, Plan, str, datetime]:
    found, wish = await planned(store, data), await WISHES.get(store, WISH_KEY)
    if found is None or wish is None:
        raise EveryhopError("not-running", f"nothing was applied in {data} yet", hint="`everyhop up FILE` begins")
    return *found, wish.value.file, wish.value.applied_at


def _view(hop: HopStatus) -> HopView:
    caller, _, callee = hop.hop.partition(" -> ")
    return HopView(caller, callee, protection(hop), hop)


def _beside(flows: Iterable[Flow]) -> tuple[Beside, ...]:
    """Flows that are not encrypted, or of which nobody can tell: encrypted ones are hops, or nobody's trouble."""
    judged = [(flow_protection(flow), flow) for flow in flows if flow.ours]
    wanted = (Protection.PLAINTEXT, Protection.EXEMPT, Protection.UNKNOWN)
    found = [Beside(protection, flow) for protection, flow in judged if protection is not None and protection in wanted]
    return tuple(sorted(found, key=lambda one: (WORST_FIRST.index(one.protection), one.flow.key)))


def _services(topology: Topology) -> tuple[ServiceView, ...]:
    named = [
        ServiceView(name, service.owner, str(service.criticality), str(topology.identity(name)))
        for name, service in topology.services.items()
    ]
    return (*((ServiceView(EDGE, "", "", str(topology.identity(EDGE))),) if topology.edge else ()), *named)


def _exceptions(
    topology: Topology, findings: Iterable[Finding], flows: Iterable[Flow], today: date
) -> tuple[ExceptionView, ...]:
    found = [ExceptionView(str(one.hop), one.reason, one.owner, one.until, False) for one in topology.exceptions]
    found += [
        ExceptionView(one.subject, one.excused, one.owner, one.excused_until, False)
        for one in findings
        if one.excused and one.verdict is Verdict.FAIL and one.subject not in {before.what for before in found}
    ]
    known = {one.what for one in found}
    for flow in flows:
        name = f"{flow.caller} -> {flow.callee or flow.server}"
        if flow.excused and name not in known:
            found.append(ExceptionView(name, flow.excused, flow.owner, flow.excused_until, False))
    ended = [
        ExceptionView(one.what, one.reason, one.owner, one.until, one.until is not None and one.until < today)
        for one in found
    ]
    return tuple(sorted(ended, key=lambda one: (one.until or date.max, one.what)))


def _owners(
    topology: Topology,
    hops: Sequence[HopView],
    findings: Sequence[Finding],
    exceptions: Sequence[ExceptionView],
    alerts: Sequence[AlertState],
) -> tuple[OwnerView, ...]:
    well = (Protection.ENCRYPTED, Protection.CARRIED, Protection.EXEMPT)
    used = [one.owner for one in (*(hop.status for hop in hops), *findings, *exceptions, *alerts)]
    names = dict.fromkeys([*topology.owners, *sorted(set(used))])
    views: list[OwnerView] = []
    for name in names:
        owner = topology.owners.get(name)
        theirs = [hop for hop in hops if hop.status.owner == name]
        counted = Counter(one.severity for one in findings if one.counts and one.owner == name)
        views.append(
            OwnerView(
                name=name,
                contact=owner.contact if owner else "",
                escalation=(owner.escalation or "") if owner else "",
                services=tuple(key for key, service in topology.services.items() if service.owner == name),
                hops=len(theirs),
                hops_well=sum(hop.protection in well for hop in theirs),
                findings={severity: counted[severity] for severity in _ALL_SEVERITIES if counted[severity]},
                exceptions=sum(one.owner == name for one in exceptions),
                firing=sum(one.owner == name and one.phase is AlertPhase.FIRING for one in alerts),
            )
        )
    return tuple(views)


def _refusal(seen: RefusalSeen, plan: Plan) -> RefusalView:
    callers = [
        str(caller)
        for node in plan.nodes
        if node.name == seen.node
        for listener in node.listeners
        if isinstance(listener, Inbound)
        for caller in listener.callers
    ]
    words = explained(seen, callers)
    who = seen.peer_identity or f"somebody at {seen.last_peer.rpartition(':')[0] or seen.last_peer}"
    if seen.end is End.CLIENT:
        who = seen.node
    return RefusalView(
        end=seen.end,
        node=seen.node,
        who=who,
        code=words.code,
        why=words.sentence,
        remedy=words.remedy,
        count=seen.count,
        first_at=seen.first_at,
        last_at=seen.last_at,
        last_peer=seen.last_peer,
    )


def refusals_of(found: Overview, hop: HopView) -> tuple[RefusalView, ...]:
    """Who was refused at a hop's serving end: its caller, and whoever showed no identity of another caller."""
    others = {one.identity for one in found.services if one.name != hop.caller}
    strangers = hop.caller == CLIENT
    return tuple(
        one
        for one in found.refusals
        if one.end is End.SERVER and one.node == hop.callee and (strangers or one.who not in others)
    )


def _alert_order(alert: AlertState) -> tuple[int, int, float]:
    return _PHASES.index(alert.phase), _ALL_SEVERITIES.index(alert.severity), -alert.since.timestamp()


def _finding_order(finding: Finding) -> tuple[bool, int, int, str, str]:
    severity = _ALL_SEVERITIES.index(finding.severity)
    return not finding.counts, _VERDICTS.index(finding.verdict), severity, finding.subject, finding.rule


def _flow_order(flow: Flow) -> tuple[int, str]:
    found = flow_protection(flow)
    return (len(WORST_FIRST) if found is None else WORST_FIRST.index(found)), flow.key


def _number(sli: str) -> tuple[int, str]:
    """M2 before M10."""
    digits = sli.removeprefix("M")
    return (int(digits) if digits.isascii() and digits.isdigit() else 1_000), sli

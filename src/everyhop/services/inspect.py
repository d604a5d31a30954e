"""Inspect: look at every endpoint of the mesh from outside, again and again, and keep what the rules say of it.

Rules: one endpoint at a time, each as often as the setting says and a newcomer at once, from the address that marks
everyhop's own probes. Every port must prove what it refuses: what the guideline forbids, plaintext, and, where callers
must show who they are, a caller that shows nothing. A finding is written when it changes; each look is an observation.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509

from everyhop.core.chain import serial_text
from everyhop.core.endpoint.facts import EndpointFacts
from everyhop.core.endpoint.fleet import Entry
from everyhop.core.endpoint.target import Target, Wire
from everyhop.core.finding import Finding
from everyhop.core.guidelines.guideline import Guideline
from everyhop.core.observation import Kind, Observation, Plain, Source, Stream
from everyhop.core.plan import EDGE, IDENTITY, EdgeTls, Inbound, Plan
from everyhop.core.report.endpoint import EndpointReport, is_untold, is_violation
from everyhop.core.verdict import Verdict
from everyhop.ports import Clock, Lease, Store
from everyhop.services.records import Records
from everyhop.services.scan import Order, Scanner


@dataclass(frozen=True, slots=True)
class Served:
    """What an endpoint was seen serving."""

    slot: str
    """The credential's slot: ``web/identity``."""
    endpoint: str
    serial: str
    not_after: datetime
    at: datetime


FINDINGS = Records("finding", Finding)
SERVED = Records("served", Served)

_SOON = timedelta(seconds=15)
"""After a look that could not tell."""

MakeScanner = Callable[[Sequence[x509.Certificate]], Scanner]
"""A scanner that trusts these roots, and no others."""


@dataclass(frozen=True, slots=True)
class Port:
    """One endpoint of the plan, and how it is looked at."""

    slot: str
    target: Target
    order: Order


class Inspector:
    """Looks at the mesh's own endpoints from outside."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        make_scanner: MakeScanner,
        roots: Callable[[], Coroutine[Any, Any, Sequence[x509.Certificate]]],
        *,
        every: timedelta,
        inside: Guideline,
        edge: Guideline,
    ) -> None:
        """``roots`` are those that the mesh trusts now; ``inside`` judges mTLS ports, ``edge`` what clients see."""
        self._store = store
        self._clock = clock
        self._make_scanner = make_scanner
        self._roots = roots
        self._every = every
        self._inside = inside
        self._edge = edge
        self._looked: dict[str, datetime] = {}
        self._ports: list[Port] = []

    async def tick(self, plan: Plan, fence: Lease | None) -> None:
        """Look at the endpoint that waits longest, if one is due, and forget those that are not planned any more."""
        ports = self.ports(plan)
        if self._ports != ports:
            await self._forget({_subject(port) for port in ports}, {port.slot for port in ports}, fence)
            self._ports = ports
        now = self._clock.now()
        due = [port for port in ports if abs(now - self._looked.get(port.slot, now - self._every)) >= self._every]
        if not due:
            return
        port = min(due, key=lambda one: self._looked.get(one.slot, datetime.min.replace(tzinfo=now.tzinfo)))
        self._looked[port.slot] = now
        roots = await self._roots()
        if not roots:
            return  # nothing is served before there is an authority
        report = await self._make_scanner(roots).scan(Entry(port.target), port.order)
        if report.verdict is Verdict.UNKNOWN:  # it was just starting, perhaps
            self._looked[port.slot] = now - self._every + _SOON
        await self._keep(port, report, fence)

    def ports(self, plan: Plan) -> list[Port]:
        """Every endpoint of a plan that terminates TLS."""
        found: list[Port] = []
        for node in plan.nodes:
            for listener in node.listeners:
                at = listener.address
                if isinstance(listener, Inbound):
                    wire = Wire.HTTP if listener.protocol.is_http else Wire.TLS
                    target = Target(at.host, at.port, "", wire, tls_first=True, service=node.name, owner=node.owner)
                    order = Order(guideline=self._inside, enforcement=True, identity=str(node.identity))
                    found.append(Port(f"{node.name}/{IDENTITY}", target, order))
                elif isinstance(listener, EdgeTls):
                    for host in listener.hosts:
                        if host.credential:
                            name = host.host.replace("*", "any", 1)
                            target = Target(
                                at.host, at.port, name, Wire.HTTP, tls_first=True, service=EDGE, owner=node.owner
                            )
                            found.append(Port(f"{node.name}/{host.credential}", target, Order(guideline=self._edge)))
        return found

    async def _keep(self, port: Port, report: EndpointReport, fence: Lease | None) -> None:
        """One transaction: the look, what changed in it, and the state that readers see."""
        subject = _subject(port)
        known = {one.value.rule: one.value for one in await FINDINGS.all(self._store) if one.value.subject == subject}
        found = [replace(one, subject=subject, owner=port.target.owner) for one in report.findings]
        # What failed has failed until it is seen to be well: an endpoint that is down for a moment is not mended.
        told = {one.rule for one in found if one.verdict is not Verdict.UNKNOWN}
        failing = {rule: one for rule, one in known.items() if one.verdict is Verdict.FAIL and rule not in told}
        found = [*failing.values(), *(one for one in found if one.rule not in failing)]
        changed = [one for one in found if _says(one) != _says(known.get(one.rule))]
        observations = [_look(subject, report), *(_finding(one, report.at) for one in changed)]
        beside = {(FINDINGS.kind, _key(one)): FINDINGS.encode(one) for one in found if one != known.get(one.rule)}
        served = _served(port, report.facts)
        if served is not None:
            beside[SERVED.kind, port.slot] = SERVED.encode(served)
        await self._store.observe(observations, beside=beside, fence=fence)
        for rule in known.keys() - {one.rule for one in found}:
            await self._store.delete(FINDINGS.kind, f"{subject}|{rule}", fence=fence)

    async def _forget(self, subjects: set[str], slots: set[str], fence: Lease | None) -> None:
        for one in await FINDINGS.all(self._store):
            if one.value.subject not in subjects:
                await self._store.delete(FINDINGS.kind, _key(one.value), fence=fence)
        for seen in await SERVED.all(self._store):
            if seen.value.slot not in slots:
                await self._store.delete(SERVED.kind, seen.value.slot, fence=fence)
        self._looked = {slot: at for slot, at in self._looked.items() if slot in slots}


def _subject(port: Port) -> str:
    """The endpoint for people: the hop's callee, and where it listens."""
    name = port.target.server_name or port.target.service
    return f"{name} ({port.target})"


def _key(finding: Finding) -> str:
    return f"{finding.subject}|{finding.rule}"


def _says(finding: Finding | None) -> tuple[object, ...]:
    """What makes a finding another one; evidence alone (a serial, a time) does not."""
    return () if finding is None else (finding.verdict, finding.severity, finding.excused)


def _look(subject: str, report: EndpointReport) -> Observation:
    certificate, tls, entries = report.facts.certificate, report.facts.tls, report.facts.enforcement
    revocation = report.facts.revocation
    body: dict[str, Plain] = {
        "guideline": str(report.guideline),
        "mode": report.mode,
        "version": certificate.version if certificate else "",
        "cipher": certificate.cipher if certificate else "",
        "group": certificate.group if certificate else "",
        "asked": {one.question: one.answer.evidence for one in tls.asked} if tls else {},
        "entered": {one.entrance.value: one.evidence for one in entries.entries} if entries else {},
        "failed": [one.rule for one in report.findings if is_violation(one)],
        "unknown": [one.rule for one in report.findings if is_untold(one)],
        "revocation_source": revocation.source if revocation else "",
        "revocation_status": revocation.status if revocation else "",
        "hellos": tls.hellos if tls else 0,
    }
    return Observation(
        report.at, Kind.ENDPOINT, Source.PROBE, subject, "inspector", report.verdict, body, Stream.DETAIL
    )


def _finding(finding: Finding, at: datetime) -> Observation:
    body: dict[str, Plain] = {
        "rule": finding.rule,
        "severity": finding.severity.value,
        "statement": finding.statement,
        "evidence": finding.evidence[:300],
        "guideline": finding.guideline,
        "owner": finding.owner,
        "excused": finding.excused,
    }
    return Observation(at, Kind.FINDING, Source.RULES, finding.subject, finding.rule, finding.verdict, body)


def _served(port: Port, facts: EndpointFacts) -> Served | None:
    chain = facts.certificate.chain if facts.certificate else ()
    try:
        leaf = x509.load_der_x509_certificate(chain[0]) if chain else None
    except ValueError:
        return None
    if leaf is None:
        return None
    serial = serial_text(leaf.serial_number)
    return Served(port.slot, str(port.target), serial, leaf.not_valid_after_utc, facts.at)

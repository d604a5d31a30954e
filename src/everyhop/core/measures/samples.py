"""Every metric at one moment, from what was read and what was counted in this life."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from everyhop.core import metrics as m
from everyhop.core.alerts import ALERTS
from everyhop.core.alerts.exception_ending import ends_at
from everyhop.core.alerts.observer_blind import silent_after
from everyhop.core.alerts.policy_violated import GRAVE, violations
from everyhop.core.alerts.snapshot import CertificateState
from everyhop.core.flow import Flow, FlowClass
from everyhop.core.hop import Posture
from everyhop.core.measures.readings import HopReading, Readings
from everyhop.core.measures.values import ALL
from everyhop.core.metrics import Sample, sample
from everyhop.core.sli.counts import CLIENT, ENCRYPTIONS, RESULTS, SERVER, SOCKETS, Counts
from everyhop.core.sli.m05_cipher_strength import strong
from everyhop.core.sli.m10_plaintext_flows import blindness, is_excused, is_live
from everyhop.core.sli.objective import OBJECTIVES, target
from everyhop.core.sli.value import SliValue
from everyhop.core.sli.window import Key
from everyhop.core.tally import BUCKETS_US
from everyhop.core.verdict import Verdict

_FLOWS_TOLD = 200
"""Flows that have a series of their own, worst first: a port scan must not fill anybody's Prometheus, nor hide a flow
in plaintext behind flows of which nobody can tell."""
_YIELDING = tuple(name for name, alert in ALERTS.items() if m.MAINTENANCE.name in alert.expr)
"""Alerts that Prometheus leaves out during maintenance."""
_BY_HOP = ("M1", "M2", "M3", "M5", "M6", "M7")


@dataclass(slots=True)
class Counters:
    """What this life of everyhop has counted so far."""

    connections: dict[Key, Counts] = field(default_factory=dict[Key, Counts])
    orders: dict[str, int] = field(default_factory=lambda: {"ok": 0, "error": 0, "denied": 0})
    revocation: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    """By source and result."""
    probe_hellos: int = 0


def samples(readings: Readings, counters: Counters, values: tuple[SliValue, ...]) -> tuple[Sample, ...]:
    """Every sample, metric by metric."""
    return (
        *_connections(readings, counters.connections),
        *_carried(readings, counters.connections),
        *_hops(readings),
        *_objectives(readings, values),
        *(one for certificate in readings.certificates for one in _certificate(certificate)),
        *_counted(counters),
        *_flows(readings),
        *_compliance(readings),
        *_signs_of_life(readings),
    )


def _connections(readings: Readings, counted: Mapping[Key, Counts]) -> Iterator[Sample]:
    """Connections and handshakes. Each hop has every result from the beginning, so that the first failure is a rise."""
    keys = {(hop.hop, end) for hop in readings.hops for end in (SERVER, CLIENT)}
    keys |= {key for key in counted if key[1] != SOCKETS}
    owners = {hop.hop: hop.owner for hop in readings.hops}
    for hop, end in sorted(keys):
        counts = counted.get((hop, end), Counts())
        for result in RESULTS:
            yield sample(m.TLS_CONNECTIONS, counts.results.get(result, 0), hop=hop, end=end, result=result)
        yield sample(m.TLS_RESUMED, counts.resumed, hop=hop, end=end)
        yield sample(m.TLS_RESUMPTION_KNOWN, counts.resumption_known, hop=hop, end=end)
        if end == SERVER:
            owner = owners.get(hop) or readings.owner(readings.callee(hop))
            yield sample(m.PLAINTEXT_REFUSED, counts.plaintext_refused, hop=hop, owner=owner)
            yield from _handshakes(hop, counts)
            timed = counts if counts.buckets[-1] else counted.get((hop, CLIENT), counts)
            yield _times(hop, timed)


def _handshakes(hop: str, counts: Counts) -> Iterator[Sample]:
    words = {True: "true", False: "false", None: "unknown"}
    for (version, cipher, group), count in sorted(counts.kinds.items()):
        verdict = words[strong(version, cipher, group)]
        yield sample(m.TLS_HANDSHAKES, count, hop=hop, version=version, cipher=cipher, group=group, strong=verdict)


def _times(hop: str, counts: Counts) -> Sample:
    """The histogram of a hop's handshakes, by the end that tells their time."""
    bounds = (*(bound / 1e6 for bound in BUCKETS_US), math.inf)
    buckets = tuple(zip(bounds, counts.buckets, strict=True))
    return Sample(m.TLS_HANDSHAKE_SECONDS, (hop,), counts.handshake_us / 1e6, buckets)


def _carried(readings: Readings, counted: Mapping[Key, Counts]) -> Iterator[Sample]:
    """Connections that carried data, by the service that is called. The serving end counts, and the socket table."""
    sums: dict[tuple[str, str, str], int] = {}
    for service in readings.services:
        sums |= {(service.name, "service", encryption): 0 for encryption in ENCRYPTIONS}
    for (scope, end), counts in counted.items():
        if end != CLIENT:
            for encryption, count in counts.carried.items():
                key = readings.callee(scope), readings.kind(scope), encryption
                sums[key] = sums.get(key, 0) + count
    for (service, kind, encryption), count in sorted(sums.items()):
        yield sample(m.FLOW_CONNECTIONS, count, service=service, kind=kind, encryption=encryption)


def _hops(readings: Readings) -> Iterator[Sample]:
    for service in readings.services:
        yield sample(
            m.SERVICE_INFO,
            1,
            service=service.name,
            owner=service.owner,
            criticality=service.criticality,
            environment=readings.environment,
        )
    for hop in readings.hops:
        yield from _hop(readings, hop)
    yield sample(m.HOPS_UNOBSERVED, sum(hop.seen is Posture.UNKNOWN for hop in readings.hops))
    for excuse in readings.excuses:
        yield sample(m.EXCEPTION_ENDS, ends_at(excuse).timestamp(), hop=excuse.hop, owner=excuse.owner)


def _hop(readings: Readings, hop: HopReading) -> Iterator[Sample]:
    yield sample(m.HOP_INFO, 1, hop=hop.hop, owner=hop.owner, criticality=hop.criticality)
    yield sample(m.HOP_POSTURE, 1, hop=hop.hop, wanted=hop.wanted.value, seen=hop.seen.value)
    yield sample(m.HOP_OK, hop.ok, hop=hop.hop)
    if hop.seen_at is not None:
        yield sample(m.HOP_SEEN, hop.seen_at.timestamp(), hop=hop.hop)
    yield sample(m.MAINTENANCE, _in_maintenance(readings, hop.hop), hop=hop.hop)


def _in_maintenance(readings: Readings, hop: str) -> bool:
    """Whether everything is silenced that Prometheus would leave out: a silence of one alert is none of the others."""
    today = readings.at.date()
    return all(any(one.covers(alert, hop, today) for one in readings.silences) for alert in _YIELDING)


def _objectives(readings: Readings, values: tuple[SliValue, ...]) -> Iterator[Sample]:
    for sli in OBJECTIVES:
        if sli not in _BY_HOP:
            yield sample(m.SLO_OBJECTIVE, target(sli, "medium"), sli=sli, hop="")
            continue
        for hop in readings.hops:
            objective = target(sli, hop.criticality, readings.overrides)
            yield sample(m.SLO_OBJECTIVE, objective, sli=sli, hop=hop.hop)
    for one in values:
        if one.value is not None:
            yield sample(m.SLI, one.value, sli=one.sli, name=one.name, scope=one.scope)
        if one.budget_left is not None:
            yield sample(m.SLO_BUDGET_LEFT, one.budget_left, sli=one.sli, hop="" if one.scope == ALL else one.scope)


def _certificate(one: CertificateState) -> Iterator[Sample]:
    labels = {"cert": one.slot, "service": one.service, "owner": one.owner}
    yield sample(m.CERT_NOT_AFTER, one.not_after.timestamp(), **labels)
    yield sample(m.CERT_NOT_BEFORE, one.not_before.timestamp(), **labels)
    if one.renew_at is not None:
        yield sample(m.CERT_RENEW_AT, one.renew_at.timestamp(), **labels)
    if one.served_not_after is not None:
        yield sample(m.SERVED_NOT_AFTER, one.served_not_after.timestamp(), **labels)
    yield sample(m.CERT_ROTATION, bool(one.rotating), **labels)
    yield sample(m.ISSUANCE_ATTEMPTS, one.attempts, **labels)


def _counted(counters: Counters) -> Iterator[Sample]:
    yield sample(m.PROBE_HELLOS, counters.probe_hellos)
    for result, count in counters.orders.items():
        yield sample(m.ISSUANCE, count, result=result)
    for (source, result), count in sorted(counters.revocation.items()):
        yield sample(m.REVOCATION_CHECK, count, source=source, result=result)


def _flows(readings: Readings) -> Iterator[Sample]:
    told, since = (FlowClass.PLAINTEXT, FlowClass.UNKNOWN), readings.detector_last_run or readings.at
    doubtful = [flow for flow in readings.flows if flow.encryption in told and flow.ours and is_live(flow, since)]

    def worst_first(flow: Flow) -> tuple[bool, bool, float]:
        clear = flow.encryption is FlowClass.PLAINTEXT
        return not clear, is_excused(flow, readings.at), -flow.last_at.timestamp()

    for flow in sorted(doubtful, key=worst_first)[:_FLOWS_TOLD]:
        yield sample(
            m.FLOW_LAST_SEEN,
            flow.last_at.timestamp(),
            flow=flow.key,
            service=flow.callee,
            src=flow.caller,
            dst=flow.callee or flow.server,
            encryption=flow.encryption.value,
            excused="true" if is_excused(flow, readings.at) else "false",
            owner=flow.owner,
        )


def _compliance(readings: Readings) -> Iterator[Sample]:
    """0 where a grave rule is broken, 1 where every grave rule has its answer and none is broken. An endpoint of which
    less is known has no such sample: nobody may take what could not be told for compliance; one that answers nothing
    has a sample that says so."""
    broken = violations(readings.findings)
    untold = {one.subject for one in readings.findings if one.verdict is Verdict.UNKNOWN and one.severity in GRAVE}
    judged = {one.subject: one.owner for one in readings.findings if one.verdict in (Verdict.PASS, Verdict.FAIL)}
    for endpoint, owner in sorted(judged.items()):
        if endpoint in broken or endpoint not in untold:
            yield sample(m.POLICY_COMPLIANT, endpoint not in broken, endpoint=endpoint, owner=owner)
    silent = {one.subject: one.owner for one in readings.findings if one.subject not in judged}
    for endpoint, owner in sorted(silent.items()):
        if endpoint in untold:
            yield sample(m.POLICY_UNANSWERED, 1, endpoint=endpoint, owner=owner)


def _signs_of_life(readings: Readings) -> Iterator[Sample]:
    moments: tuple[tuple[m.Metric, datetime | None], ...] = (
        (m.DETECTOR_LAST_RUN, readings.detector_last_run),
        (m.OBSERVER_LAST_RUN, readings.observer_last_run),
    )
    for metric, moment in moments:
        if moment is not None:
            yield sample(metric, moment.timestamp())
    blind = blindness(readings.at, readings.detector_last_run, readings.detector_fault)
    yield sample(m.DETECTOR_BLIND, bool(blind))
    if any(hop.wanted is Posture.MTLS for hop in readings.hops):
        yield sample(m.OBSERVER_SILENT_AFTER, silent_after(readings.heartbeat).total_seconds())
    for stream, since in readings.unsealed_since.items():
        yield sample(m.UNSEALED_SINCE, since.timestamp(), stream=stream)

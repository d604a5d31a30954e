"""Every indicator's value at one moment, from what was read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta

from everyhop.core.flow import Flow
from everyhop.core.measures.readings import FIVE_MINUTES, HOUR, HopReading, Readings
from everyhop.core.sli.counts import Counts, total
from everyhop.core.sli.indicator import Scope
from everyhop.core.sli.m01_tls_usage import tls_usage
from everyhop.core.sli.m02_handshake_success import handshake_success
from everyhop.core.sli.m03_mtls_coverage import mtls_coverage
from everyhop.core.sli.m04_expiry_lead import expiry_lead, least, renewal_slack
from everyhop.core.sli.m05_cipher_strength import cipher_strength
from everyhop.core.sli.m06_handshake_p95 import handshake_p95
from everyhop.core.sli.m07_resumption import resumption
from everyhop.core.sli.m08_issuance import issuance
from everyhop.core.sli.m09_revocation import no_revocation, revocation
from everyhop.core.sli.m10_plaintext_flows import count_flows, plaintext_flows
from everyhop.core.sli.objective import target
from everyhop.core.sli.value import SliValue
from everyhop.core.sli.window import PERIOD
from everyhop.core.topology import Criticality

ALL = "all"
"""The scope of everything."""
_DAY = timedelta(days=1)
_NOW = timedelta(0)
_TYPICAL = Criticality.MEDIUM.value
"""Which targets stand for everything together."""


def values(readings: Readings) -> tuple[SliValue, ...]:
    """Every indicator for every scope."""
    return (
        *_connections(readings),
        *_certificates(readings),
        *_orders(readings),
        *_revocation(readings),
        *_flows(readings),
    )


def _connections(readings: Readings) -> Iterator[SliValue]:
    """M1, M2, M3 and M5 over an hour, M6 and M7 over five minutes: each hop, and all of them."""
    hour: dict[str, Counts] = {}
    for hop in readings.hops:
        hour[hop.hop] = readings.over(HOUR, hop.hop)
        yield from _hop(readings, hop, hour[hop.hop])
    hops = list(hour.values())
    beside = {name: readings.over(HOUR, name) for name in readings.scopes(HOUR) if name not in hour}
    between = [one.hop for one in readings.hops if one.kind == "service"]
    services = [hour[name] for name in between]
    services += [counts for name, counts in beside.items() if readings.kind(name) == "service"]

    def scope(sli: str) -> Scope:
        return Scope(ALL, readings.at, HOUR, target(sli, _TYPICAL, readings.overrides))

    yield tls_usage(scope("M1"), total([*hops, *beside.values()]))
    yield handshake_success(scope("M2"), total(hops), _period(readings, (one.hop for one in readings.hops)))
    yield mtls_coverage(scope("M3"), total(services))
    yield cipher_strength(scope("M5"), total(hops))


def _hop(readings: Readings, hop: HopReading, hour: Counts) -> Iterator[SliValue]:
    def scope(sli: str, window: timedelta = HOUR) -> Scope:
        return Scope(hop.hop, readings.at, window, target(sli, hop.criticality, readings.overrides), hop.owner)

    yield tls_usage(scope("M1"), hour)
    yield handshake_success(scope("M2"), hour, _period(readings, [hop.hop]))
    if hop.kind == "service":
        yield mtls_coverage(scope("M3"), hour)
    yield cipher_strength(scope("M5"), hour)
    lately = readings.over(FIVE_MINUTES, hop.hop)
    yield handshake_p95(scope("M6", FIVE_MINUTES), lately)
    yield resumption(scope("M7", FIVE_MINUTES), lately)


def _period(readings: Readings, hops: Iterable[str]) -> Counts:
    return total(readings.over(PERIOD, hop) for hop in hops)


def _certificates(readings: Readings) -> Iterator[SliValue]:
    """M4: expiry lead of each served certificate, renewal slack of each slot, and the least of both."""
    leads: list[SliValue] = []
    slacks: list[SliValue] = []
    for one in readings.certificates:
        scope = Scope(one.slot, readings.at, _NOW, target("M4", _TYPICAL), one.owner)
        if one.served_not_after is not None:
            leads.append(expiry_lead(scope, one.served_not_after - one.lifetime, one.served_not_after))
        if one.renew_at is not None:
            slacks.append(renewal_slack(scope, one.renew_at, one.lifetime))
    yield from (*leads, *slacks)
    everything = Scope(ALL, readings.at, _NOW)
    yield least(everything, leads)
    if slacks:
        yield least(everything, slacks)


def _orders(readings: Readings) -> Iterator[SliValue]:
    yield issuance(Scope(ALL, readings.at, _DAY, target("M8", _TYPICAL)), readings.orders)


def _revocation(readings: Readings) -> Iterator[SliValue]:
    objective = target("M9", _TYPICAL)
    for source, results in sorted(readings.revocation.items()):
        yield revocation(Scope(source, readings.at, HOUR, objective), results)
    if not readings.revocation:
        yield no_revocation(Scope(ALL, readings.at, HOUR, objective))


def _flows(readings: Readings) -> Iterator[SliValue]:
    """M10: by the service that is called, and everywhere."""
    objective = target("M10", _TYPICAL)
    for service in readings.services:
        scope = Scope(service.name, readings.at, _NOW, objective, service.owner)
        yield _plaintext(readings, scope, [one for one in readings.flows if one.callee == service.name])
    yield _plaintext(readings, Scope(ALL, readings.at, _NOW, objective), readings.flows)


def _plaintext(readings: Readings, scope: Scope, flows: Iterable[Flow]) -> SliValue:
    counted = count_flows(flows, readings.at, readings.detector_last_run)
    return plaintext_flows(scope, counted, readings.detector_last_run, readings.detector_fault)

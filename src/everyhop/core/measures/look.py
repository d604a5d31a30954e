"""What alerts look at, from what was read."""

from __future__ import annotations

from collections.abc import Iterator

from everyhop.core.alerts.snapshot import Errors, HopState, Refused, Snapshot
from everyhop.core.measures.readings import BURN_WINDOWS, HOUR, TEN_MINUTES, HopReading, Readings
from everyhop.core.sli.counts import Counts
from everyhop.core.sli.objective import target


def snapshot(readings: Readings) -> Snapshot:
    """The snapshot of a moment."""
    return Snapshot(
        at=readings.at,
        hops=tuple(_hop(readings, hop) for hop in readings.hops),
        certificates=readings.certificates,
        refused=tuple(_refused(readings)),
        flows=readings.flows,
        findings=readings.findings,
        excuses=readings.excuses,
        revocation=readings.revocation,
        detector_last_run=readings.detector_last_run,
        detector_fault=readings.detector_fault,
        heartbeat=readings.heartbeat,
        observer_last_run=readings.observer_last_run,
        unsealed_since=readings.unsealed_since,
    )


def _hop(readings: Readings, hop: HopReading) -> HopState:
    return HopState(
        hop=hop.hop,
        owner=hop.owner,
        criticality=hop.criticality,
        wanted=hop.wanted,
        seen=hop.seen,
        objective=target("M2", hop.criticality, readings.overrides),
        errors={window: _errors(readings.over(window, hop.hop)) for window in BURN_WINDOWS},
        lately=_errors(readings.either_end(TEN_MINUTES, hop.hop)),
        note=hop.note,
        ok=hop.ok,
        seen_at=hop.seen_at,
    )


def _errors(counts: Counts) -> Errors:
    return Errors(counts.failures, counts.attempts)


def _refused(readings: Readings) -> Iterator[Refused]:
    owners = {one.hop: one.owner for one in readings.hops}
    for scope in readings.scopes(HOUR):
        count = readings.over(HOUR, scope).plaintext_refused
        if count:
            yield Refused(scope, owners.get(scope) or readings.owner(readings.callee(scope)), count)

"""IssuanceFailing: an order for a certificate has failed, after its retries. Rare events: counted, not a ratio."""

from __future__ import annotations

from collections.abc import Iterator

from everyhop.core.alerts.alert import AT_ONCE, Alert, Trouble
from everyhop.core.alerts.snapshot import Snapshot
from everyhop.core.alerts.state import Route
from everyhop.core.finding import Severity
from everyhop.core.sli.m08_issuance import FAILED_AFTER


def _condition(snapshot: Snapshot) -> Iterator[Trouble]:
    for one in snapshot.certificates:
        if one.attempts >= FAILED_AFTER:
            yield Trouble(one.slot, one.owner, f"{one.attempts} attempts in a row failed: {one.fault}")


ISSUANCE_FAILING = Alert(
    name="IssuanceFailing",
    sli="M8",
    severity=Severity.HIGH,
    route=Route.TICKET,
    hold=AT_ONCE,
    meaning="a certificate is not issued, or not taken by its proxy, however often it is tried",
    condition=_condition,
    expr=f"everyhop_issuance_attempts >= {FAILED_AFTER}",
    subject_label="cert",
    summary="{{ $labels.cert }}: {{ $value }} attempts in a row failed",
    inhibited_by=("CertLifetimeNearlySpent",),
)

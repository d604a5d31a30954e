"""RevocationCheckFailing: a source of revocation gives no answers. One alert a source."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from everyhop.core.alerts.alert import Alert, Trouble
from everyhop.core.alerts.snapshot import Snapshot
from everyhop.core.alerts.state import Route
from everyhop.core.finding import Severity
from everyhop.core.sli.m09_revocation import ANSWERS, REVOCATION

LEAST = 0.5
"""The share of answers below which a source does not work; single misses are the network's."""


def _condition(snapshot: Snapshot) -> Iterator[Trouble]:
    for source, results in snapshot.revocation.items():
        total = sum(results.values())
        answered = sum(results.get(result, 0) for result in ANSWERS)
        if total and answered / total < LEAST:
            yield Trouble(source, "", f"{total - answered} of {total} checks in an hour got no answer")


REVOCATION_CHECK_FAILING = Alert(
    name="RevocationCheckFailing",
    sli="M9",
    severity=Severity.MEDIUM,
    route=Route.TICKET,
    hold=timedelta(minutes=15),
    meaning="a source of revocation (CRL, OCSP, staple) gives no answers",
    condition=_condition,
    expr=f"({REVOCATION.expr}) < {LEAST:g}",
    subject_label="source",
    summary="{{ $labels.source }}: {{ $value | humanizePercentage }} of the checks got an answer",
)

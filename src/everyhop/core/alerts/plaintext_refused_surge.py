"""PlaintextRefusedSurge: somebody keeps trying plaintext at a TLS port, and is refused.

Nothing leaks; but a caller is misconfigured, or somebody tries doors.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from everyhop.core.alerts.alert import Alert, Trouble
from everyhop.core.alerts.snapshot import Snapshot
from everyhop.core.alerts.state import Route
from everyhop.core.finding import Severity

SURGE = 20
"""Refusals an hour; fewer are a curious browser."""


def _condition(snapshot: Snapshot) -> Iterator[Trouble]:
    for one in snapshot.refused:
        if one.count > SURGE:
            yield Trouble(one.subject, one.owner, f"{one.count} connections in plaintext were refused in an hour")


PLAINTEXT_REFUSED_SURGE = Alert(
    name="PlaintextRefusedSurge",
    sli="M10",
    severity=Severity.MEDIUM,
    route=Route.TICKET,
    hold=timedelta(minutes=5),
    meaning="somebody keeps trying plaintext at a port that refuses it",
    condition=_condition,
    expr=f"sum by (hop, owner) (increase(everyhop_plaintext_refused_total[1h])) > {SURGE}",
    subject_label="hop",
    summary="{{ $labels.hop }}: {{ $value | humanize }} connections in plaintext were refused in an hour",
)

"""SealLate: observations wait too long for their seal, so that they could still be changed without a trace."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from everyhop.core.alerts.alert import Alert, Trouble
from everyhop.core.alerts.snapshot import Snapshot
from everyhop.core.alerts.state import Route
from everyhop.core.finding import Severity

LATE = timedelta(minutes=30)
"""Seals are made every few minutes (``seal_detail_seconds``); a short stop of everyhop is no trouble."""


def _condition(snapshot: Snapshot) -> Iterator[Trouble]:
    for stream, since in snapshot.unsealed_since.items():
        if snapshot.at - since > LATE:
            yield Trouble(stream, "", f"its observations since {since:%Y-%m-%d %H:%M} UTC have no seal")


SEAL_LATE = Alert(
    name="SealLate",
    sli="",
    severity=Severity.MEDIUM,
    route=Route.TICKET,
    hold=timedelta(minutes=5),
    meaning="observations are not sealed: until they are, a change to them would not show",
    condition=_condition,
    expr=f"time() - everyhop_unsealed_since_timestamp_seconds > {int(LATE.total_seconds())}",
    subject_label="stream",
    summary="{{ $labels.stream }}: its observations wait for a seal for more than half an hour",
)

"""FlowDetectorBlind: nobody looks for plaintext flows, so none found means nothing.

Blind is what the dashboard and M10 call so, too: the socket table cannot be read, or nobody has read it for three
minutes. Prometheus takes everyhop's word for it, or its silence.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from everyhop.core.alerts.alert import EVERYTHING, Alert, Trouble
from everyhop.core.alerts.snapshot import Snapshot
from everyhop.core.alerts.state import Route
from everyhop.core.finding import Severity

_BLIND = "everyhop_flow_detector_blind"
_HUNG = timedelta(minutes=5)
"""A last look so old that even a slow scrape cannot explain it."""
_RUN = "everyhop_flow_detector_last_run_timestamp_seconds"


def _condition(snapshot: Snapshot) -> Iterator[Trouble]:
    if snapshot.blind:
        yield Trouble(EVERYTHING, "", snapshot.blind)


FLOW_DETECTOR_BLIND = Alert(
    name="FlowDetectorBlind",
    sli="M10",
    severity=Severity.HIGH,
    route=Route.TICKET,
    hold=timedelta(minutes=5),
    meaning="the search for plaintext flows does not run: that none was found means nothing",
    condition=_condition,
    expr=f"(({_BLIND} == 1) or (time() - {_RUN} > {int(_HUNG.total_seconds())})) or on () absent({_BLIND})",
    subject_label="",
    summary="nobody looks for plaintext flows",
)

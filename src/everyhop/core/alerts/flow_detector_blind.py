"""FlowDetectorBlind: nobody has looked for plaintext flows within the hour, so none found means nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from everyhop.core.alerts.alert import EVERYTHING, Alert, Trouble
from everyhop.core.alerts.snapshot import Snapshot
from everyhop.core.alerts.state import Route
from everyhop.core.finding import Severity
from everyhop.core.sli.m10_plaintext_flows import BLIND_AFTER

_RUN = "everyhop_flow_detector_last_run_timestamp_seconds"


def _condition(snapshot: Snapshot) -> Iterator[Trouble]:
    last = snapshot.detector_last_run
    if last is None or snapshot.at - last > BLIND_AFTER:
        told = f"since {last:%Y-%m-%d %H:%M} UTC" if last else "yet"
        yield Trouble(EVERYTHING, "", f"nobody has looked for plaintext flows {told}")


FLOW_DETECTOR_BLIND = Alert(
    name="FlowDetectorBlind",
    sli="M10",
    severity=Severity.HIGH,
    route=Route.TICKET,
    hold=timedelta(minutes=5),
    meaning="the search for plaintext flows does not run: that none was found means nothing",
    condition=_condition,
    expr=f"(time() - {_RUN} > {int(BLIND_AFTER.total_seconds())}) or absent({_RUN})",
    subject_label="",
    summary="nobody has looked for plaintext flows for an hour",
)

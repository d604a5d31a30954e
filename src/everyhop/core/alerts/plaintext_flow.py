"""PlaintextFlow: data flows in the clear, and no exception covers it.

One flow is one too many, so there is no ratio; one look at the socket table is enough, so it does not wait.
"""

from __future__ import annotations

from collections.abc import Iterator

from everyhop.core.alerts.alert import AT_ONCE, Alert, Trouble
from everyhop.core.alerts.snapshot import Snapshot
from everyhop.core.alerts.state import Route
from everyhop.core.finding import Severity
from everyhop.core.flow import FlowClass
from everyhop.core.sli.m10_plaintext_flows import LATELY, is_excused, is_live


def _condition(snapshot: Snapshot) -> Iterator[Trouble]:
    for flow in snapshot.flows:
        if flow.encryption is FlowClass.PLAINTEXT and flow.ours and is_live(flow, snapshot.at):
            told = f"{flow.caller} talks to {flow.callee or flow.server} at {flow.server} in plaintext"
            excuse = f"an exception: {flow.excused}" if is_excused(flow, snapshot.at) else ""
            yield Trouble(flow.key, flow.owner, told, excuse)


PLAINTEXT_FLOW = Alert(
    name="PlaintextFlow",
    sli="M10",
    severity=Severity.CRITICAL,
    route=Route.PAGE,
    hold=AT_ONCE,
    meaning="a service is talked to in plaintext, past its proxy",
    condition=_condition,
    expr='everyhop_flow_last_seen_timestamp_seconds{encryption="plaintext",excused="false"}'
    f" > time() - {int(LATELY.total_seconds())}",
    subject_label="flow",
    summary="{{ $labels.src }} talks to {{ $labels.dst }} in plaintext",
)

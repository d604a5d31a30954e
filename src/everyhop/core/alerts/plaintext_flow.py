"""PlaintextFlow: data flows in the clear, and no exception covers it.

One flow is one too many, so there is no ratio; one look at the socket table is enough, so it does not wait. It ends by
a look that does not find the flow, or finds it encrypted: never because nobody looks, or nobody can tell.
"""

from __future__ import annotations

from collections.abc import Iterator

from everyhop.core.alerts.alert import AT_ONCE, Alert, Trouble
from everyhop.core.alerts.promql import unless_known
from everyhop.core.alerts.snapshot import Snapshot
from everyhop.core.alerts.state import AlertState, Route
from everyhop.core.finding import Severity
from everyhop.core.flow import FlowClass
from everyhop.core.sli.m10_plaintext_flows import is_excused, is_live

_SEEN = "everyhop_flow_last_seen_timestamp_seconds"


def _condition(snapshot: Snapshot) -> Iterator[Trouble]:
    for flow in snapshot.flows:
        if (
            flow.encryption is FlowClass.PLAINTEXT
            and flow.ours
            and is_live(flow, snapshot.detector_last_run or snapshot.at)
        ):
            told = f"{flow.caller} talks to {flow.callee or flow.server} at {flow.server} in plaintext"
            told += f", as last seen: {snapshot.blind}" if snapshot.blind else ""
            excuse = f"an exception: {flow.excused}" if is_excused(flow, snapshot.at) else ""
            yield Trouble(flow.key, flow.owner, told, excuse)


def _doubt(snapshot: Snapshot, state: AlertState) -> str:
    flow = next((one for one in snapshot.flows if one.key == state.subject), None)
    if flow is not None and flow.ended_at is not None:
        return ""
    if snapshot.blind:
        return snapshot.blind
    if flow is not None and flow.encryption is FlowClass.UNKNOWN:
        return f"it goes on, and nobody can tell whether it is encrypted: {flow.evidence or 'nothing is known of it'}"
    return ""


PLAINTEXT_FLOW = Alert(
    name="PlaintextFlow",
    sli="M10",
    severity=Severity.CRITICAL,
    route=Route.PAGE,
    hold=AT_ONCE,
    meaning="a service is talked to in plaintext, past its proxy",
    condition=_condition,
    expr=unless_known(
        "PlaintextFlow",
        f'{_SEEN}{{encryption="plaintext",excused="false"}}',
        f'{_SEEN}{{encryption="unknown"}}',
        on="flow",
    ),
    subject_label="flow",
    summary="{{ $labels.src }} talks to {{ $labels.dst }} in plaintext",
    doubt=_doubt,
)

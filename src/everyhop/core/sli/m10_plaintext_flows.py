"""M10, plaintext flows: how many flows carry data in the clear, now.

Pitfalls, answered: 0 is good only if somebody looked, so without a detector that works there is no value, and what was
seen last stays as it was: a flow ends by a look that does not find it, never by nobody looking. A flow that an
exception covers (with owner and end) is not counted, and told in the note. Plaintext that was tried and refused is
another number (``everyhop_plaintext_refused_total``). A port that takes both is *unknown* until it is asked. An app and
its own proxy on loopback are one service.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from everyhop.core.flow import Flow, FlowClass
from everyhop.core.sli.indicator import Indicator, Scope
from everyhop.core.sli.value import SliValue
from everyhop.core.verdict import Verdict

LATELY = timedelta(minutes=15)
"""A flow that was not seen for so long has ended."""
BLIND_AFTER = timedelta(minutes=3)
"""Without a sign of life for so long (it is written once a minute) nothing can be said: here, in alerts, on a page."""

PLAINTEXT_FLOWS = Indicator(
    code="M10",
    name="plaintext flows",
    unit="flows",
    higher_is_better=False,
    definition="flows in plaintext that no exception covers and that were seen in the last 15 minutes",
    expr='(count by (service) (everyhop_flow_last_seen_timestamp_seconds{encryption="plaintext",excused="false"})'
    " or 0 * everyhop_service_info) unless on () (everyhop_flow_detector_blind == 1)",
)


@dataclass(frozen=True, slots=True)
class FlowCount:
    """Flows that were seen lately, by how they are protected."""

    plaintext: int = 0
    excused: int = 0
    unknown: int = 0
    total: int = 0


def blindness(at: datetime, last_run: datetime | None, fault: str) -> str:
    """Why nobody can say now what flows beside the mesh; empty: somebody looked."""
    if fault:
        return f"the socket table cannot be read: {fault}"
    if last_run is None:
        return "nobody has looked at the socket table yet"
    silent = at - last_run > BLIND_AFTER
    return f"nobody has looked at the socket table since {last_run:%Y-%m-%d %H:%M:%S} UTC" if silent else ""


def count_flows(flows: Iterable[Flow], now: datetime, looked_at: datetime | None = None) -> FlowCount:
    """Count what was seen lately before ``looked_at``, the detector's last look (without one: before now); what never
    leaves a service or a user of one host is not counted."""
    inside = (FlowClass.WITHIN_SERVICE, FlowClass.WITHIN_HOST)
    since = looked_at or now
    seen = [flow for flow in flows if flow.ours and is_live(flow, since) and flow.encryption not in inside]
    clear = [flow for flow in seen if flow.encryption is FlowClass.PLAINTEXT]
    excused = sum(is_excused(flow, now) for flow in clear)
    unknown = sum(flow.encryption is FlowClass.UNKNOWN for flow in seen)
    return FlowCount(len(clear) - excused, excused, unknown, len(seen))


def is_live(flow: Flow, looked_at: datetime) -> bool:
    """Whether a flow was one of the detector's last look: seen lately by then, and not known to have ended."""
    return flow.ended_at is None and flow.last_at > looked_at - LATELY


def is_excused(flow: Flow, now: datetime) -> bool:
    """Whether an exception covers a flow today."""
    return bool(flow.excused) and (flow.excused_until is None or flow.excused_until >= now.date())


def plaintext_flows(scope: Scope, flows: FlowCount, detector_last_run: datetime | None, fault: str = "") -> SliValue:
    """How many flows are in plaintext; nothing without a detector that works."""
    if blind := blindness(scope.at, detector_last_run, fault):
        return PLAINTEXT_FLOWS.none(scope, Verdict.UNKNOWN, blind)
    note = f"{flows.excused} more under an exception" if flows.excused else ""
    value = PLAINTEXT_FLOWS.measure(scope, float(flows.plaintext), note=note)
    unsure = value.verdict is Verdict.PASS and flows.unknown > 0
    return SliValue(
        value.sli,
        value.name,
        value.scope,
        value.value,
        value.unit,
        value.at,
        value.window_seconds,
        good=flows.total - flows.plaintext - flows.excused - flows.unknown,
        total=flows.total,
        unknown=flows.unknown,
        objective=value.objective,
        verdict=Verdict.UNKNOWN if unsure else value.verdict,
        owner=value.owner,
        note="; ".join(part for part in (value.note, unsure and f"{flows.unknown} of unknown encryption") if part),
    )

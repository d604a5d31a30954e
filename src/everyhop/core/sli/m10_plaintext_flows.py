"""M10, plaintext flows: how many flows carry data in the clear, now.

Pitfalls, answered: 0 is good only if somebody looked, so without a detector that ran within the hour there is no
value. A flow that an exception covers (with owner and end) is not counted, and told in the note. Plaintext that was
tried and refused is another number (``everyhop_plaintext_refused_total``). A port that takes both is *unknown* until
it is asked. An app and its own proxy on loopback are one service.
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
BLIND_AFTER = timedelta(hours=1)
"""Without a look for so long, nothing can be said."""

PLAINTEXT_FLOWS = Indicator(
    code="M10",
    name="plaintext flows",
    unit="flows",
    higher_is_better=False,
    definition="flows in plaintext that no exception covers and that were seen in the last 15 minutes",
    expr='count by (service) (everyhop_flow_last_seen_timestamp_seconds{encryption="plaintext",excused="false"}'
    " > time() - 900) or 0 * everyhop_service_info",
)


@dataclass(frozen=True, slots=True)
class FlowCount:
    """Flows that were seen lately, by how they are protected."""

    plaintext: int = 0
    excused: int = 0
    unknown: int = 0
    total: int = 0


def count_flows(flows: Iterable[Flow], now: datetime) -> FlowCount:
    """Count what was seen lately; what never leaves a service or a user of one host is not counted."""
    inside = (FlowClass.WITHIN_SERVICE, FlowClass.WITHIN_HOST)
    seen = [flow for flow in flows if flow.ours and is_live(flow, now) and flow.encryption not in inside]
    clear = [flow for flow in seen if flow.encryption is FlowClass.PLAINTEXT]
    excused = sum(is_excused(flow, now) for flow in clear)
    unknown = sum(flow.encryption is FlowClass.UNKNOWN for flow in seen)
    return FlowCount(len(clear) - excused, excused, unknown, len(seen))


def is_live(flow: Flow, now: datetime) -> bool:
    """Whether a flow is one of now: seen lately, and not known to have ended."""
    return flow.ended_at is None and flow.last_at > now - LATELY


def is_excused(flow: Flow, now: datetime) -> bool:
    """Whether an exception covers a flow today."""
    return bool(flow.excused) and (flow.excused_until is None or flow.excused_until >= now.date())


def plaintext_flows(scope: Scope, flows: FlowCount, detector_last_run: datetime | None) -> SliValue:
    """How many flows are in plaintext; nothing without a living detector."""
    if detector_last_run is None or scope.at - detector_last_run > BLIND_AFTER:
        return PLAINTEXT_FLOWS.none(scope, Verdict.UNKNOWN, "the flow detector did not look within the hour")
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

"""PolicyViolated: an endpoint breaks rules of its guideline, and no exception covers it. One alert an endpoint.

It ends when the rules that were broken are seen kept: an endpoint that gives no answer has not got better.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import groupby

from everyhop.core.alerts.alert import Alert, Trouble
from everyhop.core.alerts.promql import unless_known
from everyhop.core.alerts.snapshot import Snapshot
from everyhop.core.alerts.state import AlertState, Route
from everyhop.core.finding import Finding, Severity
from everyhop.core.verdict import Verdict

GRAVE = (Severity.CRITICAL, Severity.HIGH)
"""Lesser findings stand in the inventory and alarm nobody."""


def violations(findings: tuple[Finding, ...]) -> dict[str, list[Finding]]:
    """Grave findings that count, by subject."""
    grave = sorted((one for one in findings if one.counts and one.severity in GRAVE), key=lambda one: one.subject)
    return {subject: list(group) for subject, group in groupby(grave, key=lambda one: one.subject)}


def _condition(snapshot: Snapshot) -> Iterator[Trouble]:
    for subject, found in violations(snapshot.findings).items():
        rules = tuple(sorted({one.rule for one in found}))
        yield Trouble(subject, found[0].owner, f"breaks {', '.join(rules)}", rests_on=rules)


def _doubt(snapshot: Snapshot, state: AlertState) -> str:
    untold = {
        one.rule
        for one in snapshot.findings
        if one.subject == state.subject and one.rule in state.rests_on and one.verdict is Verdict.UNKNOWN
    }
    return f"nobody can tell now: {', '.join(sorted(untold))}" if untold else ""


POLICY_VIOLATED = Alert(
    name="PolicyViolated",
    sli="M5",
    severity=Severity.HIGH,
    route=Route.TICKET,
    hold=timedelta(minutes=5),
    meaning="an endpoint accepts what its guideline forbids, or lacks what it demands",
    condition=_condition,
    expr=unless_known(
        "PolicyViolated", "everyhop_policy_compliant == 0", "everyhop_policy_unanswered == 1", on="endpoint"
    ),
    subject_label="endpoint",
    summary="{{ $labels.endpoint }} breaks rules of its guideline",
    doubt=_doubt,
)

"""HopHandshakesAllFail: lately every handshake of a hop failed, and there were some.

Absolute, because an idle hop has too few handshakes for a ratio; its heartbeats are enough for this. Callers from
outside may fail as they like (scanners, old libraries, who does not trust our root): strangers wake nobody while our
own handshake with the edge succeeds.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from everyhop.core.alerts.alert import Alert, Trouble
from everyhop.core.alerts.doubt import unseen
from everyhop.core.alerts.promql import ATTEMPTS, HOP_OWNER, STRANGERS_ONLY, UNSEEN, unless_known
from everyhop.core.alerts.snapshot import Snapshot
from everyhop.core.alerts.state import Route
from everyhop.core.finding import Severity

LEAST = 3
"""Failures in ten minutes; one or two can be a restart."""


def _condition(snapshot: Snapshot) -> Iterator[Trouble]:
    for hop in snapshot.hops:
        if hop.lately.failures >= LEAST and hop.lately.failures == hop.lately.attempts and not hop.strangers_only:
            yield Trouble(hop.hop, hop.owner, f"all of {hop.lately.failures} handshakes in ten minutes failed")


HOP_HANDSHAKES_ALL_FAIL = Alert(
    name="HopHandshakesAllFail",
    sli="M2",
    severity=Severity.CRITICAL,
    route=Route.PAGE,
    hold=timedelta(minutes=1),
    meaning="no handshake of a hop succeeds any more",
    condition=_condition,
    expr=unless_known(
        "HopHandshakesAllFail",
        f'(sum by (hop) (increase(everyhop_tls_connections_total{{{ATTEMPTS},result!="ok"}}[10m])) >= {LEAST}'
        ' unless on (hop) (sum by (hop) (increase(everyhop_tls_connections_total{result="ok"}[10m])) > 0)'
        f" {STRANGERS_ONLY} unless on (hop) (everyhop_maintenance == 1)) {HOP_OWNER}",
        f"{UNSEEN} unless on (hop) (everyhop_maintenance == 1)",
        on="hop",
    ),
    subject_label="hop",
    summary="{{ $labels.hop }}: every TLS handshake of the last ten minutes failed",
    doubt=unseen,
)

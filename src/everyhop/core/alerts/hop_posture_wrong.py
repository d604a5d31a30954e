"""HopPostureWrong: a hop was seen, and it is not protected as the topology asks. It ends when the hop is seen well."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from everyhop.core.alerts.alert import Alert, Trouble
from everyhop.core.alerts.doubt import unseen
from everyhop.core.alerts.promql import HOP_OWNER, UNSEEN, unless_known
from everyhop.core.alerts.snapshot import Snapshot
from everyhop.core.alerts.state import Route
from everyhop.core.finding import Severity
from everyhop.core.hop import Posture


def _condition(snapshot: Snapshot) -> Iterator[Trouble]:
    for hop in snapshot.hops:
        if hop.seen is not Posture.UNKNOWN and not hop.ok:
            why = f": {hop.note}" if hop.note else ""
            yield Trouble(hop.hop, hop.owner, f"should be {hop.wanted}, and is {hop.seen}{why}")


HOP_POSTURE_WRONG = Alert(
    name="HopPostureWrong",
    sli="M3",
    severity=Severity.CRITICAL,
    route=Route.PAGE,
    hold=timedelta(minutes=1),
    meaning="a hop is not protected as the topology asks",
    condition=_condition,
    expr=unless_known(
        "HopPostureWrong",
        '(max by (hop) (everyhop_hop_posture{seen!="unknown"} == 1) and on (hop) (everyhop_hop_ok == 0))'
        f" {HOP_OWNER}",
        UNSEEN,
        on="hop",
    ),
    subject_label="hop",
    summary="{{ $labels.hop }}: not protected as the topology asks",
    doubt=unseen,
)

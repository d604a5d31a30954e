"""HopNotSeen: nobody has seen a hop lately, so nothing can be said of it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from everyhop.core.alerts.alert import Alert, Trouble
from everyhop.core.alerts.promql import HOP_OWNER, UNSEEN
from everyhop.core.alerts.snapshot import Snapshot
from everyhop.core.alerts.state import Route
from everyhop.core.finding import Severity
from everyhop.core.hop import Posture


def _condition(snapshot: Snapshot) -> Iterator[Trouble]:
    for hop in snapshot.hops:
        if hop.seen is Posture.UNKNOWN:
            yield Trouble(hop.hop, hop.owner, f"should be {hop.wanted}, and was not seen: {hop.note or 'no proof'}")


HOP_NOT_SEEN = Alert(
    name="HopNotSeen",
    sli="",
    severity=Severity.HIGH,
    route=Route.TICKET,
    hold=timedelta(minutes=5),
    meaning="a hop has neither traffic nor a heartbeat: whether it is encrypted is unknown",
    condition=_condition,
    expr=f"({UNSEEN}) {HOP_OWNER}",
    subject_label="hop",
    summary="{{ $labels.hop }}: not seen, so whether it is encrypted is unknown",
    inhibited_by=("ObserverBlind", "HopHandshakesAllFail"),
)

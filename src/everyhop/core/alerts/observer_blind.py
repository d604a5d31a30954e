"""ObserverBlind: no proxy has told of any connection for a while.

Idle hops prove themselves by heartbeats, so silence everywhere does not mean that nobody calls: it means that nobody
is heard.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from everyhop.core.alerts.alert import EVERYTHING, Alert, Trouble
from everyhop.core.alerts.snapshot import Snapshot
from everyhop.core.alerts.state import Route
from everyhop.core.finding import Severity

SILENT = timedelta(minutes=5)
_RUN = "everyhop_observer_last_run_timestamp_seconds"


def _condition(snapshot: Snapshot) -> Iterator[Trouble]:
    last = snapshot.observer_last_run
    if snapshot.hops and (last is None or snapshot.at - last > SILENT):
        told = f"since {last:%Y-%m-%d %H:%M} UTC" if last else "yet"
        yield Trouble(EVERYTHING, "", f"no proxy has told of any connection {told}")


OBSERVER_BLIND = Alert(
    name="ObserverBlind",
    sli="",
    severity=Severity.CRITICAL,
    route=Route.PAGE,
    hold=timedelta(minutes=2),
    meaning="nobody hears the proxies: everything else that is shown is old",
    condition=_condition,
    expr=f"(time() - {_RUN} > {int(SILENT.total_seconds())}) or absent({_RUN})",
    subject_label="",
    summary="no proxy has told of any connection for five minutes",
)

"""ObserverBlind: no proxy has told of any connection for a while.

Idle hops prove themselves by heartbeats, so silence everywhere does not mean that nobody calls: it means that nobody
is heard. Only hops between services have heartbeats: where there are none, nobody has to be heard.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from everyhop.core.alerts.alert import EVERYTHING, Alert, Trouble
from everyhop.core.alerts.snapshot import Snapshot
from everyhop.core.alerts.state import Route
from everyhop.core.finding import Severity
from everyhop.core.hop import Posture

_AT_LEAST, _HEARTBEATS = timedelta(minutes=5), 3
_LIMIT = "everyhop_observer_silent_after_seconds"
_RUN = "everyhop_observer_last_run_timestamp_seconds"


def silent_after(heartbeat: timedelta) -> timedelta:
    """The longest silence that is none: three heartbeats, and five minutes at least."""
    return max(_AT_LEAST, _HEARTBEATS * heartbeat)


def _condition(snapshot: Snapshot) -> Iterator[Trouble]:
    last = snapshot.observer_last_run
    heard = any(hop.wanted is Posture.MTLS for hop in snapshot.hops)
    if heard and (last is None or snapshot.at - last > silent_after(snapshot.heartbeat)):
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
    expr=f"(time() - {_RUN} > {_LIMIT}) or (last_over_time({_LIMIT}[1d]) unless {_RUN})",
    subject_label="",
    summary="no proxy has told of any connection for a while",
)

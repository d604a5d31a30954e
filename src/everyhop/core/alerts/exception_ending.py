"""ExceptionEnding: an exception ends within two weeks, or has ended."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta

from everyhop.core.alerts.alert import AT_ONCE, Alert, Trouble
from everyhop.core.alerts.snapshot import Excuse, Snapshot
from everyhop.core.alerts.state import Route
from everyhop.core.finding import Severity

NOTICE = timedelta(days=14)


def ends_at(excuse: Excuse) -> datetime:
    """The moment an exception ends: with its last day, in UTC."""
    return datetime.combine(excuse.until, time(), UTC) + timedelta(days=1)


def _condition(snapshot: Snapshot) -> Iterator[Trouble]:
    for excuse in snapshot.excuses:
        if ends_at(excuse) - snapshot.at < NOTICE:
            verb = "ends" if ends_at(excuse) > snapshot.at else "ended"
            yield Trouble(excuse.hop, excuse.owner, f"its exception {verb} on {excuse.until}: {excuse.reason}")


EXCEPTION_ENDING = Alert(
    name="ExceptionEnding",
    sli="",
    severity=Severity.MEDIUM,
    route=Route.TICKET,
    hold=AT_ONCE,
    meaning="an exception from encryption ends soon, or has ended: encrypt the hop, or decide anew",
    condition=_condition,
    expr=f"everyhop_exception_ends_timestamp_seconds - time() < {int(NOTICE.total_seconds())}",
    subject_label="hop",
    summary="{{ $labels.hop }}: its exception ends within two weeks, or has ended",
)

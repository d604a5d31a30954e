"""CertLifetimeNearlySpent: a short-lived certificate has less than a tenth of its life left.

For lives of 21 days at most: a tenth of a year would wake somebody 36 days early.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from everyhop.core.alerts.alert import Alert, Trouble
from everyhop.core.alerts.snapshot import Snapshot
from everyhop.core.alerts.state import Route
from everyhop.core.finding import Severity

LEFT = 0.1
SHORT_LIVED = timedelta(days=21)


def _condition(snapshot: Snapshot) -> Iterator[Trouble]:
    for one in snapshot.certificates:
        if one.lifetime <= SHORT_LIVED and one.not_after - snapshot.at < one.lifetime * LEFT:
            yield Trouble(one.slot, one.owner, f"expires at {one.not_after:%Y-%m-%d %H:%M:%S} UTC and was not renewed")


CERT_LIFETIME_NEARLY_SPENT = Alert(
    name="CertLifetimeNearlySpent",
    sli="M4",
    severity=Severity.CRITICAL,
    route=Route.PAGE,
    hold=timedelta(minutes=1),
    meaning="a short-lived certificate was not renewed and ends soon",
    condition=_condition,
    expr=f"(cert:lifetime_left:ratio < {LEFT:g}) and on (cert) (everyhop_cert_not_after_timestamp_seconds"
    f" - everyhop_cert_not_before_timestamp_seconds <= {SHORT_LIVED.days * 86400})",
    subject_label="cert",
    summary="{{ $labels.cert }}: less than a tenth of its life is left and it was not renewed",
)

"""CertRenewalOverdue: a renewal fell due, and a tenth of the certificate's life later it has not happened.

The right question for certificates that renew themselves, whatever their lifetime. A running rotation renews
everything in its own time, so nobody is told meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from everyhop.core.alerts.alert import Alert, Trouble
from everyhop.core.alerts.snapshot import Snapshot
from everyhop.core.alerts.state import Route
from everyhop.core.finding import Severity
from everyhop.core.sli.m04_expiry_lead import OVERDUE_AFTER, overdue_at


def _condition(snapshot: Snapshot) -> Iterator[Trouble]:
    for one in snapshot.certificates:
        if one.renew_at is not None and snapshot.at > overdue_at(one.renew_at, one.lifetime):
            why = f": {one.fault}" if one.fault else ""
            told = f"its renewal was due at {one.renew_at:%Y-%m-%d %H:%M:%S} UTC{why}"
            yield Trouble(one.slot, one.owner, told, one.rotating)


CERT_RENEWAL_OVERDUE = Alert(
    name="CertRenewalOverdue",
    sli="M4",
    severity=Severity.HIGH,
    route=Route.TICKET,
    hold=timedelta(minutes=5),
    meaning="a certificate that should have been renewed was not",
    condition=_condition,
    expr=f"(time() > everyhop_cert_renew_at_timestamp_seconds + {OVERDUE_AFTER:g} *"
    " (everyhop_cert_not_after_timestamp_seconds - everyhop_cert_not_before_timestamp_seconds))"
    " unless on (cert) (everyhop_cert_rotation_in_progress == 1)",
    subject_label="cert",
    summary="{{ $labels.cert }}: its renewal is overdue",
    inhibited_by=("CertLifetimeNearlySpent",),
)

"""CertServedIsNotCertIssued: a newer certificate was issued, and the endpoint still serves the old one.

What every file-based renewal gets wrong at least once: written, and never loaded.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from everyhop.core.alerts.alert import Alert, Trouble
from everyhop.core.alerts.snapshot import Snapshot
from everyhop.core.alerts.state import Route
from everyhop.core.finding import Severity


def _condition(snapshot: Snapshot) -> Iterator[Trouble]:
    for one in snapshot.certificates:
        if one.served_not_after is not None and one.served_not_after < one.not_after:
            told = f"serves a certificate until {one.served_not_after:%Y-%m-%d %H:%M:%S} UTC, a newer one is issued"
            yield Trouble(one.slot, one.owner, told, one.rotating)


CERT_SERVED_IS_NOT_CERT_ISSUED = Alert(
    name="CertServedIsNotCertIssued",
    sli="M4",
    severity=Severity.HIGH,
    route=Route.TICKET,
    hold=timedelta(minutes=30),
    meaning="an endpoint serves another certificate than the one that was issued for it last",
    condition=_condition,
    expr="(everyhop_endpoint_served_not_after_timestamp_seconds < everyhop_cert_not_after_timestamp_seconds)"
    " unless on (cert) (everyhop_cert_rotation_in_progress == 1)",
    subject_label="cert",
    summary="{{ $labels.cert }}: a newer certificate is issued, the old one is served",
)

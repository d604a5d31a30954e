"""CertExpiry30d, 14d, 7d and 1d: a long-lived certificate comes to its end.

Fixed days are noise for certificates that live for days or hours, so each step applies only to lives several times as
long: 90, 45, 21 and 3 days. What lives shorter has CertRenewalOverdue and CertLifetimeNearlySpent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

from everyhop.core.alerts.alert import AT_ONCE, Alert, Trouble
from everyhop.core.alerts.snapshot import Snapshot
from everyhop.core.alerts.state import Route
from everyhop.core.finding import Severity

_NOT_AFTER, _NOT_BEFORE = "everyhop_cert_not_after_timestamp_seconds", "everyhop_cert_not_before_timestamp_seconds"


def _within(days: int, longer_than: int) -> Callable[[Snapshot], Iterator[Trouble]]:
    def condition(snapshot: Snapshot) -> Iterator[Trouble]:
        for one in snapshot.certificates:
            left = one.not_after - snapshot.at
            if left < timedelta(days=days) and one.lifetime > timedelta(days=longer_than):
                yield Trouble(one.slot, one.owner, f"expires at {one.not_after:%Y-%m-%d %H:%M} UTC", one.rotating)

    return condition


def _step(days: int, longer_than: int, severity: Severity, route: Route, *inhibited_by: str) -> Alert:
    return Alert(
        name=f"CertExpiry{days}d",
        sli="M4",
        severity=severity,
        route=route,
        hold=AT_ONCE,
        meaning=f"a certificate that lives longer than {longer_than} days has less than {days} left",
        condition=_within(days, longer_than),
        expr=f"(({_NOT_AFTER} - time() < {days * 86400}) and ({_NOT_AFTER} - {_NOT_BEFORE} > {longer_than * 86400}))"
        " unless on (cert) (everyhop_cert_rotation_in_progress == 1)",
        subject_label="cert",
        summary=f"{{{{ $labels.cert }}}} expires in less than {days} day{'s' if days > 1 else ''}",
        inhibited_by=inhibited_by,
    )


CERT_EXPIRY = (
    _step(30, 90, Severity.LOW, Route.TICKET, "CertExpiry14d", "CertExpiry7d", "CertExpiry1d"),
    _step(14, 45, Severity.MEDIUM, Route.TICKET, "CertExpiry7d", "CertExpiry1d"),
    _step(7, 21, Severity.HIGH, Route.TICKET, "CertExpiry1d"),
    _step(1, 3, Severity.CRITICAL, Route.PAGE),
)

"""Alerts: one alert, one small file with its condition, its severity, its route and its runbook."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from everyhop.core.alerts.alert import Alert
from everyhop.core.alerts.cert_expiry import CERT_EXPIRY
from everyhop.core.alerts.cert_lifetime_nearly_spent import CERT_LIFETIME_NEARLY_SPENT
from everyhop.core.alerts.cert_renewal_overdue import CERT_RENEWAL_OVERDUE
from everyhop.core.alerts.cert_served_is_not_cert_issued import CERT_SERVED_IS_NOT_CERT_ISSUED
from everyhop.core.alerts.exception_ending import EXCEPTION_ENDING
from everyhop.core.alerts.flow_detector_blind import FLOW_DETECTOR_BLIND
from everyhop.core.alerts.handshake_budget_burn import FAST_BURN, SLOW_BURN
from everyhop.core.alerts.hop_handshakes_all_fail import HOP_HANDSHAKES_ALL_FAIL
from everyhop.core.alerts.hop_not_seen import HOP_NOT_SEEN
from everyhop.core.alerts.hop_posture_wrong import HOP_POSTURE_WRONG
from everyhop.core.alerts.issuance_failing import ISSUANCE_FAILING
from everyhop.core.alerts.observer_blind import OBSERVER_BLIND
from everyhop.core.alerts.plaintext_flow import PLAINTEXT_FLOW
from everyhop.core.alerts.plaintext_refused_surge import PLAINTEXT_REFUSED_SURGE
from everyhop.core.alerts.policy_violated import POLICY_VIOLATED
from everyhop.core.alerts.revocation_check_failing import REVOCATION_CHECK_FAILING
from everyhop.core.alerts.seal_late import SEAL_LATE

ALERTS: Mapping[str, Alert] = MappingProxyType(
    {
        alert.name: alert
        for alert in (
            FAST_BURN,
            SLOW_BURN,
            HOP_HANDSHAKES_ALL_FAIL,
            HOP_NOT_SEEN,
            HOP_POSTURE_WRONG,
            *CERT_EXPIRY,
            CERT_LIFETIME_NEARLY_SPENT,
            CERT_RENEWAL_OVERDUE,
            CERT_SERVED_IS_NOT_CERT_ISSUED,
            PLAINTEXT_FLOW,
            PLAINTEXT_REFUSED_SURGE,
            FLOW_DETECTOR_BLIND,
            POLICY_VIOLATED,
            EXCEPTION_ENDING,
            ISSUANCE_FAILING,
            REVOCATION_CHECK_FAILING,
            OBSERVER_BLIND,
            SEAL_LATE,
        )
    }
)
"""Every alert by its name."""

__all__ = ["ALERTS", "Alert"]

"""Prometheus rules: indicators and their error ratios as recording rules, alerts as alerting rules.

Rules: generated from the same objects that everyhop evaluates itself. Objectives are series, so that a changed one
needs no new rules. An alert carries its owner, route and runbook, by which Alertmanager sends it to the right people.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from everyhop.core.alerts import ALERTS
from everyhop.core.alerts.alert import Alert
from everyhop.core.alerts.promql import ATTEMPTS, error_ratio, span
from everyhop.core.export.text import as_yaml
from everyhop.core.measures.readings import BURN_WINDOWS
from everyhop.core.sli import INDICATORS, Indicator

MADE_BY = "everyhop export prometheus"
RULES_FILE = "everyhop.rules.yml"
LIFETIME_LEFT = "cert:lifetime_left:ratio"
_CONNECTIONS = "everyhop_tls_connections_total"


def rules(*, runbooks: str = "") -> str:
    """The rules file. ``runbooks`` is put before each runbook's path, for links."""
    groups = [
        {"name": "everyhop-handshake-errors", "interval": "1m", "rules": [_errors(window) for window in BURN_WINDOWS]},
        {"name": "everyhop-certificates", "interval": "1m", "rules": [_lifetime_left()]},
        {"name": "everyhop-indicators", "interval": "1m", "rules": [_indicator(one) for one in INDICATORS.values()]},
        {"name": "everyhop-alerts", "interval": "1m", "rules": [_alert(one, runbooks) for one in ALERTS.values()]},
    ]
    return as_yaml({"groups": groups}, made_by=MADE_BY)


def recorded(indicator: Indicator) -> str:
    """The name under which an indicator is recorded: ``everyhop:m2_handshake_success:ratio``."""
    words = "_".join(indicator.name.lower().split())
    return f"everyhop:{indicator.code.lower()}_{words}:{indicator.unit}"


def _errors(window: timedelta) -> dict[str, str]:
    """The share of failed handshakes by hop: as the serving end tells, or the calling end where that one is mute."""

    def share(end: str) -> str:
        labels, over = f'end="{end}",{ATTEMPTS}', span(window)
        failed = f'sum by (hop) (rate({_CONNECTIONS}{{{labels},result!="ok"}}[{over}]))'
        return f"({failed} / (sum by (hop) (rate({_CONNECTIONS}{{{labels}}}[{over}])) > 0))"

    return {"record": error_ratio(window), "expr": f"{share('server')} or {share('client')}"}


def _lifetime_left() -> dict[str, str]:
    end, begin = "everyhop_cert_not_after_timestamp_seconds", "everyhop_cert_not_before_timestamp_seconds"
    return {"record": LIFETIME_LEFT, "expr": f"({end} - time()) / ({end} - {begin})"}


def _indicator(one: Indicator) -> dict[str, Any]:
    return {"record": recorded(one), "expr": one.expr, "labels": {"sli": one.code}}


def _alert(alert: Alert, runbooks: str) -> dict[str, Any]:
    labels = {"severity": alert.severity.value, "route": alert.route.value}
    held = {"for": span(alert.hold)} if alert.hold else {}
    return {
        "alert": alert.name,
        "expr": alert.expr,
        **held,
        "labels": {**labels, **({"sli": alert.sli} if alert.sli else {})},
        "annotations": {
            "summary": alert.summary,
            "description": alert.meaning,
            "runbook_url": runbooks + alert.runbook,
        },
    }

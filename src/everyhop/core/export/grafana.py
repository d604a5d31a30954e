"""Three Grafana dashboards: for those who answer for it, for those who are on call, for those who look for a cause.

Rules: generated, so that every query names a metric or a recorded series that exists. The data source is a variable;
nothing is fetched from elsewhere. What is unknown is shown as a number of its own, not left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from everyhop.core.alerts import ALERTS
from everyhop.core.export.prometheus import LIFETIME_LEFT, recorded
from everyhop.core.sli import INDICATORS

_WIDTH, _TALL, _SHORT = 24, 8, 4
_SOURCE = {"type": "prometheus", "uid": "${source}"}
_RED, _AMBER, _GREEN = "red", "orange", "green"


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture and the question it answers."""

    title: str
    kind: str
    """``stat``, ``timeseries`` or ``table``."""
    queries: tuple[tuple[str, str], ...]
    """Expressions, each with its legend."""
    unit: str = "short"
    steps: tuple[tuple[float | None, str], ...] = ()
    """From which value on which colour."""
    about: str = ""
    width: int = 8


def _of(code: str) -> str:
    return recorded(INDICATORS[code])


_ALL_OR_RED = ((None, _RED), (0.95, _AMBER), (0.999, _GREEN))
_NONE_OR_RED = ((None, _GREEN), (1.0, _RED))
_FIRING = f'ALERTS{{alertstate="firing",alertname=~"{"|".join(ALERTS)}"}}'
_POST_QUANTUM = (
    'sum(rate(everyhop_tls_handshakes_total{group=~".*MLKEM.*"}[1h])) / sum(rate(everyhop_tls_handshakes_total[1h]))'
)

EXECUTIVE = (
    Panel("Encrypted connections", "stat", ((_of("M1"), ""),), "percentunit", _ALL_OR_RED, "M1, last hour", 6),
    Panel("Both ends proved", "stat", ((_of("M3"), ""),), "percentunit", _ALL_OR_RED, "M3, between services", 6),
    Panel(
        "Flows in plaintext",
        "stat",
        ((f"sum({_of('M10')})", ""),),
        "short",
        _NONE_OR_RED,
        "M10; counts only while the detector looks",
        6,
    ),
    Panel(
        "Hops nobody sees", "stat", (("everyhop_hops_unobserved", ""),), "short", _NONE_OR_RED, "unknown is not well", 6
    ),
    Panel(
        "Error budgets left",
        "timeseries",
        (('everyhop_slo_budget_left{sli="M2",hop!=""}', "{{hop}}"),),
        "percentunit",
        about="30 days",
        width=12,
    ),
    Panel(
        "Encryption of connections",
        "timeseries",
        (("sum by (encryption) (rate(everyhop_flow_connections_total[5m]))", "{{encryption}}"),),
        "cps",
        width=12,
    ),
    Panel(
        "Post-quantum handshakes",
        "stat",
        ((_POST_QUANTUM, ""),),
        "percentunit",
        about="hybrid key exchange, last hour",
        width=6,
    ),
    Panel(
        "Endpoints within their guideline",
        "stat",
        (("avg(everyhop_policy_compliant)", ""),),
        "percentunit",
        _ALL_OR_RED,
        width=6,
    ),
    Panel("Alerts by owner", "table", ((f"count by (owner, severity) ({_FIRING})", ""),), width=12),
    Panel(
        "Exceptions and their end",
        "table",
        (("everyhop_exception_ends_timestamp_seconds * 1000", ""),),
        "dateTimeAsIso",
        width=24,
    ),
)
ON_CALL = (
    Panel("What fires", "table", ((_FIRING, ""),), width=24),
    Panel(
        "Failed handshakes",
        "timeseries",
        (("hop:tls_errors:ratio_rate5m", "{{hop}}"),),
        "percentunit",
        about="M2, without what policy refuses",
        width=12,
    ),
    Panel(
        "Failures by result",
        "timeseries",
        (('sum by (hop, result) (rate(everyhop_tls_connections_total{result!="ok"}[5m]))', "{{hop}} {{result}}"),),
        "cps",
        width=12,
    ),
    Panel(
        "Life left of certificates",
        "timeseries",
        ((LIFETIME_LEFT, "{{cert}}"),),
        "percentunit",
        about="renewal at about half; below a tenth somebody is woken",
        width=12,
    ),
    Panel(
        "Time until a renewal is overdue",
        "timeseries",
        (('everyhop_sli{sli="M4",name="renewal slack",scope!="all"}', "{{scope}}"),),
        "s",
        width=12,
    ),
    Panel(
        "Flows in plaintext",
        "table",
        (('everyhop_flow_last_seen_timestamp_seconds{encryption="plaintext"} * 1000', ""),),
        "dateTimeAsIso",
        width=24,
    ),
    Panel(
        "Since the detector looked",
        "stat",
        (("time() - everyhop_flow_detector_last_run_timestamp_seconds", ""),),
        "s",
        ((None, _GREEN), (3600.0, _RED)),
        width=8,
    ),
    Panel(
        "Since a proxy was heard",
        "stat",
        (("time() - everyhop_observer_last_run_timestamp_seconds", ""),),
        "s",
        ((None, _GREEN), (300.0, _RED)),
        width=8,
    ),
    Panel(
        "Oldest observation without a seal",
        "stat",
        (("time() - everyhop_unsealed_since_timestamp_seconds", "{{stream}}"),),
        "s",
        ((None, _GREEN), (1800.0, _RED)),
        width=8,
    ),
)
DEBUG = (
    Panel(
        "Connections",
        "timeseries",
        (("sum by (hop, end, result) (rate(everyhop_tls_connections_total[5m]))", "{{hop}} {{end}} {{result}}"),),
        "cps",
        width=24,
    ),
    Panel("Handshake p95", "timeseries", ((_of("M6"), "{{hop}}"),), "s", about="at the serving end", width=12),
    Panel("Resumption", "timeseries", ((_of("M7"), "{{hop}}"),), "percentunit", about="where handshakes are many"),
    Panel(
        "Versions, suites and groups",
        "table",
        (("sum by (hop, version, cipher, group) (increase(everyhop_tls_handshakes_total[1d]))", ""),),
        width=24,
    ),
    Panel("Strong handshakes", "timeseries", ((_of("M5"), "{{hop}}"),), "percentunit", width=12),
    Panel(
        "Plaintext refused",
        "timeseries",
        (("sum by (hop) (increase(everyhop_plaintext_refused_total[5m]))", "{{hop}}"),),
        width=12,
    ),
    Panel("Orders", "timeseries", (("sum by (result) (increase(everyhop_issuance_total[1h]))", "{{result}}"),)),
    Panel("Failed attempts in a row", "timeseries", (("everyhop_issuance_attempts > 0", "{{cert}}"),)),
    Panel(
        "Revocation checks",
        "timeseries",
        (("sum by (source, result) (increase(everyhop_revocation_check_total[1h]))", "{{source}} {{result}}"),),
    ),
    Panel(
        "Postures",
        "table",
        (("everyhop_hop_posture", ""),),
        about="how each hop should be protected, and was seen",
        width=16,
    ),
    Panel("Our own probes", "timeseries", (("rate(everyhop_probe_hellos_total[5m])", "hellos"),), "cps"),
)

DASHBOARDS = {
    "executive": ("everyhop: is everything encrypted?", EXECUTIVE),
    "on-call": ("everyhop: what is wrong, and whose is it?", ON_CALL),
    "debug": ("everyhop: why?", DEBUG),
}


def dashboards() -> dict[str, str]:
    """Every dashboard as JSON, by file name."""
    return {
        f"everyhop-{name}.json": json.dumps(_dashboard(name, title, panels), indent=2, ensure_ascii=False) + "\n"
        for name, (title, panels) in DASHBOARDS.items()
    }


def _dashboard(name: str, title: str, panels: Sequence[Panel]) -> dict[str, Any]:
    return {
        "uid": f"everyhop-{name}",
        "title": title,
        "tags": ["everyhop"],
        "schemaVersion": 39,
        "editable": False,
        "timezone": "utc",
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {
            "list": [{"name": "source", "type": "datasource", "query": "prometheus", "label": "Prometheus"}]
        },
        "panels": list(_placed(panels)),
    }


def _placed(panels: Sequence[Panel]) -> Iterator[dict[str, Any]]:
    """The panels from left to right, line by line."""
    x = y = height = 0
    for number, panel in enumerate(panels, start=1):
        if x + panel.width > _WIDTH:
            x, y, height = 0, y + height, 0
        tall = _SHORT if panel.kind == "stat" else _TALL
        yield _panel(panel, number, {"x": x, "y": y, "w": panel.width, "h": tall})
        x, height = x + panel.width, max(height, tall)


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    table = panel.kind == "table"
    steps = [{"value": value, "color": colour} for value, colour in panel.steps or ((None, "blue"),)]
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": _SOURCE,
        "gridPos": place,
        "fieldConfig": {
            "defaults": {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": steps}, "noValue": "unknown"},
            "overrides": [],
        },
        "options": {"colorMode": "background"} if panel.kind == "stat" else {},
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": _SOURCE,
                "expr": expr,
                "legendFormat": legend or "__auto",
                **({"instant": True, "format": "table"} if table else {}),
            }
            for index, (expr, legend) in enumerate(panel.queries)
        ],
    }

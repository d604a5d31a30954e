"""The tests that come with the rules: ``promtool test rules`` plays each alert, and what must not fire it.

Rules: every alert fires in at least one test. Times are minutes from 0; a series is written as promtool wants it
(``0+6x60``: from 0, 6 more each minute, 60 times).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from everyhop.core.alerts import ALERTS
from everyhop.core.export.prometheus import MADE_BY, RULES_FILE
from everyhop.core.export.text import as_yaml

TESTS_FILE = "everyhop.test.yml"
_DAY = 86400
_HOP = "web -> api"
_OWNER = "storefront"


@dataclass(frozen=True, slots=True)
class Expected:
    """What an alert is at a moment: it fires for each of these label sets, and for nothing else."""

    at: str
    alert: str
    labels: tuple[Mapping[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Case:
    """One test."""

    name: str
    series: Mapping[str, str]
    expected: Sequence[Expected]


def rule_tests(*, runbooks: str = "") -> str:
    """The test file."""
    head = {"rule_files": [RULES_FILE], "evaluation_interval": "1m"}
    return as_yaml({**head, "tests": [_written(case, runbooks) for case in CASES]}, made_by=MADE_BY)


def _written(case: Case, runbooks: str) -> dict[str, Any]:
    return {
        "name": case.name,
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in case.series.items()],
        "alert_rule_test": [_expectation(one, runbooks) for one in case.expected],
    }


def _expectation(one: Expected, runbooks: str) -> dict[str, Any]:
    alert = ALERTS[one.alert]
    fixed = {"severity": alert.severity.value, "route": alert.route.value, **({"sli": alert.sli} if alert.sli else {})}
    firing = [
        {"exp_labels": {**fixed, **labels}, "exp_annotations": _annotations(one, labels, runbooks)}
        for labels in one.labels
    ]
    return {"eval_time": one.at, "alertname": one.alert, "exp_alerts": firing}


def _annotations(one: Expected, labels: Mapping[str, str], runbooks: str) -> dict[str, str]:
    alert = ALERTS[one.alert]
    summary = _VALUES.get(one.alert, alert.summary)
    for name, value in labels.items():
        summary = summary.replace(f"{{{{ $labels.{name} }}}}", value)
    return {"summary": summary, "description": alert.meaning, "runbook_url": runbooks + alert.runbook}


_VALUES = {
    "HopHandshakeBudgetBurnFast": "{{ $labels.hop }}: 1% of the TLS handshakes fail",
    "HopHandshakeBudgetBurnSlow": "{{ $labels.hop }}: 1% of the TLS handshakes fail, for hours",
    "PlaintextRefusedSurge": "{{ $labels.hop }}: 60 connections in plaintext were refused in an hour",
    "IssuanceFailing": "{{ $labels.cert }}: 3 attempts in a row failed",
    "RevocationCheckFailing": "{{ $labels.source }}: 25% of the checks got an answer",
}
"""Summaries that show a number, as the tests below make it."""


def _hop(hop: str = _HOP, *, ok: str, failed: str, objective: str = "0.9999", **more: str) -> dict[str, str]:
    def connections(end: str, result: str) -> str:
        return f'everyhop_tls_connections_total{{hop="{hop}",end="{end}",result="{result}"}}'

    length = "x4400"
    return {
        f'everyhop_hop_info{{hop="{hop}",owner="{_OWNER}",criticality="critical"}}': f"1{length}",
        f'everyhop_slo_objective{{hop="{hop}",sli="M2"}}': f"{objective}{length}",
        connections("server", "ok"): ok,
        connections("server", "protocol"): failed,
        connections("client", "ok"): f"0{length}",
        connections("client", "protocol"): f"0{length}",
        **{f'{name}{{hop="{hop}"}}': values for name, values in more.items()},
    }


def _certificate(cert: str, not_before: str, not_after: str, renew_at: str = "", **more: str) -> dict[str, str]:
    labels = f'{{cert="{cert}",service="web",owner="{_OWNER}"}}'
    given = {
        "everyhop_cert_not_before_timestamp_seconds": not_before,
        "everyhop_cert_not_after_timestamp_seconds": not_after,
        "everyhop_cert_renew_at_timestamp_seconds": renew_at,
        **more,
    }
    return {name + labels: values for name, values in given.items() if values}


def _of(cert: str) -> Mapping[str, str]:
    return {"cert": cert, "service": "web", "owner": _OWNER}


_MINE: Mapping[str, str] = {"hop": _HOP, "owner": _OWNER}
_FLOW = {
    "flow": "web > 9100",
    "service": "metrics",
    "src": "web",
    "dst": "metrics",
    "encryption": "plaintext",
    "excused": "false",
    "owner": _OWNER,
}

_SEEN = "everyhop_flow_last_seen_timestamp_seconds"
_ALIVE = "everyhop_flow_detector_blind"
"""What everyhop exports as long as it lives."""


def _labelled(name: str, labels: Mapping[str, str]) -> str:
    return name + "{" + ",".join(f'{key}="{value}"' for key, value in labels.items()) + "}"


CASES: tuple[Case, ...] = (
    Case(
        "one of a hundred handshakes fails: the budget burns fast, and slowly for long",
        _hop(ok="0+594x4400", failed="0+6x4400"),
        (
            Expected("3m", "HopHandshakeBudgetBurnFast"),
            Expected("90m", "HopHandshakeBudgetBurnFast", (_MINE,)),
            Expected("3h", "HopHandshakeBudgetBurnSlow", (_MINE,)),
        ),
    ),
    Case(
        "the same, while somebody has silenced the hop",
        _hop(ok="0+594x240", failed="0+6x240", everyhop_maintenance="1x240"),
        (Expected("90m", "HopHandshakeBudgetBurnFast"), Expected("90m", "HopHandshakeBudgetBurnSlow")),
    ),
    Case(
        "a single failure on a quiet hop is no burn; refusals by policy cost nothing",
        {
            **_hop(ok="0+0.1x240", failed="0x70 1x170"),
            f'everyhop_tls_connections_total{{hop="{_HOP}",end="server",result="refused_by_policy"}}': "0+60x240",
        },
        (Expected("90m", "HopHandshakeBudgetBurnFast"), Expected("90m", "HopHandshakesAllFail")),
    ),
    Case(
        "an idle hop is no trouble",
        _hop(ok="5x240", failed="0x240"),
        (Expected("90m", "HopHandshakeBudgetBurnFast"), Expected("90m", "HopHandshakesAllFail")),
    ),
    Case(
        "a budget that cannot burn so fast never does: 14.4 times 20 % is more than everything",
        _hop(ok="0+60x240", failed="0+40x240", objective="0.8"),
        (Expected("90m", "HopHandshakeBudgetBurnFast"),),
    ),
    Case(
        "every handshake fails, at a hop whose callee is dead and only the calling end speaks",
        {
            **_hop(ok="0x60", failed="0x60"),
            f'everyhop_tls_connections_total{{hop="{_HOP}",end="client",result="protocol"}}': "0x20 0+2x40",
        },
        (Expected("15m", "HopHandshakesAllFail"), Expected("40m", "HopHandshakesAllFail", (_MINE,))),
    ),
    Case(
        "a hop that nobody sees, and one that is not what it should be",
        {
            _labelled("everyhop_hop_info", {"hop": "a -> b", "owner": "x"}): "1x60",
            _labelled("everyhop_hop_posture", {"hop": "a -> b", "wanted": "mtls", "seen": "unknown"}): "1x60",
            _labelled("everyhop_hop_ok", {"hop": "a -> b"}): "0x60",
            _labelled("everyhop_hop_info", {"hop": "a -> c", "owner": "y"}): "1x60",
            _labelled("everyhop_hop_posture", {"hop": "a -> c", "wanted": "mtls", "seen": "tls"}): "1x60",
            _labelled("everyhop_hop_ok", {"hop": "a -> c"}): "0x60",
        },
        (
            Expected("3m", "HopNotSeen"),
            Expected("10m", "HopNotSeen", ({"hop": "a -> b", "owner": "x"},)),
            Expected("10m", "HopPostureWrong", ({"hop": "a -> c", "owner": "y"},)),
        ),
    ),
    Case(
        "the ladder of days is for long-lived certificates only",
        {
            **_certificate("year", f"{-334 * _DAY}x1900", f"{31 * _DAY}x1900"),
            **_certificate("half", f"{-166 * _DAY}x1900", f"{15 * _DAY}x1900"),
            **_certificate("month", f"{-22 * _DAY}x1900", f"{8 * _DAY}x1900"),
            **_certificate("week", f"{-5 * _DAY}x1900", f"{2 * _DAY}x1900"),
            **_certificate("day", "0x959 57600x959", "86400x959 144000x959", "57600x959 115200x959"),
        },
        (
            Expected("23h", "CertExpiry30d", (_of("half"),)),
            Expected("26h", "CertExpiry30d", (_of("half"), _of("year"))),
            Expected("23h", "CertExpiry14d"),
            Expected("26h", "CertExpiry14d", (_of("half"),)),
            Expected("26h", "CertExpiry7d", (_of("month"),)),
            Expected("26h", "CertExpiry1d", (_of("week"),)),
            Expected("30h", "CertLifetimeNearlySpent"),
            Expected("30h", "CertRenewalOverdue"),
        ),
    ),
    Case(
        "a renewal that is stuck, and the same during a rotation",
        {
            **_certificate("stuck", "0x1500", "86400x1500", "57600x1500"),
            **_certificate(
                "turning", "0x1500", "86400x1500", "57600x1500", everyhop_cert_rotation_in_progress="1x1500"
            ),
        },
        (
            Expected("17h", "CertRenewalOverdue"),
            Expected("20h", "CertRenewalOverdue", (_of("stuck"),)),
            Expected("22h", "CertLifetimeNearlySpent", (_of("stuck"), _of("turning"))),
        ),
    ),
    Case(
        "issued, and not served",
        _certificate("late", "0x120", "0x10 86400x110", everyhop_endpoint_served_not_after_timestamp_seconds="0x120"),
        (
            Expected("30m", "CertServedIsNotCertIssued"),
            Expected("50m", "CertServedIsNotCertIssued", (_of("late"),)),
        ),
    ),
    Case(
        "a flow in plaintext pages at once, and not under an exception; it ends when it is not seen any more",
        {
            _ALIVE: "0x60",
            _labelled(_SEEN, _FLOW): "600x20 _x40",
            _labelled(_SEEN, {**_FLOW, "flow": "x", "excused": "true"}): "600x60",
        },
        (Expected("12m", "PlaintextFlow", (_FLOW,)), Expected("40m", "PlaintextFlow")),
    ),
    Case(
        "not knowing is no all-clear: a flow of which nobody can tell any more goes on firing until somebody can",
        {
            _ALIVE: "0x120",
            _labelled(_SEEN, _FLOW): "600x20 _x100",
            _labelled(_SEEN, {**_FLOW, "encryption": "unknown"}): "_x20 1200x40 _x60",
        },
        (Expected("50m", "PlaintextFlow", (_FLOW,)), Expected("90m", "PlaintextFlow")),
    ),
    Case(
        "nor is an everyhop that fell silent",
        {
            _ALIVE: "0x20 _x60 0x40",
            _labelled(_SEEN, _FLOW): "600x20 _x100",
            _labelled("everyhop_policy_compliant", {"endpoint": "10.0.0.5:443", "owner": _OWNER}): "0x20 _x60 1x40",
        },
        (
            Expected("70m", "PlaintextFlow", (_FLOW,)),
            Expected("70m", "PolicyViolated", ({"endpoint": "10.0.0.5:443", "owner": _OWNER},)),
            Expected("100m", "PlaintextFlow"),
            Expected("100m", "PolicyViolated"),
        ),
    ),
    Case(
        "nor a hop that was wrong and is not seen, and an endpoint that answers nothing: both end when they are well",
        {
            _ALIVE: "0x180",
            _labelled("everyhop_hop_info", {"hop": _HOP, "owner": _OWNER}): "1x180",
            _labelled("everyhop_hop_posture", {"hop": _HOP, "wanted": "mtls", "seen": "tls"}): "1x20 _x160",
            _labelled("everyhop_hop_posture", {"hop": _HOP, "wanted": "mtls", "seen": "unknown"}): "_x20 1x60 _x100",
            _labelled("everyhop_hop_posture", {"hop": _HOP, "wanted": "mtls", "seen": "mtls"}): "_x80 1x100",
            _labelled("everyhop_hop_ok", {"hop": _HOP}): "0x80 1x100",
            _labelled("everyhop_policy_compliant", {"endpoint": "10.0.0.5:443", "owner": _OWNER}): "0x20 _x60 1x100",
            _labelled("everyhop_policy_unanswered", {"endpoint": "10.0.0.5:443", "owner": _OWNER}): "_x20 1x60 _x100",
        },
        (
            Expected("60m", "HopPostureWrong", (_MINE,)),
            Expected("60m", "PolicyViolated", ({"endpoint": "10.0.0.5:443", "owner": _OWNER},)),
            Expected("100m", "HopPostureWrong"),
            Expected("100m", "PolicyViolated"),
        ),
    ),
    Case(
        "somebody keeps trying plaintext",
        {_labelled("everyhop_plaintext_refused_total", {"hop": _HOP, "owner": _OWNER}): "0+1x180"},
        (Expected("10m", "PlaintextRefusedSurge"), Expected("2h", "PlaintextRefusedSurge", (_MINE,))),
    ),
    Case(
        "who does not look is blind, and says so",
        {
            _ALIVE: "0x200",
            "everyhop_flow_detector_last_run_timestamp_seconds": "0+60x30 1800x170",
            "everyhop_observer_last_run_timestamp_seconds": "0+60x60 3600x140",
            "everyhop_observer_silent_after_seconds": "1800x200",
        },
        (
            Expected("30m", "FlowDetectorBlind"),
            Expected("45m", "FlowDetectorBlind", ({},)),
            Expected("85m", "ObserverBlind"),
            Expected("95m", "ObserverBlind", ({},)),
        ),
    ),
    Case(
        "who cannot look says so itself; where no hop beats nobody has to be heard",
        {_ALIVE: "0x20 1x40", "everyhop_flow_detector_last_run_timestamp_seconds": "0+60x60"},
        (
            Expected("20m", "FlowDetectorBlind"),
            Expected("30m", "FlowDetectorBlind", ({},)),
            Expected("50m", "ObserverBlind"),
        ),
    ),
    Case(
        "an everyhop that is gone",
        {_ALIVE: "0x20", "everyhop_observer_silent_after_seconds": "300x20"},
        (Expected("40m", "FlowDetectorBlind", ({},)), Expected("40m", "ObserverBlind", ({},))),
    ),
    Case(
        "strangers at the edge wake nobody while our own handshake succeeds; a load balancer that only connects never",
        {
            **_hop("client -> edge", ok="0x180", failed="0+2x180", everyhop_hop_ok="1x90 0x90"),
            'everyhop_tls_connections_total{hop="client -> api",end="server",result="abandoned"}': "0+6x180",
            _labelled("everyhop_hop_info", {"hop": "client -> api", "owner": _OWNER}): "1x180",
        },
        (
            Expected("80m", "HopHandshakesAllFail"),
            Expected("80m", "HopHandshakeBudgetBurnFast"),
            Expected("100m", "HopHandshakesAllFail", ({"hop": "client -> edge", "owner": _OWNER},)),
        ),
    ),
    Case(
        "the rest: a violated guideline, an exception, an order, a responder, a seal",
        {
            _labelled("everyhop_policy_compliant", {"endpoint": "10.0.0.5:443", "owner": _OWNER}): "0x200",
            _labelled("everyhop_exception_ends_timestamp_seconds", {"hop": _HOP, "owner": _OWNER}): f"{13 * _DAY}x200",
            _ALIVE: "0x200",
            **_certificate("web/identity", "0x200", f"{_DAY}x200", everyhop_issuance_attempts="3x200"),
            _labelled("everyhop_revocation_check_total", {"source": "ocsp", "result": "good"}): "0+1x200",
            _labelled("everyhop_revocation_check_total", {"source": "ocsp", "result": "none"}): "0+3x200",
            _labelled("everyhop_unsealed_since_timestamp_seconds", {"stream": "record"}): "0x200",
        },
        (
            Expected("10m", "PolicyViolated", ({"endpoint": "10.0.0.5:443", "owner": _OWNER},)),
            Expected("10m", "ExceptionEnding", (_MINE,)),
            Expected("10m", "IssuanceFailing", (_of("web/identity"),)),
            Expected("90m", "RevocationCheckFailing", ({"source": "ocsp"},)),
            Expected("30m", "SealLate"),
            Expected("40m", "SealLate", ({"stream": "record"},)),
        ),
    ),
)

"""The metrics that everyhop exports: every name once, with its kind, its meaning and its labels.

Rules: a name never changes its meaning. Labels have few values: services, hops and slots of the topology, never a
serial, an address of a client or a reason in words. A certificate is labelled by its slot, so that no old series lives
on after a renewal. Counters begin at 0 with each life of everyhop, and every hop has its series from the beginning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class MetricKind(StrEnum):
    """What kind of number it is."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric."""

    name: str
    """As in queries; a histogram's without ``_bucket``."""
    kind: MetricKind
    help: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sample:
    """One number of a metric."""

    metric: Metric
    labels: tuple[str, ...]
    """In the order of the metric's labels."""
    value: float
    buckets: tuple[tuple[float, int], ...] = ()
    """Of a histogram: upper bounds in its unit (the last one infinite) and cumulative counts; ``value`` is the sum."""


_C, _G, _H = MetricKind.COUNTER, MetricKind.GAUGE, MetricKind.HISTOGRAM
_HOP, _CERT = ("hop",), ("cert", "service", "owner")

TLS_CONNECTIONS = Metric(
    "everyhop_tls_connections_total", _C, "Connections at TLS ports by their result, as one end saw them.",
    ("hop", "end", "result"),
)  # fmt: skip
TLS_HANDSHAKES = Metric(
    "everyhop_tls_handshakes_total", _C, "Finished handshakes at the serving end by what they agreed on.",
    ("hop", "version", "cipher", "group", "strong"),
)  # fmt: skip
TLS_HANDSHAKE_SECONDS = Metric("everyhop_tls_handshake_seconds", _H, "Duration of handshakes at the serving end.", _HOP)
TLS_RESUMED = Metric("everyhop_tls_resumed_total", _C, "Handshakes that took up an earlier session.", ("hop", "end"))
TLS_RESUMPTION_KNOWN = Metric(
    "everyhop_tls_resumption_known_total", _C, "Finished handshakes of which it is known whether they were resumed.",
    ("hop", "end"),
)  # fmt: skip
FLOW_CONNECTIONS = Metric(
    "everyhop_flow_connections_total", _C,
    "Connections that carried data, by their encryption: from the proxies, and from the socket table what went round.",
    ("service", "kind", "encryption"),
)  # fmt: skip
PLAINTEXT_REFUSED = Metric(
    "everyhop_plaintext_refused_total", _C, "Connections in plaintext that a TLS port refused.", ("hop", "owner")
)
PROBE_HELLOS = Metric(
    "everyhop_probe_hellos_total", _C, "Connections that everyhop's own probes made; they are in no other count."
)
HOP_INFO = Metric("everyhop_hop_info", _G, "1 for each hop of the topology.", ("hop", "owner", "criticality"))
HOP_POSTURE = Metric(
    "everyhop_hop_posture", _G, "1 for how each hop should be protected and was seen.", ("hop", "wanted", "seen")
)
HOP_OK = Metric("everyhop_hop_ok", _G, "1 if a hop was seen as it should be.", _HOP)
HOP_SEEN = Metric("everyhop_hop_seen_timestamp_seconds", _G, "When a hop was last seen.", _HOP)
HOPS_UNOBSERVED = Metric("everyhop_hops_unobserved", _G, "Hops of the topology of which nothing is known now.")
MAINTENANCE = Metric(
    "everyhop_maintenance", _G, "1 while somebody has silenced every alert about a hop's failing handshakes.", _HOP
)
SERVICE_INFO = Metric(
    "everyhop_service_info", _G, "1 for each service.", ("service", "owner", "criticality", "environment")
)
SLO_OBJECTIVE = Metric("everyhop_slo_objective", _G, "What an indicator should reach.", ("sli", "hop"))
SLO_BUDGET_LEFT = Metric(
    "everyhop_slo_budget_left", _G, "Part of the 30-day error budget that is left, 1 to below 0.", ("sli", "hop")
)
SLI = Metric("everyhop_sli", _G, "An indicator as everyhop itself counts it.", ("sli", "name", "scope"))
CERT_NOT_AFTER = Metric("everyhop_cert_not_after_timestamp_seconds", _G, "End of the certificate issued last.", _CERT)
CERT_NOT_BEFORE = Metric(
    "everyhop_cert_not_before_timestamp_seconds", _G, "Beginning of the certificate issued last.", _CERT
)
CERT_RENEW_AT = Metric("everyhop_cert_renew_at_timestamp_seconds", _G, "When its renewal falls due.", _CERT)
SERVED_NOT_AFTER = Metric(
    "everyhop_endpoint_served_not_after_timestamp_seconds", _G, "End of the certificate that is served.", _CERT
)
CERT_ROTATION = Metric(
    "everyhop_cert_rotation_in_progress", _G, "1 while a rotation of its authority is under way.", _CERT
)
ISSUANCE_ATTEMPTS = Metric("everyhop_issuance_attempts", _G, "Failed attempts in a row at the next one.", _CERT)
ISSUANCE = Metric(
    "everyhop_issuance_total", _C, "Orders for certificates: ok, error (after retries), denied.", ("result",)
)
REVOCATION_CHECK = Metric(
    "everyhop_revocation_check_total", _C, "Questions to revocation sources by their answer.", ("source", "result")
)
FLOW_LAST_SEEN = Metric(
    "everyhop_flow_last_seen_timestamp_seconds", _G, "When a flow in plaintext or of unknown encryption was last seen.",
    ("flow", "service", "src", "dst", "encryption", "excused", "owner"),
)  # fmt: skip
DETECTOR_BLIND = Metric("everyhop_flow_detector_blind", _G, "1 while nobody can say what flows beside the mesh.")
DETECTOR_LAST_RUN = Metric("everyhop_flow_detector_last_run_timestamp_seconds", _G, "When flows were last looked for.")
OBSERVER_LAST_RUN = Metric(
    "everyhop_observer_last_run_timestamp_seconds", _G, "When a proxy last told of a connection."
)
OBSERVER_SILENT_AFTER = Metric(
    "everyhop_observer_silent_after_seconds", _G, "The longest silence of all proxies that is none, where hops beat."
)
UNSEALED_SINCE = Metric(
    "everyhop_unsealed_since_timestamp_seconds", _G, "Date of the oldest observation without a seal.", ("stream",)
)
POLICY_COMPLIANT = Metric(
    "everyhop_policy_compliant", _G, "1 if no grave rule of its guideline is broken.", ("endpoint", "owner")
)
POLICY_UNANSWERED = Metric(
    "everyhop_policy_unanswered", _G, "1 while an endpoint answers no question of its guideline.", ("endpoint", "owner")
)
EXCEPTION_ENDS = Metric(
    "everyhop_exception_ends_timestamp_seconds", _G, "When an exception from encryption ends.", ("hop", "owner")
)
BUILD_INFO = Metric("everyhop_build_info", _G, "1 for the version that runs.", ("version",))

METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        one.name: one
        for one in (
            TLS_CONNECTIONS,
            TLS_HANDSHAKES,
            TLS_HANDSHAKE_SECONDS,
            TLS_RESUMED,
            TLS_RESUMPTION_KNOWN,
            FLOW_CONNECTIONS,
            PLAINTEXT_REFUSED,
            PROBE_HELLOS,
            HOP_INFO,
            HOP_POSTURE,
            HOP_OK,
            HOP_SEEN,
            HOPS_UNOBSERVED,
            MAINTENANCE,
            SERVICE_INFO,
            SLO_OBJECTIVE,
            SLO_BUDGET_LEFT,
            SLI,
            CERT_NOT_AFTER,
            CERT_NOT_BEFORE,
            CERT_RENEW_AT,
            SERVED_NOT_AFTER,
            CERT_ROTATION,
            ISSUANCE_ATTEMPTS,
            ISSUANCE,
            REVOCATION_CHECK,
            FLOW_LAST_SEEN,
            DETECTOR_BLIND,
            DETECTOR_LAST_RUN,
            OBSERVER_LAST_RUN,
            OBSERVER_SILENT_AFTER,
            UNSEALED_SINCE,
            POLICY_COMPLIANT,
            POLICY_UNANSWERED,
            EXCEPTION_ENDS,
            BUILD_INFO,
        )
    }
)
"""Every metric by its name."""


def sample(metric: Metric, value: float, **labels: str) -> Sample:
    """A number of a metric; raises ``KeyError`` unless exactly its labels are given."""
    if set(labels) != set(metric.labels):
        raise KeyError(f"expected the labels {metric.labels} of {metric.name}, got {tuple(labels)}")
    return Sample(metric, tuple(labels[name] for name in metric.labels), value)

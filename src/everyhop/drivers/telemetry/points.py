"""Our samples and spans as those of the OpenTelemetry SDK.

Rules: names stay as they are in Prometheus, so that a query works whichever way the numbers came. The unit is seconds
or none: receivers that write Prometheus would add any other to the name. What a histogram does not know (its smallest
and largest value) is not invented. Numbers are always doubles: a series must not change its type.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, Status, StatusCode, TraceFlags

from everyhop.core.metrics import MetricKind, Sample
from everyhop.core.spans import Span

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SCOPE = "everyhop"
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)


def metrics_data(samples: Sequence[Sample], about: Mapping[str, str], began_at: datetime, at: datetime) -> MetricsData:
    """Samples, metric by metric."""
    by_name: dict[str, list[Sample]] = {}
    for one in samples:
        by_name.setdefault(one.metric.name, []).append(one)
    metrics = [_metric(group, _nanoseconds(began_at), _nanoseconds(at)) for group in by_name.values()]
    scope = ScopeMetrics(InstrumentationScope(_SCOPE), metrics, "")
    return MetricsData([ResourceMetrics(Resource(about), [scope], "")])


def _metric(samples: Sequence[Sample], start: int, at: int) -> Metric:
    metric = samples[0].metric
    if metric.kind is MetricKind.HISTOGRAM:
        histograms = [_histogram(one, start, at) for one in samples]
        data = Histogram(histograms, AggregationTemporality.CUMULATIVE)
    elif metric.kind is MetricKind.COUNTER:
        points = [NumberDataPoint(_labels(one), start, at, float(one.value)) for one in samples]
        data = Sum(points, AggregationTemporality.CUMULATIVE, is_monotonic=True)
    else:
        data = Gauge([NumberDataPoint(_labels(one), 0, at, float(one.value)) for one in samples])
    return Metric(metric.name, metric.help, "s" if metric.name.endswith("_seconds") else "", data)


def _histogram(one: Sample, start: int, at: int) -> HistogramDataPoint:
    """Cumulative counts as one count for each bucket; the last bucket has no bound (OTLP, explicit_bounds)."""
    bounds = [bound for bound, _ in one.buckets if not math.isinf(bound)]
    totals = [count for _, count in one.buckets]
    counts = [count - before for before, count in zip([0, *totals], totals, strict=False)]
    return HistogramDataPoint(
        attributes=_labels(one),
        start_time_unix_nano=start,
        time_unix_nano=at,
        count=totals[-1] if totals else 0,
        sum=float(one.value),
        bucket_counts=counts,
        explicit_bounds=bounds,
        min=None,  # pyright: ignore[reportArgumentType]  # OTLP leaves it out then; the SDK's type does not know that
        max=None,  # pyright: ignore[reportArgumentType]  # as above
    )


def _labels(one: Sample) -> dict[str, str]:
    return dict(zip(one.metric.labels, one.labels, strict=True))


def readable_spans(spans: Sequence[Span], about: Mapping[str, str]) -> list[ReadableSpan]:
    """Spans with their own ids and times: the SDK's tracer gives random ones, and measures now."""
    resource, scope = Resource(about), InstrumentationScope(_SCOPE)
    return [
        ReadableSpan(
            one.name,
            context=_context(one.trace, one.span),
            parent=_context(one.trace, one.parent) if one.parent else None,
            resource=resource,
            attributes=dict(one.attributes),
            status=Status(StatusCode.ERROR, one.fault) if one.fault else Status(StatusCode.UNSET),
            start_time=_nanoseconds(one.began_at),
            end_time=_nanoseconds(one.ended_at),
            instrumentation_scope=scope,
        )
        for one in spans
    ]


def _context(trace: str, span: str) -> SpanContext:
    return SpanContext(int(trace, 16), int(span, 16), is_remote=False, trace_flags=_SAMPLED)


def _nanoseconds(at: datetime) -> int:
    """Since 1970, exactly: a float has not enough digits."""
    return (at - _EPOCH) // timedelta(microseconds=1) * 1000

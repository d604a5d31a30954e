"""Our samples as Prometheus families, in its text format or as OpenMetrics, as the one who asks prefers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder

from everyhop.core.metrics import METRICS, MetricKind, Sample


class _Collector:
    """What prometheus_client calls a collector: families on demand."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._samples = samples

    def collect(self) -> Iterable[Metric]:
        """Every family that has samples, in the order of the registry."""
        return families(self._samples)


def families(samples: Sequence[Sample]) -> Iterator[Metric]:
    """Samples, family by family."""
    by_name: dict[str, list[Sample]] = {}
    for one in samples:
        by_name.setdefault(one.metric.name, []).append(one)
    for name, metric in METRICS.items():
        if name not in by_name:
            continue
        if metric.kind is MetricKind.HISTOGRAM:
            yield _histogram(by_name[name])
            continue
        kind = CounterMetricFamily if metric.kind is MetricKind.COUNTER else GaugeMetricFamily
        family = kind(name, metric.help, labels=metric.labels)
        for one in by_name[name]:
            family.add_metric(one.labels, one.value)
        yield family


def _histogram(samples: Sequence[Sample]) -> HistogramMetricFamily:
    metric = samples[0].metric
    family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
    for one in samples:
        buckets = [("+Inf" if math.isinf(bound) else f"{bound:g}", count) for bound, count in one.buckets]
        family.add_metric(one.labels, buckets, one.value)
    return family


def expose(samples: Sequence[Sample], accept: str) -> tuple[bytes, str]:
    """The samples as text, and its content type; ``accept`` is the header of the one who asks."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(samples))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type

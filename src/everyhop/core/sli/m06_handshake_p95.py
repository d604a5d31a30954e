"""M6, handshake p95: how long 95 of 100 handshakes took at most.

Pitfalls, answered: Envoy has no histogram of handshakes, so the durations in the listener's access log are put into
buckets; between two bounds the value is interpolated, as Prometheus does, and above the last one it is that bound.
Where a TCP tunnel's serving end tells no time, the calling end's is taken: whole milliseconds, rounded up.
The time includes the network's round trips: compare hops with their own past, not with each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from everyhop.core.sli.counts import Counts
from everyhop.core.sli.indicator import Indicator, Scope
from everyhop.core.sli.value import SliValue
from everyhop.core.tally import BUCKETS_US

HANDSHAKE_P95 = Indicator(
    code="M6",
    name="handshake p95",
    unit="seconds",
    higher_is_better=False,
    definition="the duration that 95 of 100 handshakes did not exceed, at the end that tells it, in seconds",
    expr="histogram_quantile(0.95, sum by (le, hop) (rate(everyhop_tls_handshake_seconds_bucket[5m])))",
)


def quantile(share: float, buckets: Sequence[int]) -> float | None:
    """A quantile of a cumulative histogram with the bounds of :data:`BUCKETS_US`, in seconds; None if it is empty."""
    if not buckets or not buckets[-1]:
        return None
    rank = share * buckets[-1]
    counts, bounds = (0, *buckets), (0, *BUCKETS_US)
    for (lower, upper), (below, within) in zip(pairwise(bounds), pairwise(counts), strict=False):
        if within >= rank and within > below:
            return (lower + (upper - lower) * max(rank - below, 0) / (within - below)) / 1e6
    return BUCKETS_US[-1] / 1e6


def handshake_p95(scope: Scope, counts: Counts) -> SliValue:
    """The 95th percentile of a hop's handshakes."""
    value = quantile(0.95, counts.buckets)
    return HANDSHAKE_P95.measure(scope, value, note="" if value is not None else "no handshake in this window")

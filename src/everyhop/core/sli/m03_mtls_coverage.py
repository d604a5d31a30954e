"""M3, mTLS coverage: of all connections between services, how many proved both ends.

Pitfalls, answered: a port that only *asks* for a certificate counts as covered where one came and was verified, not
where it was optional. Connections that go round a proxy are in the total by the socket table. Connections from
clients outside are not between services and in neither count.
"""

from __future__ import annotations

from everyhop.core.sli.counts import MTLS, UNKNOWN, Counts
from everyhop.core.sli.indicator import Indicator, Scope
from everyhop.core.sli.value import SliValue

MTLS_COVERAGE = Indicator(
    code="M3",
    name="mTLS coverage",
    unit="ratio",
    higher_is_better=True,
    definition="connections between services in which the caller proved its identity, of all between services",
    expr='sum(rate(everyhop_flow_connections_total{encryption="mtls",kind="service"}[1h]))'
    ' / sum(rate(everyhop_flow_connections_total{kind="service"}[1h]))',
)


def mtls_coverage(scope: Scope, counts: Counts) -> SliValue:
    """The share of connections with both ends proved."""
    return MTLS_COVERAGE.ratio(
        scope, counts.carried.get(MTLS, 0), counts.connections, unknown=counts.carried.get(UNKNOWN, 0)
    )

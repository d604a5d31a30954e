"""M1, TLS usage: of all connections that carried data, how many were encrypted.

Pitfalls, answered: a proxy never sees what goes round it, so flows from the socket table are added, and hops that
nobody watches are told beside it (``everyhop_hops_unobserved``). Connections of unknown encryption stay in the total.
Connections are not requests (HTTP/2 carries many on one). Our own probes are not counted, and refused plaintext
carried nothing: it is a number of its own.
"""

from __future__ import annotations

from everyhop.core.sli.counts import MTLS, TLS, UNKNOWN, Counts
from everyhop.core.sli.indicator import Indicator, Scope
from everyhop.core.sli.value import SliValue

TLS_USAGE = Indicator(
    code="M1",
    name="TLS usage",
    unit="ratio",
    higher_is_better=True,
    definition="connections that carried data over TLS, of all connections that carried data, unknown ones included",
    expr='sum(rate(everyhop_flow_connections_total{encryption=~"tls|mtls"}[1h]))'
    " / sum(rate(everyhop_flow_connections_total[1h]))",
)


def tls_usage(scope: Scope, counts: Counts) -> SliValue:
    """The share of connections over TLS."""
    encrypted = counts.carried.get(TLS, 0) + counts.carried.get(MTLS, 0)
    return TLS_USAGE.ratio(scope, encrypted, counts.connections, unknown=counts.carried.get(UNKNOWN, 0))

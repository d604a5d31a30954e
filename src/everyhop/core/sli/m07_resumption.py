"""M7, resumption: of all finished handshakes, how many took up an earlier session.

Pitfalls, answered: a finished handshake may be a resumed one, so the total includes both. Connections of HTTP/2 and
gRPC live for hours: with few handshakes the ratio says nothing, and below 0.1 a second none is given. Several
replicas resume each other's sessions only with shared ticket keys. Between services it is 0 by design, since a resumed
session skips the check of the caller's certificate; what is left to it is the edge. Nobody is alerted.
"""

from __future__ import annotations

from everyhop.core.sli.counts import Counts
from everyhop.core.sli.indicator import Indicator, Scope
from everyhop.core.sli.value import SliValue
from everyhop.core.verdict import Verdict

LEAST_RATE = 0.1
"""Handshakes a second below which the ratio means nothing."""

RESUMPTION = Indicator(
    code="M7",
    name="resumption",
    unit="ratio",
    higher_is_better=True,
    definition="resumed handshakes of all finished ones, where there is more than one in ten seconds",
    expr="sum by (hop) (rate(everyhop_tls_resumed_total[5m]))"
    " / (sum by (hop) (rate(everyhop_tls_resumption_known_total[5m])) > 0.1)",
)


def resumption(scope: Scope, counts: Counts) -> SliValue:
    """The share of resumed handshakes."""
    if counts.resumption_known <= LEAST_RATE * scope.window.total_seconds():
        return RESUMPTION.none(scope, Verdict.NOT_APPLICABLE, "too few handshakes for a ratio")
    # A resumption is counted when a connection begins, and a connection when it ends.
    return RESUMPTION.ratio(scope, min(counts.resumed, counts.resumption_known), counts.resumption_known)

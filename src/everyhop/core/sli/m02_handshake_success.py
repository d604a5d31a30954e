"""M2, handshake success: of all handshakes that should succeed, how many did.

Pitfalls, answered: Envoy's ``connection_error`` leaves verification failures out and its counters know no abandoned
handshake, so the listener's access log is counted, where each connection ends in one result. Health checks and
scanners would swamp it: our own probes are told by their source address and not counted, and whoever leaves before the
end of the handshake (``abandoned``) is in neither count. A caller whom policy refuses (revoked, expired, not permitted,
too old a version) is refused rightly: so is ``refused_by_policy``. What spoke no TLS began no handshake.
"""

from __future__ import annotations

from everyhop.core.sli.counts import Counts
from everyhop.core.sli.indicator import Indicator, Scope
from everyhop.core.sli.objective import budget_left
from everyhop.core.sli.value import SliValue

HANDSHAKE_SUCCESS = Indicator(
    code="M2",
    name="handshake success",
    unit="ratio",
    higher_is_better=True,
    definition="finished TLS handshakes of all that were begun, without those that the caller gave up or that policy"
    " refuses on purpose",
    expr="1 - hop:tls_errors:ratio_rate1h",
)


def handshake_success(scope: Scope, counts: Counts, period: Counts | None = None) -> SliValue:
    """The share of handshakes that succeeded; ``period`` are the counts of the budget's 30 days."""
    left = None
    if period is not None and scope.objective is not None:
        left = budget_left(period.failures, period.attempts, scope.objective)
    return HANDSHAKE_SUCCESS.ratio(scope, counts.ok, counts.attempts, budget=left)

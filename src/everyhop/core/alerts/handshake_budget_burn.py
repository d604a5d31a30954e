"""HopHandshakeBudgetBurnFast and -Slow: the error budget of a hop's handshakes burns.

Two windows each: the long one says that it matters, the short one that it is still so. A budget that cannot burn so
fast (core/sli/objective.py) is left out, and so are ratios of few failures. The fast one wakes somebody, the slow
one waits for tomorrow; so strangers who fail at an edge that is well are a matter of the slow one only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

from everyhop.core.alerts.alert import Alert, Trouble
from everyhop.core.alerts.promql import STRANGERS_ONLY, burns
from everyhop.core.alerts.snapshot import HopState, Snapshot
from everyhop.core.alerts.state import Route
from everyhop.core.finding import Severity
from everyhop.core.sli.objective import ESCALATE_AT, FAST, LEAST_FAILURES, SLOW, Burn, burn_rate, burn_rate_possible

_DAY, _HOUR = timedelta(days=1), timedelta(hours=1)


def _burning(hop: HopState, pairs: tuple[Burn, ...]) -> Burn | None:
    for one in pairs:
        limit = one.factor * (1 - hop.objective)
        if (
            burn_rate_possible(hop.objective, one.factor)
            and min(hop.over(one.long).ratio, hop.over(one.short).ratio) > limit
        ):
            return one
    return None


def _condition(
    pairs: tuple[Burn, ...], counted: timedelta, *, pages: bool = False
) -> Callable[[Snapshot], Iterator[Trouble]]:
    def condition(snapshot: Snapshot) -> Iterator[Trouble]:
        for hop in snapshot.hops:
            burn = None if pages and hop.strangers_only else _burning(hop, pairs)
            if burn is not None and hop.over(counted).failures >= LEAST_FAILURES:
                errors = hop.over(burn.long)
                rate = burn_rate(errors.failures, errors.attempts, hop.objective) or 0.0
                told = f"{errors.ratio:.2%} of the handshakes fail, {rate:.1f} times what the budget allows"
                escalate = "; a quarter of the month's budget goes in a day" if rate > ESCALATE_AT else ""
                yield Trouble(hop.hop, hop.owner, told + escalate)

    return condition


FAST_BURN = Alert(
    name="HopHandshakeBudgetBurnFast",
    sli="M2",
    severity=Severity.CRITICAL,
    route=Route.PAGE,
    hold=timedelta(minutes=2),
    meaning="handshakes of a hop fail so often that its error budget of 30 days is gone within days",
    condition=_condition(FAST, _HOUR, pages=True),
    expr=burns(FAST, _HOUR, but=STRANGERS_ONLY),
    subject_label="hop",
    summary="{{ $labels.hop }}: {{ $value | humanizePercentage }} of the TLS handshakes fail",
    inhibited_by=("HopHandshakesAllFail",),
)
SLOW_BURN = Alert(
    name="HopHandshakeBudgetBurnSlow",
    sli="M2",
    severity=Severity.MEDIUM,
    route=Route.TICKET,
    hold=timedelta(minutes=15),
    meaning="handshakes of a hop fail a little too often, for long",
    condition=_condition(SLOW, _DAY),
    expr=burns(SLOW, _DAY),
    subject_label="hop",
    summary="{{ $labels.hop }}: {{ $value | humanizePercentage }} of the TLS handshakes fail, for hours",
    inhibited_by=("HopHandshakeBudgetBurnFast", "HopHandshakesAllFail"),
)

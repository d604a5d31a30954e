"""M4, expiry lead: how long until a certificate that is served expires; and renewal slack: how long until its renewal
would be overdue.

Pitfalls, answered: the least counts, never the average, in which one expired certificate of a hundred drowns. It is
told per slot (the place where a certificate is used), because serials come and go. What is *served* counts, not what
is stored. Fixed days say nothing of certificates that live for hours, so the objective is a tenth of the
certificate's own life, and renewal slack is what tells early.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from everyhop.core.sli.indicator import Indicator, Scope
from everyhop.core.sli.value import SliValue
from everyhop.core.verdict import Verdict, worst

EXPIRY_LEAD = Indicator(
    code="M4",
    name="expiry lead",
    unit="seconds",
    higher_is_better=True,
    definition="seconds until the served certificate expires: per slot, and the least of all",
    expr="min by (service, owner) (everyhop_endpoint_served_not_after_timestamp_seconds - time())",
)
RENEWAL_SLACK = "renewal slack"
OVERDUE_AFTER = 0.1
"""A renewal is overdue once a tenth of the certificate's life has passed since it fell due."""


def overdue_at(renew_at: datetime, lifetime: timedelta) -> datetime:
    """When a renewal that has not happened is overdue."""
    return renew_at + lifetime * OVERDUE_AFTER


def expiry_lead(scope: Scope, not_before: datetime, not_after: datetime) -> SliValue:
    """Seconds left to one served certificate; ``scope.objective`` is the share of its life it should never undercut."""
    least = None if scope.objective is None else scope.objective * (not_after - not_before).total_seconds()
    told = Scope(scope.name, scope.at, scope.window, least, scope.owner)
    return EXPIRY_LEAD.measure(told, (not_after - scope.at).total_seconds())


def renewal_slack(scope: Scope, renew_at: datetime, lifetime: timedelta) -> SliValue:
    """Seconds until a renewal would be overdue; below 0 it is."""
    told = Scope(scope.name, scope.at, scope.window, 0.0, scope.owner)
    return EXPIRY_LEAD.measure(told, (overdue_at(renew_at, lifetime) - scope.at).total_seconds(), name=RENEWAL_SLACK)


def least(scope: Scope, values: Sequence[SliValue]) -> SliValue:
    """The least of many leads, with the verdict of the worst."""
    known = [one for one in values if one.value is not None]
    if not known:
        return EXPIRY_LEAD.none(scope, Verdict.UNKNOWN, "no certificate is served")
    first = min(known, key=lambda one: one.value or 0.0)
    return SliValue(
        sli=first.sli,
        name=first.name,
        scope=scope.name,
        value=first.value,
        unit=first.unit,
        at=scope.at,
        window_seconds=0,
        objective=first.objective,
        verdict=worst(one.verdict for one in values),
        owner=scope.owner,
        note=f"the least is {first.scope}",
    )

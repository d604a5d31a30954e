"""M8, issuance success: of all orders for a certificate, how many were fulfilled.

Pitfalls, answered: an *order* is counted, not each attempt: it is fulfilled when its certificate is issued, after
however many retries, and failed once three attempts in a row did not bring it. What policy or lint denies is denied
rightly: counted, and no error. Orders are rare, so the alert counts failed ones and burns no budget.
"""

from __future__ import annotations

from dataclasses import dataclass

from everyhop.core.sli.indicator import Indicator, Scope
from everyhop.core.sli.value import SliValue

FAILED_AFTER = 3
"""Attempts in a row after which an order counts as failed: a passing fault that a retry heals is none."""
DENIALS = ("policy-refused", "lint-refused")
"""Error codes of the gate that are an answer, not a fault."""

ISSUANCE = Indicator(
    code="M8",
    name="issuance success",
    unit="ratio",
    higher_is_better=True,
    definition="orders fulfilled, of those fulfilled or failed; denied ones are no error",
    expr='sum(increase(everyhop_issuance_total{result="ok"}[1d]))'
    ' / sum(increase(everyhop_issuance_total{result=~"ok|error"}[1d]))',
)


@dataclass(frozen=True, slots=True)
class Orders:
    """How many orders came to which end."""

    ok: int = 0
    failed: int = 0
    denied: int = 0


def issuance(scope: Scope, orders: Orders) -> SliValue:
    """The share of orders that were fulfilled."""
    note = f"{orders.denied} denied by policy" if orders.denied else ""
    return ISSUANCE.ratio(scope, orders.ok, orders.ok + orders.failed, note=note)

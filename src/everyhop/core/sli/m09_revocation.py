"""M9, revocation checks: of all questions to a CRL, a responder or a staple, how many got an answer.

Pitfalls, answered: *revoked* is a good answer. Envoy never asks OCSP itself, so the checks are our prober's. Each
source is counted alone: a foreign responder is somebody else's promise. Certificates that name no source live shortly
by design: that is *not applicable*, not 0 %.
"""

from __future__ import annotations

from collections.abc import Mapping

from everyhop.core.sli.indicator import Indicator, Scope
from everyhop.core.sli.value import SliValue
from everyhop.core.verdict import Verdict

ANSWERS = ("good", "revoked")

REVOCATION = Indicator(
    code="M9",
    name="revocation checks",
    unit="ratio",
    higher_is_better=True,
    definition="checks that were answered good or revoked, of all checks, by source",
    expr='sum by (source) (increase(everyhop_revocation_check_total{result=~"good|revoked"}[1h]))'
    " / sum by (source) (increase(everyhop_revocation_check_total[1h]))",
)


def revocation(scope: Scope, results: Mapping[str, int]) -> SliValue:
    """The share of answered checks of one source; ``results`` counts checks by their result."""
    answered = sum(results.get(result, 0) for result in ANSWERS)
    return REVOCATION.ratio(scope, answered, sum(results.values()))


def no_revocation(scope: Scope) -> SliValue:
    """Nothing was asked, because nothing names a source."""
    note = "no certificate names a source: they live shortly by design"
    return REVOCATION.none(scope, Verdict.NOT_APPLICABLE, note)

"""Every rule about endpoints, one file per concern; :data:`RULES` holds them all by code, in the order of reports."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from everyhop.core.endpoint.rules import (
    chain,
    dates,
    enforcement,
    fault,
    http,
    names,
    plain,
    revocation,
    seen,
    session,
    strength,
    tls,
    transparency,
)
from everyhop.core.endpoint.rules.base import Case, Outcome, Rule, Stores, failed, not_applicable, passed, unknown

_ALL: tuple[Rule, ...] = (
    *fault.RULES,
    *plain.RULES,
    *tls.RULES,
    *seen.RULES,
    *dates.RULES,
    *names.RULES,
    *chain.RULES,
    *strength.RULES,
    *revocation.RULES,
    *transparency.RULES,
    *enforcement.RULES,
    *session.RULES,
    *http.RULES,
)

RULES: Mapping[str, Rule] = MappingProxyType({rule.code: rule for rule in _ALL})

__all__ = ["RULES", "Case", "Outcome", "Rule", "Stores", "failed", "not_applicable", "passed", "unknown"]

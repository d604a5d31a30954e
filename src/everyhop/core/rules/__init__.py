"""Lint rules: one small object a rule, one file a source of rules.

Rules: every rule has a stable code, the clause it comes from, and a function that looks at a draft and returns what is
wrong, or nothing. A draft with any finding is never signed. :func:`lint` is the only maker of ``Linted``.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from everyhop.core.certificate import Draft, Linted, mint_linted
from everyhop.core.rules.base import Finding, Rule
from everyhop.core.rules.house import HOUSE
from everyhop.core.rules.rfc5280 import RFC5280
from everyhop.core.rules.spiffe import SPIFFE
from everyhop.errors import EveryhopError

RULES: Mapping[str, Rule] = MappingProxyType({rule.code: rule for rule in (*RFC5280, *SPIFFE, *HOUSE)})

__all__ = ["RULES", "Finding", "Rule", "findings", "lint"]


def findings(draft: Draft) -> tuple[Finding, ...]:
    """Everything that any rule has against this draft, in rule order."""
    return tuple(Finding(rule.code, fault) for rule in RULES.values() if (fault := rule.check(draft)))


def lint(draft: Draft) -> Linted:
    """Pass a draft, or raise ``EveryhopError('lint-refused')`` that names every rule it breaks."""
    found = findings(draft)
    if found:
        raise EveryhopError(
            "lint-refused",
            f"the certificate for {draft.request.common_name or draft.request.identity or draft.request.dns_names}"
            f" breaks {len(found)} rule{'s' if len(found) > 1 else ''}: "
            + "; ".join(f"{item.code}: {item.fault}" for item in found),
            hint="`docs/reference/rules.md` explains each rule by its code",
        )
    return mint_linted(draft)

"""What a rule about an endpoint is, what it looks at, and what it answers.

Rules: a rule is one small object with a stable code. It sees one case (facts, guideline, the time, what is trusted) and
answers with one outcome, or with None where nobody looked. It never guesses: what the probes did not find out is
``unknown``, and says why. A pass carries its evidence too. The code is also the name of the rule's runbook page.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from cryptography import x509

from everyhop.core.endpoint.path import Path, Stores
from everyhop.core.finding import Finding, Severity
from everyhop.core.verdict import Verdict

if TYPE_CHECKING:
    from everyhop.core.endpoint.facts import EndpointFacts
    from everyhop.core.endpoint.served import Served
    from everyhop.core.endpoint.timestamps import Log
    from everyhop.core.guidelines.guideline import Guideline

__all__ = ["Case", "Outcome", "Rule", "Stores", "failed", "not_applicable", "passed", "unknown"]


@dataclass(frozen=True, slots=True)
class Case:
    """Everything that a rule may look at."""

    facts: EndpointFacts
    guideline: Guideline
    now: datetime
    stores: Stores = field(default_factory=dict[str, Sequence[x509.Certificate]])
    expected_identity: str = ""
    """The SPIFFE ID that the endpoint should show, or empty: the host name counts."""
    served: Served | None = None
    """The served chain, read once; None: nobody asked for it, or nothing came that can be read."""
    path: Path | None = None
    """Where the chain leads; None with ``served``."""
    logs: Sequence[Log] = ()
    """Certificate Transparency logs whose signatures can be checked."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one rule says of one case."""

    verdict: Verdict
    statement: str
    """One sentence: what was expected and what came."""
    evidence: str = ""
    """The endpoint's own answer."""
    severity: Severity | None = None
    """Where it depends on what was seen; None: the rule's own."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. ``check`` returns None where the facts it needs were not asked for."""

    code: str
    """Lower case with hyphens: ``certificate-expired``. Never changes its meaning."""
    severity: Severity
    """How bad a failure is, unless the outcome says otherwise."""
    citation: str
    """The clause that governs: ``RFC 5280, 4.1.2.5``."""
    explanation: str
    """Why it exists, one sentence for the reference."""
    check: Callable[[Case], Outcome | None]

    @property
    def runbook(self) -> str:
        """The documentation page for somebody who has to act, relative to the documentation's root."""
        return f"runbooks/{self.code}.md"

    def judge(self, case: Case) -> Finding | None:
        """The rule's finding on a case, or None where nobody looked."""
        outcome = self.check(case)
        if outcome is None:
            return None
        return Finding(
            rule=self.code,
            verdict=outcome.verdict,
            severity=outcome.severity or self.severity,
            subject=str(case.facts.target),
            statement=outcome.statement,
            evidence=outcome.evidence,
            guideline=str(case.guideline),
            owner=case.facts.target.owner,
            citation=self.citation,
            runbook=self.runbook,
        )


def passed(statement: str, evidence: str = "") -> Outcome:
    """It is as it should be."""
    return Outcome(Verdict.PASS, statement, evidence)


def failed(statement: str, evidence: str = "", severity: Severity | None = None) -> Outcome:
    """It is not as it should be."""
    return Outcome(Verdict.FAIL, statement, evidence, severity)


def unknown(statement: str, evidence: str = "", severity: Severity | None = None) -> Outcome:
    """It could not be told; the statement says why. ``severity`` is what it could have become at worst."""
    return Outcome(Verdict.UNKNOWN, statement, evidence, severity)


def not_applicable(statement: str, evidence: str = "") -> Outcome:
    """The rule has nothing to say here; the statement says why."""
    return Outcome(Verdict.NOT_APPLICABLE, statement, evidence)

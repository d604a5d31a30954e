"""What one look at one endpoint came to: the facts, the findings, and one verdict.

Rules: a failure of low or informational severity is advice: it is told, and it fails nothing. An unknown of a rule that
could only have given advice leaves nothing open either. Everything else counts: one violation fails the endpoint, else
one unknown leaves it unknown. An endpoint of which nothing could be learned is unknown, never well.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from everyhop.core.endpoint.facts import EndpointFacts
from everyhop.core.endpoint.target import Target
from everyhop.core.finding import Finding, Severity
from everyhop.core.guidelines.guideline import Guideline
from everyhop.core.verdict import Verdict, worst

ADVICE = (Severity.LOW, Severity.INFO)


@dataclass(frozen=True, slots=True)
class EndpointReport:
    """One endpoint, looked at once."""

    target: Target
    at: datetime
    guideline: Guideline
    mode: str
    """``verify`` or ``enumerate``."""
    facts: EndpointFacts
    findings: tuple[Finding, ...]
    """One for each rule that had something to look at, in the order of the rules."""
    file: str = ""
    """The fleet file that names it, or empty."""
    line: int = 0
    seconds: float = 0.0

    @property
    def verdict(self) -> Verdict:
        """The answer for the whole endpoint."""
        return verdict_of(self.findings)


class Judged(Protocol):
    """What every form of a finding says."""

    @property
    def verdict(self) -> Verdict:
        """Pass, fail, unknown or not applicable."""
        ...

    @property
    def severity(self) -> Severity:
        """How bad a failure is."""
        ...

    @property
    def excused(self) -> str:
        """The reason of a running exception, or empty."""
        ...


def verdict_of(findings: Iterable[Judged]) -> Verdict:
    """The answer for a whole; without any answer that matters it is unknown."""
    counted: list[Verdict] = []
    for one in findings:
        if is_violation(one):
            counted.append(Verdict.FAIL)
        elif is_untold(one):
            counted.append(Verdict.UNKNOWN)
        elif one.verdict is not Verdict.NOT_APPLICABLE:
            counted.append(Verdict.PASS)
    return worst(counted)


def fails(finding: Judged) -> bool:
    """True if it failed and no running exception covers it: a violation, or advice."""
    return finding.verdict is Verdict.FAIL and not finding.excused


def is_violation(finding: Judged) -> bool:
    """True if somebody must act: it failed, and it is more than advice."""
    return fails(finding) and finding.severity not in ADVICE


def is_untold(finding: Judged) -> bool:
    """True if it could not be told and might have been a violation."""
    return finding.verdict is Verdict.UNKNOWN and finding.severity not in ADVICE

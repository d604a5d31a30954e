"""Exceptions from rules: with a reason, an owner and an end.

Rules: an exception never turns a failure into a pass: it marks the finding. It holds through its last day (UTC) and
not a moment longer, and an exception without a reason or an end cannot be written down.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime

from everyhop.core.finding import Finding
from everyhop.core.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Excuse:
    """One exception: this rule may fail for this subject, until then."""

    rule: str
    """A rule's code."""
    subject: str
    """A finding's subject (``host:port``), or ``*`` for all."""
    reason: str
    until: date
    """The last day it holds."""
    owner: str = ""

    def __post_init__(self) -> None:
        """Raise ``ValueError`` for an exception that does not say why."""
        if not self.reason.strip():
            raise ValueError(f"expected a reason for the exception from {self.rule}, got none")

    def covers(self, finding: Finding, now: datetime) -> bool:
        """True if it holds for this finding now."""
        return (
            finding.verdict is Verdict.FAIL
            and self.rule == finding.rule
            and self.subject in ("*", finding.subject)
            and now.date() <= self.until
        )

    def mark(self, finding: Finding) -> Finding:
        """The finding, marked."""
        return replace(finding, excused=self.reason, excused_until=self.until)

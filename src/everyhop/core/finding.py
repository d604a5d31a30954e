"""A finding: a rule's verdict on facts, with everything somebody needs who has to act on it.

Rules: a finding names its rule (a stable code), what it is about, what was expected and what was seen (the server's
own answer), under which guideline and version, how bad it is, whose it is and where to read on. A pass is a finding
too: it is what evidence is made of.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from everyhop.core.verdict import Verdict


class Severity(StrEnum):
    """How bad a failure is, worst first."""

    CRITICAL = "critical"
    """Readable or forgeable by anybody on the path, today."""
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule's verdict on one subject."""

    rule: str
    """The rule's stable code, for example ``tls-version-old``."""
    verdict: Verdict
    severity: Severity
    """How bad it is, or would be."""
    subject: str
    """What it is about: an endpoint ``host:port``, a hop, a file with line."""
    statement: str
    """One sentence: what was expected and what came."""
    evidence: str = ""
    """The endpoint's own answer."""
    guideline: str = ""
    """Name and version: ``mozilla-intermediate 6.0``."""
    owner: str = ""
    citation: str = ""
    """RFC section, guideline or paper."""
    runbook: str = ""
    """A page of the documentation, relative: ``runbooks/tls-version-old.md``."""
    excused: str = ""
    """The reason of the exception that covers it, or empty."""
    excused_until: date | None = None

    @property
    def counts(self) -> bool:
        """True if somebody must act: it failed and no running exception covers it."""
        return self.verdict is Verdict.FAIL and not self.excused

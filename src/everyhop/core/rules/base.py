"""What a rule and a finding are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from everyhop.core.certificate import Draft


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: its code, the clause it comes from, why it exists, and the check itself.

    ``check`` returns what is wrong in a few words, or an empty string.
    """

    code: str
    citation: str
    explanation: str
    check: Callable[[Draft], str]
    severity: str = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule's verdict on one draft."""

    code: str
    fault: str

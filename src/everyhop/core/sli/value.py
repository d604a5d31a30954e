"""What an indicator says: a number with what it was counted from.

Rules: a ratio carries its counts, and what is unknown stays in its total. No events: no value (None), never 0 or 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from everyhop.core.verdict import Verdict


@dataclass(frozen=True, slots=True)
class SliValue:
    """One indicator for one scope over one window."""

    sli: str
    """``M1`` to ``M10``."""
    name: str
    scope: str
    """A hop, a service, a credential slot, or ``all``."""
    value: float | None
    unit: str
    """``ratio``, ``seconds``, ``flows``."""
    at: datetime
    window_seconds: int
    good: int = 0
    total: int = 0
    unknown: int = 0
    """Part of the total that could not be judged."""
    objective: float | None = None
    verdict: Verdict = Verdict.UNKNOWN
    budget_left: float | None = None
    """Part of the error budget that is left over the objective's period, 1 to below 0; None where there is none."""
    owner: str = ""
    note: str = ""

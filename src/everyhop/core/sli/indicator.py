"""What an indicator is, and how a ratio is judged.

Rules: an indicator has a code, a definition that a person can check by counting, and the expression by which
Prometheus counts the same. A ratio without events has no value. An unknown event is part of the total and never of
the good: if the answer hangs on the unknown ones, the verdict is unknown.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from everyhop.core.sli.value import SliValue
from everyhop.core.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Scope:
    """What a value is about: its name, whose it is, and over which window it is counted."""

    name: str
    at: datetime
    window: timedelta
    objective: float | None = None
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Indicator:
    """One service level indicator."""

    code: str
    """``M1`` to ``M10``."""
    name: str
    unit: str
    """``ratio``, ``seconds`` or ``flows``."""
    higher_is_better: bool
    definition: str
    expr: str
    """The same in PromQL, from the metrics that everyhop exports."""

    def ratio(
        self, scope: Scope, good: int, total: int, *, unknown: int = 0, budget: float | None = None, note: str = ""
    ) -> SliValue:
        """A ratio with the counts it was made of, judged against its objective."""
        value = good / total if total else None
        verdict = Verdict.UNKNOWN
        if value is not None and scope.objective is not None:
            best = (good + unknown) / total
            verdict = Verdict.PASS if value >= scope.objective else Verdict.FAIL
            if verdict is Verdict.FAIL and best >= scope.objective:
                verdict = Verdict.UNKNOWN
        return SliValue(
            sli=self.code,
            name=self.name,
            scope=scope.name,
            value=value,
            unit=self.unit,
            at=scope.at,
            window_seconds=int(scope.window.total_seconds()),
            good=good,
            total=total,
            unknown=unknown,
            objective=scope.objective,
            verdict=verdict,
            budget_left=budget,
            owner=scope.owner,
            note=note or ("" if total else "no events in this window"),
        )

    def measure(self, scope: Scope, value: float | None, *, name: str = "", note: str = "") -> SliValue:
        """A number that is no ratio, judged against its objective."""
        verdict = Verdict.UNKNOWN
        if value is not None and scope.objective is not None:
            well = value >= scope.objective if self.higher_is_better else value <= scope.objective
            verdict = Verdict.PASS if well else Verdict.FAIL
        return SliValue(
            sli=self.code,
            name=name or self.name,
            scope=scope.name,
            value=value,
            unit=self.unit,
            at=scope.at,
            window_seconds=int(scope.window.total_seconds()),
            objective=scope.objective,
            verdict=verdict,
            owner=scope.owner,
            note=note,
        )

    def none(self, scope: Scope, verdict: Verdict, note: str) -> SliValue:
        """No value, and why: not measured, or not applicable by design."""
        return SliValue(
            self.code,
            self.name,
            scope.name,
            None,
            self.unit,
            scope.at,
            int(scope.window.total_seconds()),
            objective=scope.objective,
            verdict=verdict,
            owner=scope.owner,
            note=note,
        )
